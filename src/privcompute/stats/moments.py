"""Means, variances, covariances and simple regression from sums and sums of products, with certain bounds.

What opened are exact sums of integers z and of their products, where a row's value is x = unit * z up to a known
error. So every statistic here is computed *exactly* for a table x' whose every number is at most `error` from the
true one, and the bound says how far that can move it. With d = x' - x and c for 'centred', norms over the rows,

    |x'_c| - |x_c| <= |d_c| <= |d| <= error * sqrt(n),

which bounds a sum of squares through its root, without the cancellation of n * Q - S * S.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

from privcompute.errors import IntegrityError
from privcompute.stats.estimate import Estimate
from privcompute.stats.interval import Interval, outwards
from privcompute.stats.roots import root, root_of

ZERO = Fraction(0)
ONE = Fraction(1)


def impossible() -> IntegrityError:
    """The error for sums that no rows have: some holder's were not sums of its rows."""
    return IntegrityError("the opened sums cannot come from any rows", code="inconsistent_sums", stage="finish")


def estimate(value: Fraction, interval: Interval) -> Estimate:
    """The value with the interval that holds the true one; as SQL's DOUBLE."""
    error = max(interval.hi - value, value - interval.lo, ZERO)
    return Estimate(value, outwards(error) if error else error, True)


@dataclass(frozen=True)
class Moments:
    """What opened of one or more variables over the rows where none is NULL.

    Attributes:
        rows: The number of rows, at least 1.
        sums: Per variable, the sum.
        products: Of variables i <= j, row by row of the upper triangle, the sum of products.
        errors: Per variable, the worst error of one row.
    """

    rows: int = field(repr=False)
    sums: tuple[Fraction, ...] = field(repr=False)
    products: tuple[Fraction, ...] = field(repr=False)
    errors: tuple[Fraction, ...]

    def product(self, i: int, j: int) -> Fraction:
        """The sum of products of two variables."""
        low, high = min(i, j), max(i, j)
        return self.products[low * len(self.sums) - low * (low + 1) // 2 + high]

    def centred(self, i: int, j: int) -> Fraction:
        """The sum of products of the differences to the means, of x'."""
        value = self.product(i, j) - self.sums[i] * self.sums[j] / self.rows
        if i == j and value < 0:
            raise impossible()
        return value

    def mean(self, i: int) -> Fraction:
        """The mean of x'."""
        return self.sums[i] / self.rows

    def mean_interval(self, i: int) -> Interval:
        """Where the true mean is."""
        return Interval.around(self.mean(i), self.errors[i])

    @cached_property
    def _root_rows(self) -> Fraction:
        return root(Fraction(self.rows)).hi

    def move(self, i: int) -> Fraction:
        """The most that the error moves the norm of a centred variable."""
        return self.errors[i] * self._root_rows if self.errors[i] else ZERO

    def squares(self, i: int) -> Interval:
        """Where the true sum of squared differences to the mean is."""
        return around_square(self.centred(i, i), self.move(i), self.move(i))

    def cross(self, i: int, j: int) -> Interval:
        """Where the true sum of products of the differences to the means is."""
        if i == j:
            return self.squares(i)
        return Interval.around(self.centred(i, j), self.cross_error(i, j))

    def cross_error(self, i: int, j: int) -> Fraction:
        """How far the sum of products of differences can be from the true one."""
        x, y = self.move(i), self.move(j)
        if not x and not y:
            return ZERO
        norms = [root(self.centred(v, v)).hi for v in (i, j)]
        return outwards(y * norms[0] + x * norms[1] + x * y)


def around_square(value: Fraction, down: Fraction, up: Fraction) -> Interval:
    """The squares of what is at most `down` below or `up` above the root of a value."""
    if not down and not up:
        return Interval.point(value)
    norm = root(value)
    low, high = max(ZERO, norm.lo - down), norm.hi + up
    return Interval(low * low, high * high)


def variance(m: Moments, freedom: int, i: int = 0) -> Estimate | None:
    """The sum of squares over n - `freedom`; None where that is not positive."""
    divisor = m.rows - freedom
    if divisor <= 0:
        return None
    found = m.squares(i)
    return estimate(m.centred(i, i) / divisor, Interval(found.lo / divisor, found.hi / divisor))


def deviation(m: Moments, freedom: int, i: int = 0) -> Estimate | None:
    """The root of the variance."""
    found = variance(m, freedom, i)
    if found is None:
        return None
    squares = m.squares(i)
    divisor = m.rows - freedom
    return estimate(root(found.value).lo, root_of(Interval(squares.lo / divisor, squares.hi / divisor)))


def covariance(m: Moments, freedom: int) -> Estimate | None:
    """The covariance of variables 0 and 1."""
    divisor = m.rows - freedom
    if divisor <= 0:
        return None
    return estimate(
        m.centred(0, 1) / divisor, Interval.around(m.centred(0, 1) / divisor, m.cross_error(0, 1) / divisor)
    )


def _constant(m: Moments, i: int) -> bool:
    """Whether a variable is the same in all rows.

    Raises:
        ZeroDivisionError: If its error leaves that open.
    """
    if m.squares(i).lo > 0:
        return False
    if m.errors[i]:
        raise ZeroDivisionError
    return True


def correlation(m: Moments) -> Estimate | None:
    """Pearson's correlation; None if a variable is constant.

    Raises:
        ZeroDivisionError: If the errors leave open whether one is.
    """
    if _constant(m, 0) or _constant(m, 1):
        return None
    size = root(m.centred(0, 0) * m.centred(1, 1))
    value = m.centred(0, 1) / size.lo
    held = m.cross(0, 1) / root_of(m.squares(0) * m.squares(1))
    return estimate(max(-ONE, min(ONE, value)), Interval(max(-ONE, held.lo), min(ONE, held.hi)))


def slope(m: Moments) -> Estimate | None:
    """The slope of y (variable 0) on x (variable 1); None if x is constant.

    Raises:
        ZeroDivisionError: If the errors leave open whether x is constant.
    """
    if _constant(m, 1):
        return None
    return estimate(m.centred(0, 1) / m.centred(1, 1), m.cross(0, 1) / m.squares(1))


def intercept(m: Moments) -> Estimate | None:
    """The intercept of y on x; likewise."""
    found = slope(m)
    if found is None:
        return None
    held = m.mean_interval(0) - m.cross(0, 1) / m.squares(1) * m.mean_interval(1)
    return estimate(m.mean(0) - found.value * m.mean(1), held)


def determination(m: Moments) -> Estimate | None:
    """R squared; None if x is constant, 1 if only y is, as in SQL."""
    if _constant(m, 1):
        return None
    if _constant(m, 0):
        return Estimate(ONE, double=True)
    value = m.centred(0, 1) ** 2 / (m.centred(0, 0) * m.centred(1, 1))
    cross = abs(m.cross(0, 1))
    share = cross * cross / (m.squares(0) * m.squares(1))
    return estimate(min(ONE, value), Interval(share.lo, min(ONE, share.hi)))


def of_integers(
    rows: int, sums: Sequence[int], products: Sequence[int], units: Sequence[Fraction], errors: Sequence[Fraction]
) -> Moments:
    """The moments of what opened as integers, each in its own unit.

    Args:
        rows: Number of rows.
        sums: Per variable.
        products: The upper triangle, row by row.
        units: Per sum, then per product.
        errors: Per variable.
    """
    if rows < 1:
        raise impossible()
    values = [z * unit for z, unit in zip((*sums, *products), units, strict=True)]
    return Moments(rows, tuple(values[: len(sums)]), tuple(values[len(sums) :]), tuple(errors))
