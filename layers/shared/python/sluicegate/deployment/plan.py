"""A plan: what acceptance fixes for a deployment, from the gate file in force at that moment.

Values only. `gate` holds them per stage and function, `rollout` decides by them.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sluicegate.deployment.observations import Verdict


@dataclass(frozen=True)
class Target:
    """Where functions live: the first part of every key and lock.

    guarantees.md#2-one-deployment-at-a-time
    """

    account: str
    region: str


OWN_TARGET_NAME = "default"
"""How the API calls the stack's own account and region."""


@dataclass(frozen=True)
class TrafficStep:
    """One step of a plan: `percent` (1 to 100) of the traffic, then `bake` seconds before the next."""

    percent: int
    bake: int


ALL_AT_ONCE = (TrafficStep(100, 0),)


@dataclass(frozen=True)
class Smoke:
    """The test that a new version must pass before traffic reaches it.

    The version itself is invoked with `payload`, and its answer must contain `expect` (both JSON texts; with
    an `expect` of None every answer but an error passes). Or the function `hook`, of the same target, is
    invoked with the version's number, and decides. `timeout` is in seconds.
    """

    timeout: int
    payload: str | None = None
    expect: str | None = None
    hook: str | None = None


class Metric(StrEnum):
    """What Lambda measures per version of an alias, by the gate file's names."""

    ERRORS = "errors"
    THROTTLES = "throttles"
    DURATION_P95 = "duration_p95"


@dataclass(frozen=True)
class Limit:
    """How bad one metric of the new version may be.

    `most` is in percent of the requests (errors, throttles) or in milliseconds (duration); `max_ratio` is
    against the version that is replaced. At least one of them is given. With fewer than `min_samples`
    requests of the new version, only gross failure is judged. One that only observes never rolls back.
    """

    metric: Metric
    min_samples: int
    most: int | float | None = None
    max_ratio: int | float | None = None
    observe: bool = False


class Better(StrEnum):
    """Which values of a metric are better."""

    LOWER = "lower"
    HIGHER = "higher"


@dataclass(frozen=True)
class MetricSource:
    """One metric of CloudWatch, by the `id` that an expression calls it.

    Values of `dimensions` may have `{version}` and `{event_source}`, which the deployer fills in: with the
    new and with the old version, and with each event source mapping of the alias, whose values are added up.
    """

    id: str
    namespace: str
    metric: str
    stat: str
    dimensions: tuple[tuple[str, str], ...]

    @property
    def by_version(self) -> bool:
        """Whether it tells the versions apart."""
        return any("{version}" in value for _, value in self.dimensions)

    @property
    def by_event_source(self) -> bool:
        """Whether it is a metric of the alias's event source mappings."""
        return any("{event_source}" in value for _, value in self.dimensions)

    @property
    def counts(self) -> bool:
        """Whether its values are numbers of requests, or of whatever else."""
        return self.stat in ("Sum", "SampleCount")


_QUOTIENT: Final = re.compile(r"\s*([a-z][A-Za-z0-9_]*)\s*/\s*([a-z][A-Za-z0-9_]*)\s*", re.ASCII)


@dataclass(frozen=True)
class CustomMetric:
    """A metric of the user's, or metric math over several, and how bad it may be.

    `most` is the worst value allowed: the largest, or where higher is better the smallest. `max_ratio` is
    against the old version, and needs sources that tell the versions apart. `missing` is the verdict without
    data. A share of two counts is judged as errors are, from `min_samples` on; of other values, `most` is
    exceeded when the newest `minutes` values all are beyond it. `preset` is the one that it comes from.
    """

    name: str
    sources: tuple[MetricSource, ...]
    expression: str | None = None
    better: Better = Better.LOWER
    most: int | float | None = None
    max_ratio: int | float | None = None
    missing: Verdict = Verdict.UNCLEAR
    min_samples: int = 100
    minutes: int = 3
    observe: bool = False
    preset: str | None = None

    @property
    def by_version(self) -> bool:
        """Whether it tells the versions apart."""
        return all(source.by_version for source in self.sources)

    @property
    def share(self) -> tuple[MetricSource, MetricSource] | None:
        """The counts of which it is the quotient, as (hits, trials), or None if it is anything else."""
        found = _QUOTIENT.fullmatch(self.expression or "")
        if not found or found[1] == found[2]:
            return None
        sources = {source.id: source for source in self.sources if source.counts}
        hits, trials = sources.get(found[1]), sources.get(found[2])
        return (hits, trials) if hits and trials else None


@dataclass(frozen=True)
class Judge:
    """A function of the user's, of the same target, that gets each observation and gives a verdict.

    `timeout` is in seconds.
    """

    function: str
    timeout: int


class Unclear(StrEnum):
    """How a bake ends whose verdict is unclear."""

    PASS = "pass"  # noqa: S105 (not a password)
    FAIL = "fail"
    EXTEND = "extend"


FALSE_ROLLBACKS: Final = 1
"""Percent of equally good versions that the comparisons of a rollout may roll back, by default."""

SILENT_WITHIN: Final = 600
"""Seconds within which alarms that a fix-forward overlooks must be silent, by default.

An alarm is evaluated every minute, over its period times its evaluation periods (CloudWatch user guide,
"Alarm evaluation", read on 2026-11-26): enough for five minutes of that, and for metrics two minutes late.
"""


@dataclass(frozen=True)
class Watch:
    """What is watched while a version bakes: CloudWatch alarms, limits on metrics, a function that judges.

    `alarms` are names, or patterns with `*`. `limits` are on Lambda's own metrics. `false_rollbacks` is in
    percent, over all looks and limits of a rollout. With `end_early`, a bake ends once the verdict is good
    beyond doubt. A watch that only observes never rolls back. Alarms that a fix-forward overlooks must be
    silent within `silent_within` seconds of all traffic.
    """

    alarms: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()
    metrics: tuple[CustomMetric, ...] = ()
    judge: Judge | None = None
    false_rollbacks: int | float = FALSE_ROLLBACKS
    unclear: Unclear = Unclear.PASS
    end_early: bool = False
    observe: bool = False
    silent_within: int = SILENT_WITHIN

    @property
    def by_event_source(self) -> bool:
        """Whether it watches metrics of the alias's event source mappings."""
        return any(source.by_event_source for metric in self.metrics for source in metric.sources)

    @property
    def measures(self) -> bool:
        """Whether it has more to it than alarms."""
        return bool(self.limits or self.metrics or self.judge)


@dataclass(frozen=True)
class Plan:
    """What acceptance fixed. A later edit of the gate file does not change it.

    `gate` is the digest of the gate file, `approval` the seconds within which a second person must agree
    (None: no approval is needed), `requires` the stage where the digest must have succeeded, `ordered`
    whether an older pipeline of the same project is refused. The version may have `unapproved_percent` of the
    traffic before the approval; with 0, none of the new code reaches the target before it. `proposed`: the
    request only proposes this, so it ends no other deployment before the approval.

    `role` is the one by which the deployer enters a target of the gate file, with `external_id`, and
    `target_name` that target's name. All three are None for the stack's own account, region and role.
    """

    target: Target
    alias: str
    steps: tuple[TrafficStep, ...]
    gate: str
    smoke: Smoke | None = None
    watch: Watch | None = None
    approval: int | None = None
    requires: str | None = None
    ordered: bool = False
    unapproved_percent: int = 0
    proposed: bool = False
    role: str | None = None
    external_id: str | None = None
    target_name: str | None = None
