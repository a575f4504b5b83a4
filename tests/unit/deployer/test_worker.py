"""The deployer against Lambda as AWS documents it: at every point where it can die, and in every race.

The table is real enough to run transactions; Lambda is a model that honours every precondition.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import pytest

from sluicegate.deployment.model import AliasOutcome, Deployment, Status
from sluicegate.store import keys
from sluicegate.store.codec import marshal
from sluicegate.store.errors import StaleRevision
from sluicegate.store.locks import PUBLISH_LEASE
from sluicegate.store.waits import Wait
from support.lambda_model import timeout
from support.simulation import OWN, TABLE, Killed, Simulation, simulation

OLD, NEW = b"old code", b"new code"
OLD_SHA, NEW_SHA = (hashlib.sha256(code).hexdigest() for code in (OLD, NEW))


@pytest.fixture
def at() -> Iterator[Simulation]:
    with simulation() as made:
        made.model.add("orders", b"code of somebody")
        made.upload("orders", OLD)
        made.upload("orders", NEW)
        yield made


def check_guarantees(at: Simulation, deployment: Deployment) -> None:
    """Check what must be true of every deployment that has ended."""
    assert deployment.status.final
    assert at.locks() == []
    finals = [entry for entry in deployment.timeline if entry.status.final]
    assert len(finals) == 1
    served = at.model.serves(deployment.function, deployment.plan.alias)
    if deployment.status is Status.SUCCEEDED:
        assert served == (deployment.version, {})
        assert at.model.code_of(deployment.function, served[0]) == deployment.sha256
    if served is not None:
        assert served[0] != "$LATEST"


def test_the_first_release_creates_the_alias(at: Simulation) -> None:
    deployment = at.run(at.accept(NEW_SHA))
    check_guarantees(at, deployment)
    assert deployment.status is Status.SUCCEEDED
    assert (deployment.version, deployment.original, deployment.outcome) == ("1", None, AliasOutcome.MOVED)
    assert [entry.status for entry in deployment.timeline] == [
        Status.ACCEPTED,
        Status.PUBLISHING,
        Status.SHIFTING,
        Status.SUCCEEDED,
    ]


def test_a_second_release_moves_the_alias_and_records_the_original(at: Simulation) -> None:
    at.run(at.accept(OLD_SHA))
    deployment = at.run(at.accept(NEW_SHA))
    check_guarantees(at, deployment)
    assert deployment.original is not None
    assert (deployment.original.version, deployment.version) == ("1", "2")


def test_the_same_digest_in_another_stage_is_not_published_again(at: Simulation) -> None:
    at.run(at.accept(NEW_SHA, alias="dev"))
    at.model.calls.clear()
    deployment = at.run(at.accept(NEW_SHA, alias="prod"))
    check_guarantees(at, deployment)
    assert deployment.version == "1"
    assert at.model.calls == ["GetAlias", "GetFunction", "GetFunction", "CreateAlias"]


def test_an_older_digest_is_reused_although_latest_has_newer_code(at: Simulation) -> None:
    at.run(at.accept(OLD_SHA))
    at.run(at.accept(NEW_SHA))
    at.model.calls.clear()
    deployment = at.run(at.accept(OLD_SHA))
    assert (deployment.status, deployment.version) == (Status.SUCCEEDED, "1")
    assert "UpdateFunctionCode" not in at.model.calls


def test_a_changed_configuration_is_published_again_and_named_without_its_values(at: Simulation) -> None:
    at.run(at.accept(NEW_SHA))
    at.model.configure("orders", MemorySize=256, Environment={"Variables": {"PASSWORD": "canary-value"}})
    deployment = at.run(at.accept(NEW_SHA, alias="dev"))
    assert (deployment.status, deployment.version) == (Status.SUCCEEDED, "2")
    assert "environment, memory_size" in str(deployment.timeline)
    assert "canary-value" not in str(at.client.scan(TableName="sluicegate"))


def test_a_version_that_was_deleted_is_published_again(at: Simulation) -> None:
    at.run(at.accept(NEW_SHA))
    at.model.functions["orders"]["versions"].clear()
    deployment = at.run(at.accept(NEW_SHA, alias="dev"))
    check_guarantees(at, deployment)
    assert deployment.status is Status.SUCCEEDED


@pytest.mark.parametrize(
    ("break_it", "code"),
    [
        (lambda at: at.model.functions.clear(), "function_not_found"),
        (lambda at: at.model.code.clear(), "artifact_not_found"),
        (lambda at: at.model.code.update({f"orders/{NEW_SHA}.zip": b"other"}), "artifact_mismatch"),
    ],
)
def test_a_permanent_failure_ends_failed_with_its_reason(
    at: Simulation, break_it: Callable[[Simulation], object], code: str
) -> None:
    accepted = at.accept(NEW_SHA)
    break_it(at)
    deployment = at.run(accepted)
    assert deployment.reason is not None
    assert (deployment.status, deployment.reason.code) == (Status.FAILED, code)
    assert deployment.outcome is AliasOutcome.UNTOUCHED
    assert at.locks() == []


def test_an_expected_version_that_is_not_served_stops_before_anything_changes(at: Simulation) -> None:
    at.run(at.accept(OLD_SHA))
    at.model.calls.clear()
    deployment = at.run(at.accept(NEW_SHA, expected_version="7"))
    assert deployment.reason is not None
    assert deployment.reason.code == "not_as_expected"
    assert at.model.calls == ["GetAlias"]


def test_an_alias_moved_by_someone_else_is_left_unchanged(at: Simulation) -> None:
    at.run(at.accept(OLD_SHA))
    at.run(at.accept(NEW_SHA))
    accepted = at.accept(OLD_SHA)

    def move(name: str) -> None:
        if name == "UpdateAlias":
            at.model.before = lambda _: None
            at.model.set_alias("orders", "prod", "2", {"1": 0.5})

    at.model.before = move
    deployment = at.run(accepted)
    assert (deployment.status, deployment.outcome) == (Status.FAILED, AliasOutcome.LEFT_TO_OTHER)
    assert at.model.serves("orders", "prod") == ("2", {"1": 0.5})


def test_an_alias_moved_between_the_read_and_the_move_is_not_overwritten(at: Simulation) -> None:
    at.run(at.accept(OLD_SHA))
    at.run(at.accept(NEW_SHA))
    accepted = at.accept(OLD_SHA)

    def move(name: str) -> None:
        if name == "UpdateAlias":
            at.model.before = lambda _: None
            at.model.set_alias("orders", "prod", "1", {"2": 0.5})

    at.model.before = move
    deployment = at.run(accepted)
    assert (deployment.status, deployment.outcome) == (Status.FAILED, AliasOutcome.LEFT_TO_OTHER)
    assert at.model.serves("orders", "prod") == ("1", {"2": 0.5})


def test_code_updated_by_someone_else_is_never_published_as_the_accepted_code(at: Simulation) -> None:
    accepted = at.accept(NEW_SHA)

    def update(name: str) -> None:
        if name == "PublishVersion":
            at.model.before = lambda _: None
            at.model.configure("orders", CodeSha256="AAAA" * 10 + "AAA=")

    at.model.before = update
    deployment = at.run(accepted)
    check_guarantees(at, deployment)
    assert deployment.status is Status.SUCCEEDED


def test_a_function_deleted_midway_frees_the_locks(at: Simulation) -> None:
    accepted = at.accept(NEW_SHA)
    at.model.before = lambda name: at.model.functions.clear() if name == "PublishVersion" else None
    deployment = at.run(accepted)
    assert deployment.reason is not None
    assert (deployment.status, deployment.reason.code) == (Status.FAILED, "function_not_found")
    assert at.locks() == []


def test_a_function_deleted_before_the_alias_moves_is_recorded(at: Simulation) -> None:
    at.run(at.accept(OLD_SHA))
    accepted = at.accept(NEW_SHA)
    at.model.before = lambda name: at.model.functions.clear() if name == "UpdateAlias" else None
    deployment = at.run(accepted)
    assert (deployment.status, deployment.outcome) == (Status.FAILED, AliasOutcome.LEFT_TO_OTHER)
    assert at.locks() == []


def test_a_permanent_outage_of_lambda_ends_failed_and_untouched(at: Simulation) -> None:
    at.run(at.accept(OLD_SHA))
    accepted = at.accept(NEW_SHA)

    def down(_: str) -> None:
        raise timeout()

    at.model.before = down
    deployment = at.run(accepted)
    assert deployment.reason is not None
    assert (deployment.status, deployment.reason.code) == (Status.FAILED, "publish_failed")
    assert deployment.outcome is AliasOutcome.UNTOUCHED
    assert at.model.serves("orders", "prod") == ("1", {})


@pytest.mark.parametrize("first", [True, False])
def test_a_move_whose_responses_are_all_lost_is_still_recorded(at: Simulation, first: bool) -> None:
    """The alias moves, but every response is lost: the next read shows that it has moved."""
    if not first:
        at.run(at.accept(OLD_SHA))
    accepted = at.accept(NEW_SHA)

    def lose(name: str) -> None:
        if name in ("UpdateAlias", "CreateAlias"):
            raise timeout()

    at.model.after = lose
    deployment = at.run(accepted)
    check_guarantees(at, deployment)
    assert deployment.status is Status.SUCCEEDED


@pytest.mark.parametrize("first", [True, False])
def test_a_move_that_cannot_be_confirmed_is_restored(at: Simulation, first: bool) -> None:
    """After the move Lambda fails until the deployer stops retrying; then the original is restored."""
    if not first:
        at.run(at.accept(OLD_SHA))
    accepted = at.accept(NEW_SHA)
    moved: list[str] = []

    def lose(name: str) -> None:
        if name in ("UpdateAlias", "CreateAlias") and at.now(accepted).status is Status.SHIFTING:
            moved.append(name)
        if moved and at.now(accepted).status is Status.SHIFTING:
            raise timeout()

    at.model.after = lose
    deployment = at.run(accepted)
    check_guarantees(at, deployment)
    assert deployment.status is Status.ROLLED_BACK
    assert deployment.outcome is (AliasOutcome.REMOVED if first else AliasOutcome.RESTORED)
    assert at.model.serves("orders", "prod") == (None if first else ("1", {}))
    assert deployment.reason is not None
    assert deployment.reason.code == "shift_failed"


def calls_of_a_release() -> list[str]:
    """Every call of a second release to Lambda and to the table, in order: the points at which it can die."""
    with simulation() as at:
        prepare(at)
        accepted = at.accept(NEW_SHA)
        names = record_calls(at)
        at.run(accepted)
        return names


def prepare(at: Simulation) -> None:
    at.model.add("orders", b"code of somebody")
    at.upload("orders", OLD)
    at.upload("orders", NEW)
    at.run(at.accept(OLD_SHA))


def record_calls(at: Simulation, die_at: int | None = None, how: str = "") -> list[str]:
    """Note each call to Lambda and to the table; at one of them, die or lose the answer."""
    names: list[str] = []

    def before(name: str) -> None:
        names.append(name)
        if len(names) - 1 == die_at and how == "dies before":
            raise Killed
        if len(names) - 1 == die_at and how == "fails":
            raise timeout()

    def after(_: str) -> None:
        if len(names) - 1 == die_at and how == "dies after":
            raise Killed
        if len(names) - 1 == die_at and how == "answer lost":
            raise timeout()

    at.model.before, at.model.after = before, after
    at.listen("before-call.dynamodb", lambda model, **_: before(model.name))
    at.listen("after-call.dynamodb", lambda model, **_: after(model.name))
    return names


RELEASE = calls_of_a_release()


@pytest.mark.parametrize("how", ["dies before", "dies after"])
@pytest.mark.parametrize("point", range(len(RELEASE)), ids=lambda i: f"{i}-{RELEASE[i]}")
def test_a_deployer_that_dies_at_any_point_changes_nothing_in_the_outcome(point: int, how: str) -> None:
    with simulation() as at:
        prepare(at)
        accepted = at.accept(NEW_SHA)
        record_calls(at, point, how)
        with pytest.raises(Killed):
            at.run(accepted)
        deployment = at.run(accepted)
        check_guarantees(at, deployment)
        assert (deployment.status, deployment.version) == (Status.SUCCEEDED, "2")
        assert len(at.model.functions["orders"]["versions"]) == 2


@pytest.mark.parametrize("how", ["fails", "answer lost"])
@pytest.mark.parametrize(
    "point", [i for i, name in enumerate(RELEASE) if name[0].isupper()], ids=lambda i: f"{i}-{RELEASE[i]}"
)
def test_a_call_that_fails_or_whose_response_is_lost_is_retried(point: int, how: str) -> None:
    with simulation() as at:
        prepare(at)
        accepted = at.accept(NEW_SHA)
        record_calls(at, point, how)
        try:
            deployment = at.run(accepted)
        except Exception:  # the table failed: the state machine runs the step again
            deployment = at.run(accepted)
        check_guarantees(at, deployment)
        assert (deployment.status, deployment.version) == (Status.SUCCEEDED, "2")


@pytest.mark.parametrize(
    "point", range(sum(name[0].isupper() for name in RELEASE)), ids=lambda i: f"inside call {i}"
)
def test_an_action_that_runs_twice_at_once_has_one_outcome(point: int) -> None:
    """A second deployer starts inside a call of the first, and runs the deployment to its end."""
    with simulation() as at:
        prepare(at)
        accepted = at.accept(NEW_SHA)
        names: list[str] = []

        def twin(name: str) -> None:
            names.append(name)
            if len(names) - 1 == point:
                at.model.before = lambda _: None
                at.run(accepted)

        at.model.before = twin
        deployment = at.run(accepted)
        check_guarantees(at, deployment)
        assert deployment.status is Status.SUCCEEDED
        assert len(at.model.functions["orders"]["versions"]) == 2


@pytest.mark.parametrize("name", ["UpdateFunctionCode", "PublishVersion", "UpdateAlias"])
def test_a_lock_that_is_lost_before_a_call_moves_nothing(at: Simulation, name: str) -> None:
    """As after somebody has restored the table to an earlier time: then the alias is another deployment's."""
    at.run(at.accept(OLD_SHA))
    accepted = at.accept(NEW_SHA)
    key = marshal(keys.alias_lock(OWN, "orders", "prod"))

    def lose(called: str) -> None:
        if called == name:
            at.client.put_item(TableName=TABLE, Item={**key, "deployment": {"S": "another"}})
            if name == "UpdateAlias":  # it died right before: the turn that tries again looks at the lock
                raise Killed

    at.model.before = lose
    with suppress(Killed):
        at.run(accepted)
    at.model.before = lambda _: None
    at.clock.now += 3_600
    at.model.calls.clear()
    deployment = at.run(accepted)
    assert deployment.status is Status.FAILED
    assert deployment.reason is not None
    assert deployment.reason.data["error"] == "LockLost"
    assert at.model.serves("orders", "prod") == ("1", {})


