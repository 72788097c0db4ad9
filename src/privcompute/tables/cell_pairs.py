"""Which distinct keys are in which cells: a query over the keys, cells and flags of all rows."""

# ruff: noqa: S608 - SQL is built here from names of our own

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from privcompute.tables.checks import MASK_BITS
from privcompute.tables.engine import streamed
from privcompute.tables.tally import MOST_ROWS

if TYPE_CHECKING:
    import duckdb
    import numpy.typing as npt

_WHAT = "counting the keys of each cell"


@dataclass(frozen=True, repr=False, eq=False)
class Pairs:
    """The distinct pairs of key and cell, sorted; cell -1 for rows that are in none.

    Attributes:
        keys: int64 (pairs,), index of the key in canonical order.
        rows: int64 (pairs,), number of rows.
        cells: int32 (pairs,).
        words: int64 (pairs,) each; bit i of word j: some row of the pair has flag 62 j + i.
        lows: uint64 (pairs,) each: the least hash of a level among the pair's rows, 0 if none counts for it.
        highs: likewise the greatest.
    """

    keys: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    cells: npt.NDArray[np.int32]
    words: tuple[npt.NDArray[np.int64], ...]
    lows: tuple[npt.NDArray[np.uint64], ...]
    highs: tuple[npt.NDArray[np.uint64], ...]

    def holds(self, flag: int) -> npt.NDArray[np.bool_]:
        """Which pairs have a flag."""
        word = self.words[flag // MASK_BITS]
        held: npt.NDArray[np.bool_] = (word >> np.int64(flag % MASK_BITS) & np.int64(1)) != 0
        return held


def pairs_of(
    connection: duckdb.DuckDBPyConnection, kept: Sequence[pa.RecordBatch], keys: Sequence[str], flags: int, levels: int
) -> Pairs:
    """Group rows by key and cell.

    Args:
        connection: any that has no table called `kept`.
        kept: batches of columns `keys`, without NULL, `cell`, f0, f1, … that hold the flags, and l0, l1, … that hold
            the hashes of the levels, NULL where a row does not count for it.
        keys: names of the key columns.
        flags: the number of flags.
        levels: the number of levels.
    """
    words = [f"f{place}" for place in range(-(-flags // MASK_BITS))]
    none = np.zeros(0, dtype=np.int64)
    empty = (none.astype(np.uint64),) * levels
    parts = [Pairs(none, none, none.astype(np.int32), (none,) * len(words), empty, empty)]
    lows, highs = [f"a{place}" for place in range(levels)], [f"z{place}" for place in range(levels)]
    if kept:
        connection.register("kept", pa.Table.from_batches(kept))
        listed = ", ".join([*keys, "cell"])
        found = [f"bit_or({name}) AS {name}" for name in words]
        found += [f"coalesce(min(l{place}), 0) AS a{place}" for place in range(levels)]
        found += [f"coalesce(max(l{place}), 0) AS z{place}" for place in range(levels)]
        more = "".join(f", {text}" for text in found)
        # The order of keys is the one that `local` gives, so that both count people alike.
        query = f"SELECT {listed}, count(*) AS n{more} FROM kept GROUP BY {listed} ORDER BY {listed}"
        last: pa.RecordBatch | None = None
        key = -1
        for batch in streamed(connection.sql(query).to_arrow_reader(MOST_ROWS), _WHAT):
            named = batch.select(list(keys))
            indices = key + np.cumsum(_begins(named, last))
            key, last = int(indices[-1]), named.slice(batch.num_rows - 1)
            rows, cells = batch.column("n").to_numpy(), batch.column("cell").to_numpy()
            each = [tuple(batch.column(name).to_numpy() for name in names) for names in (words, lows, highs)]
            parts.append(Pairs(indices, rows, cells, *each))
    return Pairs(
        np.concatenate([part.keys for part in parts]),
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.cells for part in parts]),
        tuple(np.concatenate(each) for each in zip(*(part.words for part in parts), strict=True)),
        tuple(np.concatenate(each) for each in zip(*(part.lows for part in parts), strict=True)),
        tuple(np.concatenate(each) for each in zip(*(part.highs for part in parts), strict=True)),
    )


def _begins(keys: pa.RecordBatch, last: pa.RecordBatch | None) -> npt.NDArray[np.bool_]:
    """Which rows of sorted keys begin a new key; `last` is the row before, if there is one."""
    begins = np.zeros(keys.num_rows, dtype=np.bool_)
    begins[0] = last is None
    for place in range(keys.num_columns):
        column = keys.column(place)
        changes: Any = cast(Any, pc).not_equal(column.slice(1), column.slice(0, len(column) - 1))
        begins[1:] |= changes.to_numpy(zero_copy_only=False)
        if last is not None:
            begins[0] |= not column[0].equals(last.column(place)[0])
    return begins
