"""Calls at a pace: the control plane of an account and region is the deployer's first."""

from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

from sluicegate.aws.lambda_ import LambdaUnavailable

SHARED_INTERVAL: Final = 0.2
"""Seconds between two calls of one account and region.

Lambda allows 15 a second there of all calls but Invoke, GetFunction (100) and GetPolicy (15), and the quota
cannot be raised (developer guide, "Lambda quotas", read on 2026-11-26). Five a second leave ten.
"""

FUNCTIONS_INTERVAL: Final = 0.05
"""The same of GetFunction: 20 a second leave 80."""

SLOWEST: Final = 3.2
"""Seconds between two calls, at most, where calls are throttled."""

MOST_ATTEMPTS: Final = 4

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Pace:
    """The calls of one quota. `clock` gives epoch seconds, `sleep` waits, `interval` is in seconds."""

    def __init__(
        self, clock: Callable[[], float], sleep: Callable[[float], None], interval: float = SHARED_INTERVAL
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._least = interval
        self._interval = interval
        self._next = 0.0

    def call(self, call: Callable[_P, _T], *args: _P.args, **request: _P.kwargs) -> _T:
        """Call when it is due. What is throttled is tried again, at half the pace; raises LambdaUnavailable.

        Each call that works makes the pace a little faster again.
        """
        for attempt in range(1, MOST_ATTEMPTS + 1):
            self._wait()
            try:
                answer = call(*args, **request)
            except LambdaUnavailable:
                self._interval = min(SLOWEST, self._interval * 2)
                if attempt == MOST_ATTEMPTS:
                    raise
            else:
                self._interval = max(self._least, self._interval * 0.9)
                return answer
        raise AssertionError("unreachable")

    def _wait(self) -> None:
        now = self._clock()
        if now < self._next:
            self._sleep(self._next - now)
            now = self._next
        self._next = now + self._interval
