"""The user's own metrics of CloudWatch, by the minute, of both versions behind an alias.

One or two GetMetricData calls read all of them. An error in one, such as an expression that CloudWatch
refuses, is a ValidationError of the whole call; then each metric is asked for alone, and only the wrong one
has no values.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from sluicegate.aws.errors import ErrorKind, classify, error_code, error_message
from sluicegate.aws.metric_data import MAX_QUERIES, read_metric_data
from sluicegate.aws.version_metrics import BEFORE, DAY, SeriesRequest, counted, matched
from sluicegate.deployment.plan import CustomMetric, MetricSource
from sluicegate.rollout.readings import MINUTE, MetricValues, Series
from sluicegate.text import clean

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import MetricDataQueryTypeDef

MAX_PROBLEM: Final = 300
"""Characters of CloudWatch's own words that are kept."""

MINUTES_KEPT: Final = 15 * DAY
"""For so many seconds CloudWatch keeps values by the minute (SeriesRequest)."""

MAX_COUNT: Final = 10**12
"""The largest count of a period: beyond it, what is compared would be rounding."""

_ID: Final = re.compile(r"\b[a-z][A-Za-z0-9_]*\b", re.ASCII)
_COMBINED: Final = {"Sum": "SUM", "SampleCount": "SUM", "Maximum": "MAX", "Minimum": "MIN"}
"""How the values of several event source mappings make one, by statistic."""

_Values = Mapping[int, float]


class _NoCount(ValueError):
    """A metric of the user's has a value that no count has; the message says which."""


@dataclass(frozen=True)
class MetricReadings:
    """By a metric's name: the series of one that is a share, the values of any other.

    `step` are the series since the new version's current share began. A share that cannot be read has
    `values` with the `problem`, and no series.
    """

    series: Mapping[str, Series] = field(default_factory=dict)
    step: Mapping[str, Series] = field(default_factory=dict)
    values: Mapping[str, MetricValues] = field(default_factory=dict)


def read_custom_metrics(
    client: "CloudWatchClient",
    request: SeriesRequest,
    metrics: Sequence[CustomMetric],
    event_sources: Sequence[str],
    steps_since: float | None = None,
) -> MetricReadings:
    """Read the metrics. `event_sources` are the UUIDs of the alias's event source mappings.

    `steps_since` is when the new version's current share began, in epoch seconds; None in the first step.
    Raises botocore's errors, and LookFailed.
    """
    asked = [_Asked(number, metric, request, event_sources) for number, metric in enumerate(metrics)]
    series: dict[str, Series] = {}
    values: dict[str, MetricValues] = {}
    for each, found, problem in _answers(client, request, asked):
        name = each.metric.name
        if problem is not None:
            values[name] = MetricValues(problem=problem)
        elif each.metric.share:
            try:
                series[name] = each.series(found)
            except _NoCount as error:
                values[name] = MetricValues(problem=str(error))
        else:
            values[name] = each.values(found)
    step = (
        {}
        if steps_since is None
        else {name: request.since_step(one, steps_since) for name, one in series.items()}
    )
    return MetricReadings(series, step, values)


def _answers(
    client: "CloudWatchClient", request: SeriesRequest, asked: Sequence["_Asked"]
) -> "Iterator[tuple[_Asked, dict[str, dict[int, float]], str | None]]":
    """Yield each metric with its values by query, or with why there are none."""
    for part in _parts(asked):
        try:
            found = _read(client, request, part)
        except ClientError as error:
            if classify(error) is not ErrorKind.PERMANENT:
                raise
        else:
            yield from ((each, found, None) for each in part)
            continue
        for each in part:
            try:
                found, problem = _read(client, request, [each]), None
            except ClientError as error:
                if classify(error) is not ErrorKind.PERMANENT:
                    raise
                words = f"CloudWatch refuses to read it: {error_code(error)}: {error_message(error)}"
                found, problem = {}, clean(words, MAX_PROBLEM)
            yield each, found, problem


def _parts(asked: Sequence["_Asked"]) -> "Iterator[list[_Asked]]":
    """Yield the metrics in as few calls as possible: a call has one start, and an expression its sources."""
    for start in sorted({each.start for each in asked}):
        part: list[_Asked] = []
        for each in asked:
            if each.start != start:
                continue
            if part and sum(len(one.queries) for one in (*part, each)) > MAX_QUERIES:
                yield part
                part = []
            part.append(each)
        yield part


def _read(
    client: "CloudWatchClient", request: SeriesRequest, asked: Sequence["_Asked"]
) -> dict[str, dict[int, float]]:
    queries = [query for each in asked for query in each.queries]
    if not queries:
        return {}
    return read_metric_data(client, queries, asked[0].start, request.after)


