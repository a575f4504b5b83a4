"""The state that GitLab ends with is right, although events and requests are repeated, late or lost."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate import http_client
from sluicegate.delivery.errors import PermanentError, TransientError
from sluicegate.deployment.model import Deployment, Reason, Status
from sluicegate.notifier.commit_status import STATES
from sluicegate.store.leases import LEASE_SECONDS, LeaseHeld
from support.notifier_simulation import FAULTS, HOOK, JOB, SECRET, SHA, URL, NotifierSimulation, deployment
from support.simulation import START, Killed


def test_a_deployment_is_reported_from_pending_to_its_end(simulation: NotifierSimulation) -> None:
    one = deployment()
    simulation.save(one)
    simulation.notifier.sync(one.id)
    for status in (Status.PUBLISHING, Status.SHIFTING, Status.SUCCEEDED):
        one = one.changed(START, "on it", status)
        simulation.save(one)
        simulation.notifier.sync(one.id)
    [shown] = simulation.api.statuses
    assert shown["history"] == ["pending", "running", "success"]
    assert shown["description"] == f"succeeded (sluicegate status {one.id})"
    assert [fact["state"] for fact in simulation.log] == ["pending", "running", "success"]
    assert len(simulation.writes()) == 3


def test_a_duplicate_event_reports_nothing(simulation: NotifierSimulation) -> None:
    simulation.save(one := deployment(Status.SUCCEEDED))
    for _ in range(3):
        simulation.notifier.sync(one.id)
    assert len(simulation.writes()) == 1
    assert simulation.secrets.reads == 1


def test_a_webhooks_deployment_is_one_of_gitlabs(simulation: NotifierSimulation) -> None:
    running = deployment(Status.PUBLISHING, HOOK)
    simulation.save(running)
    simulation.notifier.sync(running.id)
    simulation.save(
        running.changed(START, "smoke failed", Status.FAILED, reason=Reason("smoke_failed", "no"))
    )
    simulation.notifier.sync(running.id)
    [made] = simulation.api.deployments
    assert made["history"] == ["running", "failed"]
    assert (made["environment"], made["sha"], made["ref"], made["tag"]) == ("prod", SHA, "v1.4.0", True)


def test_without_feedback_nothing_is_reported(simulation: NotifierSimulation) -> None:
    """Nor is anything read: each event of each deployment would cost it."""
    simulation.feedback = None
    simulation.save(one := deployment(Status.SUCCEEDED))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NotifierSimulation, "deployments", None)
        simulation.notifier.sync(one.id)
    assert (simulation.requests, simulation.secrets.reads) == ([], 0)


def test_reports_and_links_go_to_the_gitlab_and_not_to_the_address_of_its_keys(
    simulation: NotifierSimulation,
) -> None:
    """`ci_id_tokens_issuer_url`: the issuer is a bucket. The simulation answers for the GitLab only."""
    bucket = "https://keys.s3.eu-central-1.amazonaws.com"
    simulation.issuer = bucket
    simulation.save(one := deployment(Status.SUCCEEDED, by=replace(JOB, issuer=bucket)))
    simulation.notifier.sync(one.id)
    [shown] = simulation.api.statuses
    assert shown["target_url"] == f"{URL}/acme/orders/-/jobs/302"


def test_nothing_is_reported_to_an_issuer_that_left_the_gate_file(simulation: NotifierSimulation) -> None:
    simulation.save(one := deployment(by=replace(JOB, issuer="https://elsewhere.example.com")))
    simulation.notifier.sync(one.id)
    assert simulation.requests == []


def test_a_second_process_waits_for_the_lease_and_then_reads_the_record(
    simulation: NotifierSimulation,
) -> None:
    """Two at once: the older event's notifier is in the middle of its call when the newer one comes."""
    running = deployment(Status.PUBLISHING)
    simulation.save(running)

    def another() -> None:
        simulation.meanwhile = lambda: None
        simulation.save(running.changed(START, "served", Status.SUCCEEDED))
        with pytest.raises(LeaseHeld):
            simulation.notifier.sync(running.id)

    simulation.meanwhile = another
    simulation.notifier.sync(running.id)
    simulation.notifier.sync(running.id)
    assert simulation.shown() == ["success"]


def test_a_request_that_takes_effect_late_is_not_the_last(
    simulation: NotifierSimulation,
) -> None:
    """`running` times out and takes effect 15 seconds later. An end reported before would be lost."""
    running = deployment(Status.PUBLISHING)
    simulation.save(running)
    simulation.faults = ["late"]
    with pytest.raises(TransientError):
        simulation.notifier.sync(running.id)
    simulation.save(running.changed(START, "served", Status.SUCCEEDED))
    with pytest.raises(LeaseHeld):
        simulation.notifier.sync(running.id)
    simulation.sleep(LEASE_SECONDS)
    simulation.notifier.sync(running.id)
    assert simulation.shown() == ["success"]


@pytest.mark.parametrize("fault", ["unsent", "unseen", "late", "busy", "killed before", "killed after"])
def test_a_deployment_whose_creation_was_not_confirmed_is_looked_up(
    simulation: NotifierSimulation, fault: str
) -> None:
    running = deployment(Status.PUBLISHING, HOOK)
    simulation.save(running)
    simulation.faults = ["none", fault]
    with pytest.raises((TransientError, Killed)):
        simulation.notifier.sync(running.id)
    simulation.sleep(LEASE_SECONDS)
    simulation.notifier.sync(running.id)
    assert [made["history"] for made in simulation.api.deployments] == [["running"]]
    simulation.save(running.changed(START, "served", Status.SUCCEEDED))
    simulation.notifier.sync(running.id)
    assert [made["history"] for made in simulation.api.deployments] == [["running", "success"]]


