"""What log and metrics say of a message that is late or set aside, by the names that the pages give."""

import json
from typing import Any

import pytest

from sluicegate.delivery import handling
from sluicegate.delivery.handling import DeliveryLog
from sluicegate.observability import metrics


@pytest.mark.parametrize(("name", "metric"), [("feedback", "Feedback"), ("message", "Message")])
def test_what_becomes_of_a_message_is_logged_and_counted(
    name: str, metric: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines: list[tuple[str, str, dict[str, Any]]] = []

    class Log:
        def __getattr__(self, level: str) -> Any:
            return lambda event, *, extra: lines.append((level, event, extra))

    monkeypatch.setattr(handling, "logger", Log())
    monkeypatch.setattr(metrics.provider, "namespace", "Sluicegate")
    log = DeliveryLog(name)
    log.sent("status_sent", deployment="dep_1")
    log.delayed("status 503", age=40.0, deployment="dep_1")
    log.dropped("not_found", deployment="dep_1")
    log.rejected("status 404", deployment="dep_1")
    assert lines == [
        ("info", "status_sent", {"deployment": "dep_1"}),
        ("warning", f"{name}_delayed", {"error": "status 503", "age": 40.0, "deployment": "dep_1"}),
        ("warning", f"{name}_dropped", {"error": "not_found", "deployment": "dep_1"}),
        ("error", f"{name}_rejected", {"error": "status 404", "deployment": "dep_1"}),
    ]
    metrics.flush_metrics()
    [counted] = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    found = {each: counted[f"{metric}{each}"] for each in ("Delayed", "Age", "Dropped", "Rejected")}
    assert found == {"Delayed": [1.0], "Age": [40.0], "Dropped": [1.0], "Rejected": [1.0]}
