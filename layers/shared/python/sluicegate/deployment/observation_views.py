"""What the API and the events show of an observation (the shape is in docs/reference/openapi.yaml)."""

import json
import math
from typing import Any, Final

from sluicegate.deployment.observations import AlarmReading, Interval, LimitFinding, Observation
from sluicegate.deployment.plan import Plan

_DIGITS: Final = 6
"""Digits of a number that are shown: more would be noise of the calculation."""


def observation_view(observation: Observation, plan: Plan) -> dict[str, Any]:
    """Return an observation as the API shows it: estimates in each finding's unit."""
    return {
        "at": observation.at,
        "step": observation.step,
        "percent": plan.steps[observation.step].percent if observation.step < len(plan.steps) else None,
        "verdict": observation.verdict.value,
        "spend": _number(observation.spend),
        "alarms": [_alarm_view(alarm) for alarm in observation.alarms],
        "findings": [_finding_view(finding) for finding in observation.findings],
    }


def bounded(observation: dict[str, Any] | None, most: int) -> dict[str, Any] | None:
    """Return the view of an observation; without its alarms and findings if it has more than `most` bytes."""
    if observation is None or len(json.dumps(observation)) <= most:
        return observation
    return {**observation, "alarms": [], "findings": []}


def _alarm_view(alarm: AlarmReading) -> dict[str, Any]:
    return {
        "name": alarm.name,
        "state": alarm.state.value,
        "since": alarm.since,
        "reason": alarm.reason,
        "link": alarm.link,
    }


def _finding_view(finding: LimitFinding) -> dict[str, Any]:
    tally = finding.tally
    return {
        "limit": finding.limit,
        "rule": finding.rule,
        "bound": _number(finding.bound),
        "unit": finding.unit,
        "mode": "observe" if finding.observe else "enforce",
        "verdict": finding.verdict.value,
        "message": finding.message,
        "new": _measured_view(finding.new, _counts(finding, tally.n, tally.x) if tally else None),
        "old": _measured_view(finding.old, _counts(finding, tally.m, tally.y) if tally else None),
        "ratio": finding.ratio and _interval_view(finding.ratio),
        "needed": finding.needed,
    }


def _counts(finding: LimitFinding, requests: int, counted: int) -> tuple[int, int]:
    """Return requests and hits: of a share whose misses were counted, the others are the hits."""
    return requests, requests - counted if finding.misses else counted


def _measured_view(interval: Interval | None, counts: tuple[int, int] | None) -> dict[str, Any] | None:
    if interval is None:
        return None
    requests, hits = counts or (None, None)
    return {**_interval_view(interval), "requests": requests, "hits": hits}


def _interval_view(interval: Interval) -> dict[str, Any]:
    return {
        "value": _number(interval.value),
        "low": _number(interval.low),
        "high": _number(interval.high),
    }


def _number(value: float | None) -> float | None:
    """Return a number as JSON can have it: infinity, as the upper end of a ratio, is None."""
    return float(f"{value:.{_DIGITS}g}") if value is not None and math.isfinite(value) else None
