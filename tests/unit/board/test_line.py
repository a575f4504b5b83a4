"""Where a deployment is, as a line and as a sentence."""

from dataclasses import replace
from typing import Any

import pytest

from sluicegate.board.line import line
from sluicegate.board.wording import TONES, cloudwatch, deployed, sentence
from sluicegate.deployment.model import AliasOutcome, Deployment, Reason, Status
from sluicegate.deployment.plan import Smoke, Target, TrafficStep
from support.simulation import new_deployment

NOW = 1_795_400_000.0


def deployment(**given: Any) -> Deployment:
    made = new_deployment(NOW, "a" * 64)
    plan = replace(
        made.plan, steps=(TrafficStep(10, 300), TrafficStep(100, 0)), smoke=Smoke(5), **given.pop("plan", {})
    )
    return replace(made, plan=plan, version="42", **given)


def states(of: Deployment) -> str:
    return " ".join(f"{stop.name}:{stop.state}" for stop in line(of))


def test_a_line_names_what_the_plan_has() -> None:
    assert states(deployment()) == (
        "Accepted:now Publish:todo Smoke test:todo 10 %:todo 100 %:todo Done:todo"
    )
    asked = deployment(plan={"approval": 3_600}, action="promote")
    assert [stop.name for stop in line(asked)][:3] == ["Accepted", "Approval", "Smoke test"]


def test_a_line_shows_where_it_is() -> None:
    baking = deployment(status=Status.BAKING, step=0, weight=10, traffic_since="2026-11-26T12:00:00Z")
    assert "Smoke test:done 10 %:now 100 %:todo" in states(baking)
    done = deployment(status=Status.SUCCEEDED, step=1, weight=100, traffic_since="2026-11-26T12:00:00Z")
    assert {stop.state for stop in line(done)} == {"done"}


def test_a_line_ends_where_it_failed() -> None:
    began = deployment().changed(NOW, "publishing", Status.PUBLISHING)
    failed = began.changed(NOW, "failed", Status.FAILED)
    assert states(failed).startswith("Accepted:done Publish:ended Smoke test:todo")


@pytest.mark.parametrize("status", Status)
def test_every_status_has_a_sentence_and_a_tone(status: Status) -> None:
    text = sentence(deployment(status=status, weight=10))["text"]
    assert text.endswith(".")
    assert status in TONES


def test_a_sentence_says_why_and_what_became_of_the_alias() -> None:
    of = deployment(
        status=Status.ROLLED_BACK,
        reason=Reason("metric", "errors: ×3.1, limit ×2"),
        outcome=AliasOutcome.RESTORED,
    )
    assert sentence(of)["text"] == (
        "Rolled back by its watch: errors: ×3.1, limit ×2. The alias serves what it served before."
    )


def test_a_rollback_is_named_by_its_version() -> None:
    assert deployed(deployment(action="rollback")) == "to version 42"
    assert deployed(deployment(release="v1.4.0")) == "v1.4.0"


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-central-1", "eu-central-1.console.aws.amazon.com"),
        ("us-gov-west-1", "us-gov-west-1.console.amazonaws-us-gov.com"),
        ("cn-north-1", "cn-north-1.console.amazonaws.cn"),
    ],
)
def test_cloudwatch_is_in_the_console_of_the_regions_partition(region: str, host: str) -> None:
    of = deployment(plan={"target": Target("111111111111", region)})
    assert cloudwatch(of).startswith(f"https://{host}/lambda/home?region={region}#/functions/")
