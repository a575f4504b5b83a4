"""Who asks, in the words of the record and of the log, and what they may see."""

from sluicegate.deployment.model import Deployment, Requester
from sluicegate.gate.policy import Gate
from sluicegate.oidc.identity import Identity
from sluicegate.store.versions import Serving
from sluicegate.text import clean


def requester(identity: Identity) -> Requester:
    """Of a verified identity, what the record keeps; cleaned."""

    def text(claim: str) -> str | None:
        value = identity.text(claim)
        return None if value is None else clean(value)

    return Requester(
        issuer=identity.issuer,
        project_id=text("project_id") or "",
        project_path=text("project_path"),
        user_id=text("user_id"),
        user_login=text("user_login"),
        job_id=text("job_id"),
        pipeline_id=text("pipeline_id"),
        ref=text("ref"),
        ref_type=text("ref_type"),
        sha=text("sha"),
        webhook=identity.webhook,
    )


def facts(identity: Identity) -> dict[str, str | None]:
    """For an event in the log."""
    by = requester(identity)
    return {
        "issuer": by.issuer,
        "project_id": by.project_id,
        "pipeline_id": by.pipeline_id,
        "job_id": by.job_id,
        "user_id": by.user_id,
        "ref": by.ref,
        **({"webhook": by.webhook} if by.webhook else {}),
    }


def named(by: Requester) -> str:
    """For a sentence: `job 302 of project 4213 (ada)`, `webhook orders-tags of project 4213`."""
    if by.job_id is None and by.webhook:
        return f"webhook {by.webhook} of project {by.project_id}"
    return f"job {by.job_id} of project {by.project_id}" + (f" ({by.user_login})" if by.user_login else "")


def may_see(gate: Gate, identity: Identity, seen: Deployment | Serving) -> bool:
    """Visible to its own (issuer, project), and to who has a rule on that function and stage."""
    by = seen.requested_by if isinstance(seen, Deployment) else seen
    own = (by.issuer, by.project_id) == identity.project
    return own or gate.may_see(identity, function=seen.function, stage=seen.stage)
