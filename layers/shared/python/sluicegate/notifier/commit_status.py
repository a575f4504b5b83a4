"""What GitLab should be told of a deployment, given what it was told last.

Plain decisions over plain values; `notifier` tells, `gitlab_api` speaks HTTP. GitLab's rules, from its
app/models/commit_status.rb and app/services/ci/create_commit_status_service.rb: a status goes from pending to
running to its end, never back; telling it a state that it has is refused, and so changes no description; and
what is told after its end begins a new status of the same name, which takes the first one's place.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from urllib.parse import quote

from sluicegate.deployment.model import Deployment, Requester, Status
from sluicegate.oidc.identity import Feedback
from sluicegate.text import clean

LONGEST: Final = 255
"""Characters that GitLab takes for a description, a name or a link."""


class State(StrEnum):
    """A commit status' states, in GitLab's words; its deployments have all but the first."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def rank(self) -> int:
        """0, 1, or 2 at the end: GitLab knows no way down."""
        return {State.PENDING: 0, State.RUNNING: 1}.get(self, 2)


STATES: Final = {
    Status.ACCEPTED: State.PENDING,
    Status.QUEUED: State.PENDING,
    Status.AWAITING_APPROVAL: State.PENDING,
    Status.PUBLISHING: State.RUNNING,
    Status.VERIFYING: State.RUNNING,
    Status.SHIFTING: State.RUNNING,
    Status.BAKING: State.RUNNING,
    Status.ROLLING_BACK: State.RUNNING,
    Status.SUCCEEDED: State.SUCCESS,
    Status.FAILED: State.FAILED,
    Status.ROLLED_BACK: State.FAILED,
    Status.REJECTED: State.CANCELED,
    Status.ABORTED: State.CANCELED,
}


@dataclass(frozen=True)
class Subject:
    """The one commit status that deployments share which one pipeline (or ref) asks for in one stage."""

    issuer: str
    project_id: str
    sha: str
    pipeline: str
    name: str


@dataclass(frozen=True)
class Told:
    """What GitLab was told last of a subject, and for which deployment."""

    deployment: str
    state: State


@dataclass(frozen=True)
class Mirror:
    """GitLab's own deployment for one of ours, and its state.

    `number` None: it was asked for, and the answer has not come, or never will.
    """

    number: int | None
    state: State


@dataclass(frozen=True)
class Words:
    """What is to be said; None where there is nothing."""

    status: State | None = None
    deployment: State | None = None

    def __bool__(self) -> bool:
        return self.status is not None or self.deployment is not None


def subject(deployment: Deployment) -> Subject | None:
    """What a deployment is a status of; None where no commit of a project asked for it."""
    by = deployment.requested_by
    project, sha = re.fullmatch(r"[1-9][0-9]*", by.project_id), re.fullmatch(r"[0-9a-f]{40,64}", by.sha or "")
    if not (project and sha and by.sha and by.ref):
        return None
    name = f"sluicegate/{deployment.function}:{deployment.stage}"
    return Subject(by.issuer, by.project_id, by.sha, by.pipeline_id or f"ref {by.ref}", name)


def by_webhook(by: Requester) -> bool:
    """Whether a webhook started it. A job's own `environment:` makes GitLab's deployment for all others."""
    return by.webhook is not None


def words(deployment: Deployment, feedback: Feedback, told: Told | None, mirror: Mirror | None) -> Words:
    """What GitLab has not been told yet, of what is so now.

    A deployment is silent about a status of which a newer one has spoken (ids sort by time): the status
    shows the newest, however late an older one's words come.
    """
    state = STATES[deployment.status]
    said = told.state if told and told.deployment == deployment.id else None
    overtaken = told is not None and told.deployment > deployment.id
    status = feedback.commit_status and not overtaken and _follows(said, state)
    mirrored = (
        feedback.deployment
        and by_webhook(deployment.requested_by)
        and state is not State.PENDING
        and _follows(mirror.state if mirror and mirror.number else None, state)
    )
    return Words(state if status else None, state if mirrored else None)


def _follows(said: State | None, state: State) -> bool:
    return said is None or state.rank > said.rank


def status_fields(deployment: Deployment) -> dict[str, Any]:
    """The body of GitLab's `POST /projects/:id/statuses/:sha`.

    Where the pipeline is known, the ref is left to it: a merge request's pipeline has another than its job's
    token says, and GitLab finds no pipeline that has both.
    """
    by = deployment.requested_by
    fields: dict[str, Any] = {
        "state": STATES[deployment.status].value,
        "name": f"sluicegate/{deployment.function}:{deployment.stage}",
        "description": described(deployment),
    }
    if by.pipeline_id and re.fullmatch(r"[1-9][0-9]{0,18}", by.pipeline_id):
        fields["pipeline_id"] = int(by.pipeline_id)
    else:
        fields["ref"] = by.ref
    if by.project_path and by.job_id:
        link = f"{by.issuer}/{quote(by.project_path)}/-/jobs/{quote(by.job_id, safe='')}"
        if len(link) <= LONGEST:
            fields["target_url"] = link
    return fields


def deployment_fields(deployment: Deployment, state: State) -> dict[str, Any]:
    """The body of GitLab's `POST /projects/:id/deployments`; the environment is called after the stage."""
    by = deployment.requested_by
    return {
        "environment": deployment.stage,
        "sha": by.sha,
        "ref": by.ref,
        "tag": by.ref_type == "tag",
        "status": state.value,
    }


def described(deployment: Deployment) -> str:
    """One line for people: where it is, and the newest of its timeline."""
    status = deployment.status.value.replace("_", " ")
    if deployment.status is Status.BAKING:
        status += f" {deployment.weight} %"
    return clean(f"{status}: {deployment.timeline[-1].message}", LONGEST)
