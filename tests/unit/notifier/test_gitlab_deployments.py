"""Which deployments GitLab's environments lack, and in which order they are sent."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate import http_client
from sluicegate.delivery.errors import PermanentError, TransientError
from sluicegate.deployment.model import Deployment, Origin, Reason, Requester, Status
from sluicegate.notifier import gitlab_deployments
from sluicegate.notifier.commit_status import STATES, CommitState
from sluicegate.notifier.gitlab_deployments import Environment, GitLabDeployment
from sluicegate.notifier.ledger import StatusLedger
from sluicegate.store.leases import LEASE_SECONDS, LeaseHeld
from support.notifier_simulation import (
    BOTH,
    FAULTS,
    HOOK,
    JOB,
    PERSON,
    PLAIN_JOB,
    SHA,
    URL,
    NotifierSimulation,
    deployment,
)
from support.simulation import START, Killed

BUILT = replace(PLAIN_JOB, project_id="4300", sha="b" * 40, ref="main", ref_type="branch")
PROD = Environment(URL, "4213", "prod")


def of_version(action: str, by: Requester, built: Requester | None = BUILT) -> Deployment:
    """A deployment of a version that another request had built."""
    origin = Origin(built, "2026-11-01T08:00:00Z") if built else None
    return replace(deployment(Status.PUBLISHING, by), action=action, built=origin)


@pytest.mark.parametrize(
    ("one", "environment"),
    [
        (deployment(by=PLAIN_JOB), PROD),
        (deployment(by=HOOK), PROD),
        (deployment(by=JOB), None),
        (deployment(by=replace(JOB, environment_action=None)), None),
        (deployment(by=replace(JOB, environment_action="access")), PROD),
        (deployment(by=replace(JOB, environment_action="prepare")), PROD),
        (deployment(by=replace(JOB, environment_action="stop")), PROD),
        (deployment(by=replace(PLAIN_JOB, sha=None)), None),
        (deployment(by=replace(PLAIN_JOB, sha="a" * 41)), None),
        (deployment(by=replace(PLAIN_JOB, ref="")), None),
        (deployment(by=replace(PLAIN_JOB, project_id="4213/../1")), None),
        (of_version("rollback", PERSON), Environment(URL, "4300", "prod")),
        (of_version("promote", PERSON), Environment(URL, "4300", "prod")),
        (of_version("rollback", PLAIN_JOB), Environment(URL, "4300", "prod")),
        (of_version("rollback", JOB), None),
        (of_version("rollback", PLAIN_JOB, None), None),
        (of_version("promote", PERSON, replace(BUILT, sha=None)), None),
        (of_version("promote", PERSON, replace(JOB)), PROD),
    ],
)
def test_a_deployment_is_shown_in_the_project_of_its_code(
    one: Deployment, environment: Environment | None
) -> None:
    assert gitlab_deployments.environment_of(one) == environment


@pytest.mark.parametrize(
    ("status", "mirror", "missing"),
    [
        (Status.ACCEPTED, None, False),
        (Status.AWAITING_APPROVAL, None, False),
        (Status.PUBLISHING, None, True),
        (Status.BAKING, GitLabDeployment(7, CommitState.RUNNING), False),
        (Status.BAKING, GitLabDeployment(None, CommitState.RUNNING), True),
        (Status.BAKING, GitLabDeployment(None, CommitState.RUNNING, refused=True), False),
        (Status.ROLLED_BACK, GitLabDeployment(7, CommitState.RUNNING), True),
        (Status.ROLLED_BACK, GitLabDeployment(7, CommitState.FAILED), False),
        (Status.REJECTED, None, True),
        (Status.SUCCEEDED, None, True),
    ],
)
def test_only_what_gitlab_lacks_is_sent(
    status: Status, mirror: GitLabDeployment | None, missing: bool
) -> None:
    assert gitlab_deployments.lacks(deployment(status), mirror) is missing


def test_a_deployment_has_the_stages_environment_and_the_commit_of_its_code() -> None:
    assert gitlab_deployments.deployment_fields("prod", PLAIN_JOB, CommitState.RUNNING) == {
        "environment": "prod",
        "sha": SHA,
        "ref": "v1.4.0",
        "tag": True,
        "status": "running",
    }


def test_what_is_too_old_or_too_much_is_not_kept_in_mind() -> None:
    recent = [deployment(at=START + at).id for at in range(60)]
    old = deployment(at=START - gitlab_deployments.OPEN_SECONDS - 1).id
    kept = gitlab_deployments.kept_in_mind([*reversed(recent), old], START)
    assert kept == sorted(recent)[10:]


def ended(one: Deployment, status: Status, at: float) -> Deployment:
    reason = None if status is Status.SUCCEEDED else Reason("smoke_failed", "no")
    return one.changed(at, "it is over", status, reason=reason)


def states(simulation: NotifierSimulation) -> list[list[str]]:
    return [one["history"] for one in simulation.api.deployments]


@pytest.mark.parametrize("by", [PLAIN_JOB, HOOK], ids=["job", "webhook"])
def test_a_deployment_is_followed_to_its_end(simulation: NotifierSimulation, by: Requester) -> None:
    waiting = deployment(by=by)
    for one in (
        waiting,
        running := waiting.changed(START, "on it", Status.PUBLISHING),
        ended(running, Status.FAILED, START + 5),
    ):
        simulation.save(one)
        simulation.notifier.sync(one.id)
    [made] = simulation.api.deployments
    assert made["history"] == ["running", "failed"]
    assert (made["environment"], made["sha"], made["ref"], made["tag"]) == ("prod", SHA, "v1.4.0", True)


def test_a_job_with_an_environment_has_the_one_that_gitlab_made(simulation: NotifierSimulation) -> None:
    simulation.save(one := deployment(Status.SUCCEEDED, JOB))
    simulation.notifier.sync(one.id)
    assert (states(simulation), simulation.shown()) == ([], ["success"])


def test_a_persons_rollback_is_one_of_the_project_that_built_the_version(
    simulation: NotifierSimulation,
) -> None:
    simulation.save(one := ended(of_version("rollback", PERSON), Status.SUCCEEDED, START + 5))
    simulation.notifier.sync(one.id)
    [made] = simulation.api.deployments
    assert (made["project_id"], made["sha"], made["ref"]) == ("4300", "b" * 40, "main")
    assert (made["history"], simulation.shown()) == (["running", "success"], [])


def test_it_can_be_switched_off(simulation: NotifierSimulation) -> None:
    simulation.feedback = replace(BOTH, deployment=False)
    simulation.save(one := deployment(Status.SUCCEEDED, HOOK))
    simulation.notifier.sync(one.id)
    assert (states(simulation), simulation.shown()) == ([], ["success"])


def test_two_functions_of_one_commit_are_two_deployments(simulation: NotifierSimulation) -> None:
    """GitLab makes none that equals the last success, so a success is made as `running` first."""
    first = deployment(Status.SUCCEEDED, PLAIN_JOB)
    second = replace(deployment(Status.SUCCEEDED, PLAIN_JOB, at=START + 1), function="stock")
    for one in (first, second):
        simulation.save(one)
        simulation.notifier.sync(one.id)
    assert states(simulation) == [["running", "success"]] * 2


def test_a_gitlab_that_was_down_gets_all_in_order(simulation: NotifierSimulation) -> None:
    """The newer one's event is the first to be delivered again."""
    older = deployment(Status.PUBLISHING, PLAIN_JOB)
    newer = deployment(Status.PUBLISHING, replace(PLAIN_JOB, sha="c" * 40, ref="v1.5.0"), at=START + 60)
    for one in (older, newer):
        simulation.save(one)
        simulation.faults = ["unsent"] * 2
        with pytest.raises((TransientError, LeaseHeld)):
            simulation.notifier.sync(one.id)
        simulation.save(ended(one, Status.SUCCEEDED, START + 100 + simulation.clock() - START))
        simulation.sleep(LEASE_SECONDS)
    simulation.notifier.sync(newer.id)
    assert [one["sha"] for one in simulation.api.deployments] == [SHA, "c" * 40]
    assert (serving := simulation.api.serving("4213", "prod"))
    assert serving["sha"] == "c" * 40
    simulation.notifier.sync(older.id)
    assert states(simulation) == [["running", "success"]] * 2


