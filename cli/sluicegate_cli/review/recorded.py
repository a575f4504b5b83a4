"""Decide a recorded request again, by another gate file, from a line of the evidence.

The evidence keeps what rules read, but for claims that name a person (docs/reference/evidence.md). Where the
answer depends on one of those, it cannot be decided. A session's name is compared by its digest.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, cast, get_args

from sluicegate.deployment.durations import duration, seconds
from sluicegate.evidence.basis import session_digest
from sluicegate.gate import hours
from sluicegate.gate.model import Placement
from sluicegate.gate.patterns import Pattern
from sluicegate.gate.policy import Gate
from sluicegate.gate.principals import NEVER_AGENTS, Principals
from sluicegate.gate.rule_codec import first_pin
from sluicegate.gate.rules import PINS_OF, Deny, Rule, deniable, values
from sluicegate.oidc.identity import Identity, Principal, PrincipalType, Via
from sluicegate_cli.review import words

_BEGINNING: Final = frozenset({"deploy", "promote"})
_CHANGING: Final = frozenset({"deploy", "promote", "rollback"})
_MOST_NAMES: Final = 100
"""Names of withheld claims that a line has at most: with so many, more may be withheld."""

NEVER_KEPT: Final = ("jti", "access_key")
"""What `deny` can read, and no line has."""


@dataclass(frozen=True)
class RecordedRequest:
    """A request, as its line has it. `function` is None for a hold, `stage` for an upload.

    `age` is that of the token, in seconds; `time` in epoch seconds.
    """

    line: Mapping[str, Any]
    principals: Principals

    @classmethod
    def of(cls, line: Mapping[str, Any], principals: Principals) -> "RecordedRequest | None":
        """Return the request that a line is about; None where nobody asked, or the line has too little.

        `principals` say which roles are those of persons, in the gate file that decides again.
        """
        asked = line.get("actions") and line.get("by") and line.get("via") in get_args(Via)
        return cls(line, principals) if asked and (line.get("stage") or line.get("function")) else None

    @property
    def actions(self) -> tuple[str, ...]:
        """All that one rule must grant."""
        return tuple(self.line["actions"])

    @property
    def function(self) -> str | None:
        """The function, where it is about one."""
        return self.line.get("function")

    @property
    def stage(self) -> str | None:
        """The stage, where it is about one."""
        return self.line.get("stage")

    @property
    def time(self) -> float:
        """When it was decided."""
        return seconds(str(self.line["time"]))

    @property
    def session(self) -> str | None:
        """The digest of the session's name."""
        return cast("str | None", self.line["by"].get("session"))

    def withholds(self, claim: str) -> bool:
        """Return whether the caller may have had a claim that the line has not."""
        names = self.line.get("withheld", ())
        return claim in names or (claim not in self.line.get("claims", {}) and len(names) >= _MOST_NAMES)

    @cached_property
    def identity(self) -> Identity:
        """The caller, without what is withheld."""
        by, claims = self.line["by"], self.line.get("claims", {})
        kept = {name: value if isinstance(value, str) else tuple(value) for name, value in claims.items()}
        principal = None
        if "principal_id" in by:
            key = str(by.get("account", "")), str(by["principal_id"])
            kind, org = str(kept.get("principal_type", "role")), claims.get("org")
            if kind != "user":
                kind = "sso" if self.principals.is_sso(*key, org) else "role"
            kept |= {"principal_type": kind} if "principal_type" in kept else {}
            principal = Principal(*key, cast("PrincipalType", kind), "", "", role=claims.get("role"), org=org)
        return Identity(
            via=self.line["via"],
            issuer=str(by.get("issuer", "")),
            claims=kept,
            jti=None,
            issued_at=0,
            expires_at=0,
            webhook=by.get("webhook"),
            principal=principal,
            agent=bool(self.line.get("agent")),
        )


@dataclass(frozen=True)
class Redecision:
    """What a gate file says to a recorded request.

    Allowed by one of `rules`: of several, what is withheld decides which. `unknown` are the withheld claims
    on which it depends whether it is allowed. `approval`: whether it waits for a person; None if that
    depends on them, too.
    """

    allowed: bool | None
    rules: tuple[Rule, ...] = ()
    reason: str = ""
    unknown: tuple[str, ...] = ()
    approval: bool | None = None


