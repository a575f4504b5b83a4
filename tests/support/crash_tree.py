"""All crashes of a story, each begun from where the one before it struck.

To play a story again from its start for each pair of crashes would mostly repeat what is known. So a world is
saved between the turns of the state machine, when no process is at work, and a crash begins from the last
save before it. A deployer's turn is a new process here, as what a process has in memory cannot be saved.
"""

from dataclasses import dataclass

from support.crash_points import CrashPoints, Point
from support.crash_stories import Story
from support.crash_world import CrashWorld, Saved, resumed
from support.entropy import draw_from, entropy


@dataclass(frozen=True)
class Checkpoint:
    """A world, how many steps of its story are done, and the calls that were made until then."""

    world: Saved
    step: int = 0
    calls: tuple[tuple[str, bool], ...] = ()
    struck: frozenset[Point] = frozenset()


@dataclass(frozen=True)
class Case:
    """A story that was played with the crashes of `plan`; `checkpoints` are where others may go on."""

    story: Story
    plan: tuple[Point, ...]
    world: CrashWorld
    points: CrashPoints
    checkpoints: tuple[Checkpoint, ...]

    def following(self) -> list[Point]:
        """Return where one more process can die, after the last one that did."""
        return self.points.distinct(self.plan[-1] if self.plan else None)

    def then(self, point: Point, *, last: bool = False) -> "Case":
        """Play the story with one more crash. If it is the `last`, nothing is saved for others."""
        start = next(one for one in reversed(self.checkpoints) if len(one.calls) <= point[0])
        return played(self.story, (*self.plan, point), start, last=last)


def played(
    story: Story, plan: tuple[Point, ...] = (), start: Checkpoint | None = None, *, last: bool = False
) -> Case:
    """Play a story with these crashes, from its start or from where all but the last have struck.

    Raises AssertionError where one of them does not strike.
    """
    start = start or Checkpoint(story.before())
    points = CrashPoints(frozenset(plan), calls=list(start.calls), struck=set(start.struck))
    checkpoints, made = [start], len(start.calls)
    with entropy():
        draw_from(made)
        world = resumed(start.world, points)

        def between_turns() -> None:
            nonlocal made
            if len(points.calls) == made:
                return
            made = len(points.calls)
            world.be_reborn()
            draw_from(made)
            if not last:
                saved = Checkpoint(world.save(), number, tuple(points.calls), frozenset(points.struck))
                checkpoints.append(saved)

        world.between_turns = between_turns
        for number, step in enumerate(story.steps()[start.step :], start.step):  # noqa: B007 (the closure's)
            step(world)
    assert points.struck == points.plan, points.trace()
    return Case(story, plan, world, points, tuple(checkpoints))
