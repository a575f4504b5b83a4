"""Rules that are for signed-in people.

`gate.codec` refuses the same when it reads gate.json back; here each error has a place and says what to do.
"""

from sluicegate.gate.rules import SESSION_PINS
from sluicegate.gate.sessions import CLAIMS, NOT_GRANTED
from sluicegate_gatefile.checks.context import CheckContext
from sluicegate_gatefile.diagnostics import listed
from sluicegate_gatefile.schema.rules import RuleSection
from sluicegate_gatefile.yaml_source import Path


def check_rule(context: CheckContext, at: Path, rule: RuleSection) -> None:
    """Report what a rule with `via: session` may not say."""
    issuers = context.file.issuers
    name = rule.issuer or next(iter(issuers))
    issuer = issuers.get(name)
    if issuer is not None and issuer.sign_in is None:
        what = f"nobody can sign in at `{name}`: give it `sign_in`"
        context.error("session", (*at, "via"), what)
    for claim, values in rule.claims.items():
        if claim not in CLAIMS:
            what = f"no signed-in person has `{claim}`: they have {listed(CLAIMS)}"
            context.error("session", (*at, "claims", claim), what)
        if claim == "email" and not all("@" in value or "*" in value for value in values):
            what = "no address is like this; write it as `ada@example.com`"
            context.warning("value", (*at, "claims", claim), what)
    trusts_groups = issuer is not None and issuer.groups == "trusted"
    pinned = [
        claim
        for claim in SESSION_PINS
        if rule.claims.get(claim) and not any("*" in value for value in rule.claims[claim])
    ]
    if pinned == ["groups_direct"] and not trusts_groups:
        what = f"only with `groups: trusted` of `{name}` may a group pin: its owner decides who is in it"
        context.error("pin", (*at, "claims", "groups_direct"), what)
    elif not pinned:
        what = f"a rule for signed-in people must pin one of {listed(SESSION_PINS)}"
        context.error("pin", (*at, "claims"), what)
    for i, action in enumerate(rule.allow.actions):
        if action in NOT_GRANTED:
            what = f"`{action}` is for pipelines, which build what is deployed: people promote and roll back"

            context.error("session", (*at, "allow", "actions", i), what)
