"""Numbers to integers and back, against exact fractions; what is refused."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from privcompute.errors import UsageError
from privcompute.he.paillier import FixedPoint, Values

FLOATS = st.floats(-1e6, 1e6)


@given(st.lists(FLOATS, max_size=20), st.sampled_from([Fraction(1, 2**20), Fraction(1, 100), Fraction(1), Fraction(3)]))
@example([0.285, 1.005, 2.675, 0.5, 1.5, -0.5, 8.875], Fraction(1, 100))
def test_floats_round_to_the_nearest_step(values: list[float], step: Fraction) -> None:
    encoding = FixedPoint(-(10**6), 10**6, step)
    found = encoding.encode(np.array(values, np.float64))
    assert found == [round(Fraction(v) / step) for v in values]
    assert found == encoding.encode(values)


@given(st.integers(1, 10**9), st.integers(2, 6))
def test_ties_of_decimals_are_decided_exactly(whole: int, digits: int) -> None:
    """Doubles beside a tie of the decimal grid: the product with 10^d lands on it or not, the answer does not care."""
    tie = float(Fraction(2 * whole + 1, 2 * 10**digits))
    values = [math.nextafter(tie, 0), tie, math.nextafter(tie, math.inf)]
    encoding = FixedPoint(0, 10**10, Fraction(1, 10**digits))
    assert encoding.encode(np.array(values)) == [round(Fraction(v) * 10**digits) for v in values]


@given(st.integers(-(10**30), 10**30))
def test_wide_integers(value: int) -> None:
    encoding = FixedPoint(-(10**30), 10**30)
    assert encoding.encode([value]) == [value]
    assert encoding.decode([value]) == [value]


def test_other_kinds_of_numbers() -> None:
    encoding = FixedPoint(-5, 5, Decimal("0.25"))
    values: list[Any] = [1, True, 0.5, Fraction(1, 4), Decimal("-0.75"), np.float32(1.5), np.int16(-2), np.bool_(True)]
    assert encoding.encode(values) == [4, 4, 2, 1, -3, 6, -8, 4]
    assert FixedPoint(0, 300).encode(np.array([0, 300], np.uint16)) == [0, 300]
    assert FixedPoint(0, 300, 2).encode(np.array([0, 300], np.uint16)) == [0, 150]
    assert FixedPoint(0, 1e308, 2.0**-1074).encode(np.array([5e-324])) == [1]
    assert FixedPoint(0, 1e308).encode(np.array([1e300])) == [int(1e300)]
    assert FixedPoint(0, 2**60, Fraction(1, 2**30)).encode(np.array([2.0**59])) == [2**89]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "1", None, Decimal("NaN"), Decimal("Infinity"), 1j])
def test_what_is_no_number(value: Any) -> None:
    with pytest.raises(UsageError, match="position 1") as caught:
        FixedPoint(-5, 5, 0.5).encode([0, value] if not isinstance(value, str) else [0, "x"])
    assert caught.value.code == "not_finite"


def test_arrays_that_are_not_finite_or_flat() -> None:
    encoding = FixedPoint(-5, 5, 0.5)
    for bad in (math.nan, math.inf):
        with pytest.raises(UsageError, match="position 2") as caught:
            encoding.encode(np.array([1, 2, bad, 1]))
        assert caught.value.code == "not_finite"
    with pytest.raises(UsageError):
        encoding.encode(np.zeros((2, 2)))


@pytest.mark.parametrize("value", [5.26, -5.26, 1e300, 10**40])
def test_bounds(value: Any) -> None:
    encoding = FixedPoint(-5, 5, 0.5)
    with pytest.raises(UsageError, match="position 3") as caught:
        encoding.encode([5, -5, 5.25, value])
    assert caught.value.code == "range_exceeded"
    assert str(value) not in caught.value.message


def test_bounds_lie_inside_of_the_range() -> None:
    encoding = FixedPoint(Fraction(-1, 3), Fraction(10, 3), Fraction(1, 2))
    assert (encoding.lowest, encoding.highest) == (0, 6)


def test_floats_name_decimals() -> None:
    encoding = FixedPoint(0.1, np.float64(2.7), 0.01)
    assert (encoding.lo, encoding.hi, encoding.step) == (Fraction(1, 10), Fraction(27, 10), Fraction(1, 100))
    assert encoding.encode([0.1, 2.7]) == encoding.encode(np.array([0.1, 2.7])) == [10, 270]
    assert FixedPoint(0, 1, 2.0**-60).step == Fraction(1, 2**60)
    assert FixedPoint(-0.75, 1e20).lo == Fraction(-3, 4)


@pytest.mark.parametrize(
    "arguments", [(1, 0), (0, 1, 0), (0, 1, -1), (0.1, 0.2, 1), (math.nan, 1), (0, math.inf), (0, 1, math.nan)]
)
def test_encodings_that_are_none(arguments: Any) -> None:
    with pytest.raises(UsageError) as caught:
        FixedPoint(*arguments)
    assert caught.value.code == "bad_encoding"


def test_values() -> None:
    values = Values((1, -2, 3), Fraction(1, 4))
    assert list(values) == [Fraction(1, 4), Fraction(-1, 2), Fraction(3, 4)]
    assert values.sum() == Fraction(1, 2)
    assert values.floats().tolist() == [0.25, -0.5, 0.75]
    assert len(values) == 3
    assert "-2" not in repr(values)
    assert Values((10**40,), Fraction(1, 3)).floats().tolist() == [float(Fraction(10**40, 3))]
