"""What has happened so far, as the checks need it: from changes alone, never from what the code says."""

from collections import defaultdict
from dataclasses import dataclass, field

from simulation.lambdas import AliasServes, Move
from sluicegate.deployment.model import AliasState, Deployment, Status

Alias = tuple[str, str]
"""A function and an alias."""


@dataclass
class Story:
    """One deployment: its record, the statuses that it had, and what it did to its alias.

    `found` is what the alias served before the first change, and `left` after the last one.
    """

    record: Deployment
    statuses: list[Status] = field(default_factory=list)
    first: Deployment | None = None
    moved: bool = False
    found: AliasServes = None
    left: AliasServes = None
    applied: set[AliasServes] = field(default_factory=set)
    accepted_at: float = 0.0
    final_at: float | None = None
    written_at: float = 0.0

    @property
    def alias(self) -> Alias:
        return self.record.function, self.record.plan.alias


@dataclass
class Ledger:
    """`by_hand` are the times at which somebody else moved an alias, `foreign` what they made it serve."""

    stories: dict[str, Story] = field(default_factory=dict)
    serves: dict[Alias, AliasServes] = field(default_factory=dict)
    by_hand: dict[Alias, list[tuple[float, AliasServes]]] = field(default_factory=lambda: defaultdict(list))
    foreign: dict[Alias, set[str]] = field(default_factory=lambda: defaultdict(set))
    restarts: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def of(self, deployment: str | None) -> Story | None:
        """Return the story of a deployment, or None."""
        return self.stories.get(deployment) if deployment else None

    def moved_by_hand_since(self, alias: Alias, at: float) -> bool:
        """Return whether somebody else has moved the alias since."""
        return any(moved >= at for moved, _ in self.by_hand[alias])

    def note_record(self, deployment: Deployment, now: float) -> None:
        """Keep a record as it was just written."""
        story = self.stories.get(deployment.id)
        if story is None:
            story = self.stories[deployment.id] = Story(deployment, first=deployment, accepted_at=now)
        story.record, story.written_at = deployment, now
        if not story.statuses or story.statuses[-1] is not deployment.status:
            story.statuses.append(deployment.status)
        if deployment.status.final and story.final_at is None:
            story.final_at = now

    def note_move(self, move: Move, by: str | None, now: float) -> None:
        """Keep what became of an alias."""
        alias = move.function, move.alias
        self.serves[alias] = move.after
        if move.before == move.after:
            return
        story = self.of(by)
        if story is None:
            self.by_hand[alias].append((now, move.after))
            if move.after:
                self.foreign[alias] |= {move.after[0], *dict(move.after[1])}
            return
        if not story.moved:
            story.moved, story.found = True, move.before
        story.left = move.after
        story.applied.add(move.after)


def serves(state: AliasState | None) -> AliasServes:
    """Return what a record says that an alias serves, in the form that the checks compare."""
    if state is None:
        return None
    return (state.version, tuple(sorted((key, float(one)) for key, one in state.weights.items())))