@pytest.mark.parametrize(("seconds", "renewals"), [(0, 0), (59, 0), (61, 1)])
def test_the_publishing_lock_is_renewed_before_a_change_if_it_has_not_long_to_run(
    at: Simulation, seconds: int, renewals: int
) -> None:
    at.run(at.accept(OLD_SHA))
    renewed: list[None] = []

    def hear(params: Any, **_: Any) -> None:
        renewed.extend([None] if params["Key"]["pk"]["S"].startswith("lock#") else [])

    at.listen("before-call.dynamodb.UpdateItem", hear)

    def be_slow(name: str) -> None:
        if name == "UpdateFunctionCode":
            at.clock.now += seconds

    at.model.before = be_slow
    deployment = at.run(at.accept(NEW_SHA))
    assert deployment.status is Status.SUCCEEDED
    assert len(renewed) == renewals


def test_a_publishing_lock_that_ran_out_before_a_change_stops_it(at: Simulation) -> None:
    at.run(at.accept(OLD_SHA))
    accepted, other = at.accept(NEW_SHA), at.accept(OLD_SHA, alias="dev")
    asked: list[str] = []

    def freeze(name: str) -> None:
        if name == "UpdateFunctionCode" and not asked:
            asked.append(name)
            at.clock.now += PUBLISH_LEASE + 1
            at.run(other)

    at.model.before = freeze
    deployment = at.run(accepted)
    check_guarantees(at, deployment)
    assert deployment.status is Status.SUCCEEDED
    assert at.model.serves("orders", "dev") == ("1", {})


