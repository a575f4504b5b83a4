"""The sealer's handler: settings, the gate file as it is, and what is logged and counted."""

import hashlib
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from sluicegate.observability import metrics
from sluicegate.sealer.sealer import SealingReport
from sluicegate.settings import SealerSettings
from support.own_metrics import handler

SETTINGS = {
    "SLUICEGATE_TABLE": "table",
    "SLUICEGATE_EVIDENCE_BUCKET": "evidence",
    "SLUICEGATE_EVIDENCE_KEYS": "arn:new,arn:old",
    "SLUICEGATE_EVIDENCE_LOG": "1",
    "SLUICEGATE_ACCOUNT": "111111111111",
    "SLUICEGATE_STACK": "sluicegate",
    "SLUICEGATE_GATE": "/opt/sluicegate/gate.json",
    "AWS_REGION": "eu-central-1",
}

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics")


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Sluicegate")
    monkeypatch.setattr(metrics.provider, "namespace", "Sluicegate")
    return handler("sealer")


def test_a_stack_is_named_by_account_region_and_name() -> None:
    given = SealerSettings.from_environment(SETTINGS)
    assert (given.stack, given.prefix) == ("111111111111/eu-central-1/sluicegate", "")
    assert given.keys == ("arn:new", "arn:old")


def test_another_log_has_a_name_and_a_place_of_its_own() -> None:
    given = SealerSettings.from_environment(SETTINGS | {"SLUICEGATE_EVIDENCE_LOG": "2"})
    assert (given.stack, given.prefix) == ("111111111111/eu-central-1/sluicegate/2", "log-2/")


@pytest.mark.parametrize("origin", [{}, {"commit": "abc", "pipeline": "81"}, None])
def test_the_gate_file_is_kept_as_it_is(
    app: ModuleType, tmp_path: Path, origin: dict[str, str] | None
) -> None:
    (tmp_path / "gate.json").write_bytes(b"{} not even read")
    if origin is not None:
        (tmp_path / "gate-origin.json").write_text(json.dumps(origin))
    path = str(tmp_path / "gate.json")
    gate = app.gate(SealerSettings.from_environment(SETTINGS | {"SLUICEGATE_GATE": path}))
    assert gate.digest == hashlib.sha256(b"{} not even read").hexdigest()
    assert dict(gate.origin) == (origin or {})


@pytest.mark.parametrize("fork", [None, "segments/1 has other bytes"])
def test_a_run_is_reported(app: ModuleType, fork: str | None) -> None:
    report = SealingReport(size=7, sealed=3, lag=12.0, fork=fork)
    vars(app)["service"] = lambda: SimpleNamespace(run=lambda _: report)
    assert app.handler({}, SimpleNamespace()) == {"sealed": 3, "size": 7, "left": False, "fork": fork}
