"""The requester: a verified identity as the record keeps it, and as logs and messages show it."""

from dataclasses import asdict
from typing import Any

from sluicegate.deployment.model import Requester
from sluicegate.gate.policy import Gate
from sluicegate.oidc.identity import Identity, Principal
from sluicegate.store.uploads import Announcer
from sluicegate.text import clean


def requester(gate: Gate, identity: Identity) -> Requester:
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
        environment=text("environment"),
        environment_action=text("environment_action"),
        via=identity.via,
        actor=gate.principals.actor(identity),
        **_fields_of_principal(identity.principal),
    )


def announcer(identity: Identity, function: str, sha256: str) -> Announcer:
    """Return who announces an artifact of a function for a commit: jobs of one pipeline are the same."""
    ref, sha = clean(identity.text("ref") or ""), clean(identity.text("sha") or "")
    return Announcer(function, sha256, identity.owner, ref, sha)


def _fields_of_principal(principal: Principal | None) -> dict[str, Any]:
    if principal is None:
        return {}
    return {**asdict(principal), "arn": clean(principal.arn)}


def log_fields(gate: Gate, identity: Identity) -> dict[str, str | None]:
    """Return the fields that identify the requester in a log event. An access key's id is no secret."""
    by = requester(gate, identity)
    fields = {"via": by.via, "actor": by.actor}
    if identity.via == "session":
        fields |= {"issuer": by.issuer, "user_id": by.user_id}
    elif identity.via != "iam":
        fields |= {
            "issuer": by.issuer,
            "project_id": by.project_id,
            "pipeline_id": by.pipeline_id,
            "job_id": by.job_id,
            "user_id": by.user_id,
            "ref": by.ref,
        }
    if by.webhook:
        fields["webhook"] = by.webhook
    if identity.principal:
        fields |= {
            "account": by.account,
            "principal_id": by.principal_id,
            "role": by.role,
            "session_name": by.session_name,
            "access_key": by.access_key,
        }
    return fields


def display_name(by: Requester) -> str:
    """Return the name for a sentence: `job 302 of project 4213 (ada)`, `webhook tags of project 4213`,
    `role deployer of account 111111111111 (job-302)`, `ada@example.com of account 111111111111`,
    `ada (user 7, signed in)`.
    """
    if by.via == "session":
        return f"{by.user_login} (user {by.user_id}, signed in)"
    if by.via == "iam":
        return principal_name(by)
    if by.job_id is None and by.webhook:
        return f"webhook {by.webhook} of project {by.project_id}"
    job = f"job {by.job_id} of project {by.project_id}" + (f" ({by.user_login})" if by.user_login else "")
    return f"{job} as {principal_name(by)}" if by.principal_id else job


def principal_name(by: Requester) -> str:
    """Return the name of the principal for a sentence: a person by the session, a role with the session's."""
    place = f"of account {by.account}"
    if by.principal_type == "sso":
        return f"{by.session_name} {place}"
    if by.role:
        return f"role {by.role} {place} ({by.session_name})"
    return f"user {_user_name(by)} {place}"


def short_name(by: Requester) -> str:
    """Return who it was, for a column: a user's login, a session's or a user's name; `-` if unknown."""
    return clean(by.user_login or by.session_name or _user_name(by) or "-")


def _user_name(by: Requester) -> str | None:
    """Return the name of an IAM user, which ends its ARN."""
    return by.arn.rpartition("/")[2] if by.arn and by.principal_type == "user" else None
