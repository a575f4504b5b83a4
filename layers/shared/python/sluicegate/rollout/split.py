"""How the hits of the same minutes were split between the versions, and the ratio that this says."""

from dataclasses import dataclass
from typing import Final

from sluicegate.deployment.observations import Interval, ShareHits, Tally
from sluicegate.rollout import strata
from sluicegate.rollout.binomial import confidence_limits

MAX_RATIO: Final = 1e6
"""A ratio is capped there: above, it is as good as infinite, which JSON does not know."""


@dataclass(frozen=True)
class Split:
    """How the hits of minutes with requests of both versions were split: `x` of `hits` were the new one's."""

    x: int
    hits: int
    expected: float
    parts: tuple[ShareHits, ...]
    even: float

    @classmethod
    def of(cls, tally: Tally) -> "Split":
        x, n = tally.x - tally.x_alone, tally.n - tally.n_alone
        even = n / (n + tally.m) if n else 0.5
        return cls(x, x + tally.y, max(tally.expected - tally.x_alone, 0.0), tally.split, even)

    @property
    def is_mixed(self) -> bool:
        """Whether the share of the traffic has changed."""
        return len(self.parts) > 1

    @property
    def odds(self) -> float:
        """The odds of a hit to be the new version's if the versions are equal."""
        return self.expected / (self.hits - self.expected) if 0 < self.expected < self.hits else 0.0

    def least(self, max_ratio: float) -> float:
        """Return the hits of the new version from which on the ratio is at least `max_ratio`.

        With several shares it depends on where they come, so that any number may be enough.
        """
        if self.is_mixed:
            return 0.0
        odds = max_ratio * self.odds
        return (odds * (self.hits + 0.5) - 0.5) / (1 + odds)

    def reaches(self, max_ratio: float) -> bool:
        """Return whether the estimate is at least `max_ratio`."""
        if self.is_mixed:
            return strata.ratio(self.parts, self.even) >= max_ratio
        return self.x >= self.least(max_ratio)

    def deviate(self, phi: float) -> float:
        """Return the normal deviate of the new version's hits, divided by their dispersion."""
        return strata.deviate(strata.parts_of(self.parts, phi), self.x / phi)

    def ratio(self, phi: float, doubt: float = 0.025) -> Interval | None:
        """Return the ratio of the new rate to the old one, stratified by the minute.

        Each limit is wrong with probability `doubt`.
        """
        if not self.odds:
            return None
        if self.is_mixed:
            value = min(strata.ratio(self.parts, self.even), MAX_RATIO)
            low, high = strata.limits(strata.parts_of(self.parts, phi), self.x / phi, doubt)
            return Interval(value, min(low, value), min(max(high, value), MAX_RATIO))
        low, high = confidence_limits(self.x / phi, self.hits / phi, doubt)
        value = (self.x + 0.5) / (self.hits - self.x + 0.5) / self.odds
        limits = (share / (1 - share) / self.odds if share < 1 else MAX_RATIO for share in (low, high))
        return Interval(min(value, MAX_RATIO), *(min(limit, MAX_RATIO) for limit in limits))
