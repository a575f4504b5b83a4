"""What a timeline says of other deployments: security.md#visibility."""

from dataclasses import replace

from sluicegate.rollout.transitions import QUEUE_TIMEOUT, queued
from support.simulation import START, new_deployment

OTHER = "01K00000000000000000000000"


def test_who_publishes_the_function_is_not_named() -> None:
    """It can be of a stage that the readers of this deployment may not see."""
    deployment = new_deployment(START, "0" * 64)
    waiting = queued(deployment, OTHER, START + 1)
    ended = queued(waiting, OTHER, START + QUEUE_TIMEOUT + 2)
    assert ended.reason is not None
    assert ended.reason.code == "queue_timeout"
    assert OTHER not in repr(waiting) + repr(ended)


def test_what_it_supersedes_is_named() -> None:
    """That is of the same function and stage."""
    deployment = replace(new_deployment(START, "0" * 64), supersedes=OTHER)
    waiting = queued(deployment, OTHER, START + 1)
    assert OTHER in waiting.timeline[-1].message
    ended = queued(waiting, OTHER, START + QUEUE_TIMEOUT + 2)
    assert ended.reason is not None
    assert ended.reason.data == {"by": OTHER}
