"""Count calls to Lambda's control plane: all but GetFunction and invocations, whose quotas are their own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from sluicegate.aws.lambda_ import LambdaThrottled, lambda_call

_Parameters = ParamSpec("_Parameters")
_Response = TypeVar("_Response")


@dataclass
class CallMeter:
    """The calls since the last reading, and whether one of them was throttled."""

    calls: int = 0
    throttled: bool = False

    def call(
        self, call: Callable[_Parameters, _Response], *args: _Parameters.args, **request: _Parameters.kwargs
    ) -> _Response:
        """Make a call that counts."""
        self.calls += 1
        try:
            return lambda_call(call, *args, **request)
        except LambdaThrottled:
            self.throttled = True
            raise

    def read(self) -> tuple[int, bool]:
        """Return both, and begin again."""
        seen = self.calls, self.throttled
        self.calls, self.throttled = 0, False
        return seen
