"""Interval arithmetic on exact fractions: the worst case, from public numbers only."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

UNIT = Fraction(1, 2**53)  # half the distance of 1.0 to the next double: the relative error of one rounding
TINY = Fraction(1, 2**200)  # more than the absolute error of a rounding near 0, where doubles get no closer
_KEPT_BITS = 60


@dataclass(frozen=True)
class Interval:
    """All numbers from `lo` to `hi`, both included."""

    lo: Fraction
    hi: Fraction

    @classmethod
    def point(cls, value: Fraction | int) -> Interval:
        """The interval that holds one number."""
        return cls(Fraction(value), Fraction(value))

    @classmethod
    def around(cls, value: Fraction | int, error: Fraction | int) -> Interval:
        """All numbers at most `error` from `value`."""
        return cls(Fraction(value) - error, Fraction(value) + error)

    @property
    def magnitude(self) -> Fraction:
        """The largest absolute value."""
        return max(abs(self.lo), abs(self.hi))

    @property
    def width(self) -> Fraction:
        return self.hi - self.lo

    @property
    def holds_zero(self) -> bool:
        return self.lo <= 0 <= self.hi

    def __neg__(self) -> Interval:
        return Interval(-self.hi, -self.lo)

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.lo + other.lo, self.hi + other.hi)

    def __sub__(self, other: Interval) -> Interval:
        return self + (-other)

    def __mul__(self, other: Interval) -> Interval:
        ends = [x * y for x in (self.lo, self.hi) for y in (other.lo, other.hi)]
        return Interval(min(ends), max(ends))

    def __truediv__(self, other: Interval) -> Interval:
        """The quotient.

        Raises:
            ZeroDivisionError: If `other` holds 0.
        """
        if other.holds_zero:
            raise ZeroDivisionError
        ends = [x / y for x in (self.lo, self.hi) for y in (other.lo, other.hi)]
        return Interval(min(ends), max(ends))

    def __abs__(self) -> Interval:
        low = Fraction(0) if self.holds_zero else min(abs(self.lo), abs(self.hi))
        return Interval(low, self.magnitude)

    def hull(self, other: Interval) -> Interval:
        """The smallest interval that holds both."""
        return Interval(min(self.lo, other.lo), max(self.hi, other.hi))

    def widened(self, by: Fraction | int) -> Interval:
        """With both ends moved outwards."""
        return Interval(self.lo - by, self.hi + by)


def rounding(magnitude: Fraction) -> Fraction:
    """The worst error of rounding a number of at most this magnitude to a double."""
    return magnitude * UNIT + TINY


def outwards(error: Fraction) -> Fraction:
    """An error bound with a short numerator and denominator, not below `error`."""
    shift = _KEPT_BITS - (error.numerator.bit_length() - error.denominator.bit_length())
    return (
        Fraction(-(-error.numerator * 2 ** max(shift, 0) // (error.denominator * 2 ** max(-shift, 0))))
        / Fraction(2) ** shift
    )
