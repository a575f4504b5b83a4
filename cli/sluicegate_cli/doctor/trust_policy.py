"""What a role's trust policy lets in by web identity. Pure: documents in, findings out.

Sources: IAM user guide, "Available keys for OIDC federation" (of GitLab's tokens, IAM reads `aud` and `sub`
alone), "Condition operators" (`…IfExists` and `ForAllValues:` hold where the key is missing) and
"Identity-provider controls for shared OIDC providers"; read on 26 November 2026.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from sluicegate.oidc.identity import Issuer
from sluicegate_cli.doctor.findings import AUDIENCE, ISSUER, CheckVerdict, Finding
from sluicegate_cli.doctor.subjects import Reach, reach

SUBJECT: Final = "the role trusts certain jobs only"

_ASSUME: Final = "sts:assumerolewithwebidentity"
_PROVIDER: Final = ":oidc-provider/"
_READ: Final = frozenset({"aud", "sub", "amr"})
_EXACT: Final = frozenset({"stringequals", "stringequalsignorecase"})
_LIKE: Final = frozenset({"stringlike"})
_SEVERITY: Final = {
    CheckVerdict.OK: 0,
    CheckVerdict.UNKNOWN: 1,
    CheckVerdict.WARNING: 2,
    CheckVerdict.WRONG: 3,
}
_VARIABLE: Final = re.compile(r"\$\{(?![*?$]\})[^}]*\}")
"""A policy variable, but not the three that stand for a literal `*`, `?` and `$`."""

_GITHUB: Final = "token.actions.githubusercontent.com"


@dataclass(frozen=True)
class Provider:
    """An OIDC provider in IAM: its URL without scheme, and the audiences that it takes."""

    url: str
    client_ids: tuple[str, ...]


@dataclass(frozen=True)
class _Condition:
    """One condition: its operator in lower case without qualifiers, the claim, the host before it."""

    operator: str
    host: str
    claim: str
    values: tuple[str, ...]
    optional: bool
    """Whether it also holds where the token has no such claim: `…IfExists`, `ForAllValues:`."""


def of_trust(
    document: Mapping[str, Any],
    issuers: Sequence[Issuer] = (),
    providers: Mapping[str, Provider] | None = None,
) -> Iterator[Finding]:
    """Yield what the trust policy lets in. `issuers` are the gate file's, `providers` IAM's, by host."""
    statements = [one for one in listed(document.get("Statement")) if isinstance(one, Mapping)]
    allowing = [one for one in statements if one.get("Effect") == "Allow"]
    found = False
    for statement in allowing:
        principal = statement.get("Principal")
        if "NotPrincipal" in statement or principal == "*" or _names_everybody(principal):
            seen = "a statement lets everybody in: its principal is `*`, or all but some"
            change = "Name the one OIDC provider as Principal, Federated."
            yield Finding(SUBJECT, CheckVerdict.WRONG, seen, change)
            continue
        if not isinstance(principal, Mapping):
            continue
        for other in listed(principal.get("AWS")) + listed(principal.get("Service")):
            seen = f"{other} may assume it too, without a job's token"
            change = "Remove that statement, unless somebody needs it: it is no job."
            yield Finding(SUBJECT, CheckVerdict.WARNING, seen, change)
        if not _allows(statement):
            continue
        for federated in map(str, listed(principal.get("Federated"))):
            found = True
            yield from _of_federated(statement, federated, issuers, providers or {})
    if not found:
        seen = "no statement lets a job's token in (sts:AssumeRoleWithWebIdentity, for an OIDC provider)"
        change = "Use cloudformation/caller-role.yaml, or another role."
        yield Finding(SUBJECT, CheckVerdict.WRONG, seen, change)


def _of_federated(
    statement: Mapping[str, Any],
    federated: str,
    issuers: Sequence[Issuer],
    providers: Mapping[str, Provider],
) -> Iterator[Finding]:
    _, marker, host = federated.partition(_PROVIDER)
    if not marker:
        seen = f"it trusts {federated}, which is no OIDC provider of a GitLab"
        yield Finding(SUBJECT, CheckVerdict.WARNING, seen, "Remove it, unless it is meant.")
        return
    if host == _GITHUB:
        seen = "it trusts GitHub's jobs too"
        yield Finding(SUBJECT, CheckVerdict.WARNING, seen, "Use a role of its own for GitHub.")
        return
    issuer = next((one for one in issuers if one.url == f"https://{host}"), None)
    yield of_issuer(host, issuers)
    conditions = list(_conditions(statement))
    yield from _of_keys(conditions, host)
    yield from _of_audience(conditions, host, issuer, providers.get(host))
    yield from _of_subject(conditions, host)


def of_issuer(host: str, issuers: Sequence[Issuer]) -> Finding:
    """Compare a provider's URL with the issuers: exactly, as STS compares it with `iss`."""
    url = f"https://{host}"
    if not issuers:
        seen = f"the provider is {url}; there is no gate file here to compare"
        return Finding(ISSUER, CheckVerdict.UNKNOWN, seen, "Use --gate.")
    if any(one.url == url for one in issuers):
        return Finding(ISSUER, CheckVerdict.OK, f"the provider is {url}, as in the gate file", compared=True)
    near = next(
        (one for one in issuers if one.url.rstrip("/").casefold() == url.rstrip("/").casefold()), None
    )
    if near is not None:
        what = "a slash at the end" if near.url.casefold() != url.casefold() else "upper and lower case"
        seen = f"the provider is {url}, and the gate file says {near.url}: only {what} differs"
        change = (
            f"Make the provider again with exactly {near.url}, the tokens' iss: its URL cannot be changed."
        )
        return Finding(ISSUER, CheckVerdict.WRONG, seen, change, compared=True)
    known = ", ".join(one.url for one in issuers[:3])
    seen = f"the provider is {url}, which is no issuer of the gate file: {known}"
    change = "Trust the provider of your GitLab, or add that issuer to the gate file."
    return Finding(ISSUER, CheckVerdict.WRONG, seen, change, compared=True)