class _Asked:
    """One metric, and the queries for it."""

    def __init__(
        self, number: int, metric: CustomMetric, request: SeriesRequest, event_sources: Sequence[str]
    ) -> None:
        self.metric = metric
        self.queries: list[MetricDataQueryTypeDef] = []
        self._request = request
        self._number = number
        self._ids: dict[str, dict[str, list[str]]] = {}
        """The ids of the queries, by version and source."""
        for whose, version in request.versions.items():
            if whose == "new" or metric.by_version:
                self._ask(whose, version, event_sources)

    @property
    def start(self) -> int:
        """From when on: of shares of the versions also before the first traffic, for their dispersion.

        A limit looks at the newest values only, a comparison at all that CloudWatch keeps by the minute.
        """
        request = self._request
        if self.metric.share is not None:
            return request.first - BEFORE if self.metric.by_version else request.first
        kept = DAY if self.metric.max_ratio is None else MINUTES_KEPT
        return int(max(request.since, request.until - kept) // MINUTE) * MINUTE

    @property
    def _period(self) -> int:
        """Counts add up to those of longer periods. Values do not: a sum of five minutes is another value."""
        return MINUTE if self.metric.share is None else self._request.period

    def series(self, found: Mapping[str, _Values]) -> Series:
        """Return the counts of a share, of both versions where it tells them apart."""
        new, old = (self._counts(whose, found) for whose in ("new", "old"))
        return matched(self._request, self._periods, new, old)

    def values(self, found: Mapping[str, _Values]) -> MetricValues:
        """Return the values since the first traffic, of both versions where it tells them apart.

        The period that is not over yet is left out: a sum of it is of fewer requests.
        """
        new, old = (
            tuple(
                (at, value)
                for at, value in sorted(found.get(self._result(whose), {}).items())
                if at + MINUTE <= self._request.until
            )
            for whose in ("new", "old")
        )
        return MetricValues(new, old, until=self._request.until)

    @property
    def _periods(self) -> range:
        return range(self.start, self._request.after, self._request.period)

    def _counts(self, whose: str, found: Mapping[str, _Values]) -> list[tuple[int, int]]:
        """Return trials and hits of each period."""
        if whose not in self._ids or self.metric.share is None:
            return [(0, 0)] * len(self._periods)
        hits, trials = (
            counted(
                _added_up([found.get(name, {}) for name in self._ids[whose][source.id]]),
                self._periods,
                self._request.period,
            )
            for source in self.metric.share
        )
        return _fitted(trials, hits)

    def _result(self, whose: str) -> str:
        """Return the id under which the metric's values come."""
        ids = [name for names in self._ids.get(whose, {}).values() for name in names]
        return ids[0] if len(ids) == 1 and self.metric.expression is None else f"e{self._number}{whose}"

    def _ask(self, whose: str, version: str, event_sources: Sequence[str]) -> None:
        ids: dict[str, list[str]] = {}
        queries: list[MetricDataQueryTypeDef] = []
        for position, source in enumerate(self.metric.sources):
            ids[source.id] = []
            for event_source in event_sources if source.by_event_source else ("",):
                name = f"m{self._number}{whose}{position}_{len(ids[source.id])}"
                ids[source.id].append(name)
                queries.append(_query(name, source, version, event_source, self._period))
        self._ids[whose] = ids
        if not all(ids.values()):  # of an alias without event source mappings there is nothing to read
            return
        if self.metric.share is None and (self.metric.expression or len(queries) > 1):
            for query in queries:
                query["ReturnData"] = False
            by_id = {source.id: source for source in self.metric.sources}
            text = self.metric.expression or self.metric.sources[0].id
            expression = _ID.sub(lambda found: _combined(by_id[found[0]], ids[found[0]]), text)
            queries.append({"Id": self._result(whose), "Expression": expression, "ReturnData": True})
        self.queries += queries


def _query(
    name: str, source: MetricSource, version: str, event_source: str, period: int
) -> "MetricDataQueryTypeDef":
    filled = (
        (key, value.replace("{version}", version).replace("{event_source}", event_source))
        for key, value in source.dimensions
    )
    return {
        "Id": name,
        "MetricStat": {
            "Metric": {
                "Namespace": source.namespace,
                "MetricName": source.metric,
                "Dimensions": [{"Name": key, "Value": value} for key, value in filled],
            },
            "Stat": source.stat,
            "Period": period,
        },
        "ReturnData": True,
    }


def _combined(source: MetricSource, ids: Sequence[str]) -> str:
    """Return what stands for a source in an expression. A missing value counts as 0 ("Metric math")."""
    return ids[0] if len(ids) == 1 else f"{_COMBINED[source.stat]}([{','.join(ids)}])"


def _added_up(series: Iterable[_Values]) -> dict[int, float]:
    total: dict[int, float] = {}
    for each in series:
        for at, value in each.items():
            if not 0 <= value <= MAX_COUNT:
                raise _NoCount(f"{value:g} cannot be a count: it is below 0, or above {MAX_COUNT:g}")
            total[at] = total.get(at, 0.0) + value
    return total


def _fitted(trials: Sequence[int], hits: Sequence[int]) -> list[tuple[int, int]]:
    """Return trials and hits by period, no more hits than trials.

    The two need not be counted in the same minute: a failed batch counts when it ends, a request when it
    begins. So hits that are too many for their period move to later ones, and what is left to earlier ones.
    """
    fitted, over = list(hits), 0
    for order in (range(len(fitted)), reversed(range(len(fitted)))):
        for i in order:
            wanted = fitted[i] + over
            fitted[i] = min(wanted, trials[i])
            over = wanted - fitted[i]
    return list(zip(trials, fitted, strict=True))
