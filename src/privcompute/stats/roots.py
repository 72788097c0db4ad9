"""Square roots of exact fractions, between two fractions that are certain."""

from __future__ import annotations

from fractions import Fraction
from math import isqrt

from privcompute.stats.interval import Interval

_BITS = 160
"""Leading bits of a root that is not rational."""


def root(value: Fraction) -> Interval:
    """An interval that holds the root; a point where the root is rational.

    Raises:
        ValueError: If the value is negative.
    """
    if value < 0:
        raise ValueError("no root of a negative number")
    # sqrt(a / b) = sqrt(a b) / b, taken of a b 4^k with enough digits.
    product = value.numerator * value.denominator
    shift = max(0, _BITS - product.bit_length() // 2)
    scaled = product << (2 * shift)
    below = isqrt(scaled)
    above = below if below * below == scaled else below + 1
    unit = value.denominator << shift
    return Interval(Fraction(below, unit), Fraction(above, unit))


def root_of(interval: Interval) -> Interval:
    """The roots of all numbers of the interval that are not negative."""
    return Interval(root(max(interval.lo, Fraction(0))).lo, root(max(interval.hi, Fraction(0))).hi)