def test_what_was_made_before_an_older_one_is_found_again(simulation: NotifierSimulation) -> None:
    """The answer for the newer one is lost, and the older one, of the same commit, gets the larger number."""
    older = deployment(Status.PUBLISHING, PLAIN_JOB)
    newer = replace(deployment(Status.PUBLISHING, PLAIN_JOB, at=START + 1), function="stock")
    simulation.save(older, newer)
    simulation.faults = ["unseen"]
    with pytest.raises(TransientError):
        simulation.notifier.sync(newer.id)
    simulation.sleep(LEASE_SECONDS)
    simulation.notifier.sync(older.id)
    simulation.notifier.sync(newer.id)
    assert states(simulation) == [["running"]] * 2


def test_what_is_known_is_not_taken_for_what_was_lost(simulation: NotifierSimulation) -> None:
    """The request for the older one never arrived, and the newer one has the only number."""
    older = deployment(Status.PUBLISHING, PLAIN_JOB)
    newer = replace(deployment(Status.PUBLISHING, PLAIN_JOB, at=START + 1), function="stock")
    simulation.save(older)
    simulation.faults = ["unsent"]
    with pytest.raises(TransientError):
        simulation.notifier.sync(older.id)
    simulation.save(replace(older, status=Status.ACCEPTED), newer)  # lacks nothing for now
    simulation.sleep(LEASE_SECONDS)
    simulation.notifier.sync(newer.id)
    simulation.save(older)
    simulation.notifier.sync(older.id)
    assert states(simulation) == [["running"]] * 2


