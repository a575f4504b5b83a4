"""Lambda by the clock: updates take time, a quota limits the calls, and every change of an alias is noted.

Quotas: "Lambda quotas" of the Lambda developer guide, control plane API requests: GetFunction 100 a second,
GetPolicy 15, all others together 15 (read on 27 November 2026).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from support.lambda_rules import error
from support.lambda_versions_model import VersionsModel

UPDATE_SECONDS: Final = 0.5
"""Seconds that an update of the code takes."""

GET_FUNCTION: Final = 100
OTHER_CALLS: Final = 15

AliasServes = tuple[str, tuple[tuple[str, float], ...]] | None
"""The version of an alias and its weights; None if there is no such alias."""


@dataclass(frozen=True)
class Move:
    """A call that was answered about an alias: what it served before and after."""

    function: str
    alias: str
    before: AliasServes
    after: AliasServes
    call: str


@dataclass
class Bucket:
    """Tokens: so many a second, a second's worth at most."""

    rate: float
    tokens: float
    at: float = 0.0

    def take(self, now: float) -> bool:
        self.tokens = min(self.rate, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class TimedLambda(VersionsModel):
    """Lambda whose updates end by the clock.

    `moves` has each change of an alias that nobody took yet, `deletions` each version that a call deleted.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self.clock = clock
        self.update_seconds = UPDATE_SECONDS
        self.moves: list[Move] = []
        self.deletions: list[tuple[str, str]] = []
        self.refused = 0
        self._ends: dict[str, float] = {}
        self._buckets = {True: Bucket(GET_FUNCTION, GET_FUNCTION), False: Bucket(OTHER_CALLS, OTHER_CALLS)}

    def begin_update(self, name: str) -> None:
        self.busy_polls = 1
        super().begin_update(name)
        self._ends[name] = self.clock() + self.update_seconds

    def poll(self, name: str, qualifier: str) -> None:
        """Only time ends an update."""

    def state_of(self, function: str, alias: str) -> AliasServes:
        """Return what an alias serves."""
        served = self.serves(function, alias) if function in self.functions else None
        return served and (served[0], tuple(sorted(served[1].items())))

    def all_states(self) -> dict[tuple[str, str], AliasServes]:
        """Return what every alias serves."""
        return {
            (name, alias): self.state_of(name, alias)
            for name, function in self.functions.items()
            for alias in function["aliases"]
        }

    def set_alias(
        self,
        name: str,
        alias: str,
        version: str,
        weights: dict[str, float] | None = None,
        description: str | None = None,
    ) -> None:
        before = self.state_of(name, alias)
        super().set_alias(name, alias, version, weights, description)
        self.moves.append(Move(name, alias, before, self.state_of(name, alias), "set"))

    def delete_alias(self, *, FunctionName: str, Name: str) -> Any:
        before = self.state_of(FunctionName, Name)
        answer = super().delete_alias(FunctionName=FunctionName, Name=Name)
        self.moves.append(Move(FunctionName, Name, before, None, "delete"))
        return answer

    def delete_function(self, *, FunctionName: str, Qualifier: str = "$LATEST") -> Any:
        assert Qualifier != "$LATEST", "13. a function is deleted"
        is_there = Qualifier in self.functions[FunctionName]["versions"]
        answer = super().delete_function(FunctionName=FunctionName, Qualifier=Qualifier)
        if is_there:
            self.deletions.append((FunctionName, Qualifier))
        return answer

    def settle(self) -> None:
        """End the updates whose time is over."""
        for name, ends in list(self._ends.items()):
            if ends <= self.clock():
                del self._ends[name]
                self.functions[name]["busy"] = 0
                self._settle(self.functions[name]["latest"])

    def _run(self, name: str, call: Callable[[], Any]) -> Any:
        self.settle()
        if name != "Invoke" and not self._buckets[name == "GetFunction"].take(self.clock()):
            self.refused += 1
            raise error("TooManyRequestsException", 429, "Rate exceeded")
        return super()._run(name, call)