HISTORIES = (
    (Status.PUBLISHING, Status.SHIFTING, Status.SUCCEEDED),
    (Status.QUEUED, Status.PUBLISHING, Status.BAKING, Status.ROLLING_BACK, Status.ROLLED_BACK),
    (Status.AWAITING_APPROVAL, Status.REJECTED),
    (Status.PUBLISHING, Status.FAILED),
    (Status.ABORTED,),
)


def delivered(simulation: NotifierSimulation, deployment_id: str, pending: list[str]) -> None:
    """Deliver one event as the queue does: again if it was not processed."""
    try:
        simulation.notifier.sync(deployment_id)
    except (LeaseHeld, TransientError, Killed):
        pending.append(deployment_id)


def played(
    simulation: NotifierSimulation, data: st.DataObject, deployments: Sequence[Deployment]
) -> list[Deployment]:
    """Run the deployments with their events in any order and GitLab failing in every way."""
    left = [[*data.draw(st.sampled_from(HISTORIES))] for _ in deployments]
    running = list(deployments)
    pending = [one.id for one in running]
    simulation.save(*running)
    for _ in range(data.draw(st.integers(0, 25))):
        which = data.draw(st.integers(0, len(running) - 1))
        if data.draw(st.booleans()) and left[which]:
            running[which] = running[which].changed(simulation.clock(), "on it", left[which].pop(0))
            simulation.save(running[which])
            pending.append(running[which].id)
        elif pending:
            at = data.draw(st.integers(0, len(pending) - 1))
            event = pending[at] if data.draw(st.booleans()) else pending.pop(at)  # else it comes twice
            simulation.faults = data.draw(st.lists(st.sampled_from(FAULTS), max_size=3))
            delivered(simulation, event, pending)
            simulation.faults = []
        simulation.sleep(data.draw(st.sampled_from((0, 1, 20, 60))))
    for which, rest in enumerate(left):
        for status in rest:
            running[which] = running[which].changed(simulation.clock(), "on it", status)
            pending.append(running[which].id)
    simulation.save(*running)
    while pending:
        simulation.sleep(LEASE_SECONDS + 1)
        delivered(simulation, pending.pop(data.draw(st.integers(0, len(pending) - 1))), pending)
    simulation.sleep(LEASE_SECONDS)
    return running


@given(st.data())
@settings(deadline=None)
def test_the_final_state_is_the_newest_deployments(data: st.DataObject) -> None:
    simulation = NotifierSimulation()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http_client, "exchange", simulation.exchange)
        first, retry = deployment(), deployment(at=START + 60)
        *_, newest = played(simulation, data, [first, retry])
    assert simulation.shown() == [STATES[newest.status].value]


@given(st.data())
@settings(deadline=None)
def test_gitlab_has_one_deployment_with_the_right_end(data: st.DataObject) -> None:
    simulation = NotifierSimulation()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http_client, "exchange", simulation.exchange)
        [ended] = played(simulation, data, [deployment(by=HOOK)])
    assert [one["status"] for one in simulation.api.deployments] == [STATES[ended.status].value]
    assert simulation.shown() == [STATES[ended.status].value]


# Tokens


def test_a_token_is_read_once_in_five_minutes(simulation: NotifierSimulation) -> None:
    tokens = simulation.tokens
    for _ in range(3):
        assert tokens.text(SECRET) == simulation.secrets.text
    simulation.clock.sleep(301)
    simulation.secrets.text = "glpat-new"
    assert tokens.text(SECRET) == "glpat-new"
    assert simulation.secrets.reads == 2


def test_a_rotated_token_is_read_again_and_the_request_retried_once(simulation: NotifierSimulation) -> None:
    simulation.save(one := deployment(Status.SUCCEEDED))
    assert simulation.tokens.text(SECRET)
    simulation.secrets.text = simulation.api.rotate()
    simulation.notifier.sync(one.id)
    assert simulation.shown() == ["success"]
    assert (len(simulation.writes()), simulation.secrets.reads) == (2, 2)


def test_a_revoked_token_is_refused_without_a_second_try(simulation: NotifierSimulation) -> None:
    simulation.save(one := deployment(Status.SUCCEEDED))
    simulation.api.rotate()
    with pytest.raises(PermanentError) as refused:
        simulation.notifier.sync(one.id)
    assert (refused.value.code, refused.value.detail) == ("status 401", "401 Unauthorized")
    assert len(simulation.writes()) == 1
    simulation.secrets.text = simulation.api.tokens[0]
    simulation.notifier.sync(one.id)
    assert simulation.shown() == ["success"]


@pytest.mark.parametrize(
    ("error", "text", "raised"),
    [
        ("ThrottlingException", "glpat-1", TransientError),
        ("ResourceNotFoundException", "glpat-1", PermanentError),
        ("AccessDeniedException", "glpat-1", TransientError),  # for a minute: IAM spreads late
        ("", "", PermanentError),
        ("", "two words", PermanentError),
        ("", "a\r\nHost: elsewhere", PermanentError),
        ("", "glpat-ä", PermanentError),
    ],
)
def test_without_a_token_nothing_is_reported(
    simulation: NotifierSimulation, error: str, text: str, raised: type[Exception]
) -> None:
    simulation.save(one := deployment())
    simulation.secrets.text, simulation.secrets.error = text, error
    with pytest.raises(raised) as raised_error:
        simulation.notifier.sync(one.id)
    assert simulation.requests == []
    assert not text or text not in str(vars(raised_error.value).get("detail"))