def test_two_stages_at_once_publish_one_after_the_other(at: Simulation) -> None:
    one, other = at.accept(OLD_SHA, alias="dev"), at.accept(NEW_SHA, alias="prod")
    woken: list[str] = []

    def interleave(name: str) -> None:
        if name == "PublishVersion" and not woken:
            woken.append(name)
            assert at.deployer.run_turn(other.id)["next"] == "wait"
            assert at.now(other).status is Status.QUEUED

    at.model.before = interleave
    first, second = at.run(one), at.run(other)
    check_guarantees(at, first)
    check_guarantees(at, second)
    assert (first.status, second.status) == (Status.SUCCEEDED, Status.SUCCEEDED)
    assert at.model.code_of("orders", first.version or "") == OLD_SHA
    assert at.model.code_of("orders", second.version or "") == NEW_SHA


def test_who_waits_for_the_publishing_lock_holds_no_lambda_and_is_woken_when_it_is_free(
    at: Simulation,
) -> None:
    one, other = at.accept(OLD_SHA, alias="dev"), at.accept(NEW_SHA, alias="prod")
    calls: list[str] = []

    def interleave(name: str) -> None:
        if name != "PublishVersion" or at.waits.woken:
            return
        at.model.before = lambda _: None
        began = at.clock.now
        at.listen("before-call.dynamodb", lambda model, **_: calls.append(model.name))
        answer = at.deployer.run_turn(other.id)
        assert (answer["next"], at.clock.now) == ("wait", began)
        assert len(calls) <= 7
        at.deployer.register_wait(other.id, answer["revision"], "token", answer["seconds"])

    at.model.before = interleave
    assert at.deployer.run_turn(one.id)["next"] == "end"
    assert at.waits.woken == ["token"]
    assert at.run(other).status is Status.SUCCEEDED


