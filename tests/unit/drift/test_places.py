"""How the look for drift enters an account and region: as what, for how long, and with which limit."""

import json
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from sluicegate.deployment.plan import Target
from sluicegate.drift.places import Places
from sluicegate.gate.model import OWN_TARGET, TargetReference
from sluicegate.settings import DriftSettings
from support.simulation import OWN, Clock

SETTINGS = DriftSettings("table", OWN, "gate.json", (), "sluicegate-target", "arn:stack")
PROD = TargetReference("prod-eu", "222222222222", "eu-west-1", "sluicegate-prod", "shared")


@dataclass
class Sts:
    """STS, and what it was asked for in which region."""

    asked: list[tuple[str | None, dict[str, Any]]] = field(default_factory=list)

    def of(self, region: str | None) -> Any:
        @dataclass
        class Regional:
            asked: list[tuple[str | None, dict[str, Any]]]

            def assume_role(self, **request: Any) -> dict[str, Any]:
                self.asked.append((region, request))
                number = str(len(self.asked))
                credentials = {"AccessKeyId": "ASIA" + number, "SecretAccessKey": "s", "SessionToken": "t"}
                return {"Credentials": credentials}

        return Regional(self.asked)


@pytest.fixture
def sts() -> Sts:
    return Sts()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def places(sts: Sts, clock: Clock) -> Places:
    return Places(SETTINGS, sts.of, clock)


def credentials_of(api: Any) -> str:
    return str(cast(Any, api.client)._request_signer._credentials.access_key)


@pytest.mark.parametrize(
    ("reference", "region", "role", "external_id"),
    [
        (OWN_TARGET, None, "arn:aws:iam::111111111111:role/sluicegate-target", "arn:stack"),
        (PROD, "eu-west-1", "arn:aws:iam::222222222222:role/sluicegate-prod", "shared"),
    ],
)
def test_a_place_is_entered_to_look_and_for_nothing_else(
    places: Places, sts: Sts, reference: TargetReference, region: str | None, role: str, external_id: str
) -> None:
    api = places.enter(reference)
    [(asked, request)] = sts.asked
    assert asked == region
    assert (request["RoleArn"], request["ExternalId"]) == (role, external_id)
    assert request["SourceIdentity"] == request["RoleSessionName"] == "sluicegate-drift"
    assert request["DurationSeconds"] == 900
    allowed = [action for one in json.loads(request["Policy"])["Statement"] for action in one["Action"]]
    assert sorted(allowed) == [
        "lambda:GetFunction",
        "lambda:GetPolicy",
        "lambda:ListAliases",
        "lambda:ListEventSourceMappings",
        "lambda:ListFunctionUrlConfigs",
    ]
    target = places.target(reference)
    assert target in (OWN, Target("222222222222", "eu-west-1"))
    assert api.client.meta.region_name == target.region
    # One attempt each: what is tried again is paced, too.
    assert cast(Any, api.client.meta.config).retries["total_max_attempts"] == 1


def test_a_place_is_entered_again_before_its_session_ends(places: Places, sts: Sts, clock: Clock) -> None:
    first = places.enter(PROD)
    clock.now += 659
    assert places.enter(PROD) is first
    clock.now += 1
    assert credentials_of(places.enter(PROD)) == "ASIA2"
    assert len(sts.asked) == 2


def test_no_two_places_share_a_session(places: Places, sts: Sts) -> None:
    other = TargetReference("prod-us", "222222222222", "us-east-1", "sluicegate-prod", "shared")
    guessed = TargetReference("prod-eu", "222222222222", "eu-west-1", "sluicegate-prod", "other")
    found = {credentials_of(places.enter(one)) for one in (OWN_TARGET, PROD, other, guessed)}
    assert len(found) == len(sts.asked) == 4
