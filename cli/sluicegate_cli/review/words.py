"""Say in plain English whom a rule of the gate file matches, what it grants, and what limits it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sluicegate.gate.policy import Gate
from sluicegate.gate.principals import Principals
from sluicegate.gate.rules import ACTIONS, Deny, Hours, Rule, RuleLimits
from sluicegate.oidc.identity import Via

ClaimTexts = Mapping[str, Sequence[str]]
"""What a rule wants of claims: any of the patterns of each."""

_VERBS: Final = {
    "rollback": "roll back",
    "override-strategy": "override a strategy",
    "fix-forward": "fix forward",
    "end-sessions": "end sessions",
}

_SOURCES: Final = {
    "push": "after a push",
    "web": "started by hand",
    "schedule": "on a schedule",
    "api": "started through GitLab's API",
    "trigger": "started with a trigger token",
    "merge_request_event": "of merge requests, from forks too",
    "parent_pipeline": "as a child of another pipeline",
}

_WORDED: Final = frozenset(
    {
        *("project_id", "project_path", "namespace_id", "namespace_path"),
        *("ref", "ref_type", "ref_protected", "ref_path", "pipeline_source"),
        *("environment", "environment_protected", "user_id", "user_login", "user_email", "email"),
        *("groups_direct", "account", "principal_id", "session_name"),
    }
)
"""Claims that have words of their own."""


def either(values: Iterable[str], conjunction: str = "or") -> str:
    """Join values: `a`, `a or b`, `a, b or c`."""
    found = list(values)
    if len(found) < 2:
        return "".join(found)
    return f"{', '.join(found[:-1])} {conjunction} {found[-1]}"


def plural(count: int, one: str) -> str:
    """Return a number with its noun."""
    return f"{count} {one}{'' if count == 1 else 's'}"


def verb(action: str) -> str:
    """Return an action as a verb."""
    return _VERBS.get(action, action)


def actions(granted: Iterable[str]) -> str:
    """Name actions in the gate file's order: `deploy and abort`."""
    names = set(granted)
    return either([verb(name) for name in ACTIONS if name in names], "and")


def rule_callers(gate: Gate, rule: Rule) -> str:
    """Describe whom the rule matches."""
    claims = {claim: [pattern.text for pattern in wanted] for claim, wanted in rule.claims}
    return callers(rule.issuer, rule.via, claims, issuers=issuer_names(gate), principals=gate.principals)


def issuer_names(*gates: Gate) -> Mapping[str, str]:
    """Return the names of issuers by URL; empty where all gates have one and the same."""
    names = {issuer.url: issuer.name for gate in gates for issuer in gate.issuers.values()}
    return names if len(names) > 1 else {}


def callers(
    issuer: str, via: Via, claims: ClaimTexts, *, issuers: Mapping[str, str], principals: Principals
) -> str:
    """Describe the callers that come in `via` a way, of an issuer (its URL), with such claims.

    `issuers` has names for issuers, where there are several.
    """
    where = f" of {issuers.get(issuer, issuer)}" if issuer and issuers else ""
    match via:
        case "iam":
            parts = [_principal(claims, principals)]
        case "session":
            parts = [f"people who sign in with GitLab{where}", *_person(claims)]
        case "webhook":
            parts = [f"webhooks{where} of {_project(claims)}", *_pipeline(claims)]
        case _:
            parts = [f"jobs{where} of {_project(claims)}", *_pipeline(claims)]
            if via == "iam+id_token":
                parts.append(f"with requests that {_principal(claims, principals)} signs, too")
    rest = [
        f"with `{claim}` {either(wanted)}" for claim, wanted in sorted(claims.items()) if claim not in _WORDED
    ]
    return ", ".join((*parts, *rest))


def _project(claims: ClaimTexts) -> str:
    found = []
    if ids := claims.get("project_id"):
        found.append(f"project {either(ids)}")
    if ids := claims.get("namespace_id"):
        found.append(f"{'in ' if found else 'any project of '}namespace {either(ids)}")
    if paths := claims.get("project_path"):
        found.append(f"at {either(paths)}")
    if paths := claims.get("namespace_path"):
        found.append(f"in the namespace {either(paths)}")
    return " ".join(found) or "any project"


