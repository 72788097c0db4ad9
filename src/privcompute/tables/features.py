"""What one side computes from its rows before anything is sent: one exact integer per key and feature."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Literal, get_args

from privcompute.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

Encoding = Literal["indicator", "integer", "decimal", "real"]
"""How a row's value becomes an integer: 0 or 1, the integer itself, times 10^d, or rounded to 2^-s."""

WIDE = 1 << 62
"""From this bound per key on, a feature travels as two 64-bit limbs instead of one int64."""

LIMIT = 1 << 127
"""Bounds per key stay below this: HUGEINT and two limbs both hold it."""

_MAX_DIGITS = 38
_MAX_SHIFT = 1022


def _power_of(value: int, base: int) -> int | None:
    """The exponent e with base^e = value, None if there is none."""
    exponent = 0
    while value > 1:
        value, rest = divmod(value, base)
        if rest:
            return None
        exponent += 1
    return exponent if value == 1 else None


@dataclass(frozen=True)
class Feature:
    """A per-row factor of one side.

    Attributes:
        sql: DuckDB expression over the side's own columns that gives the value; NULL counts as 0.
            For `indicator` it is a boolean, or an integer that is 0 or 1.
        where: DuckDB boolean expression, the selection: WHERE of this side and CASE conditions.
            A row for which it is false or NULL contributes 0.
        encoding: how the value becomes an integer.
        step: value = encoded integer * step; 1 for indicator and integer, 10^-d for decimal, 2^-s for real.
        bound: largest |encoded| of one row (public).
        contributors: True: per key 1 if a selected row has a non-zero encoded value, else 0.
            False: per key the sum over the selected rows.
    """

    sql: str
    where: str
    encoding: Encoding
    step: Fraction
    bound: int
    contributors: bool = False

    def __post_init__(self) -> None:
        """Check the fields against each other.

        Raises:
            UsageError: `bad_feature`.
        """
        if self.encoding not in get_args(Encoding):
            raise UsageError("a feature has an unknown encoding", code="bad_feature")
        if type(self.bound) is not int or not 0 <= self.bound < LIMIT:
            raise UsageError(
                "a feature's values do not fit 127 bits", code="bad_feature", remedy="narrow the public ranges"
            )
        if self.encoding == "indicator" and self.bound > 1:
            raise UsageError("an indicator's bound is at most 1", code="bad_feature")
        if type(self.step) is not Fraction or self.exponent is None:
            raise UsageError("a feature's step does not fit its encoding", code="bad_feature")

    @property
    def exponent(self) -> int | None:
        """d of step 10^-d, s of step 2^-s (negative for a step above 1), 0 without a step; None: no such step."""
        up, down = self.step.numerator, self.step.denominator
        if self.encoding == "decimal":
            digits = _power_of(down, 10) if up == 1 else None
            return digits if digits is not None and digits <= _MAX_DIGITS else None
        if self.encoding == "real":
            # In lowest terms a power of two has numerator or denominator 1, so the product is the power.
            shift = _power_of(up * down, 2) if up >= 1 and 1 in (up, down) else None
            if shift is None or shift > _MAX_SHIFT:
                return None
            return shift if up == 1 else -shift
        return 0 if self.step == 1 else None

    def per_key(self, rows_per_key: int) -> int:
        """The public bound on |result| for one key with at most `rows_per_key` rows."""
        return min(self.bound, 1) if self.contributors else self.bound * rows_per_key

    def wide(self, rows_per_key: int) -> bool:
        """Whether the result travels as two limbs: a function of public figures only, never of the data."""
        return self.per_key(rows_per_key) >= WIDE


@dataclass(frozen=True)
class Level:
    """An expression of one side whose value may pick rows as a filter does; looked at by the ledger alone.

    Attributes:
        sql: DuckDB expression over the side's own columns, of any type.
        selection: which of the selections says which rows count.
        group: levels of one group are of one part of the query, as a value and the question whether it was cut off.
    """

    sql: str
    selection: int
    group: int


@dataclass(frozen=True, repr=False, eq=False)
class LevelValues:
    """The values that a level takes, hashed, over the distinct keys in canonical order.

    Attributes:
        low: uint64 array of shape (n,), the least hash of the key's selected rows; 0 for a key without any.
        high: likewise the greatest. NULL is a value like others.
        selected: bool array of shape (n,): which keys have a selected row.
    """

    low: npt.NDArray[np.uint64]
    high: npt.NDArray[np.uint64]
    selected: npt.NDArray[np.bool_]

    def __repr__(self) -> str:
        """The size only: the arrays are private."""
        return f"LevelValues(keys={len(self.low)})"


@dataclass(frozen=True, repr=False, eq=False)
class LocalFeatures:
    """One side's features over its whole distinct key set, whatever the filter selects.

    Attributes:
        keys: the distinct non-NULL keys, one row a key, in canonical order (DuckDB's binary order).
        columns: one array a feature: int64 of shape (n,), or uint64 of shape (n, 2) if `Feature.wide`:
            little-endian limbs of the two's complement 128-bit integer. Unit: the feature's step.
        selected: one bool array of shape (n,) a selection: whether any row of the key passes it.
        levels: one entry a level.
    """

    keys: pa.Table
    columns: tuple[npt.NDArray[np.int64] | npt.NDArray[np.uint64], ...]
    selected: tuple[npt.NDArray[np.bool_], ...] = field(default=())
    levels: tuple[LevelValues, ...] = field(default=())

    def __repr__(self) -> str:
        """Sizes only: the arrays are private."""
        return f"LocalFeatures(keys={self.keys.num_rows}, columns={len(self.columns)}, selected={len(self.selected)})"
