"""The distributions against exact fractions, and far out against values of another implementation."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.rollout.binomial import (
    beta_cdf,
    beta_quantile,
    confidence_limits,
    upper_hypergeometric,
    upper_tail,
)


def exact_tail(hits: int, trials: int, share: Fraction) -> Fraction:
    return sum(
        (math.comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(hits, trials + 1)),
        Fraction(),
    )


@given(st.integers(1, 60), st.data(), st.integers(1, 99))
def test_the_tail_of_whole_numbers_is_exact(trials: int, data: st.DataObject, percent: int) -> None:
    hits = data.draw(st.integers(0, trials))
    exact = exact_tail(hits, trials, Fraction(percent, 100))
    assert upper_tail(hits, trials, percent / 100) == pytest.approx(float(exact), rel=1e-9)


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 12), st.integers(0, 30))
def test_fishers_exact_test(hits: int, misses: int, others_hits: int, others_misses: int) -> None:
    requests, others = hits + misses, others_hits + others_misses
    total, whole = hits + others_hits, requests + others
    exact = Fraction(
        sum(
            math.comb(total, k) * math.comb(whole - total, requests - k)
            for k in range(hits, min(total, requests) + 1)
        ),
        math.comb(whole, requests),
    )
    found = upper_hypergeometric(hits, requests, others_hits, others)
    if found < 1:
        assert found == pytest.approx(float(exact), rel=1e-9)
    else:
        assert hits * whole <= total * requests  # not more than expected
        assert exact > Fraction(1, 5)


@pytest.mark.parametrize(
    ("hits", "trials", "share", "expected"),
    [  # scipy 1.17.1: scipy.stats.binom.sf(hits - 1, trials, share)
        (3, 10**9, 1e-9, 0.0803014),
        (130, 1_000, 0.1, 0.0013414),
        (10_300, 100_000, 0.1, 0.000831642),
        (250_700, 500_000, 0.5, 0.023937),
        (100_030_000, 10**9, 0.1, 0.000783183),
        (500_100_000, 10**9, 0.5, 1.27007e-10),
        (21_000, 10**9, 2e-5, 1.18227e-12),
    ],
)
def test_large_counts_are_as_another_implementation_has_them(
    hits: int, trials: int, share: float, expected: float
) -> None:
    assert upper_tail(hits, trials, share) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [  # scipy 1.17.1: scipy.stats.binomtest(hits, trials).proportion_ci(0.95, method="exact")
        (0, 200, 0, 0.01827534036),
        (3, 20, 0.03207093719, 0.3789268265),
        (20, 20, 0.831566529, 1),
        (5_000, 1_000_000, 0.00486269182, 0.005140187266),
    ],
)
def test_confidence_limits(hits: int, trials: int, low: float, high: float) -> None:
    assert confidence_limits(hits, trials) == pytest.approx((low, high), rel=1e-7)


@given(st.floats(1e-3, 1e9), st.floats(1e-3, 1e9), st.floats(1e-4, 1 - 1e-4))
def test_a_quantile_is_the_inverse_of_the_distribution(a: float, b: float, probability: float) -> None:
    x = beta_quantile(probability, a, b)
    assert 0 <= x <= 1
    if 1e-9 < x < 1 - 1e-9:
        slack = 1e-6 + abs(beta_cdf(x * (1 + 1e-7), a, b) - beta_cdf(x * (1 - 1e-7), a, b))
        assert beta_cdf(x, a, b) == pytest.approx(probability, abs=slack)


@given(st.floats(0, 1e9), st.floats(0, 1e9), st.floats(0, 1))
def test_every_count_has_a_probability_and_limits(hits: float, more: float, share: float) -> None:
    assert 0 <= upper_tail(hits, hits + more, share) <= 1
    low, high = confidence_limits(hits, hits + more)
    assert 0 <= low <= high <= 1
    assert 0 <= upper_hypergeometric(hits, hits + more, hits / 2, more) <= 1
