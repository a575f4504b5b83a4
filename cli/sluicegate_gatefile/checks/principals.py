"""`people`, `sso` and `agents`, and the rules that are for AWS credentials.

`gate.codec` refuses the same when it reads gate.json back; here each error has a place and says what to do.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sluicegate.gate.principals import (
    ACCOUNT,
    CLAIMS,
    ORGANISATION,
    PERSONS_ONLY,
    PRINCIPAL_ID,
)
from sluicegate_gatefile.checks.context import CheckContext
from sluicegate_gatefile.diagnostics import listed
from sluicegate_gatefile.schema.rules import RuleSection
from sluicegate_gatefile.yaml_source import Path

_EXACT: Final[Mapping[str, tuple[str, str]]] = {
    "account": (ACCOUNT, "the id of an AWS account, which is 12 digits"),
    "principal_id": (PRINCIPAL_ID, "the unique id of a role (`AROA...`) or of a user (`AIDA...`)"),
    "org": (ORGANISATION, "the id of an AWS organisation, such as `o-a1b2c3d4e5`"),
    "principal_type": (r"role|sso|user", "`role`, `sso` or `user`"),
}


def sso(context: CheckContext) -> list[dict[str, Any]]:
    """Check `sso`; returns gate.json's."""
    seen: set[tuple[str, str]] = set()
    for i, role in enumerate(context.file.sso):
        key = (role.account, role.principal_id)
        if key in seen:
            context.error("sso", ("sso", i), f"`{role.principal_id}` of {role.account} is listed twice")
        seen.add(key)
    return [entry.given() for entry in context.file.sso]


def people(context: CheckContext) -> list[dict[str, Any]]:
    """Check `people`: every identity belongs to one person. Returns gate.json's."""
    orgs = list(dict.fromkeys(role.org for role in context.file.sso))
    owners: dict[tuple[str, str, str], str] = {}
    found = []
    for name, person in context.file.people.items():
        at: Path = ("people", name)
        users, sessions = [], []
        for i, user in enumerate(person.gitlab):
            issuer = context.issuer((*at, "gitlab", i), user.issuer)
            users.append({"issuer": issuer, "user_id": user.user_id})
            _check_owner(context, (*at, "gitlab", i), owners, ("user", issuer, user.user_id), name)
        for i, session in enumerate(person.iam):
            org = session.org or (orgs[0] if len(orgs) == 1 else None)
            if org is None:
                what = "give the `org`: `sso` names several organisations, or none"
                context.error("people", (*at, "iam", i), what)
                continue
            if org not in orgs:
                what = f"`sso` lists no role of `{org}`: no session there is a person's"
                context.warning("people", (*at, "iam", i), what)
            sessions.append({"org": org, "session_name": session.session_name})
            _check_owner(
                context, (*at, "iam", i), owners, ("session", org, session.session_name.casefold()), name
            )
        if len(users) + len(sessions) < 2:
            what = "one identity alone maps to nothing: list the person's other identities too"
            context.warning("people", at, what)
        found.append({"name": name, "gitlab": users, "iam": sessions})
    return found


def _check_owner(
    context: CheckContext,
    at: Path,
    owners: dict[tuple[str, str, str], str],
    key: tuple[str, str, str],
    name: str,
) -> None:
    if key in owners:
        what = f"`{owners[key]}` has this identity already; each belongs to one person, once"
        context.error("people", at, what)
    owners.setdefault(key, name)


def agents(context: CheckContext) -> dict[str, list[dict[str, Any]]]:
    """Check `agents`; returns gate.json's."""
    persons = {(role.account, role.principal_id) for role in context.file.sso}
    users, principals = [], []
    for i, entry in enumerate(context.file.agents):
        at: Path = ("agents", i)
        given = entry.given()
        if given.keys() == {"account", "principal_id"}:
            principals.append(given)
            if (entry.account, entry.principal_id) in persons:
                what = "this role is listed under `sso`: its sessions are persons"
                context.error("agents", at, what)
        elif given.keys() in ({"user_id"}, {"user_id", "issuer"}):
            issuer = context.issuer(at, entry.issuer)
            users.append({"issuer": issuer, "user_id": given["user_id"]})
        else:
            what = "an agent is a `user_id` of an issuer, or an `account` with a `principal_id`"
            context.error("agents", at, what)
    return {"users": users, "principals": principals}


def check_rule(context: CheckContext, at: Path, rule: RuleSection, guarded: Mapping[str, str]) -> None:
    """Report what a rule with `via: iam` or `via: iam+id_token` may not say.

    `guarded` are the stages that AWS credentials alone do not open, each with the reason.
    """
    claims = rule.claims
    _check_values(context, (*at, "claims"), claims)
    for claim in ("account", "principal_id"):
        if not claims.get(claim) or any("*" in value for value in claims[claim]):
            what = f"a rule for AWS credentials must pin {claim}: names can be taken by somebody else"
            context.error("pin", (*at, "claims"), what)
    if rule.via != "iam":
        return
    if rule.issuer is not None:
        what = "no GitLab vouches for AWS credentials alone: remove it, or use `via: iam+id_token`"
        context.error("iam", (*at, "issuer"), what)
    for claim in claims:
        if claim not in CLAIMS:
            what = f"AWS credentials have no `{claim}`: they have {listed(CLAIMS)}"
            context.error("iam", (*at, "claims", claim), what)
    _check_persons(context, at, rule, guarded)
    for i, stage in enumerate(rule.allow.stages):
        section = context.file.stages.get(stage)
        late = section is not None and section.max_age is not None
        if late and {"deploy", "promote"} & set(rule.allow.actions):
            what = f"`{stage}` has a `max_age`, and nothing tells how old AWS credentials are"
            context.error("iam", (*at, "allow", "stages", i), f"{what}: use `via: iam+id_token`")


def _check_persons(context: CheckContext, at: Path, rule: RuleSection, guarded: Mapping[str, str]) -> None:
    claims, allow = rule.claims, rule.allow
    listed_ids = {role.principal_id for role in context.file.sso if role.account in claims.get("account", ())}
    ids = set(claims.get("principal_id", ()))
    if ids & listed_ids:
        if ids - listed_ids:
            what = "roles of Identity Center and other principals are different callers: write two rules"
            context.error("iam", (*at, "claims", "principal_id"), what)
        if not claims.get("session_name") or any("*" in name for name in claims["session_name"]):
            what = "these are sessions of persons: list their `session_name`, without patterns"
            context.error("pin", (*at, "claims"), what)
        return
    for i, action in enumerate(allow.actions):
        if action in PERSONS_ONLY:
            what = f"`{action}` is for persons: of AWS principals, these are the roles under `sso`"
            context.error("iam", (*at, "allow", "actions", i), what)
    if set(allow.actions) == {"read"}:
        return
    for i, stage in enumerate(allow.stages):
        if stage in guarded:
            what = f"`{stage}` {guarded[stage]}, and AWS credentials alone do not show the ref"
            context.error("iam", (*at, "allow", "stages", i), f"{what}: use `via: iam+id_token`")


def _check_values(context: CheckContext, at: Path, claims: Mapping[str, Sequence[str]]) -> None:
    for claim, (form, what) in _EXACT.items():
        for value in claims.get(claim, ()):
            if "*" not in value and not re.fullmatch(form, value):
                context.error("value", (*at, claim), f"`{value}` is not {what}")
    if "role" in claims and "principal_id" not in claims:
        what = "a role that was deleted can be made again by somebody else; give principal_id too"
        context.warning("role", (*at, "role"), what)
