"""Follows a deployment's timeline to its end: what every verb that waits shares."""

import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from sluicegate.deployment.durations import seconds
from sluicegate_cli import describe
from sluicegate_cli.api import ApiClient
from sluicegate_cli.durations import seconds_of
from sluicegate_cli.errors import ApiError
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.rollout_view import Reminder, RolloutView, how_to_approve
from sluicegate_cli.screen import Screen, status_style

_LONG_POLL: Final = 20  # seconds, the API's limit
_LONGEST_PAUSE: Final = 5.0  # seconds
_MAX_WAIT: Final = 600.0  # seconds, and what the steps bake

_OUTCOMES: Final = {
    "untouched": "alias {alias} was not touched",
    "moved": "alias {alias} was moved",
    "restored": "alias {alias} is as it was found",
    "left_to_other": "somebody else moved alias {alias} meanwhile; it was left as it is",
    "removed": "alias {alias}, made by this deployment, was removed again",
    "unknown": "what alias {alias} serves is not known: look at it",
}


def follow(
    api: ApiClient,
    screen: Screen,
    deployment: Mapping[str, Any],
    *,
    max_wait: float | None,
    wanted: str = "succeeded",
) -> ExitCode:
    """Prints the timeline as it grows, until the deployment is final or `max_wait` seconds are over.

    OK where it ends in the status `wanted`. Without a `max_wait` it waits as long as a healthy deployment
    takes at most: as its steps bake, and ten minutes. Raises ApiError, with a note that it goes on.
    """
    identifier = str(deployment["id"])
    patience = _patience(deployment) if max_wait is None else max_wait
    deadline = time.monotonic() + patience
    teller = _Teller(screen, api)
    pause = 0.5
    with _goes_on(identifier), screen.live(RolloutView(deployment, api.now)) as view:
        while True:
            view.deployment = deployment
            teller.tell(deployment)
            asked = time.monotonic()
            left = deadline - asked
            if deployment["final"] or left <= 0:
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
            f"still {deployment['status']} after {patience:.0f} s; it goes on by itself: "
            f"sluicegate watch {identifier}",
            "yellow",
        )
        return ExitCode.STILL_RUNNING
    screen.line(ending(deployment), status_style(deployment["status"]))
    return ExitCode.OK if deployment["status"] == wanted else ExitCode.NOT_DEPLOYED


def ending(deployment: Mapping[str, Any]) -> str:
    """One sentence: what serves now, and what went wrong if anything did."""
    if deployment["status"] == "succeeded":
        return _success(deployment)
    alias = deployment["alias"]
    reason = deployment["reason"] or {"code": "unknown", "message": "no reason was recorded"}
    parts = [f"{deployment['status']}: {reason['message']} [{reason['code']}]"]
    if outcome := _OUTCOMES.get(alias["outcome"] or ""):
        parts.append(outcome.format(alias=alias["name"]))
    if alias["current"]:
        serves = describe.serving(alias["current"])
        parts.append(f"{deployment['function']} serves {serves} in {deployment['stage']}")
    return "; ".join(parts)


def _success(deployment: Mapping[str, Any]) -> str:
    found = deployment["alias"]["original"]
    took = seconds(deployment["finished_at"]) - seconds(deployment["created_at"])
    again = " again" if deployment["action"] == "rollback" else ""
    was = f" (was {found['version']})" if found else " (new)"
    source = f", promoted from {deployment['from']}" if deployment.get("from") else ""
    return (
        f"succeeded: {deployment['function']} serves version {deployment['version']}{again}"
        f"{was} in {deployment['stage']}{source}, {took:.1f} s"
    )


class _Teller:
    """Prints what is new of a deployment: its timeline, and how long it will still wait."""

    def __init__(self, screen: Screen, api: ApiClient) -> None:
        self._screen = screen
        self._api = api
        self._shown = 0
        self._reminder = Reminder()
        self._asked = False

    def tell(self, deployment: Mapping[str, Any]) -> None:
        began = seconds(deployment["created_at"])
        for entry in deployment["timeline"]:
            if entry["seq"] > self._shown:
                after = seconds(entry["at"]) - began
                self._line(f"+{after:.1f}s", describe.entry(deployment, entry))
                self._shown = entry["seq"]
        if self._screen.is_live:
            return
        if not self._asked:
            for line in how_to_approve(deployment):
                self._asked = True
                self._line("", line)
        if reminder := self._reminder.due(deployment, self._api.now()):
            self._line("", reminder)

    def _line(self, at: str, what: str) -> None:
        self._screen.line(f"{at:>8}  {what}")


def _patience(deployment: Mapping[str, Any]) -> float:
    return _MAX_WAIT + sum(seconds_of(step["bake"]) for step in deployment["steps"])


@contextmanager
def _goes_on(deployment: str) -> Iterator[None]:
    """Says, with any error in its block, that a deployment which was accepted does not depend on us."""
    try:
        yield
    except ApiError as error:
        error.note = f"deployment {deployment} goes on by itself; see: sluicegate watch {deployment}"
        raise
