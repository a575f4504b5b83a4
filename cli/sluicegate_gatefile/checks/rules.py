"""Rules and `deny`: pins, claims that are easily wrong, and what rules grant.

security.md#rules
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sluicegate.gate import principals as principal_rules
from sluicegate.gate.rules import DENIABLE, DENIABLE_PRINCIPAL, PINS
from sluicegate_gatefile.checks import limits, principals, sessions, webhooks
from sluicegate_gatefile.checks.claims import Claims, check_claims
from sluicegate_gatefile.checks.context import CheckContext
from sluicegate_gatefile.checks.functions import check_own_functions
from sluicegate_gatefile.checks.grants import Rules
from sluicegate_gatefile.diagnostics import listed
from sluicegate_gatefile.schema.rules import RuleSection
from sluicegate_gatefile.yaml_source import Path

# Started by people and by themselves, on a ref of the project. All else a rule must name.
DEFAULT_SOURCES = ("push", "web")


def rules(context: CheckContext, waiting: Collection[str]) -> list[dict[str, Any]]:
    """Check the rules; returns gate.json's. `waiting` are the stages where something asks for an approval."""
    guarded = dict.fromkeys(waiting, "asks for an approval")
    guarded |= dict.fromkeys(context.protected(context.file.stages), "is protected")
    found = [_rule(context, ("rules", i), rule, guarded) for i, rule in enumerate(context.file.rules)]
    _check_names(context, found)
    return found


def deny(context: CheckContext) -> list[dict[str, Any]]:
    """Check the entries of `deny`; returns gate.json's."""
    found = []
    for i, entry in enumerate(context.file.deny):
        at: Path = ("deny", i)
        given = entry.given()
        claims = {claim: given[claim] for claim in (*DENIABLE, *DENIABLE_PRINCIPAL) if claim in given}
        by_aws = [claim for claim in DENIABLE_PRINCIPAL if claim in claims]
        if not claims:
            what = f"give one of {listed((*DENIABLE, *DENIABLE_PRINCIPAL))}"
            context.error("deny", at, f"the entry denies nobody: {what}")
        elif by_aws and (len(by_aws) < len(claims) or entry.issuer is not None):
            what = f"{listed(by_aws)} is of AWS credentials, and the rest of a GitLab's tokens"
            context.error("deny", at, f"{what}: write two entries")
        issuer = "" if by_aws else context.issuer(at, entry.issuer)
        found.append({"issuer": issuer, "claims": claims})
    return found


def _rule(context: CheckContext, at: Path, rule: RuleSection, guarded: Mapping[str, str]) -> dict[str, Any]:
    claims, allow = rule.claims, rule.allow
    protected = context.protected(allow.stages)
    check_claims(context, (*at, "claims"), claims)
    if rule.via in ("iam", "iam+id_token"):
        principals.check_rule(context, at, rule, guarded)
    else:
        for claim in claims.keys() & set(principal_rules.CLAIMS):
            what = f"`{claim}` is of AWS credentials: it is for rules with `via: iam` or `via: iam+id_token`"
            context.error("iam", (*at, "claims", claim), what)
    if rule.via in ("id_token", "iam+id_token") and "email" in claims:
        what = "no job's token has `email`, which is for `via: session`: it has `user_email`"
        context.error("session", (*at, "claims", "email"), what)
    if rule.via == "webhook":
        webhooks.check_rule(context, at, rule, protected)
    elif rule.via == "session":
        sessions.check_rule(context, at, rule)
    elif rule.via != "iam":
        _check_pins(context, (*at, "claims"), rule, protected)
        if "event" in claims:
            what = "no token has `event`: it is for rules with `via: webhook`"
            context.error("webhook", (*at, "claims", "event"), what)
    for i, stage in enumerate(allow.stages):
        context.check_stage((*at, "allow", "stages", i), stage)
    for i, pattern in enumerate(allow.functions):
        where: Path = (*at, "allow", "functions", i)
        check_own_functions(context, where, pattern)
        if not context.entries.overlapping(pattern):
            what = f"`{pattern}` matches no entry of `functions`: it grants nothing"
            context.warning("uncovered", where, what)
    by_pipeline = rule.via not in ("iam", "session")
    sources = {"pipeline_source": claims.get("pipeline_source", list(DEFAULT_SOURCES))}
    return {
        "name": rule.name,
        "issuer": "" if rule.via == "iam" else context.issuer(at, rule.issuer),
        "via": rule.via,
        "claims": claims | sources if by_pipeline else dict(claims),
        "actions": list(allow.actions),
        "functions": allow.functions,
        "stages": allow.stages,
        "limits": limits.limits(context, (*at, "limits"), rule),
    }


def _check_pins(context: CheckContext, at: Path, rule: RuleSection, protected: Sequence[str]) -> None:
    claims = rule.claims
    if not any(pinned(claims, claim) for claim in PINS):
        what = "pins neither project_id nor namespace_id: anybody's project could match"
        context.error("pin", at, f"the rule {what}; pin one of them")
    elif protected and not pinned(claims, "project_id"):
        context.error("pin", at, f"{listed(protected)} is protected: the rule must pin project_id")
    if protected and claims.get("ref_protected") != ["true"]:
        what = f'{listed(protected)} is protected: the rule must say ref_protected: "true"'
        context.error("pin", at, what)
    if "approve" in rule.allow.actions and not (
        pinned(claims, "project_id")
        and claims.get("ref_protected") == ["true"]
        and claims.get("pipeline_source") == ["web"]
    ):
        what = 'must pin project_id, ref_protected: "true" and pipeline_source: web'
        context.error("pin", at, f"a rule with `approve` {what}")
    if "approve" in rule.allow.actions and not pinned(claims, "user_id"):
        what = (
            "list the `user_id` of each approver: a service account may have any name, and counts as a person"
        )
        context.warning("approvers", at, what)


def _check_names(context: CheckContext, found: Rules) -> None:
    seen: set[str] = set()
    for i, rule in enumerate(found):
        if rule["name"] in seen:
            what = f"there is already a rule `{rule['name']}`; records identify rules by name"
            context.error("name", ("rules", i, "name"), what)
        seen.add(rule["name"])


def pinned(claims: Claims, claim: str) -> bool:
    """Return whether the claim has exact values only."""
    values = claims.get(claim, ())
    return bool(values) and not any("*" in value for value in values)