def test_a_wake_that_fails_costs_nothing_but_time(at: Simulation) -> None:
    one, other = at.accept(OLD_SHA, alias="dev"), at.accept(NEW_SHA, alias="prod")

    def interleave(name: str) -> None:
        if name == "PublishVersion":
            at.deployer.run_turn(other.id)

    at.model.before = interleave
    at.deployer = replace(at.deployer, task_tokens=cast(Any, Unreachable()))
    at.store.waits.add(other.id, Wait("token", until=int(at.clock()) + 60))
    assert at.run(one).status is Status.SUCCEEDED
    at.model.before = lambda _: None
    assert at.run(other).status is Status.SUCCEEDED


class Unreachable:
    def wake(self, _: str, **__: bool) -> bool:
        raise timeout()


def test_an_expired_lease_is_taken_over_and_its_old_holder_changes_nothing(at: Simulation) -> None:
    """One deployment sleeps past its lease right before it updates the code; another one publishes."""
    sleeper, other = at.accept(OLD_SHA, alias="dev"), at.accept(NEW_SHA, alias="prod")
    slept: list[str] = []

    def oversleep(name: str) -> None:
        if name == "UpdateFunctionCode" and not slept:
            slept.append(name)
            at.clock.sleep(600)
            assert at.run(other).status is Status.SUCCEEDED

    at.model.before = oversleep
    first = at.run(sleeper)
    check_guarantees(at, first)
    check_guarantees(at, at.now(other))
    assert at.model.code_of("orders", at.now(other).version or "") == NEW_SHA


def test_a_record_that_was_changed_is_not_overwritten(at: Simulation) -> None:
    accepted = at.accept(NEW_SHA)
    at.run(accepted)
    late = accepted.changed(at.clock(), "late", Status.PUBLISHING)
    with pytest.raises(StaleRevision):
        at.store.deployments.save(accepted, late)
