"""The crashes are tried: of a product that is broken in one place, they find out.

Its variants are those of the simulation. The others of them need somebody else who moves an alias, or a
forged credential: no crash shows them.
"""

import pytest

from simulation.broken import broken
from sluicegate.gateway.problems import Problem
from support.crash_points import CrashPoints
from support.crash_stories import STORIES, check, play

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics")

CAUGHT_IN = {
    "no-revision-condition": "rollback",
    "lock-freed-early": "abort",
    "no-alias-lock": "supersede",
    "lock-never-freed": "rollback",
    "successor-ignored": "supersede",
    "no-revision-of-alias": "breach",
    "restore-without-looking": "abort",
    "shift-over-a-foreign-move": "rollback",
    "moved-before-it-is-written": "abort",
    "abort-forgotten": "abort",
    "request-without-key": "rollback",
    "token-bound-outside": "rollback",
    "order-written-early": "abort",
    "no-janitor": "deploy",
    "plan-read-again": "abort",
    "supersede-unseen": "supersede",
    "served-before-it-succeeded": "abort",
    "weights-kept": "abort",
    "approval-ignored": "approval",
    "publishing-lock-never-freed": "deploy",
}


def all_end_well(name: str) -> None:
    """Play a story undisturbed, and with a process that dies or is overtaken at each call: check each end."""
    story, points = STORIES[name], CrashPoints()
    check(story, play(story, points))
    for point in points.every():
        check(story, play(story, CrashPoints(frozenset({point}))))
        check(story, play(story, CrashPoints(frozenset({point})), patient=True))
    for number in range(len(points.calls)):
        check(story, play(story, CrashPoints(frozenset({(number, "before")})), overtaken=True))


@pytest.mark.parametrize("variant", CAUGHT_IN)
def test_a_broken_product_is_caught(variant: str) -> None:
    name = CAUGHT_IN[variant]
    STORIES[name].before()  # what was before the story is not broken
    with broken(variant), pytest.raises((AssertionError, Problem)):
        all_end_well(name)
