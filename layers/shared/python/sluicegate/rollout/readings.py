"""What the deployer has just read of AWS about both versions behind an alias: counts, not yet judged."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Minute:
    """The same minute of both versions.

    `at` is its beginning, in seconds since the epoch; in long rollouts it stands for several minutes. The new
    version had `n` requests and `x` hits (failed, throttled, or too slow), the old one `m` and `y`.
    """

    at: int
    n: int
    x: int
    m: int
    y: int


@dataclass(frozen=True)
class Series:
    """The minutes since the new version's first traffic, oldest first.

    `before` are the old version's requests and hits of up to three hours before, by the minute, oldest first.
    """

    minutes: tuple[Minute, ...] = ()
    before: tuple[tuple[int, int], ...] = ()
