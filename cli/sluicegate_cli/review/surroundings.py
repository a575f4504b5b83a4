"""What changes between two gate files beside rules and stages: denials, agents, issuers, people, webhooks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from sluicegate.gate.policy import Gate
from sluicegate.gate.principals import NEVER_AGENTS
from sluicegate.gate.rules import Deny
from sluicegate.oidc.identity import Identity, Issuer
from sluicegate_cli.review import stages, words
from sluicegate_cli.review.changes import About, Change, Effect, about_nothing

_T = TypeVar("_T")


def changes(old: Gate, new: Gate) -> Iterator[Change]:
    """Yield what changes beside the rules."""
    yield from _deny(old, new)
    yield from _agents(old, new)
    yield from stages.changes(old, new)
    yield from _issuers(old, new)
    yield from _people(old, new)
    yield from _others(old, new)


# Denials


def _deny(old: Gate, new: Gate) -> Iterator[Change]:
    issuers = words.issuer_names(old, new)
    for entries, known, effect, what in (
        (new.deny, old.deny, "less", "is refused from now on, whatever the rules say"),
        (old.deny, new.deny, "more", "is refused no longer: rules decide"),
    ):
        for entry in entries:
            if left := _not_denied(entry, known):
                text = f"{words.denied(left, issuers)} {what}"
                yield Change(_as_effect(effect), "deny", text, _denied_by(left))


def _not_denied(entry: Deny, known: Sequence[Deny]) -> Deny | None:
    """Return what of an entry the known ones do not refuse; of several claims, all or nothing."""
    if any(_denies_all(each, entry) for each in known):
        return None
    if len(entry.claims) > 1:
        return entry
    ((claim, values),) = entry.claims
    single = {value: Deny(entry.issuer, ((claim, (value,)),)) for value in values}
    left = [value for value, one in single.items() if not any(_denies_all(each, one) for each in known)]
    return Deny(entry.issuer, ((claim, tuple(left)),)) if left else None


def _denies_all(wide: Deny, narrow: Deny) -> bool:
    """Return whether one entry refuses all that another one does."""
    values = dict(narrow.claims)
    return wide.issuer == narrow.issuer and all(
        claim in values and set(values[claim]) <= set(denied) for claim, denied in wide.claims
    )


def _denied_by(entry: Deny) -> About:
    return lambda identity, *_: entry.matches(identity)


# Agents


def _agents(old: Gate, new: Gate) -> Iterator[Change]:
    issuers = words.issuer_names(old, new)
    # It takes rights from the agent, and lets any person approve what the agent asks for.
    approved = "any person may approve what it asks for"
    for one, other, what in (
        (new, old, f"counts as an agent from now on: it never may {_never()}, and {approved}"),
        (old, new, f"is an agent no longer: it may {_never()} by rules that grant it"),
    ):
        for user in sorted(one.principals.agent_users - other.principals.agent_users):
            yield Change(
                "both",
                "agent",
                f"{words.agent_user(*user, issuers)} {what}",
                lambda identity, *_, user=user: (identity.issuer, identity.text("user_id")) == user,
            )
        for key in sorted(one.principals.agent_principals - other.principals.agent_principals):
            yield Change(
                "both",
                "agent",
                f"AWS principal {key[1]} of account {key[0]} {what}",
                lambda identity, *_, key=key: _key(identity) == key,
            )


def _never() -> str:
    return words.either(map(words.verb, NEVER_AGENTS))


def _key(identity: Identity) -> tuple[str, str] | None:
    by = identity.principal
    return (by.account, by.principal_id) if by else None


# Issuers, people and the rest


def _issuers(old: Gate, new: Gate) -> Iterator[Change]:
    before, after = ({issuer.url: issuer for issuer in gate.issuers.values()} for gate in (old, new))
    for url in before.keys() - after.keys():
        yield Change("less", "issuer", f"tokens of {url} are accepted no longer", _of_issuer(url))
    for url, issuer in after.items():
        if (was := before.get(url)) is None:
            yield Change(
                "neither", "issuer", f"tokens of {url} are accepted, for the audience {issuer.audience}"
            )
        elif replace(was, name="") != replace(issuer, name=""):
            yield from (
                Change(effect, "issuer", f"{url}: {text}", about)
                for effect, text, about in _issuer(was, issuer)
            )


def _issuer(was: Issuer, now: Issuer) -> Iterator[tuple[Effect, str, About]]:
    about = _of_issuer(now.url)
    if was.audience != now.audience:
        yield "both", f"tokens must have the audience {now.audience}, and not {was.audience}", about
    if was.max_age != now.max_age:
        yield (*stages.age(was.max_age, now.max_age), about)
    if was.jwks != now.jwks:
        keys = "its keys are read from a file" if now.jwks else "its keys are fetched from it"
        yield "both", f"other keys are trusted: {keys}", about
    if was.sign_in != now.sign_in:
        effect: Effect = "less" if now.sign_in is None else "more" if was.sign_in is None else "both"
        what = f"the application {now.sign_in.client_id}" if now.sign_in else "nothing: nobody can"
        yield effect, f"people sign in by {what}", about_nothing
    if was.trusts_groups != now.trusts_groups:
        trusted = "groups may pin a rule for signed-in people"
        yield (
            ("more", trusted, about_nothing)
            if now.trusts_groups
            else ("less", f"no {trusted}", about_nothing)
        )
    if was.instance != now.instance:
        yield "both", f"it answers at {now.instance} (before: {was.instance})", about_nothing
    if was.sts_audience != now.sts_audience:
        yield "neither", f"tokens for AWS have the audience {now.sts_audience or 'of no name'}", about_nothing
    if was.feedback != now.feedback:
        yield "neither", "what it receives about deployments changes", about_nothing


def _of_issuer(url: str) -> About:
    return lambda identity, *_: identity.issuer == url


def _people(old: Gate, new: Gate) -> Iterator[Change]:
    was, now = ({each.name: each for each in gate.principals.people} for gate in (old, new))
    for name in sorted(was.keys() | now.keys()):
        if was.get(name) != now.get(name):
            what = "is new" if name not in was else "is gone" if name not in now else "has other identities"
            text = f"`people`: {name} {what}, by which an approver is compared with the requester"
            yield Change("both", "person", text)
    for roles, effect, what in (
        (new.principals.sso - old.principals.sso, "more", "are persons from now on"),
        (old.principals.sso - new.principals.sso, "less", "are persons no longer"),
    ):
        for role in sorted(roles, key=lambda each: each.principal_id):
            text = f"sessions of role {role.principal_id} of account {role.account} {what}"
            yield Change(_as_effect(effect), "person", text)


def _others(old: Gate, new: Gate) -> Iterator[Change]:
    for name, effect in _named(old.webhooks, new.webhooks):
        what = {"more": "is new", "less": "is gone"}.get(effect, "changes what it takes or deploys")
        yield Change(effect, "webhook", f"the webhook {name} {what}")
    used = {stage.target.name for gate in (old, new) for stage in gate.stages.values()}
    for name, _ in _named(old.targets, new.targets):
        if name not in used:
            yield Change("neither", "other", f"the target {name}, which no stage uses, changes")
    notified = ({each.name: each for each in gate.notifications} for gate in (old, new))
    for name, effect in _named(*notified):
        what = {"more": "is new", "less": "is gone"}.get(effect, "changes")
        yield Change("neither", "other", f"the notification {name} {what}")


def _named(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, Effect]]:
    for name in sorted(was.keys() | now.keys()):
        if was.get(name) != now.get(name):
            yield name, "more" if name not in was else "less" if name not in now else "both"


def _as_effect(text: str) -> Effect:
    return "more" if text == "more" else "less"
