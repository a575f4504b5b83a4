"""The user's own metrics in the gate file: names, and the limits of CloudWatch.

Amazon CloudWatch API reference: MetricDataQuery, MetricStat, Dimension, read on 2026-11-26.
"""

import re
from typing import Final

from sluicegate.deployment.plan import CustomMetric

MAX_METRICS: Final = 20
"""Metrics of one watch, those of presets included."""

MAX_SOURCES: Final = 10
"""Metrics of CloudWatch in one expression: all of a watch fit into one GetMetricData call of 500 queries."""

MAX_DIMENSIONS: Final = 30
MAX_EXPRESSION: Final = 2_048
MAX_VALUE: Final = 255
"""Characters of a name or of a dimension's value, as short as CloudWatch takes any of them."""

MAX_MINUTES: Final = 60
LARGEST: Final = 1_000_000_000
"""The largest constant that a metric is compared with."""

OF_SEVERAL: Final = ("Sum", "SampleCount", "Maximum", "Minimum")
"""Statistics of which the values of several event source mappings make one."""

NAME: Final = "[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
"""What the gate file calls a metric."""

ID: Final = "[a-z][A-Za-z0-9_]{0,63}"
"""What an expression calls a metric: it begins with a lower-case letter."""

NAMESPACE: Final = r"[^:\x00-\x1f\x7f][\x20-\x39\x3b-\x7e]{0,254}"
TEXT: Final = r"[\x20-\x7e]{1,255}"
STAT: Final = (
    r"Sum|SampleCount|Average|Minimum|Maximum|p(?:100|[0-9]{1,2}(?:\.[0-9]{1,10})?)"
    r"|(?:TM|TC|TS|WM|PR)\([0-9.%]*:[0-9.%]*\)"
)
DIMENSION: Final = (
    rf"(?=[\s\S]{{1,{MAX_VALUE}}}$)"
    r"(?:[\x20-\x7a\x7c\x7e]|\{(?:function|stage|alias|version|event_source)\})+"
)
"""A dimension's value as the gate file has it."""

_PLACEHOLDER: Final = re.compile(r"\{(?:function|stage|alias|version|event_source)\}")


def complaint(value: str) -> str | None:
    """What is wrong with a dimension's value as the gate file has it; None where nothing is."""
    if len(value) > MAX_VALUE:
        return f"is longer than {MAX_VALUE} characters"
    if re.search(r"[{}]", _PLACEHOLDER.sub("", value)):
        return (
            "has a brace that is not a placeholder: `{function}`, `{stage}`, `{alias}`, `{version}` and "
            "`{event_source}` are filled in"
        )
    return None


def problem(metric: CustomMetric) -> str | None:
    """What is wrong with a metric as a whole; None where nothing is."""
    ids = [source.id for source in metric.sources]
    if metric.most is None and metric.max_ratio is None:
        return f"has no limit: give `{'max' if metric.better == 'lower' else 'min'}`, `max_ratio` or both"
    if metric.most is not None and not 0 <= metric.most <= LARGEST:
        return f"has a limit that is not from 0 to {LARGEST}"
    if len(set(ids)) != len(ids):
        return "has two sources with one id"
    if metric.expression is None and len(ids) > 1:
        return "has several sources: give the `expression` that makes one value of them"
    used = set(re.findall(ID, metric.expression)) if metric.expression is not None else set(ids)
    if unused := [each for each in ids if each not in used]:
        return f"has a source that its expression does not use: `{unused[0]}`"
    if metric.max_ratio is not None and not metric.by_version:
        return "has a `max_ratio`, so every source needs `{version}` in a dimension"
    if metric.by_version != any(source.by_version for source in metric.sources):
        return "has `{version}` in some of its sources only"
    for source in metric.sources:
        if source.by_event_source and source.stat not in OF_SEVERAL:
            return f"has `{{event_source}}` with `{source.stat}`; it takes {', '.join(OF_SEVERAL)}"
        for name, value in source.dimensions:
            if not re.fullmatch(TEXT, name) or name.startswith(":"):
                return f"has a dimension `{name}`, which CloudWatch cannot have"
            if wrong := complaint(value):
                return f"has a dimension that {wrong}"
    return None
