"""Follows a deployment's timeline to its end: what `deploy` and `watch` share."""

import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from sluicegate.deployment import seconds

from sluicegate_cli import show
from sluicegate_cli.api import Api
from sluicegate_cli.errors import ApiError
from sluicegate_cli.exits import Exit
from sluicegate_cli.show import Screen

_LONG_POLL: Final = 20  # seconds, the API's limit
_LONGEST_PAUSE: Final = 5.0  # seconds

_OUTCOMES: Final = {
    "untouched": "alias {alias} was not touched",
    "moved": "alias {alias} was moved",
    "restored": "alias {alias} is as it was found",
    "left_to_other": "somebody else moved alias {alias} meanwhile; it was left as it is",
    "removed": "alias {alias}, made by this deployment, was removed again",
    "unknown": "what alias {alias} serves is not known: look at it",
}


def follow(api: Api, screen: Screen, deployment: Mapping[str, Any], *, max_wait: float) -> Exit:
    """Prints the timeline as it grows, until the deployment is final or `max_wait` seconds are over.

    Raises ApiError, with a note that the deployment goes on.
    """
    identifier = str(deployment["id"])
    deadline = time.monotonic() + max_wait
    shown = 0
    pause = 0.5
    with _goes_on(identifier), screen.progress(deployment["status"]) as progress:
        while True:
            shown = _new_entries(screen, deployment, shown)
            if deployment["final"]:
                break
            progress.label = deployment["status"]
            asked = time.monotonic()
            left = deadline - asked
            if left <= 0:
                break
            before = deployment["revision"]
            deployment = api.get(
                "deployments", identifier, after=before, wait=max(0, min(_LONG_POLL, int(left)))
            )
            if deployment["revision"] > before:
                pause = 0.5
            elif time.monotonic() - asked < 1:
                # Under load the API answers at once instead of waiting: then the waiting is ours.
                time.sleep(min(pause * random.uniform(0.5, 1), max(0.0, deadline - time.monotonic())))  # noqa: S311
                pause = min(_LONGEST_PAUSE, pause * 2)
    screen.document(deployment)
    if not deployment["final"]:
        screen.line(
            f"still {deployment['status']} after {max_wait:.0f} s; it goes on by itself: "
            f"sluicegate watch {identifier}",
            "yellow",
        )
        return Exit.STILL_RUNNING
    screen.line(_ending(deployment), show.style(deployment["status"]))
    return Exit.OK if deployment["status"] == "succeeded" else Exit.NOT_DEPLOYED


def _new_entries(screen: Screen, deployment: Mapping[str, Any], shown: int) -> int:
    """Prints the entries after `shown`, with the seconds since acceptance; returns the last one's seq."""
    began = seconds(deployment["created_at"])
    for entry in deployment["timeline"]:
        if entry["seq"] > shown:
            after = seconds(entry["at"]) - began
            screen.line(f"{f'+{after:.1f}s':>8}  {entry['status']:<12}  {entry['message']}")
            shown = entry["seq"]
    return shown


def _ending(deployment: Mapping[str, Any]) -> str:
    """One sentence: what serves now, or what went wrong and what became of the alias."""
    alias = deployment["alias"]
    took = seconds(deployment["finished_at"]) - seconds(deployment["created_at"])
    if deployment["status"] == "succeeded":
        found = alias["found"]
        was = f" (was {found['version']})" if found else " (new)"
        return (
            f"succeeded: {deployment['function']} serves version {deployment['version']}"
            f"{was} in {deployment['stage']}, {took:.1f} s"
        )
    reason = deployment["reason"] or {"code": "unknown", "message": "no reason was recorded"}
    outcome = _OUTCOMES.get(alias["outcome"] or "", "")
    return f"{deployment['status']}: {reason['message']} [{reason['code']}]" + (
        f"; {outcome.format(alias=alias['name'])}" if outcome else ""
    )


@contextmanager
def _goes_on(deployment: str) -> Iterator[None]:
    """Says, with any error in its block, that a deployment which was accepted does not depend on us."""
    try:
        yield
    except ApiError as error:
        error.note = f"deployment {deployment} goes on by itself; see: sluicegate watch {deployment}"
        raise
