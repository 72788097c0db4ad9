"""Tails of t, F and chi-square: published critical values, MPFR's own incomplete gamma, and the laws they obey."""

from __future__ import annotations

import itertools
from fractions import Fraction

import gmpy2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privcompute.stats import tails
from privcompute.stats.interval import Interval

# Critical values of NIST/SEMATECH, e-Handbook of Statistical Methods, 1.3.6.7 (public domain), to the printed digits:
# (tail, degrees of freedom, level, value).
CRITICAL = (
    ("t", (1,), "0.05", "12.706"),
    ("t", (10,), "0.05", "2.228"),
    ("t", (20,), "0.002", "3.552"),
    ("t", (30,), "0.01", "2.750"),
    ("t", (100,), "0.1", "1.660"),
    ("f", (1, 10), "0.05", "4.965"),
    ("f", (3, 12), "0.05", "3.490"),
    ("f", (10, 20), "0.05", "2.348"),
    ("f", (10, 20), "0.01", "3.368"),
    ("chi2", (1,), "0.05", "3.841"),
    ("chi2", (10,), "0.05", "18.307"),
    ("chi2", (10,), "0.001", "29.588"),
    ("chi2", (100,), "0.05", "124.342"),
)


def tail(name: str, freedom: tuple[int, ...], x: Fraction) -> Interval:
    if name == "t":
        return tails.student(x, Fraction(freedom[0]))
    if name == "f":
        return tails.fisher(x, Fraction(freedom[0]), Fraction(freedom[1]))
    return tails.chi_square(x, freedom[0])


@pytest.mark.parametrize(("name", "freedom", "level", "value"), CRITICAL)
def test_published_critical_values(name: str, freedom: tuple[int, ...], level: str, value: str) -> None:
    half = Fraction(1, 2 * 10 ** len(value.partition(".")[2]))
    below, above = (tail(name, freedom, Fraction(value) + move) for move in (-half, half))
    assert above.hi < Fraction(level) < below.lo


@pytest.mark.parametrize(
    ("freedom", "x"), [(1, "50"), (2, "0.5"), (7, "3"), (200, "150"), (201, "900"), (5, "0.001"), (999, "1100")]
)
def test_chi_square_against_the_incomplete_gamma_of_mpfr(freedom: int, x: str) -> None:
    with gmpy2.context(precision=300):
        m = gmpy2.mpfr(freedom) / 2
        y = gmpy2.mpfr(gmpy2.mpq(Fraction(x))) / 2
        top, bottom = (gmpy2.gamma_inc(m, y) / gmpy2.gamma(m)).as_integer_ratio()
    found = tails.chi_square(Fraction(x), freedom)
    assert found.lo <= Fraction(int(top), int(bottom)) <= found.hi
    assert found.width <= found.lo / 2**90


@given(k=st.integers(1, 60), t=st.fractions(0, 60))
@settings(max_examples=40)
def test_t_with_whole_degrees_of_freedom_has_a_closed_form(k: int, t: Fraction) -> None:
    """For an even number: A = s (1 + c/2 + 3c^2/8 + …), s = t / sqrt(k + t^2), c = k / (k + t^2)."""
    freedom = 2 * k
    with gmpy2.context(precision=400):
        square = gmpy2.mpfr(gmpy2.mpq(t * t))
        c = freedom / (freedom + square)
        term, total = gmpy2.mpfr(1), gmpy2.mpfr(0)
        for n in range(k):
            total += term
            term *= c * (2 * n + 1) / (2 * n + 2)
        inside = gmpy2.sqrt(square / (freedom + square)) * total
        top, bottom = (1 - inside).as_integer_ratio()
    found, exact = tails.student(t, Fraction(freedom)), Fraction(int(top), int(bottom))
    slack = Fraction(1, 2**350)
    assert found.lo - slack <= exact <= found.hi + slack
    assert found.width <= Fraction(1, 2**90)


def test_f_of_one_and_k_is_the_square_of_t() -> None:
    for k in (1, 7, 33, 1000):
        a, b = tails.fisher(Fraction(9, 4), Fraction(1), Fraction(k)), tails.student(Fraction(3, 2), Fraction(k))
        assert a.lo <= b.hi
        assert b.lo <= a.hi


def test_degrees_of_freedom_need_not_be_whole() -> None:
    ends = [tails.student(Fraction(2), Fraction(n, 4)) for n in range(4, 60)]
    assert all(later.hi < earlier.lo for earlier, later in itertools.pairwise(ends))


@pytest.mark.parametrize(
    ("t", "freedom"),
    [("5", 10**9), ("37", 10**9), ("0.000001", 10**6), ("40", 10**6), ("3000000", 3), ("1.5", 10**12)],
)
def test_extremes_are_quick_and_certain(t: str, freedom: int) -> None:
    found = tails.student(Fraction(t), Fraction(freedom))
    assert 0 <= found.lo <= found.hi <= 1
    assert found.width <= max(found.lo / 2**50, Fraction(1, 2**1075))


def test_tails_begin_at_one_and_end_at_nothing() -> None:
    assert tails.student(Fraction(0), Fraction(5)).hi == 1
    assert tails.fisher(Fraction(0), Fraction(2), Fraction(5)) == Interval.point(1)
    assert tails.chi_square(Fraction(0), 3) == Interval.point(1)
    assert tails.chi_square(Fraction(10**9), 3).hi < Fraction(1, 2**1075)
    assert tails.fisher(Fraction(10**9), Fraction(1000), Fraction(10**6)).hi < Fraction(1, 2**1075)


def test_the_normal_limit() -> None:
    """With very many degrees of freedom t is nearly normal: Phi(-1.959964) = 0.025."""
    found = tails.student(Fraction("1.959964"), Fraction(10**9))
    assert abs(found.lo - Fraction(1, 20)) < Fraction(1, 10**7)
