"""Traffic to a function under an alias, as its callers on AWS would send it, with the metrics Lambda keeps.

The emulator invokes only the first version of a weighted alias, and its own metrics know no versions. So this
generator reads the alias, deals its requests out by the weights, really invokes `function:version`, and
writes what came of it into `AWS/Lambda`, as Lambda itself would. A release is judged by what its code does.
"""

import json
import re
import threading
import time
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Self

from botocore.exceptions import BotoCoreError, ClientError

from stand.api import AliasState, Stand, alias_state
from stand.background import Background
from stand.say import StandError, say

RATE: Final = 10.0
"""Requests per second by default."""

FASTEST: Final = 50.0
AT_ONCE: Final = 4
"""Requests under way at most, each in a process of 60 MB. One whose time comes beyond that is not sent."""

FRESH: Final = 0.2
"""Seconds that a look at the alias is good for."""

PATIENCE: Final = 5.0
"""Seconds without any answer after which traffic ends: the stand is gone."""

_NAMESPACE: Final = "AWS/Lambda"
_DURATION: Final = re.compile(r"^REPORT .*?\tDuration: ([\d.]+) ms", re.MULTILINE)


class Dealer:
    """Deals requests out by weights, evenly: of any ten requests, a version with weight 0.1 gets one.

    Each request adds every version's weight to its account, and the fullest account pays for it.
    """

    def __init__(self) -> None:
        self._accounts: dict[str, float] = {}

    def deal(self, shares: Mapping[str, float]) -> str:
        """The version that serves the next request. With other versions than before, it starts again."""
        known = self._accounts if self._accounts.keys() == shares.keys() else {}
        self._accounts = {version: known.get(version, 0.0) + share for version, share in shares.items()}
        chosen = max(self._accounts, key=lambda version: round(self._accounts[version], 9))
        self._accounts[chosen] -= 1
        return chosen


def shares(alias: AliasState) -> dict[str, float]:
    """The part of the requests that each version of an alias gets; those that get none are left out."""
    others = alias["weights"]
    first = round(1 - sum(others.values()), 9)
    return {version: share for version, share in {alias["version"]: first, **others}.items() if share > 0}


@dataclass
class Tally:
    """What came of requests to one version. A throttled request is neither an invocation nor an error."""

    invocations: int = 0
    errors: int = 0
    throttles: int = 0
    durations: list[float] = field(default_factory=list)
    """Milliseconds, of every invocation."""

    def add(self, other: "Tally") -> None:
        self.invocations += other.invocations
        self.errors += other.errors
        self.throttles += other.throttles
        self.durations += other.durations


def metric_data(
    function: str, alias: str, tallies: Mapping[str, Tally], at: float | None = None
) -> list[dict[str, Any]]:
    """What Lambda writes of requests by way of an alias: of the alias, and of each version under it.

    `at` is when the requests began, in epoch seconds, or None for now.
    """
    named = [
        {"Name": "FunctionName", "Value": function},
        {"Name": "Resource", "Value": f"{function}:{alias}"},
    ]
    whole = Tally()
    data = []
    for version, tally in tallies.items():
        whole.add(tally)
        data += _metrics([*named, {"Name": "ExecutedVersion", "Value": version}], tally)
    if tallies:
        data += _metrics(named, whole)
    return (
        data if at is None else [{**metric, "Timestamp": datetime.fromtimestamp(at, UTC)} for metric in data]
    )


def _metrics(dimensions: list[dict[str, str]], tally: Tally) -> list[dict[str, Any]]:
    """Four metrics, each a list of values and how often there was each: Errors is 0 or 1 of an invocation."""
    invocations, requests = tally.invocations, tally.invocations + tally.throttles
    values: dict[str, Mapping[float, int]] = {
        "Invocations": {1: invocations},
        "Errors": {0: invocations - tally.errors, 1: tally.errors},
        "Throttles": {0: requests - tally.throttles, 1: tally.throttles},
        "Duration": Counter(tally.durations),
    }
    return [
        {
            "MetricName": name,
            "Dimensions": dimensions,
            "Unit": "Milliseconds" if name == "Duration" else "Count",
            "Values": [float(value) for value, count in counts.items() if count],
            "Counts": [float(count) for count in counts.values() if count],
        }
        for name, counts in values.items()
        if any(counts.values())
    ]


def reported_duration(log: str) -> float | None:
    """The milliseconds in the REPORT line of an invocation's log; None where there is none."""
    found = _DURATION.search(b64decode(log).decode(errors="replace"))
    return float(found[1]) if found else None


