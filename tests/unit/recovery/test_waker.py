"""An alarm fires: every rollout that watches it wakes, also one that had not begun to wait."""

from dataclasses import dataclass, replace
from typing import Any, cast

import pytest

from sluicegate.deployment.model import Deployment, Status
from sluicegate.deployment.plan import Target, Watch
from sluicegate.recovery.waker import PATIENCE, Waker, fired
from sluicegate.store import keys
from sluicegate.store.codec import read, record
from sluicegate.store.deployments import WatchingDeployment
from support.simulation import new_deployment

HERE = Target("111111111111", "eu-central-1")


@dataclass
class Engine:
    """A table and Step Functions with one deployment, which waits from `waits_from` on, seconds from now."""

    only: Deployment
    waits_from: float = 0
    ends_at: float = float("inf")
    now: float = 0

    @property
    def deployments(self) -> "Engine":
        return self

    @property
    def waits(self) -> "Engine":
        return self

    def watching(self, target: Target) -> list[WatchingDeployment]:
        item = record(self.only)
        assert "watching" not in item or item["alarms"]
        return [read(item, WatchingDeployment)] if item.get("watching") == keys.watching(target) else []

    def get(self, _: str) -> Deployment:
        return replace(self.only, status=Status.ROLLING_BACK) if self.now >= self.ends_at else self.only

    def token(self, _: str) -> str:
        return "present" if self.now >= self.waits_from else "past"

    def wake(self, token: str, **_: bool) -> bool:
        return token == "present"

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def alarm(self, name: str = "alarm", target: Target = HERE) -> list[str]:
        both = cast(Any, self)
        return Waker(both, both, lambda: self.now, self.sleep).wake(name, target)


def baking(status: Status = Status.BAKING) -> Deployment:
    deployment = new_deployment(0, "0" * 64)
    plan = replace(deployment.plan, target=HERE, watch=Watch(("alarm",)))
    return replace(deployment, status=status, plan=plan)


@pytest.mark.parametrize("status", [Status.VERIFYING, Status.SHIFTING, Status.BAKING])
def test_who_looked_just_before_the_alarm_is_woken_once_it_waits(status: Status) -> None:
    deployment = baking(status)
    engine = Engine(deployment, waits_from=1.2)
    assert engine.alarm() == [deployment.id]
    assert 1 < engine.now < 2


def test_who_has_seen_the_alarm_is_not_woken() -> None:
    engine = Engine(baking(), waits_from=60, ends_at=1)
    assert engine.alarm() == []
    assert engine.now < 2


def test_who_never_waits_is_left_to_its_next_look() -> None:
    engine = Engine(baking(), waits_from=60)
    assert engine.alarm() == []
    assert engine.now <= PATIENCE + 1


def test_another_alarm_another_target_and_who_has_not_begun_do_not_matter() -> None:
    assert Engine(baking()).alarm("another") == []
    assert Engine(baking()).alarm(target=replace(HERE, region="eu-west-1")) == []
    assert Engine(baking(Status.QUEUED)).alarm() == []


@pytest.mark.parametrize(
    ("name", "watches"),
    [("orders-api-5xx", True), ("orders-api", False), ("xorders-api-5xx", False), ("orders-a", False)],
)
def test_a_pattern_stands_for_every_alarm_that_it_matches(name: str, watches: bool) -> None:
    deployment = baking()
    plan = replace(deployment.plan, watch=Watch(("orders-*-5xx", "orders-[a*]")))
    woken = Engine(replace(deployment, plan=plan)).alarm(name)
    assert woken == ([deployment.id] if watches else [])


THERE = Target("222222222222", "eu-west-1")


def event(**changes: Any) -> dict[str, Any]:
    """CloudWatch's guide, "Alarm events and EventBridge": an alarm of a target fires."""
    return {
        "version": "0",
        "id": "c4c1c1c9-6542-e61b-6ef0-8c4d36933a92",
        "detail-type": "CloudWatch Alarm State Change",
        "source": "aws.cloudwatch",
        "account": THERE.account,
        "time": "2026-11-26T10:00:00Z",
        "region": THERE.region,
        "resources": ["arn:aws:cloudwatch:eu-west-1:222222222222:alarm:alarm"],
        "detail": {"alarmName": "alarm", "state": {"value": "ALARM"}, "previousState": {"value": "OK"}},
    } | changes


def test_an_alarm_is_where_its_event_is_from() -> None:
    assert fired(event()) == ("alarm", THERE)


@pytest.mark.parametrize(
    "changes",
    [
        {"source": "sluicegate"},
        {"source": "aws.cloudwatch.forged"},
        {"source": ["aws.cloudwatch"]},
        {"detail-type": "Scheduled Event"},
        {"detail": None},
        {"detail": "alarm"},
        {"detail": {"alarmName": "alarm"}},
        {"detail": {"alarmName": "alarm", "state": "ALARM"}},
        {"detail": {"alarmName": "alarm", "state": {"value": "OK"}}},
        {"detail": {"alarmName": "", "state": {"value": "ALARM"}}},
        {"detail": {"alarmName": ["alarm"], "state": {"value": "ALARM"}}},
        {"account": None},
        {"account": ""},
        {"account": "*"},
        {"account": "222222222222\n"},
        {"account": 222222222222},
        {"region": None},
        {"region": ["eu-west-1"]},
    ],
)
def test_every_other_event_is_ignored(changes: dict[str, Any]) -> None:
    assert fired(event(**changes)) is None


@pytest.mark.parametrize(
    ("account", "region", "wakes"),
    [
        ("222222222222", "eu-west-1", True),
        ("333333333333", "eu-west-1", False),  # another target's account, which has an alarm of that name
        ("222222222222", "eu-central-1", False),  # the same account, another region
        ("111111111111", "eu-west-1", False),  # the stack's own account
    ],
)
def test_an_account_wakes_rollouts_of_its_own_functions_only(account: str, region: str, wakes: bool) -> None:
    deployment = baking()
    there = replace(deployment, plan=replace(deployment.plan, target=THERE))
    alarm = fired(event(account=account, region=region))
    assert alarm is not None
    assert bool(Engine(there).alarm(*alarm)) is wakes
