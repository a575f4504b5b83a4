"""Lambda's metrics of two versions behind an alias, minute by minute.

Lambda reports metrics with the dimensions `FunctionName`, `Resource` and `ExecutedVersion`, which tell the
versions behind an alias apart without any set-up, once a minute, under the time at which a request began: one
that times out arrives when it has ended (Lambda developer guide, "Types of metrics" and "View metrics for
Lambda functions", read on 2026-11-26). So everything is read again at every request.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from sluicegate.aws.errors import ErrorKind, classify, error_message
from sluicegate.aws.metric_data import LookFailed, read_metric_data
from sluicegate.rollout.readings import MINUTE, Minute, Series

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import MetricDataQueryTypeDef

DAY: Final = 86_400

BEFORE: Final = 3 * 3_600
"""Seconds before the new version's first traffic that are read of the old one, a whole number of periods."""

ENOUGH: Final = 100
"""Durations from which an hour's 95th percentile is preferred to that of an earlier hour with more."""

_SUMS: Final = {"invocations": "Invocations", "errors": "Errors", "throttles": "Throttles"}


@dataclass(frozen=True)
class VersionSeries:
    """Both versions since the new one's first traffic, and since its present share began (`step`).

    Keys are `errors`, `throttles` (of all requests), `duration_p95` (slower than `tau`), and
    `duration_p95/most` (slower than the limit). `p95` are the 95th percentiles of the new and the old version
    since the first traffic, in milliseconds. `tau` is the old version's of the hour before, or None where
    nothing ran. `uncounted` says why durations could not be counted: then their keys are missing.
    """

    series: Mapping[str, Series]
    step: Mapping[str, Series]
    p95: tuple[float | None, float | None] = (None, None)
    tau: float | None = None
    uncounted: str | None = None


@dataclass(frozen=True)
class SeriesRequest:
    """What is read: of which versions, and from the new one's first traffic until now, in epoch seconds.

    `shares` are the times at which the new version's share grew, after the first traffic, and to which part.
    The counts of a long rollout are read by 5 minutes or by the hour, so that they stay few, and are still
    there: CloudWatch keeps those of a minute for 15 days, of 5 minutes for 63, of an hour for 455.
    """

    function: str
    alias: str
    new: str
    old: str | None
    since: float
    until: float
    shares: tuple[tuple[float, float], ...] = ()

    @property
    def period(self) -> int:
        length = self.until - self.since
        return MINUTE if length <= DAY else 5 * MINUTE if length <= 5 * DAY else 60 * MINUTE

    @property
    def first(self) -> int:
        """The beginning of the period in which the new version had its first traffic."""
        return _floor(self.since, self.period)

    @property
    def after(self) -> int:
        """The end of the newest period, which is not over yet."""
        return _floor(self.until, self.period) + self.period

    def since_step(self, series: Series, began: float) -> Series:
        """Return the minutes since the current share began."""
        start = _floor(began, self.period)
        return Series(tuple(minute for minute in series.minutes if minute.at >= start))

    @property
    def versions(self) -> dict[str, str]:
        return {"new": self.new} | ({"old": self.old} if self.old is not None else {})


def read_version_series(
    client: "CloudWatchClient",
    request: SeriesRequest,
    *,
    tau: float | None,
    over: float | None,
    steps_since: float | None,
    durations: bool,
) -> VersionSeries:
    """Read the series of both versions. Raises botocore's errors, and LookFailed."""
    if not durations:
        values, uncounted = _read_counts(client, request, {})
        return VersionSeries(*_series(request, values, {}, steps_since))
    if tau is None and request.old is not None:
        tau = _earlier_p95(client, request)
    bounds = {"slow": tau, "over": over}
    thresholds = {name: bound for name, bound in bounds.items() if bound is not None}
    values, uncounted = _read_counts(client, request, thresholds)
    if uncounted:
        thresholds = {}
    return VersionSeries(
        *_series(request, values, thresholds, steps_since), _p95(client, request), tau, uncounted
    )


