"""Numbers of a column as integers: value = integer * step, with one public step for the whole column.

A step that followed the size of each value would travel beside it in the clear and tell that size. Inside there are
integers only; what is not finite or leaves the declared range is refused before anything is encrypted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import numpy as np

from privcompute.errors import UsageError

Number = int | float | Fraction | Decimal
_EXACT: Final = 2**53


def _named(number: Number) -> Fraction:
    exact = Fraction(number)
    if isinstance(number, float) and exact.denominator != 1 and abs(exact.numerator) != 1:
        return Fraction(repr(float(number)))
    return exact


@dataclass(frozen=True)
class FixedPoint:
    """The public range and step of a column.

    A float among these three means the decimal it is written as, unless it is a power of two or an integer: 0.01 is a
    hundredth.

    Args:
        lo: Smallest value that may occur.
        hi: Largest one.
        step: Distance of neighbouring values: 1 for integers, 10^-d for d decimals, 2^-s for reals.

    Raises:
        UsageError: ``bad_encoding``: an empty range or a step that is not positive.
    """

    lo: Fraction
    hi: Fraction
    step: Fraction

    def __init__(self, lo: Number, hi: Number, step: Number = 1) -> None:
        try:
            bounds = [_named(x) for x in (lo, hi, step)]
        except (ValueError, OverflowError, TypeError) as error:
            raise UsageError("range and step of a column are finite numbers", code="bad_encoding") from error
        for name, value in zip(("lo", "hi", "step"), bounds, strict=True):
            object.__setattr__(self, name, value)
        if self.step <= 0 or self.lowest > self.highest:
            raise UsageError("a column has a positive step and a range with a value in it", code="bad_encoding")

    @property
    def lowest(self) -> int:
        """Smallest integer in the range."""
        return math.ceil(self.lo / self.step)

    @property
    def highest(self) -> int:
        """Largest integer in the range."""
        return math.floor(self.hi / self.step)

    def encode(self, values: Iterable[Any]) -> list[int]:
        """The nearest integers, ties to even.

        Args:
            values: Integers, floats, Fractions or Decimals; a numpy array of integers or floats is fastest.

        Raises:
            UsageError: ``not_finite`` or ``range_exceeded``; the text names the position, never the value.
        """
        array = values if isinstance(values, np.ndarray) else None
        if array is not None and array.ndim != 1:
            raise UsageError("values of a column have one dimension", code="bad_encoding")
        if array is not None and array.dtype.kind in "iu" and self.step == 1:
            integers: list[int] = array.tolist()
        elif array is not None and array.dtype.kind == "f":
            integers = self._floats(array.astype(np.float64))
        else:
            integers = [self._one(value, i) for i, value in enumerate(values)]
        self._check(integers)
        return integers

    def decode(self, integers: Sequence[int]) -> list[Fraction]:
        """The values of integers."""
        return [integer * self.step for integer in integers]

    def _floats(self, values: Any) -> list[int]:
        finite = np.isfinite(values)
        if not finite.all():
            raise self._not_finite(int(np.argmin(finite)))
        rate = 1 / self.step
        if rate.denominator > 1 or rate.numerator > _EXACT:
            return [self._one(value, i) for i, value in enumerate(values.tolist())]
        with np.errstate(over="ignore"):
            scaled = values * float(rate.numerator)
        if rate.numerator & (rate.numerator - 1) == 0:
            unsure = np.abs(scaled) >= 2.0**62  # the product is exact
        else:
            # The product is off by at most 2^-53 of itself: near a tie the exact way decides.
            distance = np.abs(np.abs(scaled - np.floor(scaled)) - 0.5)
            unsure = (np.abs(scaled) >= 2.0**50) | (distance <= np.abs(scaled) * 2.0**-51)
        integers: list[int] = np.rint(np.where(unsure, 0, scaled)).astype(np.int64).tolist()
        for i in np.flatnonzero(unsure).tolist():
            integers[i] = self._one(float(values[i]), i)
        return integers

    def _one(self, value: Any, position: int) -> int:
        if isinstance(value, bool | np.bool_):
            value = int(value)
        if isinstance(value, np.generic):
            value = value.item()
        try:
            return round(Fraction(value) / self.step)
        except (ValueError, OverflowError, TypeError) as error:
            raise self._not_finite(position) from error

    def _check(self, integers: list[int]) -> None:
        if integers and not self.lowest <= min(integers) <= max(integers) <= self.highest:
            bad = next(i for i, v in enumerate(integers) if not self.lowest <= v <= self.highest)
            raise UsageError(
                f"the value at position {bad} lies outside of the declared range; nothing was encrypted",
                code="range_exceeded",
                remedy="declare a wider range, or leave the row out",
            )

    @staticmethod
    def _not_finite(position: int) -> UsageError:
        return UsageError(
            f"the value at position {position} is no finite number; nothing was encrypted",
            code="not_finite",
            remedy="leave the row out, or say what it counts as",
        )
