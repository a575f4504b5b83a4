"""Read CloudTrail's event history with the auditor's own credentials: paged, and two calls a second.

Source: CloudTrail API reference, LookupEvents (one attribute besides the time; 50 events a page, the most
recent first; the last 90 days; two calls a second for an account and region; throttling is a 400); CloudTrail
user guide, "Getting and viewing your CloudTrail log files" (about five minutes on average, not guaranteed).
Both were read on 26 November 2026.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sluicegate_cli.doctor.aws_calls import AwsCalls, CouldNotCheck, NoAccess

HISTORY: Final = 90 * 86_400.0
"""Seconds for which the event history keeps an event."""

DELAY: Final = 15 * 60.0
"""Seconds after which an event can be expected to be there: three times the average."""

_PAGE: Final = 50
_INTERVAL: Final = 0.5  # seconds between two calls
_PATIENCE: Final = (1.0, 2.0, 4.0, 8.0)  # seconds after each throttled call
_THROTTLED: Final = ("Throttling", "Rate exceeded", "TooManyRequests")


@dataclass(frozen=True)
class RecordedCall:
    """A call as CloudTrail has recorded it. `at` in epoch seconds; what it lacks is empty.

    `user` is the name of the role's session, of the IAM user, or of the AWS service. `role` is the ARN of the
    session's role. `subjects` are the names and ARNs of functions and aliases that the call is about.
    """

    id: str
    at: float
    source: str
    name: str
    user: str
    role: str
    source_identity: str
    principal: str
    read_only: bool
    error: str
    region: str
    address: str
    agent: str
    subjects: tuple[str, ...]
    details: Mapping[str, str]


@dataclass(frozen=True)
class Reading:
    """The calls of a look-up, the oldest first. Not `complete`: older ones than `since` were not read."""

    calls: tuple[RecordedCall, ...]
    complete: bool
    since: float


class EventHistory:
    """Looks events up, by one attribute each time. Raises CouldNotCheck and NoAccess."""

    def __init__(
        self,
        aws: AwsCalls,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._aws = aws
        self._clock = clock
        self._sleep = sleep
        self._last: float | None = None

    def look_up(
        self,
        attribute: str,
        value: str,
        start: float,
        end: float,
        *,
        most: int,
        wanted: Callable[[RecordedCall], bool] = lambda _: True,
    ) -> Reading:
        """Return the wanted calls of a time, of at most so many pages."""
        found: list[RecordedCall] = []
        oldest = end
        arguments: dict[str, Any] = {
            "LookupAttributes": [{"AttributeKey": attribute, "AttributeValue": value}],
            "StartTime": datetime.fromtimestamp(start, UTC),
            "EndTime": datetime.fromtimestamp(end, UTC),
            "MaxResults": _PAGE,
        }
        for _ in range(most):
            page = self._call(arguments)
            for event in page.get("Events") or ():
                call = recorded(event)
                oldest = min(oldest, call.at)
                if wanted(call):
                    found.append(call)
            token = page.get("NextToken")
            if not token:
                return Reading(_oldest_first(found), True, start)
            arguments["NextToken"] = token
        return Reading(_oldest_first(found), False, oldest)

    def _call(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        for pause in (*_PATIENCE, None):
            self._pace()
            try:
                return self._aws.call("cloudtrail", "LookupEvents", **arguments)
            except NoAccess:
                raise
            except CouldNotCheck as error:
                if pause is None or not any(word in error.seen for word in _THROTTLED):
                    raise
                self._sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _pace(self) -> None:
        if self._last is not None and (left := self._last + _INTERVAL - self._clock()) > 0:
            self._sleep(left)
        self._last = self._clock()


def _oldest_first(found: Sequence[RecordedCall]) -> tuple[RecordedCall, ...]:
    """Turn the order around. Times are whole seconds, so within one the order of the answer counts."""
    turned = list(reversed(found))
    turned.sort(key=lambda one: one.at)
    return tuple(turned)


def recorded(event: Mapping[str, Any]) -> RecordedCall:
    """Return a call from an event of LookupEvents, whose CloudTrailEvent is the whole record as JSON."""
    try:
        record = json.loads(event.get("CloudTrailEvent") or "{}")
    except (ValueError, RecursionError):
        record = {}
    record = record if isinstance(record, dict) else {}
    identity = _mapping(record.get("userIdentity"))
    context = _mapping(identity.get("sessionContext"))
    issuer = _mapping(context.get("sessionIssuer"))
    moment = event.get("EventTime")
    user = event.get("Username") or identity.get("userName") or identity.get("invokedBy")
    return RecordedCall(
        id=_text(event.get("EventId")),
        at=moment.timestamp() if isinstance(moment, datetime) else 0.0,
        source=_text(event.get("EventSource")),
        name=_text(event.get("EventName")),
        user=_text(user),
        role=_text(issuer.get("arn")),
        source_identity=_text(context.get("sourceIdentity")),
        principal=_text(identity.get("arn") or identity.get("invokedBy") or identity.get("type")),
        read_only=_text(event.get("ReadOnly")).lower() == "true",
        error=_text(record.get("errorCode")),
        region=_text(record.get("awsRegion")),
        address=_text(record.get("sourceIPAddress")),
        agent=_text(record.get("userAgent")),
        subjects=tuple(_subjects(record)),
        details=dict(_details(record)),
    )


def _subjects(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield what names the function that a call is about."""
    for part, names in (
        ("requestParameters", ("functionName", "resource", "functionArn", "resourceArn")),
        ("responseElements", ("functionArn", "functionName", "aliasArn")),
    ):
        found = _mapping(record.get(part))
        for name in names:
            if isinstance(found.get(name), str):
                yield str(found[name])


def _details(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the few parameters that say what a call did; never code, environment or policies."""
    request = _mapping(record.get("requestParameters"))
    for name in ("name", "functionVersion", "qualifier", "roleSessionName", "sourceIdentity"):
        if isinstance(request.get(name), str):
            yield name, str(request[name])
    response = _mapping(record.get("responseElements"))
    if isinstance(response.get("version"), str):
        yield "version", str(response["version"])
    routing = _mapping(request.get("routingConfig")).get("additionalVersionWeights")
    if isinstance(routing, Mapping):
        yield "weights", json.dumps(routing, sort_keys=True)
    tags = request.get("tags")
    if isinstance(tags, list):
        shown = [f"{one.get('key')}={one.get('value')}" for one in tags if isinstance(one, Mapping)]
        yield "tags", ", ".join(shown)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return "" if value is None else str(value)
