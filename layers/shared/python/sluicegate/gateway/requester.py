"""The requester: a verified identity as the record keeps it, and as logs and messages show it."""

from sluicegate.deployment.model import Requester
from sluicegate.oidc.identity import Identity
from sluicegate.text import clean


def requester(identity: Identity) -> Requester:
    """Return what the record keeps of a verified identity; cleaned."""

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
        gitlab=identity.gitlab,
    )


def log_fields(identity: Identity) -> dict[str, str | None]:
    """Return the fields that identify the requester in a log event."""
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


def display_name(by: Requester) -> str:
    """Return the name for a sentence: `job 302 of project 4213 (ada)`, `webhook tags of project 4213`."""
    if by.job_id is None and by.webhook:
        return f"webhook {by.webhook} of project {by.project_id}"
    return f"job {by.job_id} of project {by.project_id}" + (f" ({by.user_login})" if by.user_login else "")
