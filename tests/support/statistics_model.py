"""CloudWatch's statistics of raw values.

Source: CloudWatch user guide, "CloudWatch statistics definitions", read on 26 November 2026. `TC(a:b)` counts
the values above a, up to and with b; `PR(a:b)` is their part in percent. Either bound may be left out (the
pattern of `Stat` in the API reference's PutAnomalyDetector has both forms). CloudWatch keeps values in bins,
so its own counts and percentiles are interpolated approximations, and a count may be a fraction.
"""

import math
import re
from collections.abc import Sequence
from typing import Final

Sample = tuple[float, float]
"""A value, and how often it was there."""

_RANGE: Final = re.compile(r"(TC|PR)\((\d+(?:\.\d{0,10})?)?:(\d+(?:\.\d{0,10})?)?\)")
_BASIC: Final = ("Average", "Maximum", "Minimum", "SampleCount", "Sum")
_PERCENTILE: Final = re.compile(r"p(\d{1,2}(?:\.\d{0,10})?|100)")


def is_statistic(name: str) -> bool:
    """Whether CloudWatch has a statistic of that name, as far as it is modelled here."""
    found = _RANGE.fullmatch(name)
    return (
        name in _BASIC or bool(_PERCENTILE.fullmatch(name)) or (found is not None and any(found.group(2, 3)))
    )


def statistic(name: str, samples: Sequence[Sample]) -> float | None:
    """Return the statistic of the values, or None where it has none. Raises ValueError for an unknown one."""
    if not is_statistic(name):
        raise ValueError(f"{name} is no statistic of CloudWatch's")
    present = [(value, count) for value, count in samples if count > 0]
    if not present:
        return None
    total = sum(count for _, count in present)
    basic = {
        "SampleCount": total,
        "Sum": sum(value * count for value, count in present),
        "Average": sum(value * count for value, count in present) / total,
        "Minimum": min(value for value, _ in present),
        "Maximum": max(value for value, _ in present),
    }
    if name in basic:
        return basic[name]
    if found := _PERCENTILE.fullmatch(name):
        return _percentile(present, float(found[1]))
    if found := _RANGE.fullmatch(name):
        low, high = float(found[2] or "-inf"), float(found[3] or "inf")
        count = sum(count for value, count in present if low < value <= high)
        return count if found[1] == "TC" else 100 * count / total
    raise ValueError(f"{name} is no statistic of CloudWatch's")


def _percentile(samples: Sequence[Sample], percent: float) -> float | None:
    """Return the smallest value that so many percent of the values do not exceed.

    "Percentile statistics are not available for metrics when any of the metric values are negative numbers"
    (GetMetricStatistics). How CloudWatch interpolates between two values is documented nowhere.
    """
    if any(value < 0 for value, _ in samples):
        return None
    rank = math.ceil(sum(count for _, count in samples) * percent / 100) or 1
    seen = 0.0
    for value, count in sorted(samples):
        seen += count
        if seen >= rank:
            return value
    return None
