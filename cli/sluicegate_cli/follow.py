"""Follow a deployment to its end; shared by every command that waits."""

import random
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from sluicegate.deployment.durations import seconds
from sluicegate.documents import describe
from sluicegate.documents.links import with_links
from sluicegate.documents.observed import Looks
from sluicegate.text import clean
from sluicegate_cli.durations import seconds_of
from sluicegate_cli.errors import ApiError, Interrupted
from sluicegate_cli.exit_codes import ExitCode
from sluicegate_cli.rollout_view import Reminder, RolloutView, approval_instructions, approval_link
from sluicegate_cli.screen import Screen, status_style

if TYPE_CHECKING:
    from sluicegate_cli.api import ApiClient

LONG_POLL: Final = 20
"""Seconds for which news is waited for at a time; the API itself waits for less."""

_FIRST_PAUSE: Final = 0.5  # seconds
_MAX_PAUSE: Final = 5.0  # seconds
_MAX_WAIT: Final = 600.0  # seconds, plus the bake time of the steps

_OUTCOMES: Final = {
    "untouched": "alias {alias} was not changed",
    "moved": "alias {alias} was moved",
    "restored": "alias {alias} was restored",
    "left_to_other": "alias {alias} was changed by somebody else meanwhile, and left as it is",
    "removed": "alias {alias}, created by this deployment, was deleted",
    "not_restored": "alias {alias} could not be restored; check it in AWS",
    "unknown": "what alias {alias} serves is unknown; check the alias in AWS",
}


def follow(
    api: "ApiClient",
    screen: Screen,
    deployment: Mapping[str, Any],
    *,
    max_wait: float | None,
    wanted: str = "succeeded",
    looks: Looks | None = None,
) -> ExitCode:
    """Print the timeline as it grows, until the deployment is final or `max_wait` seconds have passed.

    Return OK if it ends in the status `wanted`. Without `max_wait`, wait as long as a healthy deployment can
    take: the bake time of its steps plus ten minutes. `looks`: observations that are known already. Raises
    ApiError, with a note that it continues.
    """
    identifier = str(deployment["id"])
    timeout = _timeout(deployment) if max_wait is None else max_wait
    deadline = time.monotonic() + timeout
    printer = _TimelinePrinter(screen, api)
    with continues(identifier), screen.live(RolloutView(deployment, api.now, looks)) as view:
        while True:
            view.deployment = deployment
            printer.update(deployment)
            left = deadline - time.monotonic()
            if deployment["final"] or left <= 0:
                break
            deployment = news(api, identifier, deployment["revision"], min(LONG_POLL, left))
    screen.document(with_links(deployment))
    if not deployment["final"]:
        screen.line(
            f"still {deployment['status']} after {timeout:.0f} s; it continues on its own. "
            f"To follow it: sluicegate watch {identifier}",
            "yellow",
        )
        return ExitCode.STILL_RUNNING
    screen.line(ending(deployment), status_style(deployment["status"]))
    return ExitCode.OK if deployment["status"] == wanted else ExitCode.NOT_DEPLOYED


def news(api: "ApiClient", deployment: str, revision: int, seconds: float) -> Mapping[str, Any]:
    """Return the deployment once it is past a revision, or as it is after so many seconds. Raises ApiError.

    The API waits itself only where news is due within seconds; otherwise it says when to ask again, and the
    wait is here. Under load it says so too.
    """
    deadline = time.monotonic() + seconds
    pause = _FIRST_PAUSE
    while True:
        asked = time.monotonic()
        response = api.news(deployment, after=revision, wait=max(0, ceil(deadline - asked)))
        now = time.monotonic()
        if response.document["revision"] > revision or response.document["final"] or now >= deadline:
            return response.document
        if response.pause:
            wanted = response.pause
        elif now - asked < 1:
            wanted, pause = pause, min(_MAX_PAUSE, pause * 2)
        else:
            continue
        # Not all at the same moment: clients that began together would go on together.
        time.sleep(min(wanted * random.uniform(0.8, 1), max(0.0, deadline - now)))  # noqa: S311


def ending(deployment: Mapping[str, Any]) -> str:
    """Summarize the end in one sentence: what is served now, and what failed."""
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
    original = deployment["alias"]["original"]
    took = seconds(deployment["finished_at"]) - seconds(deployment["created_at"])
    again = " again" if deployment["action"] == "rollback" else ""
    was = f" (was {original['version']})" if original else " (new)"
    source = f", promoted from {deployment['from']}" if deployment.get("from") else ""
    return (
        f"succeeded: {deployment['function']} serves version {deployment['version']}{again}"
        f"{was} in {deployment['stage']}{source}, {took:.1f} s"
    )


class _TimelinePrinter:
    """Print what is new in a deployment: timeline entries, and in a log the remaining time."""

    def __init__(self, screen: Screen, api: "ApiClient") -> None:
        self._screen = screen
        self._api = api
        self._shown = 0
        self._reminder = Reminder()
        self._instructed = False

    def update(self, deployment: Mapping[str, Any]) -> None:
        began = seconds(deployment["created_at"])
        for entry in deployment["timeline"]:
            if entry["seq"] > self._shown:
                after = f"+{seconds(entry['at']) - began:.1f}s"
                self._screen.text(
                    Text.assemble(
                        (f"{after:>8}  ", "dim"),
                        (describe.entry_status(deployment, entry), status_style(entry["status"])),
                        f"  {clean(entry['message'], 1024)}",
                    )
                )
                self._shown = entry["seq"]
        if self._screen.is_live:
            return
        if not self._instructed:
            for line in approval_instructions(deployment):
                self._instructed = True
                self._line(line)
            if url := approval_link(deployment):
                self._line(url)
            if self._instructed and (page := (deployment.get("links") or {}).get("board")):
                self._line(f"or on the board: {self._api.address_of(page)}")
        if reminder := self._reminder.due(deployment, self._api.now()):
            self._line(reminder)

    def _line(self, what: str) -> None:
        self._screen.line(f"{'':>8}  {what}")


def _timeout(deployment: Mapping[str, Any]) -> float:
    within = ((deployment.get("watch") or {}).get("fix_forward") or {}).get("silent_within", "0s")
    extra = seconds_of(within) if deployment.get("fix_forward") else 0.0
    return _MAX_WAIT + extra + sum(seconds_of(step["bake"]) for step in deployment["steps"])


@contextmanager
def continues(deployment: str) -> Iterator[None]:
    """Add to every ApiError and interrupt of the block that the deployment continues without this client."""
    try:
        yield
    except ApiError as error:
        error.note = (
            f"deployment {deployment} continues on its own. To follow it: sluicegate watch {deployment}"
        )
        raise
    except KeyboardInterrupt as error:
        raise Interrupted(
            f"interrupted; deployment {deployment} continues on its own. To follow it: sluicegate watch"
            f" {deployment}. To stop it: sluicegate abort {deployment}",
            getattr(error, "number", signal.SIGINT),
        ) from None