class Traffic(Background):
    """Requests to a function under an alias, in the background, until the block ends.

    Where there is no such function or alias yet, it waits for them. It ends earlier where the stand answers
    no more. The block's end waits for the last answer, and until its metrics are written.
    """

    def __init__(
        self, stand: Stand, function: str, alias: str, *, rate: float = RATE, payload: Any = None
    ) -> None:
        """`rate`: requests a second, at most FASTEST. `payload`: what each carries, `{}` by default."""
        if not 0 < rate <= FASTEST:
            raise ValueError(f"{rate} requests a second; from more than 0 to {FASTEST:.0f} is possible")
        super().__init__(f"traffic to {function}:{alias}")
        self._function, self._alias = function, alias
        self._interval = 1 / rate
        self._payload = json.dumps({} if payload is None else payload).encode()
        self._lambda, self._cloudwatch = stand.client("lambda"), stand.client("cloudwatch")
        self._dealer = Dealer()
        self._shares: dict[str, float] = {}
        self._looked = self._answered = float("-inf")
        self._changed = threading.Condition()
        self._total: dict[str, Tally] = {}
        self._unwritten: dict[int, dict[str, Tally]] = {}

    def __enter__(self) -> Self:
        self._answered = time.monotonic()
        return super().__enter__()

    @property
    def served(self) -> dict[str, int]:
        """Invocations by version."""
        return self._counts(lambda tally: tally.invocations)

    @property
    def errors(self) -> dict[str, int]:
        """Those invocations that raised or timed out, by version."""
        return self._counts(lambda tally: tally.errors)

    @property
    def throttles(self) -> dict[str, int]:
        """Requests that Lambda refused for their number, by version."""
        return self._counts(lambda tally: tally.throttles)

    def _counts(self, what: Callable[[Tally], int]) -> dict[str, int]:
        with self._changed:
            return {version: count for version, tally in self._total.items() if (count := what(tally))}

    def wait_until(self, happened: Callable[["Traffic"], bool], *, patience: float = 30) -> None:
        """Wait until it has: `lambda traffic: traffic.errors.get("2", 0) >= 5`.

        Raises StandError where it does not within `patience` seconds.
        """
        deadline = time.monotonic() + patience
        while not happened(self):
            with self._changed:
                if self.ended or time.monotonic() >= deadline:
                    raise StandError(f"not in {patience:.0f} s; served {self.served}, errors {self.errors}")
                self._changed.wait(0.1)

    def _run(self) -> None:
        """Keep the pace: a request when its time has come, the metrics every second."""
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="traffic") as pool:
            due = written = time.monotonic()
            under_way = set[Any]()
            while not self._end.wait(max(0.0, due - time.monotonic())):
                now = time.monotonic()
                due = max(due + self._interval, now)  # what was missed is not made up for
                under_way = {one for one in under_way if not one.done()}
                try:
                    self._look(now)
                    if self._shares and len(under_way) < AT_ONCE:
                        under_way.add(pool.submit(self._request, self._dealer.deal(self._shares)))
                    if now - written >= 1:
                        written = now
                        self._write()
                except (BotoCoreError, ClientError):
                    self._end.wait(FRESH)
                except RuntimeError:  # the interpreter exits, and its pools take nothing more
                    return
                if time.monotonic() - self._answered > PATIENCE:
                    return
            wait(under_way)
            with suppress(BotoCoreError, ClientError):
                self._write()

    def _look(self, now: float) -> None:
        """Read the alias again, unless that was done a moment ago."""
        if now - self._looked >= FRESH:
            alias = alias_state(self._lambda, self._function, self._alias)
            self._answered = self._looked = now
            self._shares = shares(alias) if alias else {}

    def _request(self, version: str) -> None:
        began, second = time.perf_counter(), int(time.time())
        try:
            answer = self._lambda.invoke(
                FunctionName=f"{self._function}:{version}", Payload=self._payload, LogType="Tail"
            )
        except self._lambda.exceptions.TooManyRequestsException:
            came = Tally(throttles=1)
        except (BotoCoreError, ClientError):
            return  # deleted meanwhile, or the stand has ended: no request that Lambda would know of
        else:
            took = (time.perf_counter() - began) * 1000
            duration = reported_duration(answer.get("LogResult", ""))
            came = Tally(1, int("FunctionError" in answer), 0, [took if duration is None else duration])
        with self._changed:
            for tallies in (self._total, self._unwritten.setdefault(second, {})):
                tallies.setdefault(version, Tally()).add(came)
            self._changed.notify_all()

    def _write(self) -> None:
        """Write what has come since the last time, each under the second in which its request began.

        "The timestamp on a metric reflects when the function was invoked" (Lambda developer guide, "View
        metrics for Lambda functions", November 2026): what times out is written late, and of an earlier time.
        """
        with self._changed:
            unwritten, self._unwritten = self._unwritten, {}
        data = [
            metric
            for second, tallies in unwritten.items()
            for metric in metric_data(self._function, self._alias, tallies, second)
        ]
        if data:
            self._cloudwatch.put_metric_data(Namespace=_NAMESPACE, MetricData=data)


def show(stand: Stand, function: str, alias: str, *, rate: float = RATE) -> None:
    """Send traffic until interrupted, and say each second what came of it."""
    if rate <= 0 or rate > FASTEST:
        raise StandError(f"a rate is from more than 0 to {FASTEST:.0f} requests a second")
    served: Mapping[str, int] = {}
    errors: Mapping[str, int] = {}
    with Traffic(stand, function, alias, rate=rate) as traffic:
        while not traffic.ended:
            time.sleep(1)
            before = served, errors
            served, errors = traffic.served, traffic.errors
            say(f"{time.strftime('%H:%M:%S')}  {function}:{alias}  {format_counts(*before, served, errors)}")
    raise StandError("the stand answers no more")


def format_counts(
    served_before: Mapping[str, int],
    errors_before: Mapping[str, int],
    served: Mapping[str, int],
    errors: Mapping[str, int],
) -> str:
    """What came between two looks, by version: `41: 9 served   42: 1 served, 1 of them errors`."""
    parts = []
    for version, count in sorted(served.items(), key=lambda item: (len(item[0]), item[0])):
        if new := count - served_before.get(version, 0):
            wrong = errors.get(version, 0) - errors_before.get(version, 0)
            parts.append(f"{version}: {new} served" + (f", {wrong} of them errors" if wrong else ""))
    return "   ".join(parts) or "no requests: no such function, or alias"
