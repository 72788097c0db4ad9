"""Welch's t test, one-way analysis of variance and the chi-square test of independence, with certain bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from privcompute.stats import tails
from privcompute.stats.estimate import Estimate
from privcompute.stats.interval import Interval, outwards
from privcompute.stats.moments import ZERO, Moments, around_square, estimate
from privcompute.stats.regression import t_and_p
from privcompute.stats.roots import root, root_of


@dataclass(frozen=True)
class Welch:
    """Welch's t test of two means; None is NULL: a level of fewer than 2 rows, or no variance at all."""

    difference: Estimate
    t: Estimate | None
    freedom: Estimate | None
    p: Estimate | None


@dataclass(frozen=True)
class Anova:
    """One-way analysis of variance; None is NULL: no variance within the levels, or no row too many."""

    f: Estimate | None
    between: int
    within: int
    p: Estimate | None


@dataclass(frozen=True)
class ChiSquare:
    """Pearson's test of independence, without Yates' correction; None is NULL."""

    chi2: Estimate | None
    freedom: int
    p: Estimate | None


def welch(first: Moments, second: Moments) -> Welch:
    """The difference of two means over its standard error, variances not assumed equal.

    Source: Welch, Biometrika 34 (1947); degrees of freedom by Satterthwaite's approximation.

    Raises:
        ZeroDivisionError: If the errors leave open whether there is any variance.
    """
    pair = (first, second)
    difference = first.mean(0) - second.mean(0)
    held = first.mean_interval(0) - second.mean_interval(0)
    shown = estimate(difference, held)
    if min(m.rows for m in pair) < 2:
        return Welch(shown, None, None, None)
    exact = [m.centred(0, 0) / ((m.rows - 1) * m.rows) for m in pair]
    around = [m.squares(0) * Interval.point(Fraction(1, (m.rows - 1) * m.rows)) for m in pair]
    if around[0].hi + around[1].hi == 0:
        return Welch(shown, None, None, None)
    if around[0].lo + around[1].lo == 0:
        raise ZeroDivisionError
    errors = root_of(around[0] + around[1])
    t = difference / root(exact[0] + exact[1]).lo
    freedom, freedoms = _satterthwaite(exact, around, [m.rows - 1 for m in pair])
    return Welch(shown, *_with_freedom(t, held / errors, freedom, freedoms))


def _with_freedom(
    t: Fraction, held: Interval, freedom: Fraction, freedoms: Interval
) -> tuple[Estimate, Estimate, Estimate]:
    statistic, p = t_and_p(t, held, freedom, freedoms)
    return statistic, estimate(freedom, freedoms), p


def _satterthwaite(
    exact: Sequence[Fraction], around: Sequence[Interval], rows: Sequence[int]
) -> tuple[Fraction, Interval]:
    value = sum(exact, ZERO) ** 2 / sum((v * v / n for v, n in zip(exact, rows, strict=True)), ZERO)
    total = around[0] + around[1]
    below = Interval.point(0)
    for v, n in zip(around, rows, strict=True):
        below += v * v * Interval.point(Fraction(1, n))
    held = total * total / below
    return value, Interval(max(held.lo, Fraction(min(rows))), min(held.hi, Fraction(sum(rows))))


def anova(levels: Sequence[Moments]) -> Anova:
    """The variance between the levels' means over that within the levels.

    Source: Fisher, Statistical Methods for Research Workers (1925).

    Raises:
        ZeroDivisionError: If the errors leave open whether there is any variance within.
    """
    rows = sum(m.rows for m in levels)
    between, within = len(levels) - 1, rows - len(levels)
    grand = sum((m.sums[0] for m in levels), ZERO) / rows
    outer = sum(((m.mean(0) - grand) ** 2 * m.rows for m in levels), ZERO)
    inner = sum((m.centred(0, 0) for m in levels), ZERO)
    # Both roots are lengths of projections of the table's column: they move by at most the norm of its errors.
    error = max(m.errors[0] for m in levels)
    move = outwards(error * root(Fraction(rows)).hi) if error else ZERO
    above, below = around_square(outer, move, move), around_square(inner, move, move)
    if within <= 0 or below.hi == 0:
        return Anova(None, between, within, None)
    if below.lo == 0 or inner == 0:
        raise ZeroDivisionError
    ratio = Fraction(within, between)
    f, held = outer / inner * ratio, above / below * Interval.point(ratio)
    own = tails.fisher(f, Fraction(between), Fraction(within))
    p = Interval(
        tails.fisher(held.hi, Fraction(between), Fraction(within)).lo,
        tails.fisher(held.lo, Fraction(between), Fraction(within)).hi,
    )
    return Anova(estimate(f, held), between, within, estimate((own.lo + own.hi) / 2, p))


def chi_square(table: Sequence[Sequence[int]]) -> ChiSquare:
    """The test of independence of the rows and columns of a table of counts.

    Source: Pearson, Philosophical Magazine 50 (1900).
    """
    across = [sum(row) for row in table]
    down = [sum(row[j] for row in table) for j in range(len(table[0]))]
    freedom = (len(across) - 1) * (len(down) - 1)
    if not all(across) or not all(down) or freedom < 1:
        return ChiSquare(None, freedom, None)
    total = sum(across)
    squares = (
        Fraction(count * count, across[i] * down[j]) for i, row in enumerate(table) for j, count in enumerate(row)
    )
    value = total * (sum(squares, ZERO) - 1)
    held = tails.chi_square(value, freedom)
    return ChiSquare(estimate(value, Interval.point(value)), freedom, estimate((held.lo + held.hi) / 2, held))
