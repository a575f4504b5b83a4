"""What an observation keeps of the comparison between the new version and the old one: values only."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What the requests so far say of the new version."""

    GOOD = "good"
    BAD = "bad"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % confidence interval. Rates are fractions of the requests, 0 to 1."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Tally:
    """Everything the comparison needs of one look, counted from the new version's first traffic.

    The new version had `n` requests and `x` hits (failed, throttled, or too slow), the old one `m` and `y` in
    the same minutes. `expected` are the hits that the new one would have of them if the versions were equal,
    and `information` is their variance. `phi` is the dispersion of that split, 1 for requests that fail
    independently, and `phi_alone` that of one version's hits, which outages of both increase as well. Of `x`,
    `x_alone` were in minutes without old requests: they say nothing of the split.
    """

    n: int = 0
    x: int = 0
    m: int = 0
    y: int = 0
    expected: float = 0.0
    information: float = 0.0
    phi: float = 1.0
    x_alone: int = 0
    phi_alone: float = 1.0
