"""How the pruner enters the account: as what, for how long, and with which limit."""

import json
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from sluicegate.aws.lambda_versions import NumberedVersion
from sluicegate.pruning.places import PrunePlace
from sluicegate.settings import PrunerSettings
from support.simulation import OWN, Clock

SETTINGS = PrunerSettings("table", OWN, "gate.json", (), "sluicegate-prune", "arn:stack")
FUNCTIONS = "arn:aws:lambda:eu-central-1:111111111111:function"


@dataclass
class Sts:
    asked: list[dict[str, Any]] = field(default_factory=list)

    def assume_role(self, **request: Any) -> dict[str, Any]:
        self.asked.append(request)
        key = f"ASIA{len(self.asked)}"
        return {"Credentials": {"AccessKeyId": key, "SecretAccessKey": "s", "SessionToken": "t"}}

    def policy(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.asked[-1]["Policy"])["Statement"]
        return found


@pytest.fixture
def sts() -> Sts:
    return Sts()


@pytest.fixture
def place(sts: Sts) -> PrunePlace:
    return PrunePlace(SETTINGS, cast(Any, sts), Clock())


def test_it_enters_to_look_and_not_to_delete(place: PrunePlace, sts: Sts) -> None:
    look = place.look()
    [request] = sts.asked
    assert request["RoleArn"] == "arn:aws:iam::111111111111:role/sluicegate-prune"
    assert request["ExternalId"] == "arn:stack"
    assert request["SourceIdentity"] == request["RoleSessionName"] == "sluicegate-prune"
    assert request["DurationSeconds"] == 900
    allowed = [action for one in sts.policy() for action in one["Action"]]
    assert "lambda:DeleteFunction" not in allowed
    assert all(action.partition(":")[2].startswith(("Get", "List")) for action in allowed)
    assert cast(Any, look.client.meta.config).retries["total_max_attempts"] == 1
    assert place.look() is look


def test_each_deletion_has_a_session_for_one_version(place: PrunePlace, sts: Sts) -> None:
    for number in ("41", "42"):
        place.deleter("orders-api", NumberedVersion(number))
        assert sts.policy() == [
            {
                "Effect": "Allow",
                "Action": ["lambda:DeleteFunction"],
                "Resource": f"{FUNCTIONS}:orders-api:{number}",
            }
        ]
    assert len(sts.asked) == 2
    assert {one["SourceIdentity"] for one in sts.asked} == {"sluicegate-prune"}
