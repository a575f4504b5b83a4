"""Read CloudWatch's alarms: the state of each, since when, and CloudWatch's own reason (DescribeAlarms).

API reference (DescribeAlarms, MetricAlarm, CompositeAlarm), read on 2026-11-26: a call takes 100 names, or
one prefix, and answers 100 alarms a page. Callers get composite alarms only if they may describe all alarms.
Names that do not exist are left out.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from sluicegate.aws.metric_data import LookFailed
from sluicegate.deployment.durations import timestamp
from sluicegate.deployment.observations import AlarmReading, AlarmState
from sluicegate.gate.alarm_names import is_pattern, matches, prefix
from sluicegate.text import clean

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

MAX_PAGES: Final = 5
"""Pages of alarms with a pattern's prefix that are read, each of at most 100."""

MAX_MATCHES: Final = 50
"""Alarms that one watch's patterns may find: each is read at every look, and those that ring are recorded."""

MAX_REASON: Final = 500
"""Characters of an alarm's reason that are kept; CloudWatch's own limit is 1,023."""

_ALARM_ARN: Final = re.compile(r"arn:[a-z0-9-]{1,30}:cloudwatch:[a-z0-9-]{1,30}:[0-9]{12}:alarm:")
_PLACE: Final = re.compile(r"arn:(aws[a-z-]{0,20}):cloudwatch:([a-z0-9-]{1,30}):[0-9]{12}:alarm:")
_CONSOLES: Final = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}


def read_alarms(client: "CloudWatchClient", names: Sequence[str]) -> tuple[AlarmReading, ...]:
    """Return the readings of alarms by name or pattern, in the order of `names`, each alarm once.

    A pattern stands for every alarm that it matches, sorted by name. A name that does not exist, and a
    pattern that matches nothing, are MISSING. Raises botocore's errors, and LookFailed.
    """
    exact = [name for name in names if not is_pattern(name)]
    found = {alarm.name: alarm for alarm in _named(client, exact)}
    readings: dict[str, AlarmReading] = {}
    matched = 0
    for name in names:
        if not is_pattern(name):
            readings[name] = found.get(name) or AlarmReading(name, AlarmState.MISSING)
            continue
        alarms = _matching(client, name)
        matched += len(alarms)
        if matched > MAX_MATCHES:
            message = (
                f"the watch's patterns match more than {MAX_MATCHES} alarms: make {clean(name)} narrower"
            )
            raise LookFailed("TooManyAlarms", message)
        if not alarms:
            readings[name] = AlarmReading(name, AlarmState.MISSING, reason="no alarm's name matches")
        readings |= {alarm.name: alarm for alarm in alarms if alarm.name not in readings}
    return tuple(readings.values())


def _named(client: "CloudWatchClient", names: Sequence[str]) -> Iterator[AlarmReading]:
    if names:
        pages = client.get_paginator("describe_alarms").paginate(
            AlarmNames=list(names), AlarmTypes=["MetricAlarm", "CompositeAlarm"]
        )
        for page in pages:
            yield from _readings(page)


def _matching(client: "CloudWatchClient", pattern: str) -> list[AlarmReading]:
    """Return the alarms whose names match. Only those are evaluated: another's failure is no concern here."""
    pages: Iterable[Mapping[str, Any]] = client.get_paginator("describe_alarms").paginate(
        AlarmNamePrefix=prefix(pattern),
        AlarmTypes=["MetricAlarm", "CompositeAlarm"],
        PaginationConfig={"PageSize": 100},
    )
    found: dict[str, AlarmReading] = {}
    for number, page in enumerate(pages):
        if number == MAX_PAGES:
            message = (
                f"more than {100 * MAX_PAGES} alarms begin with {clean(prefix(pattern))}: give "
                f"{clean(pattern)} a longer beginning"
            )
            raise LookFailed("TooManyAlarms", message)
        found |= {alarm.name: alarm for alarm in _readings(page, pattern)}
    return [found[name] for name in sorted(found)]


def _readings(page: Mapping[str, Any], pattern: str | None = None) -> Iterator[AlarmReading]:
    for alarm in (*page.get("MetricAlarms", ()), *page.get("CompositeAlarms", ())):
        if pattern is None or matches(pattern, alarm["AlarmName"]):
            yield _reading(alarm)


def _reading(alarm: Mapping[str, Any]) -> AlarmReading:
    """Return an alarm's reading. Its time is that of its state, not of the newest evaluation."""
    since = alarm.get("StateTransitionedTimestamp") or alarm.get("StateUpdatedTimestamp")
    return AlarmReading(
        name=clean(alarm["AlarmName"]),
        state=_state(alarm),
        since=timestamp(since.timestamp()) if since is not None else None,
        reason=_reason(str(alarm.get("StateReason") or "")),
        link=_link(str(alarm.get("AlarmArn") or ""), alarm["AlarmName"]),
    )


def _state(alarm: Mapping[str, Any]) -> AlarmState:
    """Return the state. Raises LookFailed for an alarm that CloudWatch itself cannot evaluate.

    Suppressed actions of a composite alarm change nothing: its state is what counts.
    """
    name, state = clean(alarm["AlarmName"]), str(alarm["StateValue"])
    evaluation = str(alarm.get("EvaluationState", ""))
    if evaluation in ("EVALUATION_ERROR", "EVALUATION_FAILURE") and state != AlarmState.ALARM:
        raise LookFailed(evaluation, f"CloudWatch cannot evaluate alarm {name}: it would warn nobody")
    if state not in (AlarmState.OK, AlarmState.ALARM, AlarmState.INSUFFICIENT_DATA):
        raise LookFailed("Unreadable", f"alarm {name} is in a state that CloudWatch does not document")
    return AlarmState(state)


def _reason(text: str) -> str | None:
    """Return CloudWatch's reason, with the names of alarms instead of their ARNs.

    A composite alarm's says which of its children rings:
    "arn:aws:cloudwatch:eu-central-1:111111111111:alarm:orders-5xx transitioned to ALARM at Friday 22 July,
    2022 15:57:45 UTC" (CloudWatch user guide, "Alarm events and EventBridge", read on 2026-11-26).
    """
    return clean(_ALARM_ARN.sub("", text[:2_048]), MAX_REASON) or None


def _link(arn: str, name: str) -> str | None:
    """Return the alarm's page in the AWS console, or None where the partition has another."""
    found = _PLACE.match(arn)
    if found is None or found[1] not in _CONSOLES:
        return None
    region = found[2]
    home = f"https://{region}.{_CONSOLES[found[1]]}/cloudwatch/home?region={region}"
    return f"{home}#alarmsV2:alarm/{quote(name, safe='')}"
