"""What changes between two gate files: one sentence for each change, and which requests it is about."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from sluicegate.oidc.identity import Identity

Effect = Literal["more", "less", "both", "neither"]
"""Whether more is possible than before, or less stands between; or the other way round."""

ChangeKind = Literal["right", "limit", "deny", "agent", "stage", "issuer", "person", "webhook", "other"]

About: TypeAlias = Callable[[Identity, Collection[str], str, str], bool]
"""Whether a change is about a request: identity, actions, function, stage."""


def about_nothing(*_: object) -> bool:
    """Return False: no request is decided otherwise."""
    return False


@dataclass(frozen=True)
class Change:
    """One change. `about` says which requests may be decided otherwise by it."""

    effect: Effect
    kind: ChangeKind
    text: str
    about: About = field(default=about_nothing, compare=False, repr=False)

    @property
    def document(self) -> dict[str, Any]:
        """What `--json` prints of it."""
        return {"effect": self.effect, "kind": self.kind, "text": self.text}


_WORDS: Final[dict[Effect, str]] = {
    "more": "grants more",
    "less": "grants less",
    "both": "both",
    "neither": "neither",
}


def verdict(changes: Iterable[Change]) -> str:
    """Return the word for a reviewer: `grants more`, `grants less`, `both`, `neither`."""
    return _WORDS[total({change.effect for change in changes})]


def total(effects: Collection[Effect]) -> Effect:
    """Return the effect of several together."""
    more, less = ({"both", effect} & set(effects) for effect in ("more", "less"))
    return "both" if more and less else "more" if more else "less" if less else "neither"
