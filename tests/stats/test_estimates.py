"""Interval arithmetic and estimates against sampled numbers, doubles and Python's own exact arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from privcompute.stats import estimate
from privcompute.stats.estimate import Estimate
from privcompute.stats.interval import Interval, outwards, rounding

doubles = st.floats(-1e12, 1e12, allow_subnormal=False)
fractions = st.fractions(min_value=-1000, max_value=1000, max_denominator=1000)
intervals = st.tuples(fractions, fractions).map(lambda t: Interval(min(t), max(t)))
shares = st.fractions(min_value=0, max_value=1, max_denominator=50)


def inside(interval: Interval, share: Fraction) -> Fraction:
    return interval.lo + share * interval.width


@given(intervals, intervals, shares, shares)
def test_intervals_hold_what_their_members_give(x: Interval, y: Interval, s: Fraction, t: Fraction) -> None:
    a, b = inside(x, s), inside(y, t)
    for result, member in ((x + y, a + b), (x - y, a - b), (x * y, a * b), (abs(x), abs(a)), (x.hull(y), a), (-x, -a)):
        assert result.lo <= member <= result.hi
    if y.holds_zero:
        with pytest.raises(ZeroDivisionError):
            x / y
    else:
        assert (x / y).lo <= a / b <= (x / y).hi


@given(doubles, doubles)
@settings(max_examples=300)
def test_one_operation_in_doubles_is_within_the_bound(x: float, y: float) -> None:
    a, b = Estimate(Fraction(x), double=True), Estimate(Fraction(y), double=True)
    assert abs(Fraction(x + y) - estimate.add(a, b).value) <= estimate.add(a, b).error
    assert abs(Fraction(x * y) - estimate.multiply(a, b).value) <= estimate.multiply(a, b).error
    if y and math.isfinite(x / y):
        quotient = estimate.divide(a, b)
        assert quotient is not None
        assert abs(Fraction(x / y) - quotient.value) <= quotient.error


@given(fractions, fractions, shares, shares, shares, shares)
@settings(max_examples=300)
def test_errors_propagate(x: Fraction, y: Fraction, e: Fraction, f: Fraction, s: Fraction, t: Fraction) -> None:
    a, b = Estimate(x, e), Estimate(y, f)
    truth_a, truth_b = x + (2 * s - 1) * e, y + (2 * t - 1) * f
    assert abs(truth_a + truth_b - estimate.add(a, b).value) <= estimate.add(a, b).error
    assert abs(truth_a * truth_b - estimate.multiply(a, b).value) <= estimate.multiply(a, b).error
    assert abs(-truth_a - estimate.negate(a).value) <= estimate.negate(a).error
    r = estimate.rounded(a, 1)
    tenth = math.floor(abs(truth_a) * 10 + Fraction(1, 2)) * (1 if truth_a >= 0 else -1)
    assert abs(Fraction(tenth, 10) - r.value) <= r.error
    assume(abs(y) > f + Fraction(1, 1000))
    quotient = estimate.divide(a, b)
    assert quotient is not None
    assert abs(truth_a / truth_b - quotient.value) <= quotient.error


def test_dividing_by_zero_is_null_and_by_nearly_zero_is_refused() -> None:
    one = Estimate(Fraction(1))
    assert estimate.divide(one, Estimate(Fraction(0))) is None
    with pytest.raises(ZeroDivisionError):
        estimate.divide(one, Estimate(Fraction(1, 100), Fraction(1, 10)))


def test_exact_numbers_stay_exact() -> None:
    x, y = Estimate(Fraction(10**30)), Estimate(Fraction(1, 100))
    assert estimate.add(x, y) == Estimate(10**30 + Fraction(1, 100))
    assert estimate.multiply(x, y).error == 0
    assert estimate.printed(Estimate(Fraction(1, 4))) == (0.25, Fraction(0))
    value, bound = estimate.printed(Estimate(Fraction(1, 3)))
    assert abs(Fraction(value) - Fraction(1, 3)) == bound > 0


@given(st.fractions(min_value=0, max_denominator=10**40))
def test_shortened_bounds_only_grow(error: Fraction) -> None:
    kept = outwards(error)
    assert error <= kept <= error * (1 + Fraction(1, 2**50))
    assert (kept.numerator >> 62 == 0) or kept.denominator == 1


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(1, 1000))
def test_rounding_bounds_one_division(x: float, n: int) -> None:
    exact = Fraction(x) / n
    assert abs(Fraction(x / n) - exact) <= rounding(abs(exact))