def _read_counts(
    client: "CloudWatchClient", request: SeriesRequest, thresholds: Mapping[str, float]
) -> tuple[dict[str, dict[int, float]], str | None]:
    """Return the values of each query, and why durations cannot be counted, or None.

    AWS documents the trimmed count for all metrics with raw values, and nowhere for Lambda's by name. If it
    is refused, everything else must still be read: a limit on durations is unclear then, and no rollout
    fails for it.
    """
    queries = list(_counts(request, thresholds))
    try:
        values = _read(client, queries, request.first - BEFORE, request.after)
    except ClientError as error:
        if not thresholds or classify(error) is not ErrorKind.PERMANENT:
            raise
        values = _read(client, list(_counts(request, {})), request.first - BEFORE, request.after)
        return values, f"CloudWatch does not count durations: {error_message(error)}"
    for whose in request.versions if thresholds else ():
        if sum(values[f"{whose}_durations"].values()) and not sum(values[f"{whose}_counted"].values()):
            return values, "CloudWatch has durations, and does not count those above a bound"
    return values, None


def _read(
    client: "CloudWatchClient", queries: Sequence["MetricDataQueryTypeDef"], since: float, until: float
) -> dict[str, dict[int, float]]:
    values = read_metric_data(client, queries, since, until)
    for name, found in values.items():
        if any(value < 0 for value in found.values()):
            raise LookFailed("Unreadable", f"CloudWatch answered with values of {name} that cannot be")
    return values


def _counts(request: SeriesRequest, thresholds: Mapping[str, float]) -> "Iterator[MetricDataQueryTypeDef]":
    """Yield the queries of counts by period: the same of both versions.

    `TC(100:)` counts the values above 100, without 100 itself ("CloudWatch statistics definitions", read on
    2026-11-26). `TC(0:)` counts all of them, which shows whether CloudWatch counts at all.
    """
    for whose, version in request.versions.items():
        for name, metric in _SUMS.items():
            yield _query(f"{whose}_{name}", request, version, metric, "Sum", request.period)
        if thresholds:
            for name, statistic in {
                "durations": "SampleCount",
                "counted": "TC(0:)",
                **{name: f"TC({_number(bound)}:)" for name, bound in thresholds.items()},
            }.items():
                yield _query(f"{whose}_{name}", request, version, "Duration", statistic, request.period)


def _query(
    name: str, request: SeriesRequest, version: str, metric: str, statistic: str, period: int
) -> "MetricDataQueryTypeDef":
    return {
        "Id": name,
        "MetricStat": {
            "Metric": {
                "Namespace": "AWS/Lambda",
                "MetricName": metric,
                "Dimensions": [
                    {"Name": "FunctionName", "Value": request.function},
                    {"Name": "Resource", "Value": f"{request.function}:{request.alias}"},
                    {"Name": "ExecutedVersion", "Value": version},
                ],
            },
            "Stat": statistic,
            "Period": period,
        },
        "ReturnData": True,
    }


def _number(milliseconds: float) -> str:
    """Return the number as a statistic takes it: at most 10 decimals, and no exponent."""
    return f"{milliseconds:.4f}".rstrip("0").rstrip(".")


def _earlier_p95(client: "CloudWatchClient", request: SeriesRequest) -> float | None:
    """Return the old version's 95th percentile of the hour before, or of an earlier one that has more data.

    Any threshold keeps the comparison honest. A percentile of a few requests only makes it blunt.
    """
    if request.old is None:
        return None
    queries = [
        _query("p95", request, request.old, "Duration", "p95", 3_600),
        _query("durations", request, request.old, "Duration", "SampleCount", 3_600),
    ]
    start = _floor(request.since, MINUTE)
    values = _read(client, queries, start - BEFORE, start)
    hours = sorted(values["p95"].keys() & values["durations"].keys(), reverse=True)
    counted = [hour for hour in hours if values["durations"][hour] >= ENOUGH]
    if counted:
        return round(values["p95"][counted[0]], 4)
    best = max(hours, key=lambda hour: values["durations"][hour], default=None)
    return round(values["p95"][best], 4) if best is not None else None


