"""Lambda's quota of control-plane calls: 15 a second for all that have none of their own.

How AWS counts is not documented. Here it is a token bucket that holds the calls of one second.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from support.lambda_rules import error

QUOTA = 15
OWN_QUOTA = ("GetFunction", "GetPolicy", "Invoke")


@dataclass
class LambdaQuota:
    """Throttles calls by their names, as `LambdaModel.before`. `calls` has the time of each that passed."""

    clock: Callable[[], float]
    rate: float = QUOTA
    calls: list[float] = field(default_factory=list)
    throttled: list[float] = field(default_factory=list)
    _tokens: float = QUOTA
    _at: float = 0.0

    def __call__(self, name: str) -> None:
        """Count a call, or throttle it."""
        if name in OWN_QUOTA:
            return
        now = self.clock()
        self._tokens = min(self.rate, self._tokens + (now - self._at) * self.rate)
        self._at = now
        if self._tokens < 1:
            self.throttled.append(now)
            raise error("TooManyRequestsException", 429, "Rate exceeded")
        self._tokens -= 1
        self.calls.append(now)
