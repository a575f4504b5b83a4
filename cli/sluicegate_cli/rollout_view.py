"""A rollout as somebody at a terminal sees it, and the same in one plain line for a log.

Only rendering: a document of the API and a clock in, lines out.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.spinner import Spinner
from rich.text import Text

from sluicegate.deployment.durations import seconds
from sluicegate.text import clean
from sluicegate_cli import describe
from sluicegate_cli.durations import format_duration

_BAR: Final = 40  # cells at most
_NEXT: Final = 4  # steps named at most

_WHAT: Final = {"baking": "left", "awaiting_approval": "left to approve it"}


class RolloutView:
    """What is going on with a deployment, at the bottom of a terminal.

    `deployment` is replaced as news arrive; `clock` gives epoch seconds as the API counts them, so that the
    time left is right on a machine whose clock is not.
    """

    def __init__(self, deployment: Mapping[str, Any], clock: Callable[[], float]) -> None:
        self.deployment = deployment
        self._clock = clock
        self._spinner = Spinner("dots", style="cyan")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        deployment = self.deployment
        now = self._clock()
        self._spinner.update(text=_text(_head(deployment, now), "cyan"))
        yield self._spinner
        if bar := _bar(deployment, min(_BAR, options.max_width - 30), ascii_only=options.ascii_only):
            yield bar
        for line in _below(deployment):
            yield _text(f"  {line}", "dim")
        for line in how_to_approve(deployment):
            yield _text(f"  {line}", "yellow")


def how_to_approve(deployment: Mapping[str, Any]) -> tuple[str, ...]:
    """What somebody else does to let it go on; nothing where nobody has to."""
    if deployment["status"] != "awaiting_approval" or (deployment.get("approval") or {}).get("decision"):
        return ()
    return (
        "to approve it (or reject it), as another user and in another pipeline:",
        f"sluicegate approve {deployment['id']}",
    )


class Reminder:
    """The plain line of a log: once a minute at most, while a deployment only waits."""

    def __init__(self, every: float = 60) -> None:
        self._every = every
        self._told: tuple[Any, ...] | None = None
        self._at = 0.0

    def due(self, deployment: Mapping[str, Any], now: float) -> str | None:
        """The line that is due at `now` (epoch seconds), or None. What is new is in the timeline itself."""
        state = (deployment["status"], deployment.get("step"))
        if state != self._told:
            self._told, self._at = state, seconds(deployment.get("since") or deployment["updated_at"])
        if deployment["status"] not in _WHAT or now - self._at < self._every:
            return None
        self._at = now
        share = f" {deployment['weight']} %" if deployment["status"] == "baking" else ""
        return f"{_named(deployment)}{share}{_left(deployment, now)}"


def _head(deployment: Mapping[str, Any], now: float) -> str:
    """`baking, step 1 of 3, 3m20s left  (1m5s in all)`"""
    step = deployment.get("step")
    steps = deployment["steps"]
    of = f", step {step + 1} of {len(steps)}" if step is not None else ""
    to = f" to {steps[step]['percent']} %" if deployment["status"] == "shifting" and step is not None else ""
    took = max(0.0, now - seconds(deployment["created_at"]))
    in_all = f"{took:.1f}s" if took < 60 else format_duration(took)
    return f"{_named(deployment)}{to}{of}{_left(deployment, now)}  ({in_all} in all)"


def _named(deployment: Mapping[str, Any]) -> str:
    return str(deployment["status"]).replace("_", " ")


def _left(deployment: Mapping[str, Any], now: float) -> str:
    until = deployment.get("until")
    if until is None or deployment["status"] not in _WHAT:
        return ""
    left = seconds(until) - now
    return f", {format_duration(left)} {_WHAT[deployment['status']]}" if left >= 1 else ", any moment now"


def _bar(deployment: Mapping[str, Any], width: int, *, ascii_only: bool) -> Text | None:
    """`v41 ████████░░ v42 10 %`; None before there is a new version, and where there was none to replace."""
    found = deployment["alias"]["original"]
    new = deployment["version"]
    if not found or not new or new == found["version"] or width < 4:
        return None
    weight = deployment["weight"]
    cells = round(width * weight / 100)
    if 0 < weight < 100:
        cells = min(width - 1, max(1, cells))
    old_cell, new_cell = "#-" if ascii_only else "█░"
    back = deployment["status"] == "rolling_back"
    return Text.assemble(
        f"  v{clean(str(found['version']))} ",
        (old_cell * (width - cells), "blue"),
        (new_cell * cells, "yellow" if back else "green"),
        (f" v{clean(str(new))} {weight} %", "bold yellow" if back else "bold green"),
        no_wrap=True,
        overflow="crop",
    )


def _below(deployment: Mapping[str, Any]) -> list[str]:
    """The steps to come, and what is watched meanwhile."""
    if deployment["final"] or deployment["status"] == "rolling_back":
        return []
    step = deployment.get("step")
    coming = deployment["steps"][0 if step is None else step + 1 :]
    lines = [f"next: {describe.steps(coming, _NEXT)}"] if coming else []
    if deployment["status"] in ("shifting", "baking"):
        lines += [f"watched: {watched}" for watched in describe.watch(deployment.get("watch"))]
    return lines


def _text(line: str, style: str) -> Text:
    return Text(clean(line, 1024), style=style, no_wrap=True, overflow="ellipsis")
