"""A statistic after opening: an exact fraction of the opened integers, and how far off it can be.

`error` bounds two distances at once: from our value to the mathematical value on the tables' doubles, and from our
value to what DuckDB prints, whose own arithmetic rounds. For integers and decimals it is 0 until something is divided.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from privcompute.stats.interval import Interval, rounding


@dataclass(frozen=True)
class Estimate:
    """A number with its worst-case absolute error.

    Attributes:
        value: What we computed, exactly from what opened.
        error: The worst-case distance of `value` to the truth and to DuckDB's result.
        double: Whether SQL computes it in doubles, so that DuckDB's every operation rounds.
    """

    value: Fraction = field(repr=False)
    error: Fraction = Fraction(0)
    double: bool = False

    @property
    def interval(self) -> Interval:
        return Interval.around(self.value, self.error)

    def as_double(self) -> Estimate:
        """The same number where SQL casts it to DOUBLE."""
        return self if self.double else Estimate(self.value, self.error + rounding(self.interval.magnitude), True)


def _rounded(value: Fraction, error: Fraction, double: bool) -> Estimate:
    if double:
        error += rounding(abs(value) + error)
    return Estimate(value, error, double)


def _pair(x: Estimate, y: Estimate) -> tuple[Estimate, Estimate, bool]:
    double = x.double or y.double
    return (x.as_double(), y.as_double(), True) if double else (x, y, False)


def add(x: Estimate, y: Estimate) -> Estimate:
    """x + y."""
    x, y, double = _pair(x, y)
    return _rounded(x.value + y.value, x.error + y.error, double)


def negate(x: Estimate) -> Estimate:
    """-x."""
    return Estimate(-x.value, x.error, x.double)


def multiply(x: Estimate, y: Estimate) -> Estimate:
    """x * y."""
    x, y, double = _pair(x, y)
    error = abs(x.value) * y.error + abs(y.value) * x.error + x.error * y.error
    return _rounded(x.value * y.value, error, double)


def divide(x: Estimate, y: Estimate) -> Estimate | None:
    """x / y in doubles, as SQL does it; None (SQL's NULL) if y is exactly 0.

    Raises:
        ZeroDivisionError: If y may be 0 or not, within its error: there is no number to print.
    """
    if y.value == 0 and y.error == 0:
        return None
    x, y = x.as_double(), y.as_double()
    if y.interval.holds_zero:
        raise ZeroDivisionError
    value = x.value / y.value
    error = (x.error + abs(value) * y.error) / (abs(y.value) - y.error)
    return _rounded(value, error, True)


def rounded(x: Estimate, places: int) -> Estimate:
    """x rounded to decimal places, halves away from 0 as SQL does."""
    step = Fraction(1, 10**places)

    def to_step(value: Fraction) -> Fraction:
        sign = -1 if value < 0 else 1
        return sign * int(abs(value) / step + Fraction(1, 2)) * step

    value = to_step(x.value)
    ends = (to_step(x.value - x.error), to_step(x.value + x.error))
    return _rounded(value, max(abs(end - value) for end in ends), x.double)


def printed(x: Estimate) -> tuple[float, Fraction]:
    """The nearest double and the bound that holds for it.

    Raises:
        OverflowError: If the number is beyond the doubles.
    """
    value = float(x.value)  # Fraction's conversion is correctly rounded
    return value, x.error + abs(Fraction(value) - x.value)
