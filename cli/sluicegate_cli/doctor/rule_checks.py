"""Explain what the rules grant to a token's identity, or why they grant nothing."""

from collections.abc import Mapping, Sequence

from sluicegate.gate.policy import Decision, Gate
from sluicegate.oidc.identity import ClaimValue, Identity
from sluicegate_cli.doctor.findings import RULES, CheckVerdict, Finding
from sluicegate_cli.doctor.token_checks import UnverifiedToken


def of_rules(gate: Gate, identity: Identity, request: tuple[str, str] | None) -> Finding:
    """Check what the local gate file grants to the token's identity.

    `request` is a function and a stage, to check whether the identity may deploy that.
    """
    if denied := gate.denied(identity):
        change = f"If this is not intended, remove this {denied} from `deny`, and deploy the gate file."
        seen = f"the gate file denies this {denied}"
        return Finding(RULES, CheckVerdict.WRONG, seen, change, compared=True)
    if request is not None:
        function, stage = request
        decision = gate.decide(identity, actions=("deploy",), function=function, stage=stage)
        return _decided(decision, function, stage)
    if rules := gate.rules_of(identity):
        return Finding(RULES, CheckVerdict.OK, f"{named([rule.name for rule in rules])} match", compared=True)
    own = [
        (rule.name, [(failed.claim, failed.value) for failed in rule.failed(identity)])
        for rule in gate.rules
        if rule.issuer == identity.issuer
        and rule.via == identity.via
        and identity.text("project_id") in rule.pinned("project_id")
    ]
    nearest = sorted(own, key=lambda rule: len(rule[1]))
    return no_rule(
        "no rule of the gate file matches this job", nearest, identity.text("project_id"), compared=True
    )


def _decided(decision: Decision, function: str, stage: str) -> Finding:
    if decision.rule:
        seen = f"rule '{decision.rule.name}' of the gate file allows it"
        return Finding(RULES, CheckVerdict.OK, seen, compared=True)
    nearest = [
        (one.rule, [(failed.claim, failed.value) for failed in one.failed]) for one in decision.nearest
    ]
    what = f"no rule of the gate file allows this job to deploy {function} in {stage}"
    return no_rule(what, nearest, None, compared=True)


def no_rule(
    what: str,
    nearest: Sequence[tuple[str, Sequence[tuple[str, str | None]]]],
    project: str | None,
    *,
    compared: bool = False,
) -> Finding:
    """Explain a denial: the nearest rule, its failed claims, and this job's values."""
    if not nearest:
        pin = f'project_id: "{project}"' if project else "this job's project_id"
        change = (
            f"Add a rule with {pin}, or check that an existing rule has this project's project_id and issuer."
        )
        return Finding(RULES, CheckVerdict.WRONG, f"{what}: none is for its project", change, compared)
    name, failed = nearest[0]
    if not failed:
        seen = f"{what}: rule '{name}' matches the job, but grants other actions, functions or stages"
        change = "Add what is missing to that rule's `allow`, or add a rule, and deploy the gate file."
        return Finding(RULES, CheckVerdict.WRONG, seen, change, compared)
    listed = ", ".join(
        f"{claim} ({'not in the token' if value is None else value} here)" for claim, value in failed
    )
    change = f"Run it in a job that matches, or change that rule and deploy the gate file.{_hint(failed)}"
    return Finding(
        RULES,
        CheckVerdict.WRONG,
        f"{what}: the nearest rule, '{name}', requires another {listed}",
        change,
        compared,
    )


def _hint(failed: Sequence[tuple[str, str | None]]) -> str:
    """Return an additional hint for the claims that often surprise."""
    values = dict(failed)
    if "environment" in values and values["environment"] is None:
        return " (`environment` is in the token only if the job has that keyword.)"
    if "pipeline_source" in values:
        return " (A rule without `pipeline_source` matches only push and web.)"
    if values.get("ref_protected") == "false":
        return " (`ref_protected` depends on the project's protected branches and tags.)"
    return ""


def named(rules: Sequence[str]) -> str:
    """Format `rule 'a'`, or `rules 'a', 'b'`."""
    names = [f"'{name}'" for name in rules[:5]]
    more = f" and {len(rules) - 5} more" if len(rules) > 5 else ""
    return f"rule{'s' if len(rules) > 1 else ''} {', '.join(names)}{more}"


def identity_of(token: UnverifiedToken, claims: Mapping[str, ClaimValue]) -> Identity:
    """Return the identity that the token claims. `claims` come from `sluicegate.oidc.token.rule_claims`."""
    return Identity(
        via="id_token",
        issuer=token.issuer,
        claims=claims,
        jti=str(token.claims["jti"]),
        issued_at=0,
        expires_at=0,
    )
