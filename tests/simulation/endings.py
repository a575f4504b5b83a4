"""What must hold when a deployment ends, and once faults have stopped and all have ended (14 to 16)."""

from collections.abc import Callable, Iterator
from typing import Final

from simulation.ledger import Ledger, Story, serves
from simulation.world import World
from sluicegate.deployment.model import AliasOutcome, AliasState, Status

Ending = Callable[[World, Ledger], Iterator[str]]


def outcome_is_true(at: World, ledger: Ledger, story: Story) -> Iterator[str]:
    """16. Not succeeded means the alias as found, or left to somebody else; and the record says which."""
    record, alias = story.record, story.alias
    now = at.lambdas.state_of(*alias)
    by_hand = ledger.moved_by_hand_since(alias, story.accepted_at)
    where = f"{record.id} is {record.status}, {record.outcome}, and {':'.join(alias)} serves {now}"
    if record.status is Status.SUCCEEDED:
        if record.outcome is not AliasOutcome.MOVED:
            yield where
        if now != serves(AliasState(record.version or "")) and not by_hand:
            yield where
        return
    match record.outcome:
        case AliasOutcome.UNTOUCHED:
            if story.moved and story.left != story.found and not by_hand:
                yield f"{where}, which served {story.found} before"
        case AliasOutcome.RESTORED | AliasOutcome.REMOVED:
            before = story.found if story.moved else serves(record.original)
            if now != before and not by_hand:
                yield f"{where}, and {before} before"
        case AliasOutcome.LEFT_TO_OTHER:
            # An alias that was not read may have been moved before: since the deployment that left it.
            if not by_hand and not (record.unseen and ledger.moved_by_hand_since(alias, 0)):
                yield f"{where}, which nobody else has moved"
        case AliasOutcome.NOT_RESTORED:
            if not at.pruned:
                yield where
        case AliasOutcome.UNKNOWN:
            if record.attempt < 5:
                yield where
        case _:
            yield where


def all_final(_: World, ledger: Ledger) -> Iterator[str]:
    """14. Everything is final."""
    for story in ledger.stories.values():
        if not story.record.status.final:
            yield f"{story.record.id} is {story.record.status}: {story.record.timeline[-1].message}"


def nothing_left(at: World, _: Ledger) -> Iterator[str]:
    """15. No lock is left."""
    for key in at.table.items:
        if key[0].startswith("lock#"):
            yield f"{key} is left"


def nobody_failed(_: World, ledger: Ledger) -> Iterator[str]:
    """14. No execution was given up: few enough of them died."""
    for story in ledger.stories.values():
        reason = story.record.reason
        if reason is not None and reason.code == "engine_failed":
            yield f"{story.record.id} ended as {reason.code}"


ENDINGS: Final[tuple[Ending, ...]] = (all_final, nothing_left, nobody_failed)
