"""`GET /whoami`: what was verified of the caller, and what the rules allow it."""

from sluicegate.deployment.durations import timestamp
from sluicegate.gateway.context import Context
from sluicegate.gateway.http import GatewayRequest, GatewayResponse
from sluicegate.gateway.requests import queries
from sluicegate.oidc.identity import Identity
from sluicegate.text import clean


def read(context: Context, call: GatewayRequest, identity: Identity) -> GatewayResponse:
    """Return the identity's claims and rules."""
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
    value = {
        "via": identity.via,
        "issuer": identity.issuer,
        "project_id": identity.text("project_id"),
        "expires_at": timestamp(identity.expires_at),
        "claims": claims,
        "rules": rules,
    }
    lines = [f"{name}: {claim}" for name, claim in claims.items()]
    lines += [
        f"rule {rule['name']!r} allows {', '.join(rule['actions'])} of {', '.join(rule['functions'])}"
        f" in {', '.join(rule['stages'])}"
        for rule in rules
    ] or ["no rule allows anything"]
    return GatewayResponse(200, value, tuple(lines))
