"""The metrics of a watch: those of its presets, and the file's own.

What is wrong with one is reported where it is.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from sluicegate.deployment.observations import Verdict
from sluicegate.deployment.plan import Better, CustomMetric, Metric, MetricSource
from sluicegate.gate import metric_names
from sluicegate.rollout.presets import PresetError, PresetOptions, expand
from sluicegate_gatefile import metric_math
from sluicegate_gatefile.yaml_source import Path, Reporter

MetricKeys = Mapping[str, Any]

MIN_SAMPLES: Final = 100


def of_watch(report: Reporter, at: Path, keys: MetricKeys) -> tuple[CustomMetric, ...]:
    """Return the metrics of a watch, `keys`, which is at `at`.

    A metric of the file's own replaces that of a preset with the same name.
    """
    own = [_own(report, (*at, "metrics", i), each) for i, each in enumerate(keys.get("metrics", ()))]
    taken = {metric.value for metric in Metric}
    for i, metric in enumerate(own):
        if metric.name in taken:
            what = f"there is a metric `{metric.name}` already: give this one another name"
            report("error", "watch", (*at, "metrics", i, "name"), what)
        taken.add(metric.name)
    found = (*_of_presets(report, (*at, "presets"), keys.get("presets", ()), taken), *own)
    if len(found) > metric_names.MAX_METRICS:
        what = (
            f"these are {len(found)} metrics, with those of presets; the limit is {metric_names.MAX_METRICS}"
        )
        report("error", "watch", (*at, "metrics" if own else "presets"), what)
    return found


def _of_presets(report: Reporter, at: Path, presets: Any, taken: set[str]) -> list[CustomMetric]:
    found: list[CustomMetric] = []
    seen = set[str]()
    for i, each in enumerate(presets):
        name, options = each["name"], {key: value for key, value in each.items() if key != "name"}
        if name in seen:
            report("error", "watch", (*at, i), f"the preset `{name}` is here already")
            continue
        seen.add(name)
        try:
            found += (metric for metric in expand(name, PresetOptions(**options)) if metric.name not in taken)
        except PresetError as error:
            report("error", "watch", (*at, i), str(error))
    return found


def _own(report: Reporter, at: Path, keys: MetricKeys) -> CustomMetric:
    better = Better(keys.get("better", Better.LOWER))
    mine, other = ("max", "min") if better is Better.LOWER else ("min", "max")
    metric = CustomMetric(
        name=keys["name"],
        sources=tuple(
            MetricSource(
                id=name,
                namespace=each["namespace"],
                metric=each["metric"],
                stat=each["stat"],
                dimensions=tuple(each.get("dimensions", {}).items()),
            )
            for name, each in keys["metrics"].items()
        ),
        expression=keys.get("expression"),
        better=better,
        most=keys.get(mine),
        max_ratio=keys.get("max_ratio"),
        missing=Verdict(keys.get("missing", Verdict.UNCLEAR)),
        min_samples=keys.get("min_samples", MIN_SAMPLES),
        minutes=keys.get("minutes", CustomMetric.minutes),
        observe=keys.get("mode") == "observe",
    )
    if other in keys:
        report("error", "watch", (*at, other), f"where {better.value} is better, the limit is `{mine}`")
    wrong_ids = [name for name in keys["metrics"] if not re.fullmatch(metric_names.ID, name)]
    for name in wrong_ids:
        what = f"`{name}` cannot be an id of CloudWatch's: letters, digits and `_`, a lower-case letter first"
        report("error", "watch", (*at, "metrics", name), what)
    if len(metric.sources) > metric_names.MAX_SOURCES:
        what = f"these are more than {metric_names.MAX_SOURCES} metrics in one expression"
        report("error", "watch", (*at, "metrics"), what)
    elif other not in keys and not wrong_ids:
        _check(report, at, metric)
    return metric


def _check(report: Reporter, at: Path, metric: CustomMetric) -> None:
    """Report what is wrong with a metric as a whole."""
    if metric.expression is not None:
        try:
            metric_math.check(metric.expression, [source.id for source in metric.sources])
        except metric_math.MetricMathError as error:
            report("error", "watch", (*at, "expression"), f"the expression {error}")
            return
    if wrong := metric_names.problem(metric):
        report("error", "watch", at, f"`{metric.name}` {wrong}")
