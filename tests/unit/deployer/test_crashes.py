"""Every kind of deployment, whose processes die before and after every call to AWS: it ends as if none had.

Which kinds, and what is checked: `support.crash_stories`. Two crashes, or three, are in `test_crash_pairs`.
"""

from dataclasses import replace

import pytest

from sluicegate.deployment.model import Status
from support.crash_counts import COUNTS
from support.crash_points import CrashPoints, Phase, Point
from support.crash_stories import LONG, OTHER, STORIES, check, play
from support.crash_world import CrashWorld
from support.lambda_model import timeout
from support.lambda_rules import error

PHASES: tuple[Phase, ...] = ("before", "after")
QUICK = [pytest.param(name, marks=pytest.mark.extended if name in LONG else ()) for name in STORIES]

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics")


def interrupted(name: str, point: Point, *, patient: bool = False) -> CrashWorld:
    """Play a story in which a process dies at this point, and check how it ends."""
    points = CrashPoints(frozenset({point}))
    world = play(STORIES[name], points, patient=patient)
    assert points.struck == {point}, points.trace()
    check(STORIES[name], world)
    COUNTS["single crashes"] += 1
    return world


def every(name: str) -> list[Point]:
    points = CrashPoints()
    check(STORIES[name], play(STORIES[name], points))
    return points.every()


@pytest.mark.parametrize("name", STORIES)
def test_a_process_that_dies_at_any_call_changes_no_end(name: str) -> None:
    for point in every(name):
        if interrupted(name, point).retries:
            # The caller got no answer, and asks again only after the janitor has come.
            interrupted(name, point, patient=True)


def fails() -> None:
    raise error("InternalServerError", 500)


def is_lost() -> None:
    raise timeout()


@pytest.mark.parametrize("name", QUICK)
def test_a_call_that_fails_or_whose_answer_is_lost_changes_no_end(name: str) -> None:
    points = CrashPoints()
    play(STORIES[name], points)
    for number, (call, _) in enumerate(points.calls):
        for phase in PHASES:
            if (call, phase) == ("Invoke", "after"):
                continue  # this one does: see below
            wrong = CrashPoints(frozenset({(number, phase)}), fails, is_lost)
            world = play(STORIES[name], wrong)
            assert wrong.struck, wrong.trace()
            check(STORIES[name], world)
            COUNTS["single errors"] += 1


@pytest.mark.parametrize("name", ["canary", "breach"])
def test_a_smoke_test_whose_answer_is_lost_has_failed(name: str) -> None:
    """Nobody knows what it said. The alias never serves the version."""
    points = CrashPoints()
    play(STORIES[name], points)
    [number] = [number for number, (call, _) in enumerate(points.calls) if call == "Invoke"]
    lost = CrashPoints(frozenset({(number, "after")}), after=is_lost)
    world = play(STORIES[name], lost)
    check(replace(STORIES[name], ends=(Status.FAILED,), serves=OTHER), world)
    assert "UpdateAlias" not in [call for call, _ in lost.calls]


@pytest.mark.parametrize("name", QUICK)
def test_a_process_that_is_overtaken_at_any_call_changes_no_end(name: str) -> None:
    """It is held up there until another process has done all of its work, and then goes on."""
    points = CrashPoints()
    play(STORIES[name], points)
    for number in range(len(points.calls)):
        held = CrashPoints(frozenset({(number, "before")}))
        world = play(STORIES[name], held, overtaken=True)
        assert held.struck, held.trace()
        check(STORIES[name], world)
        COUNTS["single overtakings"] += 1
