"""The way into a target."""

import tracemalloc
from dataclasses import replace
from typing import Any

from sluicegate.config import Config
from sluicegate.plan import Target, Watch
from sluicegate.targets import Targets
from world import new_deployment

CONFIG = Config(
    table="",
    bucket="bucket",
    bus="",
    queue="",
    dead_letters="",
    state_machine="",
    own=Target("111111111111", "eu-central-1"),
    target_role="target",
    external_id="",
    gate="",
    own_functions=(),
)


class Sts:
    """Lets everybody in."""

    def assume_role(self, **_: Any) -> dict[str, Any]:
        return {"Credentials": {"AccessKeyId": "id", "SecretAccessKey": "secret", "SessionToken": "token"}}


def test_each_deployment_of_a_busy_deployer_keeps_little_memory() -> None:
    """A deployer has 512 MB, and keeps its way into a target for thirteen minutes."""
    targets = Targets(CONFIG, Sts())

    def enter(number: int) -> None:
        deployment = new_deployment(0, "0" * 64)
        watched = replace(deployment.plan, watch=Watch(("alarm",)))
        assert targets.enter(replace(deployment, id=str(number), plan=watched)).cloudwatch

    enter(0)  # what all of them share
    tracemalloc.start()
    try:
        for number in range(1, 6):
            enter(number)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept / 5 < 2_000_000
