"""The functions' log and metrics, made once per process.

One decision leaves one event. The stack is the metrics' only dimension: claims are the caller's to choose.
"""

import warnings

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

logger = Logger()
metrics = Metrics()

# Most invocations have nothing to count, and need not say so.
warnings.filterwarnings("ignore", "No application metrics to publish")


def measure(name: str, seconds: float) -> None:
    """Add a duration to a metric of the namespace `Sluicegate`."""
    metrics.add_metric(name=name, unit=MetricUnit.Seconds, value=seconds)


def count(name: str, value: int = 1) -> None:
    """Add to a metric of the namespace `Sluicegate`."""
    metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)


def measure_percent(name: str, percent: float) -> None:
    """Add a share in percent to a metric of the namespace `Sluicegate`."""
    metrics.add_metric(name=name, unit=MetricUnit.Percent, value=percent)
