"""Variances, regression and tests from opened sums: published worked examples, and bounds that hold for moved rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal, getcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.worked_examples import LONGLEY, LONGLEY_CERTIFIED, NEIGHBOURHOODS, PLANTS, SLEEP

from privcompute.errors import IntegrityError
from privcompute.stats import contrasts, moments, regression
from privcompute.stats.estimate import Estimate
from privcompute.stats.moments import Moments
from privcompute.stats.roots import root

Column = Sequence[Fraction]


def of_rows(*columns: Sequence[object], errors: Sequence[Fraction] | None = None) -> Moments:
    """The moments of columns."""
    exact = [[Fraction(str(v)) if not isinstance(v, Fraction) else v for v in c] for c in columns]
    products = [
        sum((a * b for a, b in zip(exact[i], exact[j], strict=True)), Fraction(0))
        for i in range(len(exact))
        for j in range(i, len(exact))
    ]
    return Moments(
        len(exact[0]),
        tuple(sum(c, Fraction(0)) for c in exact),
        tuple(products),
        tuple(errors or [Fraction(0)] * len(exact)),
    )


def near(found: Estimate | None, published: str) -> bool:
    """Whether a result agrees with all digits that were published."""
    assert found is not None
    digits = len(published.replace("-", "").replace(".", "").lstrip("0").split("e")[0])
    return abs(found.value - Fraction(published)) <= abs(Fraction(published)) * Fraction(6, 10**digits) + found.error


def test_longley_to_the_certified_digits() -> None:
    """Ill-conditioned on purpose: the classic packages of its day had no digit right."""
    terms = regression.least_squares(of_rows(*zip(*LONGLEY, strict=True)))
    for term, (estimate, error) in zip(terms, LONGLEY_CERTIFIED, strict=True):
        assert near(term.estimate, estimate)
        assert near(term.std_error, error)
        assert term.estimate is not None
        assert term.t is not None
        assert near(term.t, str(float(Fraction(estimate) / Fraction(error)))[:8])
        assert term.estimate.error == 0


def test_longley_p_values() -> None:
    """R's summary(lm(Employed ~ ., longley)) prints these, to three digits."""
    terms = regression.least_squares(of_rows(*zip(*LONGLEY, strict=True)))
    printed = ("0.00356", "0.863141", "0.312681", "0.00254", "0.000944", "0.826212", "0.003037")
    for term, p in zip(terms, printed, strict=True):
        assert term.p is not None
        half = Fraction(1, 2 * 10 ** len(p.partition(".")[2]))
        assert abs(term.p.value - Fraction(p)) <= half * Fraction(11, 10)


def test_welch_on_students_sleep() -> None:
    """R's t.test(extra ~ group, data = sleep): t = -1.8608, df = 17.776, p-value = 0.07939."""
    found = contrasts.welch(of_rows(SLEEP[0]), of_rows(SLEEP[1]))
    assert near(found.t, "-1.8608")
    assert near(found.freedom, "17.776")
    assert near(found.p, "0.07939")
    assert near(found.difference, "-1.58")


def test_analysis_of_variance_of_plant_growth() -> None:
    """R's anova(lm(weight ~ group, PlantGrowth)): F = 4.8461 on 2 and 27, p = 0.01591."""
    found = contrasts.anova([of_rows(column) for column in PLANTS])
    assert near(found.f, "4.8461")
    assert (found.between, found.within) == (2, 27)
    assert near(found.p, "0.01591")


def test_chi_square_of_neighbourhoods() -> None:
    found = contrasts.chi_square(NEIGHBOURHOODS)
    assert found.freedom == 6
    assert near(found.chi2, "24.57")
    assert near(found.p, "0.0004098")


def test_anova_of_two_levels_is_the_pooled_t_test() -> None:
    one, two = [1, 2, 4, 7], [3, 5, 6, 9, 11]
    f = contrasts.anova([of_rows(one), of_rows(two)])
    slope = regression.least_squares(of_rows([*one, *two], [0] * 4 + [1] * 5))[1]
    assert f.f is not None
    assert slope.t is not None
    assert f.p is not None
    assert slope.p is not None
    assert abs(f.f.value - slope.t.value**2) < Fraction(1, 2**100)
    assert abs(f.p.value - slope.p.value) < Fraction(1, 2**80)


# -- what is undefined, and what cannot be ---------------------------------------------------------------------------


