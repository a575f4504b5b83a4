"""What lists of deployments read: only what the caller can see, by project and function.

security.md#visibility
"""

import heapq
from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

from sluicegate.deployment.model import Deployment
from sluicegate.gate.policy import Gate
from sluicegate.oidc.identity import Identity
from sluicegate.store.deployments import DeploymentSummary, Index
from sluicegate.store.keys import ALL_DEPLOYMENTS, owner_key

MAX_INDEXES: Final = 8
"""Functions that a caller's rules name, each read from its index. With more, all deployments are read."""

T = TypeVar("T", Deployment, DeploymentSummary)


def indexes_of(gate: Gate, identity: Identity, function: str | None = None) -> list[tuple[Index, str]]:
    """Return the narrowest indexes, with a key of each, that have all deployments the caller may see.

    Those are the caller's own, and those of functions that its rules name. A rule with a pattern can only be
    followed through all deployments. With a function, they have all of its deployments that the caller may
    see. What else they have is left out later.
    """
    granted = [
        pattern
        for rule in gate.rules_of(identity)
        for pattern in rule.functions
        if function is None or pattern.matches(function)
    ]
    own: tuple[Index, str] = ("by_project", owner_key(identity.owner))
    if not granted:
        return [own]
    if function is not None:
        return [("by_function", function)]
    names = sorted({pattern.text for pattern in granted if pattern.exact})
    if not all(pattern.exact for pattern in granted) or len(names) > MAX_INDEXES:
        return [("by_time", ALL_DEPLOYMENTS)]
    return [own, *(("by_function", name) for name in names)]


def merged(lists: Iterable[Iterable[T]]) -> Iterator[T]:
    """Yield the deployments of several lists, the newest first, each once: a caller's own are in two."""
    last = ""
    for deployment in heapq.merge(*lists, key=lambda one: one.id, reverse=True):
        if deployment.id != last:
            yield deployment
        last = deployment.id
