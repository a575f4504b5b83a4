"""The handler of the look for drift: settings, an empty table, and what is logged and counted."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from sluicegate.deployment.drift import Drift, DriftFinding, DriftKind, drift_of_alias
from sluicegate.drift.sweep import DriftReport
from sluicegate.gate.decoding import GateError
from support.configured_handler import configured
from support.simulation import OWN, START, create_table

MOVED = DriftFinding(DriftKind.ALIAS, "alias_moved", "the alias serves version 1", {"version": "1"})
TRIGGER = DriftFinding(DriftKind.TRIGGER, "function_url", "a function URL invokes $LATEST")
LONG = [(f"orders-{number}", "TooManyRequestsException") for number in range(30)]


pytestmark = pytest.mark.filterwarnings("ignore:No application metrics")


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    with configured("drift", "sluicegate-target", monkeypatch, tmp_path) as made:
        yield made


def began(*findings: DriftFinding) -> Drift:
    return drift_of_alias(OWN, None, "orders", "prod", "prod", "dep_1", findings, START)


class Log:
    """What the handler logs, in place of its logger."""

    def __init__(self, app: ModuleType) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []
        vars(app)["logger"] = self

    def warning(self, event: str, *, extra: dict[str, Any]) -> None:
        self.lines.append((event, extra))


def look(app: ModuleType, report: DriftReport) -> Any:
    vars(app)["service"] = lambda: SimpleNamespace(run=lambda _: report)
    return app.handler({}, SimpleNamespace())


def counted(output: str) -> dict[str, float]:
    [line] = [json.loads(line) for line in output.splitlines() if "_aws" in line]
    return {name: sum(line[name]) for name in ("DriftBegan", "DriftUnseen")}


def test_a_stack_that_has_deployed_nothing_has_nothing_to_look_at(app: ModuleType) -> None:
    create_table(boto3.client("dynamodb"))
    answer = app.handler({}, SimpleNamespace())
    assert answer == {"looked": 0, "changed": [], "unseen": 0, "finished": True}


def test_without_the_table_a_run_fails_and_the_next_one_works(app: ModuleType) -> None:
    """The schedule's next run retries, and the alarm on errors hears of this one."""
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        app.handler({}, SimpleNamespace())
    create_table(boto3.client("dynamodb"))
    assert app.handler({}, SimpleNamespace())["finished"]


def test_a_gate_file_that_cannot_be_read_is_read_again_at_the_next_run(
    app: ModuleType, tmp_path: Path
) -> None:
    create_table(boto3.client("dynamodb"))
    sound = (tmp_path / "gate.json").read_text()
    (tmp_path / "gate.json").write_text("{}")
    with pytest.raises(GateError, match="format"):
        app.handler({}, SimpleNamespace())
    (tmp_path / "gate.json").write_text(sound)
    assert app.handler({}, SimpleNamespace())["finished"]


def test_a_run_ends_before_lambda_would_end_it(app: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def run(until: float) -> DriftReport:
        asked.append(until)
        return DriftReport()

    monkeypatch.setattr(app.time, "time", lambda: START)
    vars(app)["service"] = lambda: SimpleNamespace(run=run)
    app.handler({}, SimpleNamespace())
    assert asked == [START + 720]


def test_what_began_is_logged_and_counted_and_what_changed_or_ended_is_logged(
    app: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    log, first = Log(app), began(MOVED)
    changed = first.changed((MOVED, TRIGGER), "dep_1", START + 3600)
    ended = changed.changed((), "dep_1", START + 7200)
    answer = look(app, DriftReport(looked=3, saved=[first, changed, ended]))
    assert answer == {"looked": 3, "changed": [first.id] * 3, "unseen": 0, "finished": True}
    place = {"drift": first.id, "function": "orders", "alias": "prod"}
    place |= {"account": OWN.account, "region": OWN.region}
    assert log.lines == [
        ("drift_began", {**place, "began": ["alias_moved"], "ended": []}),
        ("drift_changed", {**place, "began": ["function_url"], "ended": []}),
        ("drift_ended", {**place, "began": [], "ended": ["alias_moved", "function_url"]}),
    ]
    assert counted(capsys.readouterr().out) == {"DriftBegan": 1, "DriftUnseen": 0}


@pytest.mark.parametrize(("unseen", "listed"), [(LONG[:2], LONG[:2]), (LONG, LONG[:20])])
def test_what_could_not_be_looked_at_is_counted_and_named_in_one_line(
    app: ModuleType,
    capsys: pytest.CaptureFixture[str],
    unseen: list[tuple[str, str]],
    listed: list[tuple[str, str]],
) -> None:
    log = Log(app)
    answer = look(app, DriftReport(looked=5, unseen=unseen, finished=False))
    assert answer == {"looked": 5, "changed": [], "unseen": len(unseen), "finished": False}
    assert log.lines == [("drift_unseen", {"functions": listed, "number": len(unseen)})]
    assert counted(capsys.readouterr().out) == {"DriftBegan": 0, "DriftUnseen": len(unseen)}


def test_a_run_that_saw_everything_counts_nothing_and_says_so(
    app: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    """The alarm on what is not seen takes the lowest count of some hours: it needs the zeros."""
    log = Log(app)
    look(app, DriftReport(looked=5))
    assert log.lines == []
    assert counted(capsys.readouterr().out) == {"DriftBegan": 0, "DriftUnseen": 0}


def test_no_value_of_a_setting_is_logged(app: ModuleType) -> None:
    log = Log(app)
    finding = DriftFinding(DriftKind.SETTINGS, "settings_changed", "it says hunter2", {"variables": ["KEY"]})
    look(app, DriftReport(saved=[began(finding)]))
    assert "hunter2" not in json.dumps(log.lines)
