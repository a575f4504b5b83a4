"""How a deployment goes in a stage: the gate file's rollout keys, with overrides merged in, and their limits.

A plan takes it over as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from sluicegate.deployment.plan import ALL_AT_ONCE, Metric, Smoke, TrafficStep, Watch
from sluicegate.gate import alarm_names

MAX_SMOKE: Final = 60
"""Seconds that a smoke test may take."""

MAX_JUDGE: Final = 30
"""Seconds that a function may take to judge: it is asked at each look, while the rollout waits."""

JUDGE_TIMEOUT: Final = 10
"""Seconds that it may take where the gate file gives no time."""

FALSE_ROLLBACKS: Final = (0.1, 10)
"""The least and the largest share of equally good versions that may go back, in percent."""

MAX_SILENT: Final = 86_400
"""Seconds that alarms may take to fall silent after a fix."""

MAX_PAYLOAD: Final = 16_384
"""Characters of a payload or an expectation as compact JSON, which is ASCII."""

MAX_DEPTH: Final = 16
"""Levels of a payload or an expectation."""

APPROVAL: Final = (60, 14 * 86_400)
"""The shortest and the longest wait for a second person, in seconds."""

APPROVAL_EXPIRES: Final = 86_400
"""Seconds that a deployment waits for a second person where the gate file gives no time."""

LEAST: Final = 0.001
"""The smallest maximum: numbers of the gate file have three decimals."""

MOST: Final = {Metric.ERRORS: 100, Metric.THROTTLES: 100, Metric.DURATION_P95: 900_000}
"""The largest maximum: of requests, all; of milliseconds, as long as a function can run."""

MAX_RATIO: Final = 1_000
MAX_SAMPLES: Final = 1_000_000

FUNCTION: Final = "[A-Za-z0-9_-]{1,64}"
"""A function's name, as a regular expression."""


@dataclass(frozen=True)
class Rollout:
    """What a plan takes over from a stage. Alarms have their placeholders still; see `watch_of`.

    `approval` is in seconds, None where nobody is asked; `requires` is a stage; `ordered` is whether an older
    pipeline cannot overwrite a newer one.
    """

    steps: tuple[TrafficStep, ...] = ALL_AT_ONCE
    smoke: Smoke | None = None
    watch: Watch | None = None
    approval: int | None = None
    requires: str | None = None
    ordered: bool = False


def watch_of(watch: Watch | None, *, function: str, stage: str, alias: str) -> Watch | None:
    """The watch with its alarms' and metrics' own names; of alarms that come out equal, one."""
    if watch is None:
        return None

    def filled(name: str) -> str:
        return alarm_names.filled(name, function=function, stage=stage, alias=alias)

    metrics = tuple(
        replace(
            metric,
            sources=tuple(
                replace(source, dimensions=tuple((name, filled(value)) for name, value in source.dimensions))
                for source in metric.sources
            ),
        )
        for metric in watch.metrics
    )
    return replace(watch, alarms=tuple(dict.fromkeys(map(filled, watch.alarms))), metrics=metrics)


def circular(requires: Mapping[str, str | None]) -> frozenset[str]:
    """The stages that require themselves, by way of others or not. Takes linear time."""
    found: set[str] = set()
    walks: dict[str, int] = {}
    for walk, start in enumerate(requires):
        stage: str | None = start
        while stage is not None and stage not in walks:
            walks[stage] = walk
            stage = requires.get(stage)
        # The walk has come back to where it was itself before; else it ends, or joins an earlier one.
        if stage is not None and walks[stage] == walk:
            found.update(circle(requires, stage))
    return frozenset(found)


def circle(requires: Mapping[str, str | None], start: str) -> tuple[str, ...]:
    """The stages that require one another, from `start` round to it again; empty where it leads elsewhere."""
    path, last = {start: None}, start
    while (after := requires.get(last)) is not None and after not in path:
        path[after], last = None, after
    return tuple(path) if after == start else ()


def document(rollout: Rollout) -> dict[str, Any]:
    """Return the rollout as gate.json has it."""
    found: dict[str, Any] = msgspec.to_builtins(rollout)
    return found
