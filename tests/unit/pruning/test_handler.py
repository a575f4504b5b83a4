"""The handler of the pruner: settings, an empty table, and what is logged and counted."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import boto3
import pytest

from sluicegate.aws.lambda_versions import CodeStorage
from sluicegate.pruning.pruner import PruneRun
from support.configured_handler import configured
from support.simulation import START, create_table

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics")


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    with configured("pruner", "sluicegate-prune", monkeypatch, tmp_path) as made:
        yield made


class Log:
    """What the handler logs, in place of its logger."""

    def __init__(self, app: ModuleType) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []
        vars(app)["logger"] = self

    def warning(self, event: str, *, extra: dict[str, Any]) -> None:
        self.lines.append((event, extra))

    info = warning


def run(app: ModuleType, done: PruneRun) -> Any:
    vars(app)["service"] = lambda: SimpleNamespace(run=lambda _: done)
    return app.handler({}, SimpleNamespace())


def counted(output: str) -> dict[str, float]:
    [line] = [json.loads(line) for line in output.splitlines() if "_aws" in line]
    return {name: sum(line[name]) for name in ("VersionsPruned", "CodeStorage") if name in line}


def test_without_the_key_in_the_gate_file_a_run_does_nothing(app: ModuleType) -> None:
    create_table(boto3.client("dynamodb"))
    answer = app.handler({}, SimpleNamespace())
    assert answer | {"unseen": 0} == {
        "looked": 0,
        "deleted": 0,
        "refused": 0,
        "unseen": 0,
        "finished": True,
    }


def test_a_run_ends_before_lambda_would_end_it(app: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def ask(until: float) -> PruneRun:
        asked.append(until)
        return PruneRun()

    monkeypatch.setattr(app.time, "time", lambda: START)
    vars(app)["service"] = lambda: SimpleNamespace(run=ask)
    app.handler({}, SimpleNamespace())
    assert asked == [START + 720]


def test_what_was_deleted_refused_and_not_seen_is_logged_and_counted(
    app: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    log = Log(app)
    done = PruneRun(
        looked=3,
        deleted=[("orders", "1"), ("orders", "2")],
        refused=[("orders", "3", "replicated")] * 30,
        unseen=[("other", "TooManyRequestsException")],
        storage=CodeStorage(30, 40),
    )
    assert run(app, done) == {"looked": 3, "deleted": 2, "refused": 30, "unseen": 1, "finished": True}
    assert log.lines == [
        ("version_pruned", {"function": "orders", "version": "1"}),
        ("version_pruned", {"function": "orders", "version": "2"}),
        ("prune_refused", {"versions": [("orders", "3", "replicated")] * 20, "number": 30}),
        ("prune_unseen", {"functions": [("other", "TooManyRequestsException")], "number": 1}),
    ]
    assert counted(capsys.readouterr().out) == {"VersionsPruned": 2, "CodeStorage": 75}
