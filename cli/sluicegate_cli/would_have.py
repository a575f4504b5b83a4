"""What limits that only observe would have done over past rollouts: the table and the sums of `history`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.text import Text

from sluicegate.documents.links import with_links
from sluicegate.text import clean
from sluicegate_cli.layout import Column
from sluicegate_cli.screen import Screen, status_style

_COLUMNS: Final = (
    Column("id"),
    Column("at", drop=1),
    Column("function", least=12),
    Column("stage"),
    Column("ended", drop=3),
    Column("when", drop=2),
    Column("would have stopped it", least=20, wrap=True),
)


@dataclass(frozen=True)
class LimitHistory:
    """Of so many rollouts that a limit or an alarm observed, it would have stopped so many."""

    limit: str
    rollouts: int
    stopped: int


def show(screen: Screen, deployments: Sequence[Mapping[str, Any]], now: float) -> None:
    """Show which of the deployments would have been stopped, by what and when, and how often."""
    sums = histories(deployments)
    stopped = [deployment for deployment in deployments if deployment.get("would_have")]
    screen.document(
        {
            "items": [with_links(deployment) for deployment in stopped],
            "limits": [
                {"limit": one.limit, "rollouts": one.rollouts, "would_have_stopped": one.stopped}
                for one in sums
            ],
        }
    )
    if screen.as_json:
        return
    if not sums:
        screen.line(f"nothing observed (mode: observe) in the newest {len(deployments)} that you may see")
        return
    if stopped:
        screen.table(_COLUMNS, [row for one in stopped for row in _rows(screen, one, now)])
    for one in sums:
        rollouts = "1 rollout" if one.rollouts == 1 else f"{one.rollouts} rollouts"
        screen.line(f"{clean(one.limit)}: would have stopped {one.stopped} of {rollouts} that it observed")


def histories(deployments: Sequence[Mapping[str, Any]]) -> list[LimitHistory]:
    """Return how often each limit observed a rollout, and would have stopped it, by name."""
    rollouts: dict[str, int] = {}
    stopped: dict[str, int] = {}
    for deployment in deployments:
        hits = {str(one["limit"]) for one in deployment.get("would_have") or ()}
        for limit in hits | set(_observed(deployment)):
            rollouts[limit] = rollouts.get(limit, 0) + 1
            stopped[limit] = stopped.get(limit, 0) + (limit in hits)
    return [LimitHistory(limit, rollouts[limit], stopped[limit]) for limit in sorted(rollouts)]


def _observed(deployment: Mapping[str, Any]) -> Iterator[str]:
    """Yield what only observed a deployment that had traffic."""
    watch = deployment.get("watch") or {}
    if not watch or deployment["alias"]["outcome"] == "untouched":
        return
    everything = watch.get("mode") == "observe"
    for limit in watch.get("limits") or ():
        if everything or limit.get("mode") == "observe":
            yield str(limit["metric"])
    for metric in watch.get("metrics") or ():
        if everything or metric.get("mode") == "observe":
            yield str(metric["name"])
    if everything:
        yield from (f"alarm {name}" for name in watch.get("alarms") or () if "*" not in name)
        if watch.get("judge"):
            yield "judge"


def _rows(screen: Screen, deployment: Mapping[str, Any], now: float) -> Iterator[tuple[str | Text, ...]]:
    for one in deployment["would_have"]:
        look, percent = one.get("look"), one.get("percent")
        yield (
            deployment["id"],
            screen.moment(one["at"], now),
            deployment["function"],
            deployment["stage"],
            Text(clean(deployment["status"]), style=status_style(deployment["status"])),
            "before traffic" if look is None else f"look {look}, at {percent}%",
            str(one["message"]),
        )
