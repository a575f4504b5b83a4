"""`GET /whoami`: what was verified of the caller, and what the rules allow it."""

from typing import Any

from sluicegate.deployment.durations import timestamp
from sluicegate.gateway.context import Context
from sluicegate.gateway.http import GatewayRequest, GatewayResponse
from sluicegate.gateway.requests import queries
from sluicegate.oidc.identity import Identity, Principal
from sluicegate.text import clean


def read(context: Context, call: GatewayRequest, identity: Identity) -> GatewayResponse:
    """Return the identity's claims and rules. The caller itself knows when its AWS credentials expire."""
    queries.no_query(call.query)
    rules = [
        {
            "name": rule.name,
            "actions": sorted(context.gate.actions_of(identity, rule)),
            "functions": [str(pattern) for pattern in rule.functions],
            "stages": list(rule.stages),
        }
        for rule in context.gate.rules_of(identity)
    ]
    claims = {
        clean(name): list(map(clean, value)) if isinstance(value, tuple) else clean(value)
        for name, value in sorted(identity.claims.items())
    }
    actor = context.gate.principals.actor(identity)
    value = {
        "via": identity.via,
        "actor": actor,
        "issuer": identity.issuer or None,
        "project_id": identity.text("project_id"),
        "expires_at": timestamp(identity.expires_at) if identity.expires_at else None,
        "signed_in_at": timestamp(identity.issued_at) if identity.via == "session" else None,
        **_principal_view(identity.principal),
        "claims": claims,
        "rules": rules,
    }
    lines = [f"via: {identity.via}", f"actor: {actor}"]
    lines += [f"{name}: {claim}" for name, claim in claims.items()]
    lines += [
        f"rule {rule['name']!r} allows {', '.join(rule['actions'])} of {', '.join(rule['functions'])}"
        f" in {', '.join(rule['stages'])}"
        for rule in rules
    ] or ["no rule allows anything"]
    return GatewayResponse(200, value, tuple(lines))


def _principal_view(principal: Principal | None) -> dict[str, Any]:
    """Return who signed the request; every member is null for a caller with an ID token alone."""
    return {
        "principal": principal and clean(principal.arn),
        "principal_id": principal and principal.principal_id,
        "principal_type": principal and principal.principal_type,
        "account": principal and principal.account,
        "org": principal and principal.org,
        "role": principal and principal.role,
        "session": principal and principal.session_name,
        "access_key": principal and principal.access_key,
    }