def _p95(client: "CloudWatchClient", request: SeriesRequest) -> tuple[float | None, float | None]:
    """Return both versions' 95th percentiles since the first traffic: of one period, up to a day.

    Percentiles of several periods cannot be combined into one. Of more than a day, it is their mean, weighted
    by how many durations each is of.
    """
    start, end = _floor(request.since, MINUTE), _floor(request.until, MINUTE) + MINUTE
    period = min(DAY, end - start)
    queries = [
        _query(f"{whose}_{name}", request, version, "Duration", statistic, period)
        for whose, version in request.versions.items()
        for name, statistic in (("p95", "p95"), ("durations", "SampleCount"))
    ]
    values = _read(client, queries, start, end)

    def mean(whose: str) -> float | None:
        p95, counts = values.get(f"{whose}_p95", {}), values.get(f"{whose}_durations", {})
        weights = {moment: counts.get(moment, 0.0) for moment in p95}
        total = sum(weights.values())
        return sum(p95[moment] * weight for moment, weight in weights.items()) / total if total else None

    return mean("new"), mean("old")


def _series(
    request: SeriesRequest,
    values: Mapping[str, Mapping[int, float]],
    thresholds: Mapping[str, float],
    steps_since: float | None,
) -> tuple[dict[str, Series], dict[str, Series]]:
    """Return the series since the first traffic, and those since its share became this large, by limit."""
    periods = range(request.first - BEFORE, request.after, request.period)
    counts = {name: counted(found, periods, request.period) for name, found in values.items()}
    nothing = [0] * len(periods)

    def of(whose: str, trials: Sequence[str], hits: str) -> list[tuple[int, int]]:
        parts = [counts.get(f"{whose}_{name}", nothing) for name in trials]
        total = [sum(part) for part in zip(*parts, strict=True)]
        # Metrics of the same minute need not arrive together.
        return [(n, min(x, n)) for n, x in zip(total, counts.get(f"{whose}_{hits}", nothing), strict=True)]

    limits = {
        "errors": (["invocations"], "errors"),
        "throttles": (["invocations", "throttles"], "throttles"),
    }
    keys = {"slow": "duration_p95", "over": "duration_p95/most"}
    limits |= {keys[name]: (["durations"], name) for name in thresholds}
    series = {
        limit: matched(request, periods, of("new", trials, hits), of("old", trials, hits))
        for limit, (trials, hits) in limits.items()
    }
    if steps_since is None:
        return series, {}
    return series, {limit: request.since_step(one, steps_since) for limit, one in series.items()}


def matched(
    request: SeriesRequest, periods: range, new: Sequence[tuple[int, int]], old: Sequence[tuple[int, int]]
) -> Series:
    """Match both versions' counts by period, and keep the old one's of before."""
    before = [one for at, one in zip(periods, old, strict=True) if at < request.first]
    while before and before[0] == (0, 0):
        before.pop(0)
    minutes = []
    for at, (n, x), (m, y) in zip(periods, new, old, strict=True):
        if at >= request.first:
            minutes.append(Minute(at, n, x, max(y, _competing(request, at, n, m)), y))
    grown = {_floor(moment, request.period) for moment, _ in request.shares}
    return Series(tuple(minutes), tuple(before), tuple(sorted(at for at in grown if at > request.first)))


def _competing(request: SeriesRequest, at: int, n: int, m: int) -> int:
    """Return how many of the old version's requests in a period compete with the new one's for its errors.

    While a share grows, the period's own share is too small for what happens after that: an outage that
    begins with the shift, and hits both versions alike, would look like the new one's fault. So of the first
    period, only the time since the first traffic counts, and of a later one as much as its last share leaves.
    """
    if at == request.first:
        m = round(m * _part_of_first(request))
    for moment, share in request.shares:
        if at <= moment < at + request.period:
            m = min(m, round(n * (1 - share) / share))
    return m


def _part_of_first(request: SeriesRequest) -> float:
    """Return the part of the first period in which requests could reach the new version."""
    end = min(request.until, request.first + request.period)
    return (end - request.since) / (end - request.first) if end > request.first else 1.0


def counted(found: Mapping[int, float], periods: range, length: int) -> list[int]:
    """Return a whole number for each period, whose sums are the sums of the values.

    A trimmed count is an interpolated approximation, and so a fraction. To round each alone would favour
    the version that has more requests a minute.
    """
    totals = dict.fromkeys(periods, 0.0)
    for moment, value in found.items():
        if (period := _floor(moment, length)) in totals:
            totals[period] += value
    whole, exact = [], 0.0
    before = 0
    for value in totals.values():
        exact += value
        whole.append(round(exact) - before)
        before = round(exact)
    return whole


def _floor(moment: float, period: int) -> int:
    return int(moment // period) * period
