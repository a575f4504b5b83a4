"""Decide which commit status GitLab lacks, given what was reported last.

Pure decisions over values; `report_status` sends them. GitLab's rules, from its
app/models/commit_status.rb and app/services/ci/create_commit_status_service.rb: a status goes from pending to
running to a final state, never back. GitLab refuses the state that a status already has, so a description
cannot change without its state. A report after the final state starts a new status of the same name, which
replaces the first one.
"""

import re
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from enum import StrEnum
from typing import Any, Final
from urllib.parse import quote

from sluicegate.deployment.model import Deployment, Status
from sluicegate.store.keys import Key, digest
from sluicegate.text import clean

MAX_TEXT: Final = 255
"""Characters that GitLab accepts for a description, a name or a link."""


class CommitState(StrEnum):
    """The states of a commit status, in GitLab's words. GitLab's deployments have all but the first."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def rank(self) -> int:
        """Return 0 or 1, or 2 for a final state. GitLab never lowers the rank."""
        return {CommitState.PENDING: 0, CommitState.RUNNING: 1}.get(self, 2)


STATES: Final = {
    Status.ACCEPTED: CommitState.PENDING,
    Status.QUEUED: CommitState.PENDING,
    Status.AWAITING_APPROVAL: CommitState.PENDING,
    Status.PUBLISHING: CommitState.RUNNING,
    Status.VERIFYING: CommitState.RUNNING,
    Status.SHIFTING: CommitState.RUNNING,
    Status.BAKING: CommitState.RUNNING,
    Status.ROLLING_BACK: CommitState.RUNNING,
    Status.SUCCEEDED: CommitState.SUCCESS,
    Status.FAILED: CommitState.FAILED,
    Status.ROLLED_BACK: CommitState.FAILED,
    Status.REJECTED: CommitState.CANCELED,
    Status.ABORTED: CommitState.CANCELED,
}


@dataclass(frozen=True)
class CommitStatusKey:
    """Identify a commit status. Deployments that one pipeline (or ref) requests for one stage share it."""

    issuer: str
    project_id: str
    sha: str
    pipeline: str
    name: str

    @property
    def key(self) -> Key:
        """The key of its item in the ledger."""
        return {"pk": f"status#{digest(*astuple(self))}", "sk": "status"}


@dataclass(frozen=True)
class ReportedState:
    """The state last reported to GitLab for a commit status, and the deployment that it came from."""

    deployment: str
    state: CommitState


def status_key(deployment: Deployment) -> CommitStatusKey | None:
    """Return the commit status that a deployment belongs to, or None if no project's commit requested it."""
    by = deployment.requested_by
    project, sha = re.fullmatch(r"[1-9][0-9]*", by.project_id), re.fullmatch(r"[0-9a-f]{40,64}", by.sha or "")
    if not (project and sha and by.sha and by.ref):
        return None
    name = _status_name(deployment)
    return CommitStatusKey(by.issuer, by.project_id, by.sha, by.pipeline_id or f"ref {by.ref}", name)


def reported_state(values: Mapping[str, Any]) -> ReportedState | None:
    """Return what the ledger says of a commit status."""
    state = values.get("state")
    return ReportedState(values["deployment"], CommitState(state)) if state else None


def missing_state(deployment: Deployment, reported: ReportedState | None) -> CommitState | None:
    """Return the state that GitLab lacks; None if it is up to date.

    A deployment sends nothing to a status that a newer deployment has reported to (ids sort by time): the
    status shows the newest deployment, however late an older one's events arrive.
    """
    state = STATES[deployment.status]
    if reported is None or reported.deployment < deployment.id:
        return state
    return state if reported.deployment == deployment.id and state.rank > reported.state.rank else None


def status_fields(deployment: Deployment, gitlab: str) -> dict[str, Any]:
    """Return the body of GitLab's `POST /projects/:id/statuses/:sha`, with links to the GitLab at that
    address.

    With a known pipeline, leave out the ref: a merge request's pipeline has another ref than its job's token,
    and GitLab finds no pipeline that has both.
    """
    by = deployment.requested_by
    fields: dict[str, Any] = {
        "state": STATES[deployment.status].value,
        "name": _status_name(deployment),
        "description": description(deployment),
    }
    if by.pipeline_id and re.fullmatch(r"[1-9][0-9]{0,18}", by.pipeline_id):
        fields["pipeline_id"] = int(by.pipeline_id)
    else:
        fields["ref"] = by.ref
    if by.project_path and by.job_id:
        link = f"{gitlab}/{quote(by.project_path)}/-/jobs/{quote(by.job_id, safe='')}"
        if len(link) <= MAX_TEXT:
            fields["target_url"] = link
    return fields


def description(deployment: Deployment) -> str:
    """Return one line: the status, the reason's code, and where to read more.

    Everybody who sees the project sees it, in a public project the world. Messages name accounts, ARNs and
    what a function answered; they are for those who may see the deployment
    (security.md#what-is-never-written).
    """
    status = deployment.status.value.replace("_", " ")
    if deployment.status is Status.BAKING:
        status += f" {deployment.weight}%"
    why = f": {deployment.reason.code}" if deployment.reason else ""
    fix = deployment.fix_forward
    if fix and fix.overlooked:
        number = len(fix.overlooked)
        why += f", overlooks {number} firing alarm{'' if number == 1 else 's'}"
    return clean(f"{status}{why} (sluicegate status {deployment.id})", MAX_TEXT)


def _status_name(deployment: Deployment) -> str:
    return f"sluicegate/{deployment.function}:{deployment.stage}"
