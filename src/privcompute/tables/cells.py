"""What one holder of a union brings: exact integers per cell of the groups that the plan states."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

from privcompute.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

GroupType = Literal["VARCHAR", "BIGINT", "BOOLEAN", "DATE"]
"""Types of group values."""

MAX_CELLS = 1 << 20
"""Most cells of one query."""

GroupValue = str | int | bool | None


@dataclass(frozen=True)
class Grouping:
    """One expression of GROUP BY and the values that the plan states for it.

    Attributes:
        sql: DuckDB expression over own columns.
        type: what its values are: text, whole numbers of any width, booleans or dates.
        values: the values, distinct, None (the group of NULL) last if at all; a date as YYYY-MM-DD.
        closed: True: a row of the table with another value is an error, whatever the filter says.
            False: such a row belongs to no cell.
    """

    sql: str
    type: GroupType
    values: tuple[GroupValue, ...]
    closed: bool

    def __post_init__(self) -> None:
        """Check the values against the type.

        Raises:
            UsageError: `bad_grouping`.
        """
        whole = [value for value in self.values if value is not None]
        if self.type not in get_args(GroupType) or type(self.closed) is not bool:
            raise _bad("has an unknown type")
        if not self.values or len(set(self.values)) != len(self.values) or None in self.values[:-1]:
            raise _bad("has no values, a value twice, or NULL not at the end")
        if not all(_fits(value, self.type) for value in whole):
            raise _bad("has a value that is not of its type")


def _fits(value: GroupValue, kind: GroupType) -> bool:
    if kind == "DATE":
        return isinstance(value, str) and _is_date(value)
    return type(value) is {"VARCHAR": str, "BIGINT": int, "BOOLEAN": bool}[kind]


def _is_date(text: str) -> bool:
    try:
        return dt.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _bad(fault: str) -> UsageError:
    return UsageError(f"a grouping {fault}", code="bad_grouping")


def cell_count(groupings: Sequence[Grouping]) -> int:
    """The number of cells: the product of the numbers of values; 1 without a grouping."""
    return math.prod(len(one.values) for one in groupings)


@dataclass(frozen=True, repr=False, eq=False)
class Partition:
    """Which own keys have a selected row in which cell; a key may be in several.

    Attributes:
        keys: int64 array of shape (pairs,): indices into the table's distinct keys in canonical order.
        cells: int32 array of shape (pairs,). The pairs are distinct and sorted, by key first.
    """

    keys: npt.NDArray[np.int64]
    cells: npt.NDArray[np.int32]

    def __repr__(self) -> str:
        """Nothing of the content, not even its size: the number of selected keys is private."""
        return "Partition()"


@dataclass(frozen=True, repr=False, eq=False)
class LevelCells:
    """The values that a level takes in each cell, hashed, for the pairs of key and cell that have a selected row.

    Attributes:
        keys: int64 array of shape (pairs,), as in `Partition`.
        cells: int32 array of shape (pairs,), as in `Partition`.
        low: uint64 array of shape (pairs,): the least hash of the key's selected rows in the cell.
        high: likewise the greatest; equal to `low` where they have one value. NULL is a value like others.
    """

    keys: npt.NDArray[np.int64]
    cells: npt.NDArray[np.int32]
    low: npt.NDArray[np.uint64]
    high: npt.NDArray[np.uint64]

    def __repr__(self) -> str:
        """Nothing of the content."""
        return "LevelCells()"


@dataclass(frozen=True, repr=False, eq=False)
class LocalCells:
    """One holder's sums per cell. Cells are numbered row by row over the groupings' values, the last one fastest.

    Attributes:
        sums: for each feature one integer a cell. Unit: the feature's step; for a feature of `contributors`, keys.
        partitions: one a selection.
        distinct_keys: the number of distinct keys in the table, whatever the filter says.
        levels: one entry a level.
    """

    sums: tuple[tuple[int, ...], ...]
    partitions: tuple[Partition, ...] = field(default=())
    distinct_keys: int = 0
    levels: tuple[LevelCells, ...] = field(default=())

    def __repr__(self) -> str:
        """Sizes only: the sums are private."""
        cells = len(self.sums[0]) if self.sums else 0
        return f"LocalCells(features={len(self.sums)}, cells={cells}, partitions={len(self.partitions)})"
