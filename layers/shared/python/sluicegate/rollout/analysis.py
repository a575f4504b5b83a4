"""Whether a version is good enough, from one look at it while it has traffic: pure decisions.

A verdict depends on the plan, on what the record keeps of earlier looks, and on what was just read.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from sluicegate.deployment.durations import timestamp
from sluicegate.deployment.model import Deployment, Reason
from sluicegate.deployment.observations import (
    AlarmReading,
    AlarmState,
    LimitFinding,
    Observation,
    Tally,
    Verdict,
)
from sluicegate.deployment.plan import Better, CustomMetric, Limit, Metric, Watch
from sluicegate.rollout import budget, comparison, fix_forward
from sluicegate.rollout.counted import Constant, Counted, complement, exactly, finding_of, settled
from sluicegate.rollout.finding_messages import described
from sluicegate.rollout.judge_function import answered
from sluicegate.rollout.readings import MetricValues, Readings, Series
from sluicegate.rollout.split import MAX_RATIO
from sluicegate.rollout.value_findings import compared_values, count_values, value_findings

_P95: Final = 0.05
"""The part of the durations that is above the 95th percentile."""

_STRETCH: Final = 2.0
"""From how many times as many slow requests on it is no longer certain that the durations are alike."""


def observation_interval(watch: Watch | None, bake: int, most: int = budget.MAX_LOOKS) -> int:
    """Return the seconds between two of at most `most` looks. Without a watch, one is at the end."""
    if watch is None:
        return max(bake, 1)
    return max(budget.MIN_INTERVAL, -(-bake // most))


def find_alarm(alarms: Iterable[AlarmReading]) -> Reason | None:
    """Return the first alarm that stops a rollout: one that is firing, or one that could not fire."""
    for alarm in alarms:
        data = {"alarm": alarm.name, "since": alarm.since, "reason": alarm.reason, "link": alarm.link}
        data = {name: value for name, value in data.items() if value is not None}
        if alarm.state is AlarmState.MISSING:
            message = f"alarm {alarm.name} does not exist or cannot be read: it would warn nobody"
            return Reason("alarm_missing", message, data)
        if alarm.state is AlarmState.ALARM:
            since = f" since {alarm.since}" if alarm.since else ""
            why = f": {alarm.reason}" if alarm.reason else ""
            return Reason("alarm", f"alarm {alarm.name} is firing{since}{why}", data)
    return None


def judge(deployment: Deployment, watch: Watch, readings: Readings, now: float) -> Observation:
    """Return the observation of one look, at `now` in epoch seconds."""
    shown = readings.shown
    spend = shown.spend if shown else budget.spend(deployment, now)
    findings = shown.findings if shown else tuple(_Look(deployment, watch, readings, spend, now).findings())
    if watch.judge and readings.judge:
        findings = (*findings, answered(watch.judge.function, readings.judge, observe=watch.observe))
    enforced = [finding for finding in findings if not finding.observe]
    alarms = fix_forward.judged(deployment.fix_forward, readings.alarms, now)
    stops = not watch.observe and find_alarm(alarms) is not None
    if stops or any(finding.verdict is Verdict.BAD for finding in enforced):
        verdict = Verdict.BAD
    elif any(_is_unclear(finding) for finding in enforced):
        verdict = Verdict.UNCLEAR
    else:
        verdict = Verdict.GOOD
    return Observation(
        timestamp(now), deployment.step, spend, verdict, findings, readings.alarms, readings.tau
    )


def find_breach(watch: Watch, observation: Observation) -> Reason | None:
    """Return why the version does not stay: the alarm, or the limit that it breaks."""
    if not watch.observe and (reason := find_alarm(observation.alarms)):
        return reason
    for finding in observation.findings:
        if finding.verdict is Verdict.BAD and not finding.observe:
            return Reason("judge" if finding.rule == "judge" else "metric", finding.message, _data(finding))
    return None


def find_unclear(observation: Observation) -> Reason | None:
    """Return the first limit whose verdict is unclear, and what would settle it."""
    for finding in observation.findings:
        if _is_unclear(finding) and not finding.observe:
            return Reason("unclear", finding.message, _data(finding))
    return None


def is_beyond_doubt(observation: Observation) -> bool:
    """Return whether the version is good, and more requests would not change that."""
    enforced = [finding for finding in observation.findings if not finding.observe]
    return bool(enforced) and all(
        finding.step or (finding.verdict is Verdict.GOOD and finding.beyond_doubt) for finding in enforced
    )


def _is_unclear(finding: LimitFinding) -> bool:
    """Return whether it leaves the verdict unclear. A part of the requests alone need not be enough."""
    return finding.verdict is Verdict.UNCLEAR and not finding.step


def _data(finding: LimitFinding) -> dict[str, Any]:
    """Return the finding for programs, in a reason's data."""
    tally, data = finding.tally, {"metric": finding.limit, "because": finding.rule, "limit": finding.bound}
    found: dict[str, Any] = {
        "value": finding.new and _rounded(finding.new.value),
        "old": finding.old and _rounded(finding.old.value),
        "ratio": finding.ratio and _rounded(finding.ratio.value),
        "samples": tally and tally.n,
        "needed": finding.needed,
    }
    return {name: value for name, value in (data | found).items() if value is not None}


