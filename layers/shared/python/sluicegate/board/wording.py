"""What pages say of deployments: states in a word and in a sentence, names, and where links lead."""

from collections.abc import Mapping
from typing import Any, Final

from sluicegate.board.context import ROOT
from sluicegate.deployment.durations import timestamp
from sluicegate.deployment.model import Deployment, Requester, Status, until
from sluicegate.deployment.views import requester_view
from sluicegate.documents import describe
from sluicegate.documents.links import links
from sluicegate.gate.policy import Gate
from sluicegate.store.deployments import DeploymentSummary

TONES: Final[Mapping[Status, str]] = {
    Status.ACCEPTED: "move",
    Status.QUEUED: "wait",
    Status.AWAITING_APPROVAL: "wait",
    Status.PUBLISHING: "move",
    Status.VERIFYING: "move",
    Status.SHIFTING: "move",
    Status.BAKING: "move",
    Status.ROLLING_BACK: "bad",
    Status.SUCCEEDED: "good",
    Status.FAILED: "bad",
    Status.ROLLED_BACK: "bad",
    Status.REJECTED: "stop",
    Status.ABORTED: "stop",
}
"""The class of each status. The word beside it says the same: no meaning is in a colour alone."""

_OF_THE_WATCH: Final = ("alarm", "judge", "metric")
"""Codes of reasons that the watch gives: no person took it back."""

_OUTCOMES: Final = {
    "untouched": "The alias was not touched.",
    "restored": "The alias serves what it served before.",
    "left_to_other": "Somebody else moved the alias meanwhile, so it was left alone.",
    "removed": "The alias that it had made is gone again.",
    "not_restored": "The alias could not be restored.",
    "unknown": "What the alias serves is unknown.",
}


def status_word(status: Status) -> str:
    """Return a status as people read it: `awaiting approval`."""
    return status.value.replace("_", " ")


def state_word(deployment: Deployment) -> str:
    """Return what a deployment's mark says: its status, or `approved` once it waits for nobody."""
    waits = deployment.status is Status.AWAITING_APPROVAL
    return "approved" if waits and deployment.is_approved else status_word(deployment.status)


def what(by: Requester, release: str | None) -> str:
    """Return what was built, in a word: the release, the branch or tag, or the commit."""
    return release or by.ref or (by.sha or "")[:8] or "unnamed"


def deployed(one: Deployment | DeploymentSummary) -> str:
    """Return what a deployment deploys, in a word: of a rollback the version, as its job has another ref."""
    if one.action == "rollback":
        return f"to version {one.version}" if one.version else "to an earlier version"
    return what(one.requested_by, one.release)


def who(by: Requester) -> str:
    """Return who asked, in a word or two: `ada`, `webhook orders-tags`, `role deployer/job-302 of …`."""
    view = requester_view(by)
    name = describe.name(view) or (f"webhook {by.webhook}" if by.webhook else "unknown")
    return describe.marked(view, name)


def gitlab_links(by: Requester) -> dict[str, str]:
    """Return the addresses in GitLab of its job, commit and pipeline, as far as they are known."""
    return links(requester_view(by))


def project_address(gate: Gate, by: Requester) -> str | None:
    """Return the address of the page of the requester's project."""
    name = next((issuer.name for issuer in gate.issuers.values() if issuer.url == by.issuer), None)
    return f"{ROOT}/projects/{name}/{by.project_id}" if name and by.project_id else None


def cloudwatch(deployment: Deployment) -> str:
    """Return the address of the alias's metrics in AWS's console, of the partition of its region."""
    region = deployment.plan.target.region
    host = "console.aws.amazon.com"
    if region.startswith("cn-"):
        host = "console.amazonaws.cn"
    elif region.startswith("us-gov-"):
        host = "console.amazonaws-us-gov.com"
    place = f"functions/{deployment.function}/aliases/{deployment.plan.alias}"
    return f"https://{region}.{host}/lambda/home?region={region}#/{place}?tab=monitoring"


def sentence(deployment: Deployment) -> dict[str, Any]:
    """Return the state in one sentence: `text`, and `until` (RFC 3339) if it says when that ends."""
    ends = until(deployment)
    return {"text": _text(deployment), "until": None if ends is None else timestamp(ends)}


def _text(deployment: Deployment) -> str:
    version = f"version {deployment.version}" if deployment.version else "the new version"
    share = f"{deployment.weight} % of the traffic"
    match deployment.status:
        case Status.ACCEPTED:
            return "Accepted, and about to begin."
        case Status.QUEUED:
            return "Waits until another deployment of this alias has ended."
        case Status.AWAITING_APPROVAL if deployment.approval is None:
            if deployment.traffic_since:
                return f"{share} goes to {version}. More needs the approval of a second person."
            return "Waits for the approval of a second person."
        case Status.AWAITING_APPROVAL:
            return "Approved, and about to go on."
        case Status.PUBLISHING:
            return "Publishing the code as a version of the function."
        case Status.VERIFYING:
            return f"Trying {version} before it gets any traffic."
        case Status.SHIFTING:
            return f"Moving traffic to {version}: {share} so far."
        case Status.BAKING if deployment.weight >= 100:
            return f"{version.capitalize()} has all traffic, and is watched."
        case Status.BAKING:
            return f"{share} goes to {version}, which is watched."
        case Status.ROLLING_BACK:
            return "Restoring what the alias served before."
        case Status.SUCCEEDED:
            return f"{version.capitalize()} has all traffic."
        case _:
            return _ended(deployment)


def _ended(deployment: Deployment) -> str:
    reason = deployment.reason.message if deployment.reason else ""
    watched = deployment.reason is not None and deployment.reason.code in _OF_THE_WATCH
    begin = {
        Status.FAILED: "Failed",
        Status.ROLLED_BACK: "Rolled back by its watch" if watched else "Rolled back",
        Status.REJECTED: "Rejected",
        Status.ABORTED: "Aborted",
    }.get(deployment.status, "Ended")
    outcome = _OUTCOMES.get(deployment.outcome.value, "") if deployment.outcome else ""
    said = f"{begin}: {reason.rstrip('.')}." if reason else f"{begin}."
    return f"{said} {outcome}".strip()
