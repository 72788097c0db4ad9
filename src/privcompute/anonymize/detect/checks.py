"""Kernels: check characters and dates of numbers that stand as ASCII bytes in a buffer.

The plain rules of identifiers/ again, compiled; a test holds the two against each other.
"""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from privcompute.kernels.compiled import kernel

Whole: TypeAlias = Any
"""What numba takes for a 64-bit integer: of Python or of numpy, which mypy tells apart."""

Truth: TypeAlias = Any
"""A truth value of either."""

Triple: TypeAlias = tuple[Whole, Whole, Whole]
"""Kind, confidence in percent, reasons."""

Bytes = npt.NDArray[np.uint8]
Small = npt.NDArray[np.int8]


@kernel
def number(signs: Bytes, start: Whole, end: Whole) -> Whole:
    """The value of decimal digits."""
    value: Whole = 0
    for i in range(start, end):
        value = value * 10 + (np.int64(signs[i]) - 48)
    return value


@kernel
def day_exists(year: Whole, month: Whole, day: Whole) -> Truth:
    """Whether the Gregorian calendar has that day."""
    if month < 1 or month > 12 or day < 1:
        return False
    if month == 2:
        leap = (year % 4 == 0 and year % 100 != 0) or year % 400 == 0
        return day <= (29 if leap else 28)
    return day <= (30 if month in (4, 6, 9, 11) else 31)


@kernel
def id_holds(signs: Bytes) -> Truth:
    """Whether the 18th sign is the check sign of the 17 digits before it (weights 2^(17-i) mod 11)."""
    total: Whole = 0
    for i in range(17):
        total += (np.int64(signs[i]) - 48) * ((1 << (17 - i)) % 11)
    rest = (12 - total % 11) % 11
    return signs[17] == (88 if rest == 10 else 48 + rest)


@kernel
def luhn_holds(signs: Bytes, length: Whole) -> Truth:
    """Whether the last digit makes Luhn's sum end in 0."""
    total: Whole = 0
    for i in range(length):
        digit = np.int64(signs[length - 1 - i]) - 48
        if i % 2 == 1:
            digit = digit * 2 - (9 if digit > 4 else 0)
        total += digit
    return total % 10 == 0


@kernel
def uscc_holds(signs: Bytes, alphabet: Small) -> Truth:
    """Whether 18 signs are of the alphabet of 31 and the last one is the check sign of the others."""
    total: Whole = 0
    weight = 1
    for i in range(17):
        value = np.int64(alphabet[signs[i]])
        if value < 0:
            return False
        total += value * weight
        weight = weight * 3 % 31
    return np.int64(alphabet[signs[17]]) == (31 - total % 31) % 31


@kernel
def letter_value(sign: Whole) -> Whole:
    """0 to 35 for 0-9A-Z."""
    return sign - 48 if sign < 58 else sign - 55


@kernel
def organisation_holds(signs: Bytes, start: Whole) -> Truth:
    """Whether the ninth sign from `start` is the check sign of the eight before it (weights 3 7 9 10 5 8 4 2)."""
    weights = (3, 7, 9, 10, 5, 8, 4, 2)
    total: Whole = 0
    for i in range(8):
        total += letter_value(np.int64(signs[start + i])) * weights[i]
    rest = 11 - total % 11
    return signs[start + 8] == (88 if rest == 10 else 48 + (0 if rest == 11 else rest))


@kernel
def iban_holds(signs: Bytes, length: Whole) -> Truth:
    """Whether the signs leave 1 modulo 97, the first four moved to the end."""
    rest = 0
    for i in range(length):
        value = letter_value(np.int64(signs[(i + 4) % length]))
        rest = (rest * (100 if value > 9 else 10) + value) % 97
    return rest == 1