def _rounded(value: float) -> float:
    return round(value, 3)


@dataclass(frozen=True)
class _Look:
    """One look at all limits, with the looks before it."""

    deployment: Deployment
    watch: Watch
    readings: Readings
    spend: float
    now: float

    def findings(self) -> Iterator[LimitFinding]:
        for limit in self.watch.limits:
            yield from self._of_limit(limit)
        for metric in self.watch.metrics:
            values = self.readings.values.get(metric.name)
            if metric.share is None or (values is not None and values.problem):
                yield from value_findings(metric, values, observe=self._observes(metric))
                if metric.max_ratio is not None and values and values.new:
                    yield self._compared_values(metric, values)
            else:
                yield from self._of_share(metric)

    def _observes(self, limit: Limit | CustomMetric) -> bool:
        return self.watch.observe or limit.observe

    def _of_limit(self, limit: Limit) -> Iterator[LimitFinding]:
        if limit.metric is Metric.DURATION_P95:
            yield from self._uncounted(limit) if self.readings.uncounted else self._of_durations(limit)
            return
        name = limit.metric.value
        counted = Counted(
            name,
            self.readings.series.get(name, Series()),
            self.readings.step.get(name),
            limit.min_samples,
            self._observes(limit),
            scale=100,
        )
        rate = None if limit.most is None else limit.most / 100
        yield from self._of_counts(counted, limit.max_ratio, Constant.of("max_percent", limit.most, rate))

    def _uncounted(self, limit: Limit) -> Iterator[LimitFinding]:
        """What cannot be counted is unclear."""
        name, message = limit.metric.value, f"{limit.metric.value}: {self.readings.uncounted}: unclear"
        for rule, bound in (("max_ratio", limit.max_ratio), ("max_ms", limit.most)):
            if bound is not None:
                observe = self._observes(limit)
                yield LimitFinding(name, rule, Verdict.UNCLEAR, message, bound=bound, observe=observe)

    def _of_share(self, metric: CustomMetric) -> Iterator[LimitFinding]:
        """Judge a share. Where higher is better, what is missing to all counts."""
        observe, name, higher = self._observes(metric), metric.name, metric.better is Better.HIGHER
        series, step = self.readings.series.get(name, Series()), self.readings.step.get(name)
        if not any(minute.n for minute in series.minutes) and metric.missing is not Verdict.UNCLEAR:
            message = f"{name}: no data, which counts as {metric.missing.value}"
            yield LimitFinding(name, "missing", metric.missing, message, observe=observe)
            return
        if higher:
            series, step = complement(series), step and complement(step)
        rate = None if metric.most is None else 1 - metric.most if higher else float(metric.most)
        counted = Counted(name, series, step, metric.min_samples, observe, scale=1, misses=higher)
        constant = Constant.of("min" if higher else "max", metric.most, rate)
        yield from self._of_counts(counted, metric.max_ratio, constant)

    def _of_counts(
        self, counted: Counted, max_ratio: float | None, constant: Constant | None
    ) -> Iterator[LimitFinding]:
        if gross := self._gross(counted, max_ratio, constant):
            yield gross
            return
        if max_ratio is not None:
            yield self._compared(counted, max_ratio)
        if constant is not None and 0 <= constant.rate < 1:
            yield from self._below(counted, constant)

    def _of_durations(self, limit: Limit) -> Iterator[LimitFinding]:
        name, observe = limit.metric.value, self._observes(limit)
        if limit.max_ratio is not None:
            yield self._compared_durations(limit, observe)
        if limit.most is not None:
            key = f"{name}/most"
            series, step = self.readings.series.get(key, Series()), self.readings.step.get(key)
            counted = Counted(name, series, step, limit.min_samples, observe, scale=100)
            for finding in self._below(counted, Constant("max_ms", float(limit.most), _P95)):
                yield described(replace(finding, new=exactly(self.readings.p95[0]), needed=None))

    def _gross(
        self, counted: Counted, max_ratio: float | None, constant: Constant | None
    ) -> LimitFinding | None:
        """Return gross failure, if it breaks one of the limits there are.

        While both versions get requests, a minute of which only the new one's metrics have arrived proves
        nothing: an outage may have hit both.
        """
        series, tally = counted.series, counted.tally
        if self.deployment.plan.steps[self.deployment.step].percent < 100:
            counts = comparison.count(settled(series, self.now))
            tally = replace(counts, phi=tally.phi, phi_alone=tally.phi_alone)
        before = (sum(n for n, _ in series.hour), sum(x for _, x in series.hour))
        alpha = budget.gross_alpha(self.watch, self.deployment.plan)
        result = comparison.find_gross(tally, before, alpha=alpha)
        if result is None or result.new is None:
            return None
        old = result.old.value if result.old is not None else 0.0
        breaks_ratio = max_ratio is not None and result.new.value >= max_ratio * old
        breaks_rate = constant is not None and result.new.value > constant.rate
        return finding_of(counted, "gross", None, result, tally) if breaks_ratio or breaks_rate else None

    def _path(
        self, name: str, rule: str, now: Tally, *, step: bool = False
    ) -> tuple[list[Tally], list[float]]:
        """Return the tallies of the looks so far, as they were seen, and what could be spent by each."""
        path, spends = [], []
        for observation in self.deployment.observations:
            if step and observation.step != self.deployment.step:
                continue
            for finding in observation.findings:
                if (finding.limit, finding.rule, finding.step) == (name, rule, step) and finding.tally:
                    path.append(finding.tally)
                    spends.append(observation.spend)
        return [*path, now], [*spends, self.spend]

    def _compared(self, counted: Counted, max_ratio: float) -> LimitFinding:
        tally = counted.tally
        path, spends = self._path(counted.name, "max_ratio", tally)
        alpha = budget.alphas(self.watch)[counted.name]
        result = comparison.compare(
            path, spends, alpha=alpha, max_ratio=max_ratio, min_samples=counted.min_samples
        )
        return finding_of(counted, "max_ratio", max_ratio, result, tally)

    def _compared_durations(self, limit: Limit, observe: bool) -> LimitFinding:
        """Compare how many durations are above the old version's percentile, and then the percentiles.

        The first excludes chance, the second is the size that the limit is of.
        """
        name, ratio = limit.metric.value, float(limit.max_ratio or 1)
        tally = comparison.tally(self.readings.series.get(name, Series()))
        path, spends = self._path(name, "max_ratio", tally)
        alpha = budget.alphas(self.watch)[name]
        counted = comparison.compare(path, spends, alpha=alpha, max_ratio=1, min_samples=limit.min_samples)
        new, old = self.readings.p95
        verdict, beyond_doubt = Verdict.UNCLEAR, False
        if new is not None and old is not None and tally.m and tally.n >= limit.min_samples:
            if new <= ratio * old:
                verdict = Verdict.GOOD
                alike = counted.ratio is not None and counted.ratio.low <= 1
                beyond_doubt = alike and comparison.is_beyond_doubt(
                    tally, max_ratio=_STRETCH, min_samples=limit.min_samples
                )
            elif counted.verdict is Verdict.BAD:
                verdict = Verdict.BAD
        return described(
            LimitFinding(
                name,
                "max_ratio",
                verdict,
                "",
                bound=ratio,
                observe=observe,
                beyond_doubt=beyond_doubt,
                tally=tally,
                new=exactly(new),
                old=exactly(old),
                ratio=exactly(min(new / old, MAX_RATIO) if new is not None and old else None),
                p=counted.p,
                room=counted.room,
            )
        )

    def _compared_values(self, metric: CustomMetric, values: MetricValues) -> LimitFinding:
        path, spends = self._path(metric.name, "max_ratio", count_values(metric, values))
        alpha, observe = budget.alphas(self.watch)[metric.name], self._observes(metric)
        return compared_values(metric, values, path, spends, alpha=alpha, observe=observe)

    def _below(self, counted: Counted, constant: Constant) -> Iterator[LimitFinding]:
        """Judge a constant limit: since the first traffic, and where the share has grown, since then.

        What fails only under more load must not disappear among the requests of a long, quiet step before.
        """
        alpha = budget.constant_alpha(self.watch)
        for step, series in ((False, counted.series), (True, counted.step)):
            if series is None:
                continue
            tally = comparison.tally(series) if step else replace(counted.tally, by_share=())
            path, spends = self._path(counted.name, constant.rule, tally, step=step)
            result = comparison.against_constant(
                path, spends, alpha=alpha, rate=constant.rate, min_samples=counted.min_samples
            )
            finding = finding_of(counted, constant.rule, constant.bound, result, tally)
            yield described(replace(finding, step=True)) if step else finding