class Redecider:
    """Decides recorded requests by a gate file. Rules are found by what they pin, as the gate finds them."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self._places: dict[tuple[str, str], Placement | None] = {}
        self._by_pin: dict[tuple[str, str, str, str], list[int]] = {}
        self._by_claim: dict[tuple[str, str, str], list[int]] = {}
        for number, rule in enumerate(gate.rules):
            claim, pinned = first_pin(rule)
            self._by_claim.setdefault((rule.issuer, rule.via, claim), []).append(number)
            for value in pinned:
                self._by_pin.setdefault((rule.issuer, rule.via, claim, value), []).append(number)

    def decide(self, request: RecordedRequest) -> Redecision:
        """Decide a request again. Limits on numbers are not looked at: they depend on other requests."""
        gate, place = self.gate, self._place(request)
        if reason := _refused_before_rules(gate, request, place):
            return Redecision(False, reason=reason)
        denied = frozenset(_denied(gate.deny, request))
        if "" in denied:
            return Redecision(False, reason="an entry of `deny` refuses the caller")
        unknown, found, certain = set(denied), [], False
        for rule in self._candidates(request):
            missing = _missing(rule, request) if _grants(rule, request) else None
            if missing is not None:
                found.append(rule)
                unknown |= missing
                certain = not missing
            if certain:
                break
        if not found:
            return Redecision(False, reason="no rule grants it")
        if not _leaves(gate, request):
            return Redecision(False, reason="the caller is an agent, and agents may not do this there")
        if denied or not certain:
            return Redecision(None, tuple(found), unknown=tuple(sorted(unknown)))
        return _allowed(gate, request, tuple(found), place)

    def _place(self, request: RecordedRequest) -> Placement | None:
        if request.function is None or request.stage is None:
            return None
        key = request.function, request.stage
        if key not in self._places:
            self._places[key] = self.gate.place(*key)
        return self._places[key]

    def _candidates(self, request: RecordedRequest) -> list[Rule]:
        """Return the rules that can match, in the gate file's order."""
        identity, found = request.identity, set()
        for claim in PINS_OF[identity.via]:
            if request.withholds(claim):
                found |= {*self._by_claim.get((identity.issuer, identity.via, claim), ())}
            for value in values(identity, claim):
                found |= {*self._by_pin.get((identity.issuer, identity.via, claim, value), ())}
        return [self.gate.rules[number] for number in sorted(found)]


def _refused_before_rules(gate: Gate, request: RecordedRequest, place: Placement | None) -> str:
    """Return why it is refused whatever rules say; empty if it is not."""
    identity = request.identity
    issuer = gate.issuers.get(identity.issuer)
    if identity.issuer and issuer is None:
        return f"{identity.issuer} is no issuer"
    if issuer and identity.via == "session" and issuer.sign_in is None:
        return f"nobody signs in with {issuer.url}"
    if request.stage is not None and request.stage not in gate.stages:
        return f"there is no stage {request.stage}"
    if identity.via == "webhook":
        hook = gate.webhooks.get(identity.webhook or "")
        if hook is None or (hook.function, hook.stage) != (request.function, request.stage):
            return f"no webhook {identity.webhook} deploys {request.function} to {request.stage}"
    # An upload is for no stage.
    if request.stage is not None and place is None and _CHANGING & set(request.actions):
        return f"no entry of `functions` matches {request.function}"
    return _age(request, issuer.max_age if issuer else None, place)


def _age(request: RecordedRequest, of_issuer: int | None, place: Placement | None) -> str:
    age, of_stage = request.line.get("age"), place.max_age if place else None
    if age is None:
        if of_stage is not None and request.identity.via == "iam" and _BEGINNING & set(request.actions):
            return "the stage has a maximum age, and nothing tells that of AWS credentials"
        return ""
    if request.identity.via == "session":  # its issuer's limit is for tokens of jobs
        of_issuer = None
    limits = [limit for limit in (of_issuer, of_stage) if limit is not None]
    late = bool(limits) and age > min(limits)
    return f"the token was {age} s old, and {duration(min(limits))} is the limit" if late else ""


