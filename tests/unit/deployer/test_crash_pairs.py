"""Two crashes in one deployment, at every pair of points that differ, and three of the shortest kinds.

`make crashes` tries the single crashes too; `make crashes TRIPLES=1` the triples of every kind.
"""

import gc
import os
from collections.abc import Iterator

import pytest

from support.crash_counts import COUNTS
from support.crash_stories import SHORTEST, STORIES, check
from support.crash_tree import Case, played
from support.simulation import TABLE

pytestmark = [pytest.mark.extended, pytest.mark.filterwarnings("ignore:No application metrics")]


@pytest.fixture(autouse=True, scope="module")
def frozen() -> Iterator[None]:
    """What was there before is not searched for garbage again and again: that took a quarter of the time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def checked(case: Case) -> Case:
    try:
        check(case.story, case.world)
    except AssertionError as wrong:
        raise AssertionError(f"{case.story.name}, {case.points.trace()}: {wrong}") from wrong
    return case


@pytest.mark.parametrize("name", STORIES)
def test_two_crashes_change_no_end(name: str) -> None:
    whole = checked(played(STORIES[name]))
    for first in whole.following():
        one = checked(whole.then(first))
        for second in one.following():
            checked(one.then(second, last=True))
            COUNTS["pairs"] += 1


@pytest.mark.parametrize("name", STORIES if "TRIPLES" in os.environ else SHORTEST)
def test_three_crashes_change_no_end(name: str) -> None:
    whole = played(STORIES[name])
    for first in whole.following():
        one = whole.then(first)
        for second in one.following():
            two = one.then(second)
            for third in two.following():
                checked(two.then(third, last=True))
                COUNTS["triples"] += 1


@pytest.mark.parametrize("name", STORIES)
def test_a_case_that_begins_half_way_is_the_one_from_the_start(name: str) -> None:
    """With the same calls to AWS and the same items in the table, in this run and in any other."""
    whole = played(STORIES[name])
    for first in whole.following()[::9]:
        one = whole.then(first)
        for second in one.following()[3::17]:
            two, again = one.then(second, last=True), played(STORIES[name], (first, second), last=True)
            assert two.points.calls == again.points.calls
            assert two.world.client.tables[TABLE].items == again.world.client.tables[TABLE].items
