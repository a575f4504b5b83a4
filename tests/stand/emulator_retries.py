"""What the stand changes about MiniStack's retries in Step Functions: their delays.

MiniStack ignores `MaxDelaySeconds` and `JitterStrategy`, so that hundreds of executions that were throttled
together try again together.

Sources, read on 2026-11-27: Step Functions developer guide, "Handling errors in Step Functions workflows",
Retry: `MaxDelaySeconds` is the longest that an interval can become; AWS CDK reference, JitterType: with FULL,
the delay is a random number between 0 and the computed backoff.
"""

import random
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def install(pinned: Callable[..., Any]) -> None:
    states: Any = import_module("ministack.services.stepfunctions")
    find = pinned(states, "_find_matching_retrier", "retriers", "error", "retry_counts")

    def find_matching_retrier(retriers: Any, error: Any, retry_counts: Any) -> Any:
        retrier, index = find(retriers, error, retry_counts)
        if retrier is None:
            return retrier, index
        seconds = delay(retrier, retry_counts.get(index, 0), random.random())  # noqa: S311
        return {**retrier, "IntervalSeconds": seconds, "BackoffRate": 1}, index

    states._find_matching_retrier = find_matching_retrier


def delay(retrier: Mapping[str, Any], retries: int, drawn: float) -> float:
    """The seconds before the next retry, after so many; `drawn` by lot between 0 and 1."""
    seconds: float = retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** retries
    seconds = min(seconds, retrier.get("MaxDelaySeconds", seconds))
    return seconds * drawn if retrier.get("JitterStrategy") == "FULL" else seconds
