"""Values that one process holds for some seconds: never one that is over, and never more than a weight."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from typing import Final

from sluicegate.deployment.model import Deployment

MOST: Final = 100_000
"""What is held weighs so much at most: summaries of deployments, of 2 KB each. The function has 1,024 MB."""


@dataclass(frozen=True, eq=False)
class _Value:
    until: float
    value: object
    weight: int


class Held:
    """Values by key. Of too many, those go first that would be over first: of one lifetime, the oldest."""

    def __init__(self, clock: Callable[[], float], most: int = MOST) -> None:
        self.weight = 0
        self._clock = clock
        self._most = most
        self._values: dict[Hashable, _Value] = {}
        self._ends: list[tuple[float, int, Hashable, _Value]] = []
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable) -> tuple[object] | None:
        """Return the value in a tuple, for it may be None; None where nothing is held, or it is over."""
        found = self._values.get(key)
        return (found.value,) if found and self._clock() < found.until else None

    def keep(self, key: Hashable, seconds: float, value: object, *, weighs: bool = True) -> None:
        """Hold a value for so many seconds, and drop what is over. `weighs`: whether it counts."""
        now = self._clock()
        self._drop(key)
        one = _Value(now + seconds, value, _weight(value) if weighs else 0)
        while self._ends and (self._ends[0][0] <= now or self.weight + one.weight > self._most):
            _, _, ended, known = heappop(self._ends)
            if self._values.get(ended) is known:
                self._drop(ended)
        self._values[key] = one
        self.weight += one.weight
        heappush(self._ends, (one.until, next(self._numbers), key, one))

    def clear(self) -> None:
        """Hold nothing."""
        self.weight = 0
        self._values.clear()
        self._ends.clear()

    def _drop(self, key: Hashable) -> None:
        found = self._values.pop(key, None)
        self.weight -= found.weight if found else 0


def _weight(value: object) -> int:
    """Return how many things of a summary's size there are in a value, about."""
    match value:
        case list():
            return 1 + len(value)
        case Deployment():
            return 1 + len(value.timeline) + len(value.observations)
        case _:
            return 1
