"""Report a deployment as a status of the commit whose job, or webhook, asked for it."""

from sluicegate.deployment.model import Deployment
from sluicegate.notifier import commit_status
from sluicegate.notifier.gitlab_api import GitLab
from sluicegate.notifier.reporting import Reporting, Sent


def report_status(reporting: Reporting, deployment: Deployment, deadline: float) -> None:
    """Send the state that the commit's status lacks, if any."""
    receiver = reporting.receiver(deployment.requested_by)
    status = commit_status.status_key(deployment)
    if receiver is None or not receiver[1].commit_status or status is None:
        return
    entry = reporting.ledger.entry(status.key)
    reported = commit_status.reported_state(entry.values)
    if commit_status.missing_state(deployment, reported) is None:
        return

    def act(gitlab: GitLab) -> Sent:
        current = reporting.deployment(deployment.id)
        state = commit_status.missing_state(current, reported)
        if state is None:
            return {}
        fields = commit_status.status_fields(current, gitlab.url)
        ref = current.requested_by.ref
        reporting.send(
            "status",
            current,
            state.value,
            lambda: gitlab.set_status(status.project_id, status.sha, fields, ref),
        )
        return {"deployment": current.id, "state": state}

    reporting.under_lease(status.key, entry, receiver, deadline, act)