def test_what_is_undefined_is_none() -> None:
    constant, other = [3, 3, 3], [1, 2, 4]
    assert moments.correlation(of_rows(constant, other)) is None
    assert moments.slope(of_rows(other, constant)) is None
    assert moments.determination(of_rows(other, constant)) is None
    assert moments.determination(of_rows(constant, other)) == Estimate(Fraction(1), double=True)
    assert moments.variance(of_rows([5]), 1) is None
    assert moments.variance(of_rows([5]), 0) == Estimate(Fraction(0), double=True)
    assert contrasts.welch(of_rows(constant), of_rows(constant)).t is None
    assert contrasts.welch(of_rows([1]), of_rows(other)).t is None
    assert contrasts.anova([of_rows(constant), of_rows([4, 4])]).f is None
    assert contrasts.chi_square([[1, 2], [0, 0]]).chi2 is None
    collinear = regression.least_squares(of_rows([1, 2, 4, 3], [1, 2, 3, 4], [2, 4, 6, 8]))
    assert [t.estimate for t in collinear] == [None] * 3
    perfect = regression.least_squares(of_rows([3, 5, 7, 9], [1, 2, 3, 4]))
    assert [t.estimate.value for t in perfect if t.estimate] == [1, 2]
    assert [t.std_error.value for t in perfect if t.std_error] == [0, 0]
    assert all(t.t is None and t.p is None for t in perfect)


def test_within_the_error_of_undefined_there_is_no_number() -> None:
    error = [Fraction(1, 1000)] * 2
    almost = of_rows(["3", "3.0001", "3"], [1, 2, 4], errors=error)
    for statistic in (moments.correlation, regression.least_squares):
        with pytest.raises(ZeroDivisionError):
            statistic(Moments(almost.rows, almost.sums[::-1], almost.products[::-1], almost.errors))
    with pytest.raises(ZeroDivisionError):
        contrasts.welch(of_rows([3, 3, 3], errors=error[:1]), of_rows([4, 4], errors=error[:1]))


def test_sums_that_no_rows_have_are_refused() -> None:
    with pytest.raises(IntegrityError) as caught:
        moments.variance(Moments(3, (Fraction(9),), (Fraction(1),), (Fraction(0),)), 1)
    assert caught.value.code == "inconsistent_sums"
    with pytest.raises(IntegrityError):
        moments.of_integers(0, [1], [1], [Fraction(1)] * 2, [Fraction(0)])


# -- the bound: every statistic of the true rows lies within it ------------------------------------------------------


def decimal_root(value: Fraction) -> Fraction:
    getcontext().prec = 70
    return Fraction((Decimal(value.numerator) / Decimal(value.denominator)).sqrt())


@given(value=st.fractions(0, 10**12))
def test_roots(value: Fraction) -> None:
    found = root(value)
    assert found.lo**2 <= value <= found.hi**2
    assert found.width <= found.hi / 2**100
    assert root(value * value) == type(found)(value, value)


@given(seed=st.integers(0, 2**31), size=st.integers(6, 12), shift=st.integers(4, 30))
@settings(max_examples=25)
def test_rows_within_the_error_give_statistics_within_the_bound(seed: int, size: int, shift: int) -> None:
    """The opened sums are of moved rows; the bound must reach to the statistic of the rows themselves."""
    rng = np.random.default_rng(seed)
    errors = [Fraction(1, 2 ** (shift + n)) for n in range(3)]
    true = [[Fraction(int(v), 64) for v in rng.integers(-600, 600, size)] for _ in range(3)]
    moved = [
        [v + e * Fraction(int(m), 100) for v, m in zip(column, rng.integers(-100, 101, size), strict=True)]
        for column, e in zip(true, errors, strict=True)
    ]
    exact, opened = of_rows(*true), of_rows(*moved, errors=errors)
    pairs = [
        *((f(opened, k), f(exact, k)) for f in (moments.variance, moments.deviation) for k in (0, 1)),
        (moments.covariance(opened, 1), moments.covariance(exact, 1)),
        *((statistic(opened), statistic(exact)) for statistic in (first_two(f) for f in SIMPLE)),
        *zip(of_terms(opened), of_terms(exact), strict=True),
        *zip(of_contrasts(moved, errors), of_contrasts(true, [Fraction(0)] * 3), strict=True),
    ]
    for found, wanted in pairs:
        if found is not None and wanted is not None:
            assert abs(found.value - wanted.value) <= found.error + wanted.error


SIMPLE = (moments.correlation, moments.slope, moments.intercept, moments.determination)


def first_two(f: Callable[[Moments], Estimate | None]) -> Callable[[Moments], Estimate | None]:
    def of(m: Moments) -> Estimate | None:
        try:
            return f(m)
        except ZeroDivisionError:
            return None

    return of


def of_terms(m: Moments) -> list[Estimate | None]:
    try:
        terms = regression.least_squares(m)
    except ZeroDivisionError:
        return [None] * 12
    return [value for t in terms for value in (t.estimate, t.std_error, t.t, t.p)]


def of_contrasts(columns: Sequence[Column], errors: Sequence[Fraction]) -> list[Estimate | None]:
    levels = [of_rows(c, errors=[max(errors)]) for c in columns]
    try:
        w, a = contrasts.welch(levels[0], levels[1]), contrasts.anova(levels)
    except ZeroDivisionError:
        return [None] * 6
    return [w.difference, w.t, w.freedom, w.p, a.f, a.p]
