"""What the board's lists read for a viewer: as in the API, only what the viewer can see (`gateway.lists`).

Aliases, holds and what is under way are read once for all people whom a rule names. For a person whom none
names, nothing is read but what that person has asked for.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from sluicegate.board.reads import MAX_FIGURES, Reads
from sluicegate.board.visibility import Visibility
from sluicegate.gateway.lists import indexes_of, merged
from sluicegate.owner import Owner
from sluicegate.store.deployments import DeploymentSummary, Index, UnfinishedDeployment
from sluicegate.store.holds import Hold
from sluicegate.store.keys import owner_key
from sluicegate.store.serving import Serving, ServingPlace, place_of

MAX_EXAMINED: Final = 1_000
"""Deployments that one page goes through at most, visible or not."""

MAX_ALIASES: Final = 100
"""Aliases that a viewer sees, each of them read for a project's page; with more, the project's own are."""


def newest(
    reads: Reads, viewer: Visibility, function: str | None = None, before: str | None = None
) -> Iterator[DeploymentSummary]:
    """Yield deployments that the viewer sees, of one function or all, newest first, of before an id."""
    found = _examined(reads, indexes_of(viewer.gate, viewer.identity, function), before)
    return (one for one in found if function in (None, one.function) and viewer.sees(one))


def newest_by(reads: Reads, viewer: Visibility, owner: Owner, *, serves: bool) -> Iterator[DeploymentSummary]:
    """Yield deployments of one project that the viewer sees; `serves`: something of it that the viewer sees.

    Else they are looked for among all that the viewer sees. So a page about a project of which that is
    nothing costs as much as one about no project.
    """
    if not serves:
        return (one for one in newest(reads, viewer) if one.requester.owner == owner)
    found = _examined(reads, [("by_project", owner_key(owner))], None)
    return (one for one in found if viewer.sees(one))


def since(reads: Reads, viewer: Visibility, days: int) -> tuple[list[DeploymentSummary], bool]:
    """Return the deployments of so many days that the viewer sees, and whether that may not be all."""
    indexes = indexes_of(viewer.gate, viewer.identity)
    found = list(islice(merged(reads.since(days, *each) for each in indexes), MAX_FIGURES))
    return viewer.visible(found), len(found) == MAX_FIGURES


def unfinished(reads: Reads, viewer: Visibility) -> list[UnfinishedDeployment]:
    """Return the deployments under way that the viewer sees, in the order of `Reads.unfinished`."""
    if viewer.rules:
        return [one for one in reads.unfinished() if viewer.sees_unfinished(one)]
    return [
        UnfinishedDeployment(one.id, one.status, one.function, one.stage, owner_key(one.requester.owner))
        for one in newest(reads, viewer)
        if not one.status.final
    ]


def places(reads: Reads, viewer: Visibility) -> set[ServingPlace]:
    """Return the aliases that the viewer sees."""
    own = {place_of(one) for one in reads.serving_by(viewer.identity.owner)}
    return own | {place for place in (reads.places() if viewer.rules else ()) if viewer.sees_place(place)}


def serving_by(reads: Reads, viewer: Visibility, owner: Owner) -> list[Serving]:
    """Return what aliases serve by deployments of a project, as far as the viewer sees it.

    Who sees few aliases does not learn by the time that it takes whether others are the project's.
    """
    seen = places(reads, viewer)
    if len(seen) > MAX_ALIASES:
        return viewer.visible(reads.serving_by(owner))
    return [one for one in viewer.visible(reads.serving(seen).values()) if one.requester.owner == owner]


def holds(reads: Reads, viewer: Visibility) -> list[Hold]:
    """Return the holds that the viewer sees."""
    return [hold for hold in (reads.holds() if viewer.rules else ()) if viewer.sees_hold(hold)]


def _examined(
    reads: Reads, indexes: Iterable[tuple[Index, str]], before: str | None
) -> Iterator[DeploymentSummary]:
    lists = [_chunks(reads, index, key, before) for index, key in indexes]
    return islice(merged(lists), MAX_EXAMINED)


def _chunks(reads: Reads, index: Index, key: str, before: str | None) -> Iterator[DeploymentSummary]:
    """Yield deployments, reading one held chunk after another as they are needed."""
    while chunk := reads.chunk(index, key, before or None):
        yield from chunk
        before = chunk[-1].id
