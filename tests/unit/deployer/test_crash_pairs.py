"""Two crashes in one deployment, at every pair of points that differ, and three of the shortest kinds.

Of the long kinds every fourth pair is tried here. `make crashes` tries all pairs, and the single crashes;
`make crashes TRIPLES=1` the triples of every kind too.
"""

import os

import pytest

from support.crash_counts import COUNTS
from support.crash_points import CrashPoints, Point
from support.crash_stories import LONG, SHORTEST, STORIES, check, play

pytestmark = [pytest.mark.extended, pytest.mark.filterwarnings("ignore:No application metrics")]


def after(name: str, *plan: Point) -> list[Point]:
    """Play a story with these crashes, check how it ends, and return the points that follow the last one."""
    points = CrashPoints(frozenset(plan))
    world = play(STORIES[name], points)
    assert points.struck or not plan, points.trace()  # ids are drawn by lot: a later call may not come
    try:
        check(STORIES[name], world)
    except AssertionError as wrong:
        raise AssertionError(f"{name}, {points.trace()}: {wrong}") from wrong
    return points.distinct(max(plan) if plan else None)


@pytest.mark.parametrize("name", STORIES)
def test_two_crashes_change_no_end(name: str) -> None:
    step = 4 if name in LONG and "CRASHES" not in os.environ else 1
    for number, one in enumerate(after(name)):
        for two in after(name, one)[number % step :: step]:
            after(name, one, two)
            COUNTS["pairs"] += 1


@pytest.mark.parametrize("name", STORIES if "TRIPLES" in os.environ else SHORTEST)
def test_three_crashes_change_no_end(name: str) -> None:
    for one in after(name):
        for two in after(name, one):
            for three in after(name, one, two):
                after(name, one, two, three)
                COUNTS["triples"] += 1
