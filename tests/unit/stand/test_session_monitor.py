"""The watch over sessions of roles (`stand.session_monitor`), on logs that are written here."""

import json
from pathlib import Path
from typing import Any

import pytest

from stand.session_monitor import SessionMonitor

ROLE = "arn:aws:iam::222222222222:role/sluicegate-target-eu-west-1"
SESSION = "arn:aws:sts::222222222222:assumed-role/sluicegate-target-eu-west-1/01JD"
FUNCTION = "arn:aws:lambda:eu-west-1:222222222222:function:orders-api"


def line(**changed: Any) -> str:
    usual = {
        "key": "ASIA1",
        "session": SESSION,
        "source_identity": "4213",
        "call": "lambda:UpdateAlias",
        "account": "222222222222",
        "region": "eu-west-1",
        "resources": [FUNCTION],
    }
    return json.dumps({**usual, **changed}) + "\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "calls.jsonl"


@pytest.fixture
def monitor(log: Path) -> SessionMonitor:
    return SessionMonitor({ROLE: ("222222222222", "eu-west-1")}, log)


def test_what_stays_at_home_is_counted(monitor: SessionMonitor, log: Path) -> None:
    log.write_text(line(key="ASIA0", account="111111111111"))  # before the watch
    with monitor.watching() as touched, log.open("a") as file:
        file.write(line() + line(call="sts:GetCallerIdentity", region="eu-central-1", resources=[]))
        file.write(line(session="arn:aws:sts::111111111111:assumed-role/another/x", account="111111111111"))
    assert len(touched.calls) == 2
    assert touched.sources == {"ASIA1": "4213"}


@pytest.mark.parametrize(
    "changed",
    [
        {"account": "111111111111"},
        {"region": "eu-central-1"},
        {"resources": ["arn:aws:lambda:eu-west-1:111111111111:function:orders-api"]},
        {"resources": ["arn:aws:lambda:eu-central-1:222222222222:function:orders-api"]},
        {"call": "sts:GetCallerIdentity", "account": "111111111111"},
    ],
)
def test_a_session_that_strays_is_found(monitor: SessionMonitor, log: Path, changed: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match="sluicegate-target-eu-west-1"), monitor.watching():
        log.write_text(line() + line(**changed))