def _of_keys(conditions: Sequence[_Condition], host: str) -> Iterator[Finding]:
    """Report conditions on what IAM does not read: they never hold, or always."""
    host = host.lower()
    for one in conditions:
        if one.host == host and one.claim not in _READ:
            key = f"{one.host}:{one.claim}"
            seen = f"{key} is a claim of GitLab's that IAM does not read"
        elif one.host != host and one.claim in ("sub", "aud"):
            key = f"{one.host}:{one.claim}"
            seen = f"{key} is a condition for another provider than {host}"
        else:
            continue
        effect = "so it restricts nothing" if one.optional or "not" in one.operator else "so it never holds"
        change = f"Write the condition on {host}:sub, whose value has the project's path and the ref."
        yield Finding(SUBJECT, CheckVerdict.WRONG, f"{seen}, {effect}", change)


def _of_audience(
    conditions: Sequence[_Condition], host: str, issuer: Issuer | None, provider: Provider | None
) -> Iterator[Finding]:
    own = [one for one in conditions if one.host == host.lower() and one.claim == "aud"]
    allowed = sorted({value for one in own if one.operator in _EXACT for value in one.values})
    open_values = [value for one in own if one.operator in _LIKE for value in one.values]
    negative = [one for one in own if "not" in one.operator]
    if any(re.search(r"[*?]", value) for value in open_values):
        seen = f"the trust policy takes every audience like {', '.join(open_values)}"
        yield Finding(AUDIENCE, CheckVerdict.WRONG, seen, f"Use StringEquals with one value for {host}:aud.")
        return
    allowed = sorted({*allowed, *open_values})
    source = "the trust policy"
    if not allowed or negative:
        if provider is None:
            seen = f"no condition says which {host}:aud is taken; the provider's client ids decide alone"
            yield Finding(AUDIENCE, CheckVerdict.WARNING, seen, f"Add StringEquals on {host}:aud.")
            return
        allowed, source = sorted(provider.client_ids), "only the provider, for all roles,"
    if provider is not None and not set(allowed) & set(provider.client_ids):
        taken = ", ".join(provider.client_ids) or "none"
        seen = f"{source} takes {', '.join(allowed)}, and the provider {taken}"
        change = (
            f"Add the audience to the provider: `aws iam add-client-id-to-open-id-connect-provider` ({host})."
        )
        yield Finding(AUDIENCE, CheckVerdict.WRONG, seen, change)
        return
    yield _judged(allowed, source, host, issuer)


