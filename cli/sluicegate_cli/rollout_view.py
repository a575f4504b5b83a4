"""Render a rollout for a terminal, and as one plain line for a log.

Pure rendering: the input is a document of the API and a clock, the output is lines.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.spinner import Spinner
from rich.text import Text

from sluicegate.deployment.durations import seconds
from sluicegate.documents import describe
from sluicegate.documents.links import new_pipeline
from sluicegate.documents.observed import Looks
from sluicegate.text import clean
from sluicegate_cli.durations import format_duration
from sluicegate_cli.observation_view import observation_lines

_BAR: Final = 40  # cells at most
_NEXT: Final = 4  # steps named at most

_AROUND: Final = 4
"""Lines of a terminal for the head, the bar, the line above and the cursor."""

_OBSERVED: Final = ("shifting", "baking", "rolling_back")

_REMAINING: Final = {"baking": "left", "awaiting_approval": "left to approve it"}


class RolloutView:
    """A deployment's current state, at the bottom of a terminal.

    `deployment` is replaced as updates arrive. `clock` returns epoch seconds by the API's clock, so that the
    remaining time is right even if this machine's clock is wrong.
    """

    def __init__(
        self, deployment: Mapping[str, Any], clock: Callable[[], float], looks: Looks | None = None
    ) -> None:
        self.deployment = deployment
        self._clock = clock
        self._looks = looks or Looks()
        self._spinner = Spinner("dots", style="cyan")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        deployment = self.deployment
        now = self._clock()
        self._spinner.update(text=_text(_head(deployment, now), "cyan"))
        yield self._spinner
        if bar := _bar(deployment, min(_BAR, options.max_width - 30), ascii_only=options.ascii_only):
            yield bar
        below = _below(deployment)
        yield from self._observed(deployment, options, room=console.height - len(below) - _AROUND)
        for line in below:
            yield _text(f"  {line}", "dim")
        for line in approval_instructions(deployment):
            yield _text(f"  {line}", "yellow")
        if url := approval_link(deployment):
            yield Text(f"  {url}", style=f"yellow link {url}", overflow="fold")

    def _observed(
        self, deployment: Mapping[str, Any], options: ConsoleOptions, *, room: int
    ) -> Iterator[Text]:
        """Yield what was observed last, while that still matters."""
        self._looks.add(deployment)
        if deployment["status"] in _OBSERVED:
            yield from observation_lines(
                deployment.get("observation"),
                self._looks,
                width=options.max_width,
                height=room,
                ascii_only=options.ascii_only,
            )


def approval_instructions(deployment: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the instructions for the approver; empty if no approval is awaited."""
    if deployment["status"] != "awaiting_approval" or (deployment.get("approval") or {}).get("decision"):
        return ()
    return (
        "to approve it (or reject it), as a different user and in a different pipeline:",
        f"sluicegate approve {deployment['id']}",
    )


def approval_link(deployment: Mapping[str, Any]) -> str | None:
    """Return the address of GitLab's form to start an approval job (connect.md#promote-roll-back-approve).

    None if no approval is awaited, or the project's address is unknown.
    """
    if not approval_instructions(deployment):
        return None
    return new_pipeline(deployment["requested_by"], "DEPLOYMENT", str(deployment["id"]))


class Reminder:
    """The reminder in a log: at most one line a minute while a deployment waits."""

    def __init__(self, every: float = 60) -> None:
        self._every = every
        self._state: tuple[Any, ...] | None = None
        self._at = 0.0

    def due(self, deployment: Mapping[str, Any], now: float) -> str | None:
        """Return the line that is due at `now` (epoch seconds), or None. News are in the timeline itself."""
        state = (deployment["status"], deployment.get("step"))
        if state != self._state:
            self._state, self._at = state, seconds(deployment.get("since") or deployment["updated_at"])
        if deployment["status"] not in _REMAINING or now - self._at < self._every:
            return None
        self._at = now
        share = f" {deployment['weight']}%" if deployment["status"] == "baking" else ""
        return f"{_status(deployment)}{share}{_left(deployment, now)}"


def _head(deployment: Mapping[str, Any], now: float) -> str:
    """Format `baking, step 1 of 3, 3m20s left  (1m5s total)`."""
    step = deployment.get("step")
    steps = deployment["steps"]
    of = f", step {step + 1} of {len(steps)}" if step is not None else ""
    to = f" to {steps[step]['percent']}%" if deployment["status"] == "shifting" and step is not None else ""
    took = max(0.0, now - seconds(deployment["created_at"]))
    total = f"{took:.1f}s" if took < 60 else format_duration(took)
    return f"{_status(deployment)}{to}{of}{_left(deployment, now)}  ({total} total)"


def _status(deployment: Mapping[str, Any]) -> str:
    return str(deployment["status"]).replace("_", " ")


def _left(deployment: Mapping[str, Any], now: float) -> str:
    until = deployment.get("until")
    if until is None or deployment["status"] not in _REMAINING:
        return ""
    left = seconds(until) - now
    return f", {format_duration(left)} {_REMAINING[deployment['status']]}" if left >= 1 else ", due now"


def _bar(deployment: Mapping[str, Any], width: int, *, ascii_only: bool) -> Text | None:
    """Format `v41 ████████░░ v42 10%`; None without a new version, or without one to replace."""
    original = deployment["alias"]["original"]
    new = deployment["version"]
    if not original or not new or new == original["version"] or width < 4:
        return None
    weight = deployment["weight"]
    cells = round(width * weight / 100)
    if 0 < weight < 100:
        cells = min(width - 1, max(1, cells))
    old_cell, new_cell = "#-" if ascii_only else "█░"
    back = deployment["status"] == "rolling_back"
    return Text.assemble(
        f"  v{clean(str(original['version']))} ",
        (old_cell * (width - cells), "blue"),
        (new_cell * cells, "yellow" if back else "green"),
        (f" v{clean(str(new))} {weight}%", "bold yellow" if back else "bold green"),
        no_wrap=True,
        overflow="crop",
    )


def _below(deployment: Mapping[str, Any]) -> list[str]:
    """Describe the next steps, and what is watched now."""
    if deployment["final"] or deployment["status"] == "rolling_back":
        return []
    step = deployment.get("step")
    coming = deployment["steps"][0 if step is None else step + 1 :]
    lines = [f"next: {describe.steps(coming, _NEXT)}"] if coming else []
    if deployment["status"] in ("shifting", "baking") and not deployment.get("observation"):
        lines += [f"watched: {watched}" for watched in describe.watch(deployment.get("watch"))]
        lines += [f"fix-forward: {firing}" for firing in describe.still_firing(deployment.get("fix_forward"))]
    return lines


def _text(line: str, style: str) -> Text:
    return Text(clean(line, 1024), style=style, no_wrap=True, overflow="ellipsis")
