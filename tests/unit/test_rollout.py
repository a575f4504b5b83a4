"""The pure decisions: whatever comes out of the steps, a rollout ends, once, and says the truth."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sluicegate.deployment import AliasOutcome, AliasState, Deployment, Reason, Status
from sluicegate.rollout import (
    QUEUE_LIMIT,
    AliasMoved,
    End,
    Impossible,
    Lock,
    Locked,
    LockLost,
    Occupied,
    Outcome,
    Pending,
    Publish,
    Published,
    Restore,
    Restored,
    SeenMoved,
    Shift,
    Shifted,
    Trouble,
    abandon,
    advance,
    next_step,
    pause,
)
from world import START, new_deployment

OLD, NEW = AliasState("1"), AliasState("2")


def at(status: Status, **fields: Any) -> Deployment:
    return replace(new_deployment(START, "a" * 64), status=status, **fields)


SHIFTING = at(Status.SHIFTING, version="2", found=OLD, found_revision="r1", now=OLD)
ROLLING_BACK = replace(SHIFTING, status=Status.ROLLING_BACK, reason=Reason("shift_failed", "it failed"))


@pytest.mark.parametrize(
    ("deployment", "step"),
    [
        (at(Status.ACCEPTED), Lock()),
        (at(Status.QUEUED), Lock()),
        (at(Status.PUBLISHING), Publish()),
        (SHIFTING, Shift(OLD, "r1", NEW)),
        (ROLLING_BACK, Restore(OLD, NEW, moved=False)),
        (replace(ROLLING_BACK, now=NEW), Restore(OLD, NEW, moved=True)),
        (at(Status.SUCCEEDED), End()),
        (at(Status.ABORTED), End()),
    ],
)
def test_the_record_asks_for_one_step(deployment: Deployment, step: object) -> None:
    assert next_step(deployment) == step


@pytest.mark.parametrize(
    ("before", "outcome", "status", "alias"),
    [
        (at(Status.ACCEPTED), Locked(), Status.PUBLISHING, None),
        (at(Status.ACCEPTED), Occupied("other"), Status.QUEUED, None),
        (at(Status.PUBLISHING), LockLost(), Status.QUEUED, None),
        (at(Status.PUBLISHING), Published("2", OLD, "r1"), Status.SHIFTING, None),
        (
            at(Status.PUBLISHING),
            Impossible("function_not_found", "gone"),
            Status.FAILED,
            AliasOutcome.UNTOUCHED,
        ),
        (SHIFTING, Shifted(NEW), Status.SUCCEEDED, AliasOutcome.MOVED),
        (SHIFTING, AliasMoved(AliasState("9")), Status.FAILED, AliasOutcome.LEFT_TO_OTHER),
        (SHIFTING, AliasMoved(None), Status.FAILED, AliasOutcome.LEFT_TO_OTHER),
        (SHIFTING, Impossible("lambda_refused", "no"), Status.ROLLING_BACK, None),
        (ROLLING_BACK, SeenMoved(NEW), Status.ROLLING_BACK, None),
        (ROLLING_BACK, Restored(AliasOutcome.RESTORED, OLD), Status.ROLLED_BACK, AliasOutcome.RESTORED),
        (ROLLING_BACK, Restored(AliasOutcome.REMOVED, None), Status.ROLLED_BACK, AliasOutcome.REMOVED),
        (ROLLING_BACK, Restored(AliasOutcome.UNTOUCHED, OLD), Status.FAILED, AliasOutcome.UNTOUCHED),
        (ROLLING_BACK, Restored(AliasOutcome.LEFT_TO_OTHER, None), Status.FAILED, AliasOutcome.LEFT_TO_OTHER),
        (ROLLING_BACK, Impossible("target_denied", "no"), Status.FAILED, AliasOutcome.UNKNOWN),
    ],
)
def test_each_outcome_leads_somewhere(
    before: Deployment, outcome: Outcome, status: Status, alias: AliasOutcome | None
) -> None:
    after = advance(before, outcome, START + 1)
    assert (after.status, after.outcome) == (status, alias)
    assert after.revision == before.revision + 1
    assert after.timeline[-1].seq == after.revision
    assert after.status.final == (after.finished_at is not None)


def test_the_first_reason_is_kept_on_the_way_back() -> None:
    after = advance(ROLLING_BACK, Restored(AliasOutcome.RESTORED, OLD), START)
    assert after.reason == Reason("shift_failed", "it failed")


def test_a_failure_before_anything_moved_says_untouched_and_why() -> None:
    after = advance(at(Status.PUBLISHING), Impossible("artifact_not_found", "none", {"a": "b"}), START)
    assert after.reason == Reason("artifact_not_found", "none", {"a": "b"})


def test_waiting_in_the_queue_is_told_once_and_bounded() -> None:
    queued = advance(at(Status.ACCEPTED), Occupied("other"), START)
    assert advance(queued, Occupied("other"), START + QUEUE_LIMIT) is queued
    ended = advance(queued, Occupied("other"), START + QUEUE_LIMIT + 1)
    assert (ended.status, ended.reason and ended.reason.code) == (Status.FAILED, "queue_timeout")


def test_looking_again_changes_nothing_until_it_takes_too_long() -> None:
    publishing = at(Status.PUBLISHING)
    assert advance(publishing, Pending("update"), START + 900) is publishing
    ended = advance(publishing, Pending("update"), START + 901)
    assert (ended.status, ended.reason and ended.reason.code) == (Status.FAILED, "publish_timeout")


def test_pauses_grow_with_trouble_and_are_bounded() -> None:
    trouble = Trouble("ThrottlingException", "throttled")
    pauses = [pause(replace(SHIFTING, trouble=count), trouble) for count in range(1, 12)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (2, 30)
    assert pause(SHIFTING, Shifted(NEW)) == 0


@pytest.mark.parametrize("status", [status for status in Status if status.final])
def test_a_final_status_is_never_left(status: Status) -> None:
    with pytest.raises(ValueError, match="stays so"):
        at(status).changed(START, "again", Status.PUBLISHING)


@pytest.mark.parametrize(
    ("before", "alias"),
    [
        (at(Status.ACCEPTED), AliasOutcome.UNTOUCHED),
        (at(Status.PUBLISHING), AliasOutcome.UNTOUCHED),
        (SHIFTING, AliasOutcome.UNKNOWN),
        (ROLLING_BACK, AliasOutcome.UNKNOWN),
    ],
)
def test_an_abandoned_deployment_claims_no_more_than_is_known(
    before: Deployment, alias: AliasOutcome
) -> None:
    after = abandon(before, "the engine failed", START)
    assert (after.status, after.outcome) == (Status.FAILED, alias)


versions = st.integers(1, 3).map(lambda number: AliasState(str(number)))
troubles = st.builds(Trouble, st.just("ServiceException"), st.just("it failed"))
impossible = st.builds(Impossible, st.just("lambda_refused"), st.just("no"))


def outcomes(step: object) -> st.SearchStrategy[Outcome]:
    """What can come out of each step."""
    match step:
        case Lock():
            return st.one_of(st.just(Locked()), st.just(Occupied("other")))
        case Publish():
            published = st.builds(Published, st.sampled_from(["1", "2"]), st.none() | versions, st.just("r1"))
            return st.one_of(published, st.just(LockLost()), st.just(Pending("it")), troubles, impossible)
        case Shift(wanted=wanted):
            moved = st.builds(AliasMoved, st.none() | versions)
            return st.one_of(st.just(Shifted(wanted)), moved, troubles, impossible)
        case Restore(found=found, ours=ours, moved=moved):
            kinds = [AliasOutcome.LEFT_TO_OTHER]
            kinds += (
                [AliasOutcome.RESTORED if found else AliasOutcome.REMOVED]
                if moved
                else [AliasOutcome.UNTOUCHED]
            )
            restored = st.builds(Restored, st.sampled_from(kinds), st.just(found))
            seen = st.nothing() if moved else st.just(SeenMoved(ours))
            return st.one_of(restored, seen, troubles, impossible)
        case _:
            raise AssertionError(step)


@given(st.data())
def test_every_rollout_ends_whatever_comes_out(data: st.DataObject) -> None:
    deployment, now = new_deployment(START, "a" * 64), START
    seen = [deployment]
    for _ in range(10_000):
        step = next_step(deployment)
        if isinstance(step, End):
            break
        outcome = data.draw(outcomes(step))
        now += max(pause(deployment, outcome), 1) if not isinstance(outcome, Pending) else 120
        if isinstance(outcome, (Occupied, LockLost)):
            now += 600
        after = advance(deployment, outcome, now)
        assert after is deployment or after.revision == deployment.revision + 1
        deployment = after
        seen.append(deployment)
    assert deployment.status.final
    assert deployment.outcome is not None
    assert [entry.seq for entry in deployment.timeline] == list(range(1, deployment.revision + 1))
    assert sum(entry.status.final for entry in deployment.timeline) == 1
    assert (deployment.status is Status.SUCCEEDED) == (deployment.outcome is AliasOutcome.MOVED)
    assert (deployment.status is Status.SUCCEEDED) == (deployment.reason is None)
