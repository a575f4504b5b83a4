"""What holds for the comparison whatever is counted."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sluicegate.deployment.observations import Interval, Tally, Verdict
from sluicegate.rollout.comparison import (
    Result,
    against_constant,
    compare,
    find_gross,
    is_beyond_doubt,
    tally,
)
from sluicegate.rollout.readings import Minute, Series
from sluicegate.rollout.split import MAX_RATIO

ALPHA = 0.0095
WORSE = {Verdict.GOOD: 0, Verdict.UNCLEAR: 1, Verdict.BAD: 2}


@st.composite
def versions(draw: st.DrawFn, most: int) -> tuple[int, int]:
    """Requests and hits of one version in a minute; also the hits of requests that CloudWatch has not yet."""
    n = draw(st.one_of(st.just(0), st.integers(0, 60), st.integers(0, most)))
    return n, draw(st.one_of(st.just(0), st.integers(0, min(n, 8)), st.integers(0, n), st.integers(0, 3)))


def minutes(most: int = 2_000, longest: int = 12) -> st.SearchStrategy[list[Minute]]:
    each = st.tuples(versions(most), versions(most))
    return st.lists(each, max_size=longest).map(
        lambda pairs: [Minute(60 * i, *new, *old) for i, (new, old) in enumerate(pairs)]
    )


def spending(looks: int) -> list[float]:
    return [((look + 1) / looks) ** 3 for look in range(looks)]


def numbers(result: Result) -> list[float]:
    intervals = [one for one in (result.ratio, result.new, result.old) if one is not None]
    return [result.p, result.room, *(each for one in intervals for each in (one.value, one.low, one.high))]


def check(result: Result) -> None:
    assert all(math.isfinite(number) and number >= 0 for number in numbers(result))
    assert result.p <= 1 >= result.room
    assert result.verdict is not Verdict.BAD or result.p <= result.room
    assert result.needed is None or result.needed > 0
    for rate in (result.new, result.old):
        assert rate is None or rate.low <= rate.value <= rate.high <= 1
    assert result.ratio is None or result.ratio.high <= MAX_RATIO


@given(
    minutes(10**9),
    st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), max_size=20),
    st.sampled_from([1, 2, 1.0001, 50]),
    st.sampled_from([0, 1, 200]),
)
@settings(max_examples=100)
def test_any_counts_have_a_verdict(
    each: list[Minute], before: list[tuple[int, int]], max_ratio: float, min_samples: int
) -> None:
    path = [tally(Series(tuple(each[:end]), tuple(before))) for end in range(len(each) + 1)]
    assert all(one.phi >= 1 <= one.phi_alone and math.isfinite(one.phi_alone) for one in path)
    spend = spending(len(path))
    check(compare(path, spend, alpha=ALPHA, max_ratio=max_ratio, min_samples=min_samples))
    check(against_constant(path, spend, alpha=ALPHA, rate=0.05, min_samples=min_samples))
    is_beyond_doubt(path[-1], max_ratio=max_ratio, rate=0.05, min_samples=min_samples)
    if (gross := find_gross(path[-1], (sum(n for n, _ in before), 3), alpha=1e-5)) is not None:
        assert gross.verdict is Verdict.BAD


@given(
    st.integers(1, 99),
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 30)), min_size=1, max_size=10),
    st.integers(1, 30),
    st.one_of(st.just(1.0), st.floats(1, 20)),
    st.sampled_from([1, 2]),
)
@settings(max_examples=100)
def test_more_errors_of_the_new_version_never_make_it_better(
    percent: int, hits: list[tuple[int, int]], more: int, phi: float, max_ratio: float
) -> None:
    """At a given dispersion and share of the traffic, and where the looks before were the same."""
    each = [Minute(60 * i, 10 * percent, x, 10 * (100 - percent), y) for i, (x, y) in enumerate(hits)]
    check_more_errors(each, len(each) - 1, more, phi, max_ratio, looks=len(each))


def check_more_errors(
    each: list[Minute], at: int, more: int, phi: float, max_ratio: float, looks: int
) -> None:
    """Check that more errors in a minute never make the verdict better, if earlier looks did not see them."""
    shares = tuple(then.at for one, then in pairwise(each) if then.n != one.n)
    worse = [*each]
    worse[at] = replace(each[at], x=each[at].x + more)
    size = -(-len(each) // looks)
    ends = [*range(size, at + 1, size), len(each)]
    before, after = (
        [replace(tally(Series(tuple(one[:end]), (), shares)), phi=phi, phi_alone=phi) for end in ends]
        for one in (each, worse)
    )
    spend = spending(len(ends))
    for first, second in (
        [compare(path, spend, alpha=ALPHA, max_ratio=max_ratio, min_samples=1) for path in (before, after)],
        [against_constant(path, spend, alpha=ALPHA, rate=0.05, min_samples=1) for path in (before, after)],
    ):
        assert WORSE[second.verdict] >= WORSE[first.verdict]


SHARES = st.lists(
    st.sampled_from([1, 2, 5, 10, 20, 25, 30, 50, 70, 90, 99]), min_size=2, max_size=4, unique=True
)


@given(
    SHARES.map(sorted),
    st.lists(st.tuples(st.integers(0, 16), st.integers(0, 6)), min_size=4, max_size=10),
    st.integers(1, 4),
    st.integers(1, 30),
    st.one_of(st.just(1.0), st.floats(1, 20)),
    st.sampled_from([1, 2, 3]),
)
@settings(max_examples=100)
# A hit at another share must not change what the hits before say: neither the estimate, ...
@example([1, 30, 95], [(0, 2), (0, 0), (14, 0), (0, 5), (3, 0), (8, 0)], 6, 20, 1.0, 3)
# ... nor how likely they were, where a fraction of a hit remains by the dispersion.
@example([1, 50, 90], [(0, 1), (3, 0), (0, 0), (26, 0)], 1, 1, 2.7791264206468704, 1)
def test_nor_do_they_where_the_share_of_the_traffic_grows(
    percents: list[int], hits: list[tuple[int, int]], looks: int, more: int, phi: float, max_ratio: float
) -> None:
    """The newest look may be of minutes with different shares, and the hits come in any of them."""
    share = [percents[min(i * len(percents) // len(hits), len(percents) - 1)] for i in range(len(hits))]
    each = [
        Minute(60 * i, 10 * percent, x, 10 * (100 - percent), y)
        for i, (percent, (x, y)) in enumerate(zip(share, hits, strict=True))
    ]
    first = (looks - 1) * -(-len(each) // looks)
    for at in range(min(first, len(each) - 1), len(each)):
        check_more_errors(each, at, more, phi, max_ratio, looks)


def test_what_a_look_finds_depends_on_the_tallies_alone() -> None:
    path = [
        Tally(40 * look, 4 * look, 360 * look, 2 * look, 0.6 * look, 0.54 * look) for look in range(1, 21)
    ]
    once = compare(path, spending(20), alpha=ALPHA, max_ratio=2, min_samples=1)
    copies = [replace(one) for one in path]
    assert compare(copies, spending(20), alpha=ALPHA, max_ratio=2, min_samples=1) == once


def test_counts_that_arrive_late_or_are_taken_back_count_as_they_are_now() -> None:
    """A look in the middle saw more than there was: requests that moved to another minute."""
    steady = [Tally(40 * i, 2 * i, 360 * i, 2 * i, 0.4 * i, 0.36 * i) for i in range(1, 6)]
    strange = [*steady]
    strange[2] = Tally(500, 90, 4_000, 300, 39.0, 35.0)
    late = [*steady[:2], steady[1], steady[1], steady[4]]
    for path in (strange, late):
        result = compare(path, spending(5), alpha=ALPHA, max_ratio=1, min_samples=1)
        check(result)
        assert result.p == pytest.approx(
            compare(steady, spending(5), alpha=ALPHA, max_ratio=1, min_samples=1).p
        )


def series(*each: tuple[int, int, int, int], before: tuple[tuple[int, int], ...] = ()) -> Series:
    return Series(tuple(Minute(60 * i, *one) for i, one in enumerate(each)), before)


CALM = ((400, 2),) * 180


@pytest.mark.parametrize(
    ("each", "verdict"),
    [
        ([(40, 6, 360, 0)] * 20, Verdict.BAD),  # the old version has none
        ([(0, 0, 400, 2)] * 9 + [(400, 80, 400, 2)], Verdict.BAD),  # requests in one minute only
        ([(0, 0, 400, 2)] * 9 + [(400, 2, 400, 2)], Verdict.UNCLEAR),
        ([(40, 20, 360, 180)] + [(40, 0, 360, 2)] * 19, Verdict.GOOD),  # an outage of both at the start
        ([(40, 36, 360, 2)] + [(40, 0, 360, 2)] * 2, Verdict.BAD),  # one of the new version alone
        ([(10, 0, 390, 2)] * 20, Verdict.UNCLEAR),
        ([(40, 0, 360, 2)] * 20, Verdict.GOOD),  # surely below one in 100
    ],
)
def test_strange_traffic(each: list[tuple[int, int, int, int]], verdict: Verdict) -> None:
    path = [tally(series(*each[: end + 1], before=CALM)) for end in range(len(each))]
    result = compare(path, spending(len(path)), alpha=ALPHA, max_ratio=2, min_samples=100)
    assert result.verdict is verdict, result


def test_less_than_one_independent_error_is_no_evidence() -> None:
    look = Tally(n=100, x=5, m=900, y=0, expected=0.5, information=0.45, phi=8.0, phi_alone=8.0)
    result = compare([look], [1.0], alpha=ALPHA, max_ratio=2, min_samples=1)
    assert result.verdict is Verdict.UNCLEAR
    check(result)


def test_the_requests_said_to_be_needed_settle_it() -> None:
    """If the rates stay exactly as they are, what is said to be enough with 80 % is enough."""
    for counts in ((400, 6, 3_600, 20), (1_000, 5, 9_000, 45), (300, 0, 2_700, 4), (200, 4, 1_800, 9)):
        n, x, m, y = counts
        now = Tally(n, x, m, y, (x + y) / 10, (x + y) * 0.09)
        result = compare([now], [1.0], alpha=ALPHA, max_ratio=2, min_samples=200)
        assert result.verdict is Verdict.UNCLEAR
        assert result.needed is not None
        k = 1 + result.needed / n
        n, x, m, y = (round(k * each) for each in (n, x, m, y))
        then = Tally(n, x, m, y, (x + y) / 10, (x + y) * 0.09)
        assert (
            compare([then], [1.0], alpha=ALPHA, max_ratio=2, min_samples=200).verdict is not Verdict.UNCLEAR
        )


def test_good_beyond_doubt_asks_for_more_than_good() -> None:
    def counted(factor: int) -> Tally:
        return Tally(400 * factor, 4 * factor, 3_600 * factor, 36 * factor, 4.0 * factor, 3.6 * factor)

    found = [
        compare([counted(factor)], [1.0], alpha=ALPHA, max_ratio=2, min_samples=10) for factor in range(1, 60)
    ]
    good, sure = ([getattr(one, name) for one in found] for name in ("verdict", "beyond_doubt"))
    assert good.index(Verdict.GOOD) < sure.index(True)
    assert sure == sorted(sure)


def test_hits_of_the_new_version_alone_say_nothing_of_the_split() -> None:
    paired = series(*[(40, 1, 360, 9)] * 5)
    alone = series(*[(40, 1, 360, 9)] * 5, *[(400, 300, 0, 0)] * 2)
    one, other = (
        compare([replace(tally(each), phi=1.0)], [1.0], alpha=ALPHA, max_ratio=1, min_samples=1)
        for each in (paired, alone)
    )
    assert (one.p, one.ratio) == (other.p, other.ratio)
    assert isinstance(other.new, Interval)
    assert other.new.value > 0.5
