"""What the deployer reads of both versions: ten minutes, with requests spread evenly."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sluicegate.deployment.observations import AlarmReading, AlarmState
from sluicegate.rollout.readings import Minute, Readings, Series

MINUTES: Final = 10


@dataclass(frozen=True)
class VersionMetrics:
    """Lambda's metrics of one version. Every one of its `durations` takes `duration_p95` milliseconds."""

    invocations: int = 0
    errors: int = 0
    throttles: int = 0
    duration_p95: float | None = None
    durations: int | None = None

    @property
    def measured(self) -> int:
        """How many durations there are: one for each invocation, unless said otherwise."""
        if self.duration_p95 is None:
            return 0
        return self.invocations if self.durations is None else self.durations

    def above(self, bound: float | None) -> int:
        """How many durations are above a bound, in milliseconds."""
        return self.measured if bound is not None and (self.duration_p95 or 0) > bound else 0


def alarm_readings(*states: AlarmState, names: Sequence[str] = ("a", "b", "c")) -> tuple[AlarmReading, ...]:
    """Return alarms in these states, by the names in order."""
    return tuple(AlarmReading(name, state) for name, state in zip(names, states, strict=False))


def readings(
    alarms: tuple[AlarmReading, ...] = (),
    new: VersionMetrics = VersionMetrics(),
    baseline: VersionMetrics | None = None,
    step: VersionMetrics | None = None,
    *,
    over: float | None = None,
) -> Readings:
    """Return both versions in the same minutes. `over` is the plan's `max_ms`.

    Before them the old version had requests, and no errors.
    """
    old = baseline or VersionMetrics()
    tau = old.duration_p95
    before = ((max(1, old.invocations // MINUTES), 0),) * 180 if baseline is not None else ()

    def series(of: VersionMetrics, beside: VersionMetrics) -> dict[str, Series]:
        trials = {
            "errors": (of.invocations, of.errors, beside.invocations, beside.errors),
            "throttles": (
                of.invocations + of.throttles,
                of.throttles,
                beside.invocations + beside.throttles,
                beside.throttles,
            ),
            "duration_p95": (of.measured, of.above(tau), beside.measured, beside.above(tau)),
            "duration_p95/most": (of.measured, of.above(over), beside.measured, beside.above(over)),
        }
        return {
            key: Series(
                tuple(
                    Minute(60 * number, *(_part(count, number) for count in counts))
                    for number in range(MINUTES)
                ),
                before,
            )
            for key, counts in trials.items()
        }

    return Readings(
        alarms=alarms,
        series=series(new, old),
        step=series(step, VersionMetrics()) if step is not None else {},
        p95=(new.duration_p95, tau),
        tau=tau,
    )


def _part(count: int, number: int) -> int:
    """Return how many of them are in a minute, so that hits are never more than trials."""
    return count * (number + 1) // MINUTES - count * number // MINUTES
