"""What a decision rests on: who asked, with which claims, by which rule of which gate file.

Claims are kept as they were, so that `sluicegate replay` can decide again. Personal ones are not
(security.md#evidence).
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sluicegate.evidence.line import canonical
from sluicegate.oidc.identity import Actor, ClaimValue, Identity, Principal

MAX_CLAIMS: Final = 6_144
"""Bytes of all claims as JSON. The longest are left out first."""

_MAX_NAMES: Final = 100
"""Names of claims that are listed as withheld."""

PERSONAL: Final = frozenset({"email", "name", "session_name", "user_email", "user_login"})
"""Claims that name a person. `user_id` stays: it says who it was to those who can look it up."""

_VOCABULARY: Final = frozenset(
    {
        "deployment_tier",
        "environment_action",
        "environment_protected",
        "job_source",
        "pipeline_source",
        "principal_type",
        "project_visibility",
        "ref_protected",
        "ref_type",
        "runner_environment",
        "user_access_level",
    }
)
"""Claims whose values are GitLab's or AWS's own words, or numbers: none of them is somebody's name."""


@dataclass(frozen=True)
class Basis:
    """`gate` is the digest of gate.json, `actions` are all that one rule had to grant.

    `rule` is None where none did. `withheld` names the claims that there were and that are not kept. `age` is
    that of the token in seconds, None where nothing tells.
    """

    gate: str
    actions: tuple[str, ...]
    via: str
    actor: str
    by: Mapping[str, str]
    claims: Mapping[str, ClaimValue]
    withheld: tuple[str, ...]
    rule: str | None = None
    age: int | None = None
    agent: bool = False

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of a line."""
        return {
            "gate": self.gate,
            "rule": self.rule,
            "actions": list(self.actions),
            "via": self.via,
            "actor": self.actor,
            "by": dict(self.by),
            "claims": dict(self.claims),
            "withheld": list(self.withheld) or None,
            "age": self.age,
            "agent": self.agent or None,
        }


def basis(
    identity: Identity,
    *,
    gate: str,
    actor: Actor,
    actions: Sequence[str],
    rule: str | None,
    now: float,
) -> Basis:
    """Return what is kept of an identity, and of what was asked with it."""
    claims, withheld = _kept(identity)
    return Basis(
        gate=gate,
        actions=tuple(actions),
        via=identity.via,
        actor=actor,
        by=ids(identity),
        claims=claims,
        withheld=withheld,
        rule=rule,
        age=max(0, int(now - identity.issued_at)) if identity.issued_at else None,
        agent=identity.agent,
    )


def ids(identity: Identity) -> dict[str, str]:
    """Return the ids of an identity: enough to find who it was, and to tell any two apart."""
    found: dict[str, str | None] = {
        "issuer": identity.issuer,
        "webhook": identity.webhook,
        **{name: identity.text(name) for name in ("project_id", "user_id", "pipeline_id", "job_id")},
    }
    if identity.principal:
        by = identity.principal
        found |= {"account": by.account, "principal_id": by.principal_id, "session": session_digest(by)}
    return {name: value for name, value in found.items() if value}


def session_digest(principal: Principal) -> str | None:
    """Return what stands for a session's name, which is often an e-mail address: the same for the same name.

    With the name, an auditor finds its entries; with the entries alone, the name must be guessed.
    """
    if not principal.session_name:
        return None
    known = ("session", principal.account, principal.principal_id, principal.session_name)
    return hashlib.sha256(canonical(known).encode()).hexdigest()[:32]


def _kept(identity: Identity) -> tuple[dict[str, ClaimValue], tuple[str, ...]]:
    """Return the claims that are kept, and the names of the others."""
    names = _names(identity)
    kept = {
        claim: value
        for claim, value in identity.claims.items()
        if claim not in PERSONAL and not (claim not in _VOCABULARY and _has_name(value, names))
    }
    sizes = {claim: len(canonical({claim: value})) for claim, value in kept.items()}
    excess = sum(sizes.values()) - MAX_CLAIMS
    for claim in sorted(sizes, key=lambda one: (-sizes[one], one)):
        if excess <= 0:
            break
        del kept[claim]
        excess -= sizes[claim]
    return kept, tuple(sorted(identity.claims.keys() - kept.keys())[:_MAX_NAMES])


def _names(identity: Identity) -> tuple[re.Pattern[str], ...]:
    """Return patterns of the caller's login and addresses, as words: a path or a branch may have them too."""
    given = {identity.text(claim) for claim in PERSONAL}
    found = {name.casefold() for name in given if name}
    found |= {name.partition("@")[0] for name in found if "@" in name}
    return tuple(re.compile(rf"(?<![0-9a-z]){re.escape(name)}(?![0-9a-z])") for name in found if name)


def _has_name(value: ClaimValue, names: tuple[re.Pattern[str], ...]) -> bool:
    texts = (value,) if isinstance(value, str) else value
    return any(name.search(text.casefold()) for name in names for text in texts if not text.isdecimal())
