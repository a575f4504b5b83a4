"""Which updates GitLab lacks, and the fields that they are sent with."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.deployment.model import Reason, Requester, Status
from sluicegate.notifier import commit_status
from sluicegate.notifier.commit_status import STATES, CommitState, ReportedState
from support.notifier_simulation import HOOK, JOB, NAME, SHA, URL, deployment
from support.simulation import START


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (Status.ACCEPTED, "pending"),
        (Status.QUEUED, "pending"),
        (Status.AWAITING_APPROVAL, "pending"),
        (Status.PUBLISHING, "running"),
        (Status.VERIFYING, "running"),
        (Status.SHIFTING, "running"),
        (Status.BAKING, "running"),
        (Status.ROLLING_BACK, "running"),
        (Status.SUCCEEDED, "success"),
        (Status.FAILED, "failed"),
        (Status.ROLLED_BACK, "failed"),
        (Status.REJECTED, "canceled"),
        (Status.ABORTED, "canceled"),
    ],
)
def test_each_status_has_a_state_of_gitlabs(status: Status, state: str) -> None:
    assert STATES[status].value == state
    assert commit_status.status_fields(deployment(status), URL)["state"] == state


def test_no_status_is_without_a_state() -> None:
    assert set(STATES) == set(Status)
    assert {status for status in Status if STATES[status].rank == 2} == {s for s in Status if s.final}


@pytest.mark.parametrize(
    ("status", "reported", "update"),
    [
        (Status.ACCEPTED, None, CommitState.PENDING),
        (Status.QUEUED, CommitState.PENDING, None),
        (Status.PUBLISHING, CommitState.PENDING, CommitState.RUNNING),
        (Status.BAKING, CommitState.RUNNING, None),
        (Status.QUEUED, CommitState.RUNNING, None),
        (Status.SUCCEEDED, CommitState.RUNNING, CommitState.SUCCESS),
        (Status.SUCCEEDED, CommitState.SUCCESS, None),
        (Status.FAILED, None, CommitState.FAILED),
    ],
)
def test_only_a_state_that_gitlab_lacks_is_reported(
    status: Status, reported: CommitState | None, update: CommitState | None
) -> None:
    one = deployment(status)
    last = ReportedState(one.id, reported) if reported else None
    assert commit_status.missing_state(one, last) is update


def test_a_newer_deployment_supersedes_an_older_one_in_a_status() -> None:
    older, newer = deployment(Status.FAILED), deployment(Status.ACCEPTED, at=START + 60)
    assert commit_status.missing_state(older, ReportedState(newer.id, CommitState.PENDING)) is None
    reported = ReportedState(older.id, CommitState.FAILED)
    assert commit_status.missing_state(newer, reported) is CommitState.PENDING


@pytest.mark.parametrize(
    "by",
    [
        replace(JOB, project_id=""),
        replace(JOB, project_id="../1"),
        replace(JOB, project_id="4213/hooks"),
        replace(JOB, sha=None),
        replace(JOB, sha="main"),
        replace(JOB, sha=SHA + "?x"),
        replace(JOB, ref=None),
    ],
)
def test_what_no_commit_of_a_project_requested_is_not_reported(by: Requester) -> None:
    assert commit_status.status_key(deployment(by=by)) is None


def test_a_status_is_of_the_jobs_pipeline_and_leads_to_the_job() -> None:
    fields = commit_status.status_fields(one := deployment(Status.PUBLISHING), URL)
    assert fields == {
        "state": "running",
        "name": NAME,
        "description": f"publishing (sluicegate status {one.id})",
        "pipeline_id": 574,
        "target_url": f"{URL}/acme/orders/-/jobs/302",
    }


def test_a_status_without_a_pipeline_is_of_the_ref() -> None:
    fields = commit_status.status_fields(deployment(Status.PUBLISHING, HOOK), URL)
    assert (fields["ref"], "pipeline_id" in fields, "target_url" in fields) == ("v1.4.0", False, False)


def test_a_description_says_how_far_a_bake_is() -> None:
    baking = replace(deployment(Status.BAKING), weight=10)
    assert commit_status.description(baking) == f"baking 10% (sluicegate status {baking.id})"


def test_a_description_has_the_reasons_code_and_no_message() -> None:
    """In a public project everybody reads it."""
    message = "arn:aws:lambda:eu-central-1:111111111111:function:orders answered {'card': '4111'}"
    reason = Reason("smoke_failed", message, {"answer": message})
    failed = deployment().changed(START, message, Status.FAILED, reason=reason)
    assert commit_status.description(failed) == f"failed: smoke_failed (sluicegate status {failed.id})"


@given(st.text(max_size=400), st.sampled_from(sorted(Status)))
def test_a_description_is_one_line_that_gitlab_takes(message: str, status: Status) -> None:
    changed = deployment().changed(START, message, status if status is not Status.ACCEPTED else None)
    text = commit_status.description(changed)
    assert len(text) <= 255
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", text)
