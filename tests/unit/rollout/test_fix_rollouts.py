"""Whole rollouts of a fix while alarms are firing: what is overlooked, what succeeds, what goes back."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sluicegate.deployment.durations import seconds
from sluicegate.deployment.fix_forward import FixForward
from sluicegate.deployment.model import AliasOutcome, Approval, Deployment, Requester, Status
from sluicegate.deployment.observations import AlarmState
from sluicegate.deployment.plan import Limit, Metric, Plan, TrafficStep, Watch
from sluicegate.notifier.commit_status import description
from sluicegate.relay.event import detail
from sluicegate.store.codec import deployment_of, record
from support.simulation import OWN, Simulation, simulation

OK, ALARM = AlarmState.OK, AlarmState.ALARM
NO_DATA, MISSING = AlarmState.INSUFFICIENT_DATA, AlarmState.MISSING
WATCH = Watch(("5xx", "slow"))
AT_ONCE = Plan(OWN, "prod", (TrafficStep(100, 0),), "0" * 64, watch=WATCH)
CANARY = replace(AT_ONCE, steps=(TrafficStep(10, 1_800), TrafficStep(100, 0)))
LONG = replace(AT_ONCE, steps=(TrafficStep(100, 3_600),))
WEEK = replace(AT_ONCE, steps=(TrafficStep(100, 7 * 86_400),))
FIX = FixForward("v1.4 fails half of the orders")

States = Mapping[str, AlarmState]


@pytest.fixture
def at() -> Iterator[Simulation]:
    """The alias serves version 1, which is broken: an alarm is firing."""
    with simulation() as made:
        made.model.add("orders", b"code of somebody")
        made.run(made.accept(made.upload("orders", b"broken")))
        assert made.model.serves("orders", "prod") == ("1", {})
        made.cloudwatch.alarms = {"5xx": ALARM, "slow": OK}
        yield made


def fix(at: Simulation, plan: Plan = AT_ONCE, **fields: Any) -> Deployment:
    return at.accept(at.upload("orders", b"fix"), plan=plan, **{"fix_forward": FIX, **fields})


def alarms_after_all_traffic(at: Simulation, *changes: tuple[float, States]) -> None:
    """Let alarms change so many seconds after all traffic is on the new version."""
    began: list[float] = []

    def meanwhile(deployment: Deployment) -> None:
        if deployment.weight == 100 and not began:
            began.append(at.clock())
        for after, states in changes:
            if began and at.clock() >= began[0] + after:
                at.cloudwatch.alarms |= states

    at.meanwhile = meanwhile  # type: ignore[method-assign]


def seconds_at_full_traffic(deployment: Deployment) -> float:
    """From all traffic to the end of the rollout, or to the way back."""
    last = [entry.at for entry in deployment.timeline if entry.status is not Status.ROLLED_BACK][-1]
    moved = next(
        entry.at
        for entry in deployment.timeline
        if entry.status is Status.BAKING and entry.message.startswith("alias prod serves version 2")
    )
    return seconds(last) - seconds(moved)


def overlooked(deployment: Deployment) -> dict[str, bool]:
    """The overlooked alarms, and whether they fell silent."""
    assert deployment.fix_forward is not None
    return {alarm.name: alarm.silent_at is not None for alarm in deployment.fix_forward.overlooked}


def came_back(at: Simulation, ended: Deployment, code: str = "alarm") -> str:
    assert (ended.status, ended.outcome) == (Status.ROLLED_BACK, AliasOutcome.RESTORED)
    assert at.model.serves("orders", "prod") == ("1", {})
    assert ended.reason is not None
    assert ended.reason.code == code
    return ended.reason.message


def test_a_plain_deploy_is_refused_and_says_what_to_do(at: Simulation) -> None:
    since = datetime(2026, 11, 26, 14, 2, 11, tzinfo=UTC)
    at.cloudwatch.details["5xx"] = {"StateTransitionedTimestamp": since, "StateReason": "Threshold Crossed"}
    ended = at.run(fix(at, fix_forward=None))
    assert (ended.status, ended.outcome) == (Status.FAILED, AliasOutcome.UNTOUCHED)
    assert ended.reason is not None
    command = f"sluicegate deploy orders prod --artifact {ended.sha256} --fix-forward --reason TEXT"
    assert ended.reason.message.startswith(
        "before any traffic: alarm 5xx is firing since 2026-11-26T14:02:11"
    )
    assert command in ended.reason.message
    assert command in ended.timeline[-1].message  # which a job's log shows
    assert ended.reason.data["reason"] == "Threshold Crossed"


def test_a_good_fix_at_once_bakes_until_the_alarm_is_silent(at: Simulation) -> None:
    alarms_after_all_traffic(at, (90, {"5xx": OK}))
    ended = at.run(fix(at))
    assert (ended.status, ended.outcome) == (Status.SUCCEEDED, AliasOutcome.MOVED)
    assert overlooked(ended) == {"5xx": True}
    assert 90 <= seconds_at_full_traffic(ended) < 150
    messages = [entry.message for entry in ended.timeline]
    assert any("version 2 is ready, overlooking alarm 5xx, firing" in message for message in messages)
    assert any(message == "overlooked and silent now: alarm 5xx" for message in messages)


@pytest.mark.parametrize("plan", [AT_ONCE, CANARY, LONG, WEEK], ids=["at once", "canary", "baked", "a week"])
def test_a_fix_that_does_not_silence_the_alarm_goes_back_in_time(at: Simulation, plan: Plan) -> None:
    ended = at.run(fix(at, plan))
    assert came_back(at, ended).endswith(
        "5xx is still firing 10m after all traffic: the fix did not silence it"
    )
    assert ended.fix_forward is not None
    assert ended.fix_forward.silent_by is not None
    rolled_back = next(entry.at for entry in ended.timeline if entry.status is Status.ROLLING_BACK)
    assert 0 <= seconds(rolled_back) - seconds(ended.fix_forward.silent_by) < 1


def test_the_stage_says_how_long_the_alarm_may_take(at: Simulation) -> None:
    ended = at.run(fix(at, replace(AT_ONCE, watch=replace(WATCH, silent_within=60))))
    assert "still firing 1m after all traffic" in came_back(at, ended)
    assert 60 <= seconds_at_full_traffic(ended) < 80


def test_a_canary_does_not_wait_for_an_alarm_that_the_old_version_keeps_firing(at: Simulation) -> None:
    alarms_after_all_traffic(at, (120, {"5xx": OK}))
    ended = at.run(fix(at, CANARY))
    assert ended.status is Status.SUCCEEDED
    assert ended.outcome is AliasOutcome.MOVED


def test_a_silent_alarm_lets_the_bake_end_when_it_would(at: Simulation) -> None:
    alarms_after_all_traffic(at, (1, {"5xx": OK}))
    ended = at.run(fix(at, LONG))
    assert ended.status is Status.SUCCEEDED
    assert 3_600 <= seconds_at_full_traffic(ended) < 3_660


@pytest.mark.parametrize("plan", [AT_ONCE, CANARY, LONG], ids=["at once", "canary", "baked"])
def test_an_alarm_that_was_silent_sends_it_back_at_once(at: Simulation, plan: Plan) -> None:
    def meanwhile(deployment: Deployment) -> None:
        if deployment.weight:
            at.cloudwatch.alarms["slow"] = ALARM

    at.meanwhile = meanwhile  # type: ignore[method-assign]
    ended = at.run(fix(at, plan))
    assert "alarm slow is firing" in came_back(at, ended)
    assert overlooked(ended) == {"5xx": False}


def test_an_alarm_that_falls_silent_and_fires_again_sends_it_back(at: Simulation) -> None:
    alarms_after_all_traffic(at, (60, {"5xx": OK}), (300, {"5xx": ALARM}))
    ended = at.run(fix(at, LONG))
    assert came_back(at, ended) == "alarm 5xx had fallen silent, and is firing again"


def test_missing_data_proves_silence_only_when_the_time_is_over(at: Simulation) -> None:
    alarms_after_all_traffic(at, (30, {"5xx": NO_DATA}))
    ended = at.run(fix(at))
    assert ended.status is Status.SUCCEEDED
    assert 600 <= seconds_at_full_traffic(ended) < 660
    alarms_after_all_traffic(at, (30, {"5xx": NO_DATA}), (60, {"5xx": ALARM}))
    at.cloudwatch.alarms["5xx"] = ALARM
    again = at.run(at.accept(at.upload("orders", b"other"), plan=AT_ONCE, fix_forward=FIX))
    assert again.status is Status.ROLLED_BACK


@pytest.mark.parametrize("name", ["5xx", "slow"])
def test_a_missing_alarm_is_never_overlooked(at: Simulation, name: str) -> None:
    at.cloudwatch.alarms[name] = MISSING
    ended = at.run(fix(at))
    assert (ended.status, ended.outcome) == (Status.FAILED, AliasOutcome.UNTOUCHED)
    assert ended.reason is not None
    assert ended.reason.code == "alarm_missing"
    at.cloudwatch.alarms |= {"5xx": ALARM, "slow": OK}
    alarms_after_all_traffic(at, (30, {name: MISSING}))
    came_back(at, at.run(fix(at)), "alarm_missing")


def test_alarms_that_cannot_be_read_are_not_overlooked_either(at: Simulation) -> None:
    throttled = ClientError({"Error": {"Code": "InternalServiceFault", "Message": "x"}}, "DescribeAlarms")
    real = at.cloudwatch.get_paginator

    def meanwhile(deployment: Deployment) -> None:
        if deployment.weight == 100:
            at.cloudwatch.get_paginator = failing  # type: ignore[method-assign, assignment]

    def failing(_: str) -> Any:
        raise throttled

    at.meanwhile = meanwhile  # type: ignore[method-assign]
    ended = at.run(fix(at))
    at.cloudwatch.get_paginator = real  # type: ignore[method-assign]
    came_back(at, ended, "watch_failed")


def test_where_nothing_fires_there_is_nothing_to_overlook(at: Simulation) -> None:
    at.cloudwatch.alarms["5xx"] = OK
    ended = at.run(fix(at))
    assert ended.status is Status.SUCCEEDED
    assert overlooked(ended) == {}
    assert ended.fix_forward == FIX


def test_a_fix_that_is_worse_than_the_old_version_goes_back_whatever_fires(at: Simulation) -> None:
    watch = replace(WATCH, limits=(Limit(Metric.ERRORS, 10, most=5, max_ratio=2),))

    def meanwhile(deployment: Deployment) -> None:
        if deployment.weight:
            at.cloudwatch.serve("orders", "prod", "2", at.clock(), {10.0: 100}, errors=90)
            at.cloudwatch.serve("orders", "prod", "1", at.clock(), {10.0: 900}, errors=90)

    at.meanwhile = meanwhile  # type: ignore[method-assign]
    ended = at.run(fix(at, replace(CANARY, watch=watch)))
    assert came_back(at, ended, "metric").startswith("errors")


# Approvals


def approve(at: Simulation, deployment: Deployment) -> None:
    by = Requester("https://gitlab.example.com", "4213", user_id="8", job_id="900")
    approval = Approval("approved", by, "approvers", at.now(deployment).updated_at)
    current = at.now(deployment)
    at.store.deployments.save(current, current.changed(at.clock(), "approved", approval=approval))


def test_an_approval_a_day_later_overlooks_what_is_firing_then(at: Simulation) -> None:
    deployment = fix(at, replace(CANARY, approval=14 * 86_400))
    at.deployer.run_turn(deployment.id)
    waiting = at.now(deployment)
    assert waiting.status is Status.AWAITING_APPROVAL
    assert overlooked(waiting) == {"5xx": False}
    assert "it would overlook alarm 5xx, firing" in waiting.timeline[-1].message
    at.clock.sleep(86_400)
    at.cloudwatch.alarms = {"5xx": OK, "slow": ALARM}
    approve(at, waiting)
    alarms_after_all_traffic(at, (60, {"slow": OK}))
    ended = at.run(deployment)
    assert ended.status is Status.SUCCEEDED
    assert overlooked(ended) == {"slow": True}


def test_after_the_approval_what_was_firing_before_it_counts_at_once(at: Simulation) -> None:
    deployment = fix(at, replace(CANARY, approval=14 * 86_400))
    at.deployer.run_turn(deployment.id)
    at.clock.sleep(86_400)
    at.cloudwatch.alarms = {"5xx": OK, "slow": OK}
    approve(at, at.now(deployment))

    def meanwhile(deployment: Deployment) -> None:
        if deployment.weight:
            at.cloudwatch.alarms["5xx"] = ALARM

    at.meanwhile = meanwhile  # type: ignore[method-assign]
    assert "alarm 5xx is firing" in came_back(at, at.run(deployment))


def test_what_moves_nothing_overlooks_nothing(at: Simulation) -> None:
    """The alias serves that very version already."""
    deployment = at.accept(
        at.upload("orders", b"broken"), plan=replace(AT_ONCE, approval=86_400), fix_forward=FIX
    )
    at.deployer.run_turn(deployment.id)
    assert overlooked(at.now(deployment)) == {"5xx": False}
    approve(at, at.now(deployment))
    ended = at.run(deployment)
    assert (ended.status, ended.version) == (Status.SUCCEEDED, "1")
    assert ended.fix_forward == FIX


def test_while_a_share_waits_for_its_approval_new_alarms_count(at: Simulation) -> None:
    plan = replace(CANARY, approval=86_400, unapproved_percent=10)
    deployment = fix(at, plan)

    def meanwhile(deployment: Deployment) -> None:
        if deployment.status is Status.AWAITING_APPROVAL:
            at.cloudwatch.alarms["slow"] = ALARM

    at.meanwhile = meanwhile  # type: ignore[method-assign]
    assert "alarm slow is firing" in came_back(at, at.run(deployment))


# What is shown


def test_record_event_and_commit_status_name_what_is_overlooked(at: Simulation) -> None:
    at.cloudwatch.details["5xx"] = {
        "StateTransitionedTimestamp": datetime(2026, 11, 26, 14, 2, 11, tzinfo=UTC),
        "StateReason": "Threshold Crossed",
        "AlarmArn": "arn:aws:cloudwatch:eu-central-1:111111111111:alarm:5xx",
    }
    statuses: set[str] = set()

    def meanwhile(deployment: Deployment) -> None:
        statuses.add(description(deployment))
        if deployment.weight == 100:
            at.cloudwatch.alarms["5xx"] = OK

    at.meanwhile = meanwhile  # type: ignore[method-assign]
    ended = at.run(fix(at))
    assert any(status.startswith("baking 100%, overlooks 1 firing alarm (") for status in statuses)
    shown = detail(ended, "")["fix_forward"]
    [alarm] = shown["overlooked"]
    assert (shown["reason"], alarm["name"], alarm["reason"]) == (FIX.reason, "5xx", "Threshold Crossed")
    assert alarm["since"].startswith("2026-11-26T14:02:11")
    assert alarm["link"].startswith("https://eu-central-1.console.aws.amazon.com/")
    assert alarm["silent_at"] is not None
    assert "v1.4" not in description(ended)  # which the world may read
    assert "5xx" not in description(ended)
    assert deployment_of(record(ended)) == ended


def test_a_record_of_an_earlier_release_is_no_fix(at: Simulation) -> None:
    at.cloudwatch.alarms["5xx"] = OK
    item = record(at.run(fix(at, fix_forward=None)))
    item.pop("fix_forward", None)
    assert deployment_of(item).fix_forward is None
