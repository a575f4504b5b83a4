"""What makes two requests the same one, and what a token or a session is used up by.

guarantees.md#5-one-request-one-effect, guarantees.md#10-a-captured-request-repeats-only-itself
"""

from sluicegate.deployment.model import Deployment
from sluicegate.gateway.context import Context
from sluicegate.oidc.identity import Identity
from sluicegate.store.keys import digest
from sluicegate.store.requests import LONGEST_SESSION, CredentialUse


def request_key(identity: Identity, call: str, key: str | None, fingerprint: str) -> str:
    """Return what identifies a request: its caller, and its idempotency key or else its body.

    `call` tells calls apart that have keys of their own. Of a signed request, an ID token beside it is no
    part: a person who has captured the request can add one, or leave it out.
    """
    kind, value = ("key", key) if key else ("body", fingerprint)
    if identity.principal:
        by = identity.principal
        return digest("iam", by.account, by.principal_id, by.access_key, call, kind, value)
    if identity.via == "session":
        return digest("user", identity.issuer, identity.text("user_id"), call, kind, value)
    issuer, project = identity.project
    job = identity.text("job_id")
    return digest(issuer, project, job, *([call] if call else ()), kind, value)


def uses_of(
    context: Context, identity: Identity, deployment: Deployment, fingerprint: str
) -> tuple[CredentialUse, ...]:
    """Return the uses of token and session for this one request; none for an identity with neither.

    Keys have (issuer, jti) or (account, access key), with the target, function and alias: never the bytes of
    a token or signature, which vary. A person's session lasts a working day and is not used up, whether AWS
    gave it or we did.
    """
    plan = deployment.plan
    alias = (plan.target.account, plan.target.region, deployment.function, plan.alias)
    uses = []
    if identity.jti is not None:
        key = digest(identity.issuer, identity.jti, *alias)
        uses.append(CredentialUse(key, fingerprint, identity.expires_at))
    if identity.principal and context.gate.principals.actor(identity) != "person":
        by = identity.principal
        key = digest("session", by.account, by.access_key, *alias)
        expires = int(context.clock()) + LONGEST_SESSION
        uses.append(CredentialUse(key, fingerprint, expires, "session"))
    return tuple(uses)