def _judged(allowed: Sequence[str], source: str, host: str, issuer: Issuer | None) -> Finding:
    text = f"{source} takes {', '.join(allowed)}"
    one = f"Let jobs ask for an audience for STS alone (`sts_audience`), and take only that in {host}:aud."
    if issuer is not None and issuer.audience in allowed:
        seen = f"{text}: {issuer.audience} is also what Sluicegate takes, so one leaked token does for both"
        return Finding(AUDIENCE, CheckVerdict.WRONG, seen, one, compared=True)
    if issuer is not None and issuer.sts_audience and issuer.sts_audience not in allowed:
        seen = f"{text}, and the gate file's sts_audience is {issuer.sts_audience}"
        return Finding(AUDIENCE, CheckVerdict.WRONG, seen, "Make both the same.", compared=True)
    if any(value.rstrip("/") == f"https://{host}".rstrip("/") for value in allowed):
        return Finding(
            AUDIENCE, CheckVerdict.WARNING, f"{text}: jobs ask for GitLab's own URL elsewhere too", one
        )
    if "sts.amazonaws.com" in allowed:
        return Finding(AUDIENCE, CheckVerdict.WARNING, f"{text}, as the roles of every other account do", one)
    if len(allowed) > 1:
        return Finding(AUDIENCE, CheckVerdict.WARNING, f"{text}: more than one audience", one)
    if source != "the trust policy":
        return Finding(AUDIENCE, CheckVerdict.WARNING, f"{text}; the trust policy names none", one)
    return Finding(AUDIENCE, CheckVerdict.OK, text)


def _of_subject(conditions: Sequence[_Condition], host: str) -> Iterator[Finding]:
    """Report what `sub` lets in. Conditions must all hold: the narrowest counts. Values are alternatives."""
    own = [one for one in conditions if one.host == host.lower() and one.claim == "sub"]
    positive = [one for one in own if one.operator in _EXACT | _LIKE]
    example = "project_path:GROUP/PROJECT:ref_type:branch:ref:main"
    change = f"Compare {host}:sub by StringEquals with one value, such as {example}."
    if not positive:
        some = ", but for those that a negative condition names" if own else ""
        everybody = "everybody who has an account there" if host == "gitlab.com" else "each of its users"
        seen = f"no condition on {host}:sub: every job there may assume the role, of {everybody}{some}"
        yield Finding(SUBJECT, CheckVerdict.WRONG, seen, change)
        return
    narrowest = min((_widest(one, host) for one in positive), key=lambda found: _SEVERITY[found.verdict])
    never = [found for one in positive if (found := _all_never(one, host))]
    if never:
        narrowest = never[0]
    if narrowest.never:
        yield Finding(SUBJECT, CheckVerdict.WRONG, f"no job may assume the role: {narrowest.who}", change)
        return
    yield Finding(
        SUBJECT, narrowest.verdict, narrowest.who, "" if narrowest.verdict is CheckVerdict.OK else change
    )
    if any(one.optional for one in positive):
        seen = f"a condition on {host}:sub also holds without the claim (…IfExists or ForAllValues:)"
        yield Finding(SUBJECT, CheckVerdict.WARNING, seen, "Use StringEquals or StringLike as they are.")


def _widest(condition: _Condition, host: str) -> Reach:
    """Return the widest of a condition's alternatives; of those that can occur, if any can."""
    found = _reaches(condition, host)
    possible = [one for one in found if not one.never] or found
    return max(possible, key=lambda one: _SEVERITY[one.verdict])


def _reaches(condition: _Condition, host: str) -> list[Reach]:
    """Return what each value lets in. A policy variable can be anything, so it counts as a wildcard."""
    found = []
    for value in condition.values:
        text = _VARIABLE.sub("*", value)
        one = reach(text, host, wildcards=condition.operator in _LIKE or text != value)
        if condition.operator.endswith("ignorecase") and one.verdict is CheckVerdict.OK:
            seen = f"{one.who}, in upper and lower case: a developer can make a branch of another case"
            one = Reach(CheckVerdict.WARNING, seen)
        found.append(one)
    return found


def _all_never(condition: _Condition, host: str) -> Reach | None:
    found = _reaches(condition, host)
    return found[0] if found and all(one.never for one in found) else None


def _conditions(statement: Mapping[str, Any]) -> Iterator[_Condition]:
    for operator, keys in (statement.get("Condition") or {}).items():
        name = str(operator).lower()
        optional = name.endswith("ifexists") or name.startswith("forallvalues:")
        plain = name.removesuffix("ifexists").rpartition(":")[2]
        for key, values in keys.items() if isinstance(keys, Mapping) else ():
            host, _, claim = str(key).rpartition(":")
            texts = tuple(map(str, listed(values)))
            yield _Condition(plain, host.lower(), claim.lower(), texts, optional)


def _allows(statement: Mapping[str, Any]) -> bool:
    if "NotAction" in statement:
        return True
    actions = (str(action).lower() for action in listed(statement.get("Action")))
    return any(fnmatchcase(_ASSUME, action) for action in actions)


def _names_everybody(principal: Any) -> bool:
    return isinstance(principal, Mapping) and any("*" in listed(names) for names in principal.values())


def listed(value: Any) -> list[Any]:
    """Return an element of a policy as a list: IAM lets a single value stand without one."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
