"""Whether a deployment is open to an approval or a rejection."""

from sluicegate.deployment.model import Deployment, Status, until


def closed_to_approval(deployment: Deployment, now: float) -> str | None:
    """Say why neither an approval nor a rejection counts at `now` (epoch seconds); None where they do."""
    if deployment.plan.approval is None:
        return "this deployment needs no approval"
    stopped = deployment.status.final or deployment.status is Status.ROLLING_BACK or deployment.abort
    begun = deployment.plan.unapproved_percent and not stopped
    if not (deployment.is_waiting or begun):
        return f"the deployment is {deployment.status}: it is too late for that"
    if deployment.approval is not None:
        return f"the deployment is {deployment.approval.decision} already"
    # Of a bake, `until` says when that ends: an approval is not late then, but early.
    ends = until(deployment) if deployment.status is Status.AWAITING_APPROVAL else None
    return "the time for an approval is over" if ends is not None and now >= ends else None
