"""Read when the commit of a served version was made: the lead time needs it, and no token says."""

from sluicegate.delivery.errors import UndeliverableError
from sluicegate.deployment.durations import seconds, timestamp
from sluicegate.deployment.model import Deployment, Status
from sluicegate.notifier import gitlab_deployments
from sluicegate.notifier.gitlab_merge_requests import MergeRequests
from sluicegate.notifier.reporting import Reporting


def read_commit(reporting: Reporting, deployment: Deployment, deadline: float) -> None:
    """Ask GitLab for the commit's time, once, when the deployment has succeeded."""
    source = gitlab_deployments.code_source(deployment)
    receiver = reporting.receiver(source) if source else None
    if source is None or source.sha is None or receiver is None or deployment.status is not Status.SUCCEEDED:
        return
    commits, commit = reporting.store.commits, (source.issuer, source.project_id, source.sha)
    if commits.committed_at(*commit) is not None:
        return
    gitlab = reporting.gitlab(receiver, deadline)
    try:
        moment = MergeRequests(gitlab, source.project_id).committed_at(source.sha)
    except UndeliverableError:
        moment = None
    commits.set_committed_at(*commit, _in_utc(moment))


def _in_utc(moment: str | None) -> str:
    """Return the time in UTC, empty if it is none. A commit's author chooses it."""
    try:
        return timestamp(seconds(moment or ""))
    except (ValueError, OverflowError):
        return ""
