"""Calls at a pace: the control plane of an account and region is the deployer's first."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, ParamSpec, TypeVar

from sluicegate.aws.lambda_ import LambdaThrottled, LambdaUnavailable
from sluicegate.deployment.plan import Target
from sluicegate.store.call_budget import CallBudget

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

PARCEL: Final = 5
"""Calls that are taken from the budget in one write: those of a second."""

PATIENCE: Final = 60
"""Seconds that the look waits for a parcel, at most."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass
class BudgetShare:
    """Takes the look's calls from the budget of their target, some at a time, after those in line.

    After PATIENCE it goes on all the same, at one parcel in so much time.
    guarantees.md#13-a-burst-waits-its-turn
    """

    budget: CallBudget
    target: Target
    sleep: Callable[[float], None]
    _left: int = 0

    def take(self) -> None:
        """Take a call, when there is one."""
        self.prepare(1)
        self._left -= 1

    def prepare(self, calls: int) -> None:
        """Have so many calls at hand, when there are as many."""
        while self._left < calls:
            waited = 0
            while not self.budget.take_if_free(self.target, PARCEL):
                if waited >= PATIENCE:
                    self.budget.charge(self.target, PARCEL)
                    break
                self.sleep(1)
                waited += 1
            self._left += PARCEL

    def throttled(self) -> None:
        """Say that a call was throttled."""
        self.budget.throttled(self.target)


class Pace:
    """The calls of one quota. `clock` gives epoch seconds, `sleep` waits, `interval` is in seconds.

    `share` is the budget of these calls, for the quota that deployments use too.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        interval: float = SHARED_INTERVAL,
        share: BudgetShare | None = None,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._share = share
        self._least = interval
        self._interval = interval
        self._next = 0.0

    def call(self, call: Callable[_P, _T], *args: _P.args, **request: _P.kwargs) -> _T:
        """Call when it is due. What is throttled is tried again, at half the pace; raises LambdaUnavailable.

        Each call that works makes the pace a little faster again.
        """
        for attempt in range(1, MOST_ATTEMPTS + 1):
            self.step()
            try:
                answer = call(*args, **request)
            except LambdaUnavailable as error:
                if self._share is not None and isinstance(error, LambdaThrottled):
                    self._share.throttled()
                self._interval = min(SLOWEST, self._interval * 2)
                if attempt == MOST_ATTEMPTS:
                    raise
            else:
                self._interval = max(self._least, self._interval * 0.9)
                return answer
        raise AssertionError("unreachable")

    def prepare(self, calls: int) -> None:
        """Wait now for what the budget has to give for so many calls, not at them."""
        if self._share is not None:
            self._share.prepare(calls)

    def step(self) -> None:
        """Wait until a call is due, and take it from the budget: also each further page of a list is one."""
        now = self._clock()
        if now < self._next:
            self._sleep(self._next - now)
            now = self._next
        self._next = now + self._interval
        if self._share is not None:
            self._share.take()
