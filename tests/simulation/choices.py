"""The choices of one run, as a list of integers: drawn by a seed, or replayed.

0 is always the dull choice: nothing fails, and the task that ran last goes on. A replay that is shorter than
the run goes on with zeros: any prefix of a list is a run too, and a list that shrinks makes a simpler run.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")


class Choices:
    """Draws choices, and keeps them in `made`. Equal seeds, and equal lists, make equal runs."""

    def __init__(self, seed: int | None = None, replay: Sequence[int] = ()) -> None:
        self.made: list[int] = []
        self.random = Random(seed or 0)  # noqa: S311 (a simulation)
        self._replay = list(replay) if seed is None else None

    def take(self, below: int, draw: Callable[[], int]) -> int:
        """Return a choice from 0 to `below` - 1: what `draw` draws, or what is replayed."""
        if self._replay is None:
            value = draw()
        else:
            at = len(self.made)
            value = min(self._replay[at], below - 1) if at < len(self._replay) else 0
        self.made.append(value)
        return value

    def below(self, number: int) -> int:
        """Return any of 0 to `number` - 1."""
        return self.take(number, lambda: self.random.randrange(number))

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return bool(self.take(2, lambda: int(self.random.random() < probability)))

    def one_of(self, options: Sequence[T]) -> T:
        """Return any of the options. The first one is the dull one."""
        return options[self.below(len(options))]

    def weighted(self, options: Sequence[tuple[T, float]]) -> T:
        """Return one of the options by weight. The first one is the dull one."""
        number = self.take(len(options), lambda: self._by_weight([weight for _, weight in options]))
        return options[number][0]

    def _by_weight(self, weights: Sequence[float]) -> int:
        left = self.random.random() * sum(weights)
        for number, weight in enumerate(weights):
            left -= weight
            if left < 0:
                return number
        return 0