def _pipeline(claims: ClaimTexts) -> Iterable[str]:
    if ref := _ref(claims):
        yield ref
    if environments := claims.get("environment"):
        protected = "protected " if claims.get("environment_protected") == ["true"] else ""
        yield f"in the {protected}environment {either(environments)}"
    elif protected_by := claims.get("environment_protected"):
        yield f"with `environment_protected` {either(protected_by)}"
    if sources := claims.get("pipeline_source"):
        yield either([_SOURCES.get(source, f"with the source {source}") for source in sources])
    yield from _user(claims)


def _ref(claims: ClaimTexts) -> str:
    types, refs, paths = claims.get("ref_type"), claims.get("ref"), claims.get("ref_path")
    protected = list(claims.get("ref_protected", ()))
    adjective = {"true": "protected ", "false": "unprotected "}.get("|".join(protected), "")
    found = ""
    if types or refs or adjective:
        kinds = {"tag": "tags", "branch": "branches"}.get("|".join(types or ()), "branches or tags")
        found = f"for {adjective}{kinds}{f' {either(refs)}' if refs else ''}"
    if protected and not adjective:
        found += f"{' ' if found else ''}with `ref_protected` {either(protected)}"
    if paths:
        found += f"{' ' if found else ''}with the ref {either(paths)}"
    return found


def _user(claims: ClaimTexts) -> Iterable[str]:
    if users := claims.get("user_id"):
        yield f"as user {either(users)}"
    if logins := claims.get("user_login"):
        yield f"as the user with the name {either(logins)}"
    if addresses := claims.get("user_email"):
        yield f"as the user with the address {either(addresses)}"


def _person(claims: ClaimTexts) -> Iterable[str]:
    yield from _user(claims)
    if groups := claims.get("groups_direct"):
        yield f"as members of {either(groups)}"
    if addresses := claims.get("email"):
        yield f"with the address {either(addresses)}"


def _principal(claims: ClaimTexts, principals: Principals) -> str:
    accounts, ids = claims.get("account", ()), claims.get("principal_id", ())
    listed = {(role.account, role.principal_id) for role in principals.sso}
    persons = any((account, one) in listed for account in accounts for one in ids)
    names = claims.get("session_name")
    kind = "Identity Center role" if persons else "AWS principal"
    where = f" of account {either(accounts)}" if accounts else ""
    found = f"{kind} {either(ids)}{where}" if ids else f"any AWS principal{where}"
    if not names:
        return found
    return f"{either(names)} by {found}" if persons else f"sessions named {either(names)} of {found}"


def limits(of: RuleLimits | None) -> list[str]:
    """Describe each of a rule's limits."""
    if of is None:
        return []
    found = []
    numbers = [(of.per_hour, "an hour"), (of.per_day, "a day")]
    if any(most for most, _ in numbers):
        counts = " and ".join(f"{most} {window}" for most, window in numbers if most)
        found.append(f"at most {counts}")
    if of.unapproved_percent:
        found.append(f"at most {of.unapproved_percent}% of the traffic without an approval")
    if of.hours:
        found.append(hours(of.hours))
    if of.propose:
        found.append("all that they ask for waits for a person's approval")
    return found


def hours(of: Hours) -> str:
    """Describe when a rule lets deployments begin."""
    start, end = (f"{minute // 60:02}:{minute % 60:02}" for minute in (of.start, of.end))
    return f"only on {', '.join(of.days)} from {start} to {end} ({of.zone})"


def denied(entry: Deny, issuers: Mapping[str, str]) -> str:
    """Describe whom an entry of `deny` refuses."""
    values = ", ".join(f"{claim} {either(values)}" for claim, values in entry.claims)
    return f"{values} of {issuers[entry.issuer]}" if entry.issuer in issuers else values


def agents(principals: Principals, issuers: Mapping[str, str]) -> list[str]:
    """Describe each listed agent."""
    return [agent_user(*user, issuers) for user in sorted(principals.agent_users)] + [
        f"AWS principal {one} of account {account}" for account, one in sorted(principals.agent_principals)
    ]


def agent_user(issuer: str, user_id: str, issuers: Mapping[str, str]) -> str:
    """Describe one agent that is a GitLab's user."""
    return f"user {user_id}{f' of {issuers[issuer]}' if issuer in issuers else ''}"
