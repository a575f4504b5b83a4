"""Rules and `deny` entries: whom they match, and what a rule grants."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from sluicegate.gate.patterns import Pattern
from sluicegate.oidc.claims import LISTS
from sluicegate.oidc.identity import Identity, Via

RuleAction = Literal[
    "deploy",
    "promote",
    "rollback",
    "approve",
    "reject",
    "abort",
    "hold",
    "read",
    "override-strategy",
    "fix-forward",
    "end-sessions",
]
ACTIONS: tuple[RuleAction, ...] = get_args(RuleAction)

# Ids alone: a path can be freed and taken by somebody else, a developer writes `environment`, a project
# chooses what `sub` is made of, and `job_project_*` say where a job ran, not whose it is.
PINS = ("project_id", "namespace_id")
PRINCIPAL_PINS = ("principal_id",)
SESSION_PINS = ("user_id", "email", "groups_direct")
PINS_OF: Mapping[Via, tuple[str, ...]] = {
    "id_token": PINS,
    "iam": PRINCIPAL_PINS,
    "iam+id_token": PINS,
    "webhook": PINS,
    "session": SESSION_PINS,
}
"""The claims of which a rule pins one, by its way in."""

DENIABLE = ("project_id", "user_id", "pipeline_id", "jti")
DENIABLE_PRINCIPAL = ("account", "principal_id", "session_name", "access_key")
FOLDED = frozenset({"project_path", "namespace_path"})


@dataclass(frozen=True)
class Failed:
    """A claim that a rule wanted otherwise, and what the caller's was; None where it has no such claim."""

    claim: str
    value: str | None


@dataclass(frozen=True)
class Hours:
    """When a rule lets deployments begin: on `days` from `start` to `end`, minutes of the day in `zone`.

    `zone` is a name of the IANA time zone database; days are `mon` to `sun`.
    """

    zone: str
    days: tuple[str, ...]
    start: int
    end: int


@dataclass(frozen=True)
class RuleLimits:
    """What a rule's identity may use up or reach.

    `per_hour` and `per_day` count deployments; `unapproved_percent` is the largest share of traffic without
    an approval; with `propose`, everything that it asks for waits for a person.
    """

    per_hour: int | None = None
    per_day: int | None = None
    unapproved_percent: int | None = None
    hours: Hours | None = None
    propose: bool = False


@dataclass(frozen=True)
class Rule:
    """Grants actions on functions in stages to identities whose claims match, each by any of its patterns.

    `issuer` is empty for a rule with `via: iam`, which no GitLab vouches for.
    """

    name: str
    issuer: str
    via: Via
    claims: tuple[tuple[str, tuple[Pattern, ...]], ...]
    actions: frozenset[str]
    functions: tuple[Pattern, ...]
    stages: tuple[str, ...]
    limits: RuleLimits | None = None

    def pinned(self, claim: str) -> tuple[str, ...]:
        """The only values that the claim may have; none where the rule leaves it open or gives a wildcard."""
        values = dict(self.claims).get(claim, ())
        return tuple(value.text for value in values) if all(value.exact for value in values) else ()

    @property
    def asks_a_person(self) -> bool:
        """Whether it pins what a rule that approves must: a project, its protected refs, and the button.

        With `via: iam` that is the name of a session; `principals.excess` sees to it that the role is one of
        Identity Center's. A signed-in person is one.
        """
        if self.via == "session":
            return True
        if self.via == "iam":
            return bool(self.pinned("session_name"))
        return (
            bool(self.pinned("project_id"))
            and self.pinned("ref_protected") == ("true",)
            and self.pinned("pipeline_source") == ("web",)
        )

    def failed(self, identity: Identity) -> tuple[Failed, ...]:
        """The claims that do not match, in the rule's order. For identities of the rule's issuer and via."""
        return tuple(
            Failed(claim, _shown(identity, claim))
            for claim, wanted in self.claims
            if not any(pattern.matches(value) for value in values(identity, claim) for pattern in wanted)
        )

    def grants(self, actions: Collection[str], function: str, stage: str | None) -> bool:
        """Whether it grants all of the actions on the function in the stage. Each action includes reading."""
        return (
            all(action in self.actions or action == "read" for action in actions)
            and (stage is None or stage in self.stages)
            and any(pattern.matches(function) for pattern in self.functions)
        )


@dataclass(frozen=True)
class Deny:
    """Refuses the identities that have one of the values for every claim given.

    They are an issuer's or, with an empty `issuer`, principals.
    """

    issuer: str
    claims: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def kind(self) -> str:
        """The names of its claims."""
        return ", ".join(claim for claim, _ in self.claims)

    def matches(self, identity: Identity) -> bool:
        """Whether it refuses this identity."""
        if self.issuer and identity.issuer != self.issuer:
            return False
        return all(deniable(identity, claim) in values for claim, values in self.claims)


def values(identity: Identity, claim: str) -> tuple[str, ...]:
    """What a rule reads of a claim. Of a list one element is enough, but only where GitLab means it so."""
    value = identity.claims.get(claim)
    if isinstance(value, str):
        return (value,)
    return value if isinstance(value, tuple) and claim in LISTS else ()


def _shown(identity: Identity, claim: str) -> str | None:
    return ", ".join(values(identity, claim)) if claim in identity.claims else None


def deniable(identity: Identity, claim: str) -> str | None:
    """What `deny` reads of an identity, for one of DENIABLE or DENIABLE_PRINCIPAL."""
    if claim in DENIABLE_PRINCIPAL:
        principal = identity.principal
        if principal is None:
            return None
        return principal.access_key if claim == "access_key" else principal.claims.get(claim)
    return identity.jti if claim == "jti" else identity.text(claim)