def test_what_has_ended_is_not_taken_for_what_was_lost(
    simulation: NotifierSimulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the first one's lease is lost, and the request for the second one never arrived."""
    first = ended(deployment(Status.PUBLISHING, HOOK), Status.ABORTED, START + 5)
    second = ended(deployment(Status.PUBLISHING, HOOK, at=START + 60), Status.ABORTED, START + 65)
    simulation.save(first)
    with monkeypatch.context() as patch:
        patch.setattr(StatusLedger, "release", lambda *_, **__: None)
        simulation.notifier.sync(first.id)
    simulation.sleep(LEASE_SECONDS)
    simulation.save(second)
    simulation.faults = ["unsent"]
    with pytest.raises(TransientError):
        simulation.notifier.sync(second.id)
    simulation.sleep(LEASE_SECONDS)
    simulation.notifier.sync(second.id)
    assert states(simulation) == [["canceled"]] * 2


@pytest.mark.parametrize("takes", [0.7, 3.1, 4.9])
def test_what_is_sent_at_the_end_of_a_lease_is_not_sent_again(
    simulation: NotifierSimulation, takes: float
) -> None:
    """A GitLab that was down comes back slow, and does what its client has given up."""
    waiting = [deployment(Status.PUBLISHING, HOOK, START + at) for at in range(40)]
    several = [replace(one, function=f"orders-{number}") for number, one in enumerate(waiting)]
    simulation.save(*several)
    for one in several:
        simulation.faults = ["busy"]
        with pytest.raises(TransientError):
            simulation.notifier.sync(one.id)
        simulation.sleep(LEASE_SECONDS)
    simulation.takes = takes
    with pytest.raises(TransientError):
        simulation.notifier.sync(several[0].id)
    simulation.takes = 0
    while True:
        try:
            simulation.notifier.sync(several[-1].id)
            break
        except LeaseHeld as held:
            simulation.sleep(held.retry_after)
    simulation.sleep(LEASE_SECONDS)
    assert states(simulation) == [["running"]] * len(several)


def test_without_a_token_the_order_is_kept_too(simulation: NotifierSimulation) -> None:
    simulation.secrets.error = "ResourceNotFoundException"
    older = ended(deployment(Status.PUBLISHING, HOOK), Status.SUCCEEDED, START + 5)
    newer_by = replace(HOOK, sha="c" * 40)
    newer = ended(deployment(Status.PUBLISHING, newer_by, at=START + 60), Status.SUCCEEDED, START + 65)
    for one in (older, newer):
        simulation.save(one)
        with pytest.raises(PermanentError):
            simulation.notifier.sync(one.id)
    simulation.secrets.error = ""
    for one in (newer, older):  # the replay of the dead letters
        simulation.notifier.sync(one.id)
    assert [one["sha"] for one in simulation.api.deployments] == [SHA, "c" * 40]
    assert (serving := simulation.api.serving("4213", "prod"))
    assert serving["sha"] == "c" * 40


def test_what_gitlab_can_never_show_holds_nothing_up(simulation: NotifierSimulation) -> None:
    simulation.api.ground.gone_commits = {SHA}
    gone, fine = deployment(Status.PUBLISHING, PLAIN_JOB), replace(PLAIN_JOB, sha="c" * 40)
    simulation.save(gone)
    simulation.notifier.sync(gone.id)
    simulation.save(next_one := deployment(Status.SUCCEEDED, fine, at=START + 60))
    simulation.notifier.sync(next_one.id)
    assert states(simulation) == [["running", "success"]]
    asked = len(simulation.writes())
    simulation.save(ended(gone, Status.FAILED, START + 5))
    simulation.notifier.sync(gone.id)
    assert len(simulation.writes()) == asked + 1, "its commit status alone is tried again"
    assert {fields["kind"] for _, fields in simulation.dropped} == {"deployment", "status"}


def test_a_closed_environment_keeps_no_commit_status_back(simulation: NotifierSimulation) -> None:
    simulation.api.ground.closed_environments = {"prod"}
    simulation.save(one := deployment(Status.SUCCEEDED, PLAIN_JOB))
    with pytest.raises(PermanentError, match="status 403"):
        simulation.notifier.sync(one.id)
    assert simulation.shown() == ["success"]
    simulation.api.ground.closed_environments = set()
    simulation.notifier.sync(one.id)
    assert states(simulation) == [["running", "success"]]


def test_a_retry_outweighs_a_refusal(simulation: NotifierSimulation) -> None:
    simulation.api.ground.closed_environments = {"prod"}
    simulation.save(one := deployment(Status.SUCCEEDED, PLAIN_JOB))
    simulation.faults = ["none", "none", "busy"]  # the refusal, the look at the project, the status
    with pytest.raises(TransientError, match="status 503"):
        simulation.notifier.sync(one.id)


ENDS = (Status.SUCCEEDED, Status.FAILED, Status.ABORTED)


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_an_environment_ends_with_the_last_success(data: st.DataObject) -> None:
    """Each event is tried at once, then in any order, while GitLab fails in every way."""
    simulation = NotifierSimulation()
    pending: list[str] = []

    def tried(deployment_id: str) -> None:
        simulation.faults = data.draw(st.lists(st.sampled_from(FAULTS), max_size=3))
        try:
            simulation.notifier.sync(deployment_id)
        except (LeaseHeld, TransientError, Killed):
            pending.append(deployment_id)
        simulation.faults = []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http_client, "exchange", simulation.exchange)
        for number in range(3):
            by = replace(data.draw(st.sampled_from((HOOK, PLAIN_JOB))), sha=f"{number + 1}" * 40)
            one = deployment(Status.PUBLISHING, by, at=simulation.clock())
            simulation.save(one)
            tried(one.id)
            simulation.sleep(data.draw(st.sampled_from((2, 20, 60))))
            simulation.save(one := ended(one, data.draw(st.sampled_from(ENDS)), simulation.clock()))
            tried(one.id)
            simulation.sleep(data.draw(st.sampled_from((2, 20, 60))))
        while pending:
            simulation.sleep(LEASE_SECONDS + 1)
            event = pending.pop(data.draw(st.integers(0, len(pending) - 1)))
            simulation.notifier.sync(event)
        simulation.sleep(LEASE_SECONDS)
    records = sorted(simulation.records.values(), key=lambda one: one.id)
    made = {one["sha"]: one["status"] for one in simulation.api.deployments}
    assert len(simulation.api.deployments) == len(made)
    assert made == {one.requested_by.sha: STATES[one.status].value for one in records}
    successes = [one.requested_by.sha for one in records if one.status is Status.SUCCEEDED]
    serving = simulation.api.serving("4213", "prod")
    assert (serving["sha"] if serving else None) == (successes[-1] if successes else None)