def _denied(entries: Iterable[Deny], request: RecordedRequest) -> Iterable[str]:
    """Yield an empty text where an entry refuses the caller, and withheld claims on which that depends."""
    for entry in entries:
        if entry.issuer and entry.issuer != request.identity.issuer:
            continue
        if any(claim in NEVER_KEPT for claim, _ in entry.claims):
            continue
        missing: set[str] = set()
        for claim, wanted in entry.claims:
            matches = _is_denied(request, claim, wanted)
            if matches is False:
                break
            missing |= {claim} if matches is None else set()
        else:
            yield from missing or ("",)


def _is_denied(request: RecordedRequest, claim: str, wanted: Collection[str]) -> bool | None:
    if claim == "session_name":
        return _is_session(request, wanted)
    if deniable(request.identity, claim) in wanted:
        return True
    return None if request.withholds(claim) else False


def _grants(rule: Rule, request: RecordedRequest) -> bool:
    if request.function is None:
        return set(request.actions) <= rule.actions and request.stage in rule.stages
    return rule.grants(request.actions, request.function, request.stage)


def _missing(rule: Rule, request: RecordedRequest) -> set[str] | None:
    """Return the withheld claims on which it depends whether the rule matches; None if it does not."""
    missing: set[str] = set()
    for claim, wanted in rule.claims:
        matches = _matches(request, claim, wanted)
        if matches is False:
            return None
        missing |= {claim} if matches is None else set()
    return missing


def _matches(request: RecordedRequest, claim: str, wanted: Collection[Pattern]) -> bool | None:
    if any(pattern.matches(value) for value in values(request.identity, claim) for pattern in wanted):
        return True
    if claim == "session_name" and all(pattern.exact for pattern in wanted):
        return _is_session(request, [pattern.text for pattern in wanted])
    return None if request.withholds(claim) else False


def _is_session(request: RecordedRequest, names: Collection[str]) -> bool:
    principal = request.identity.principal
    if principal is None or request.session is None:
        return False
    named = (
        Principal(principal.account, principal.principal_id, "role", "", "", session_name=name)
        for name in names
    )
    return any(session_digest(one) == request.session for one in named)


def _leaves(gate: Gate, request: RecordedRequest) -> bool:
    """Return whether an agent may have it: never some actions, and what its stage allows."""
    if gate.principals.actor(request.identity) != "agent":
        return True
    asked = set(request.actions) - {"read"}
    demands = gate.stages[request.stage].agents if request.stage else None
    return not asked & set(NEVER_AGENTS) and (demands is None or asked <= demands.actions)


def _allowed(
    gate: Gate, request: RecordedRequest, rules: tuple[Rule, ...], place: Placement | None
) -> Redecision:
    beginning = request.line["kind"] == "accepted" and _BEGINNING & set(request.actions)
    closed = [
        rule.limits.hours
        for rule in rules
        if beginning
        and rule.limits
        and rule.limits.hours
        and not hours.is_open(rule.limits.hours, request.time)
    ]
    if len(closed) == len(rules):
        return Redecision(False, rules, f"rule {rules[0].name!r} begins deployments {words.hours(closed[0])}")
    waits = {_waits(gate, request, rule, place) for rule in rules}
    return Redecision(True, rules, approval=waits.pop() if len(waits) == 1 else None)


def _waits(gate: Gate, request: RecordedRequest, rule: Rule, place: Placement | None) -> bool:
    """Return whether it waits for a person's approval before some of the traffic."""
    agents = place.agents if place else None
    by_agent = gate.principals.actor(request.identity) == "agent"
    proposed = bool(rule.limits and rule.limits.propose) or bool(agents and agents.propose and by_agent)
    if proposed or (by_agent and "fix-forward" in request.actions):
        return True
    if "rollback" in request.actions:
        return False
    unapproved = rule.limits.unapproved_percent if rule.limits else None
    return unapproved is not None or bool(place and place.approval is not None)
