"""One pass of DuckDB from rows to exact integers per cell of a union's groups.

Like `local`, but nothing has to be matched with anybody's keys: DuckDB turns each row into integers and streams them,
and they are added per cell as they come. Of the rows only keys, cells and flags are kept; a second query, over these
alone, finds the distinct keys of each cell. So memory follows the number of rows, not the number of features.

The checks look at all rows, at neither filter nor group: an abort tells nothing about who is selected.
"""

# ruff: noqa: S608 - SQL is built here from quoted identifiers, our own literals and checked expressions

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from privcompute.errors import UsageError
from privcompute.tables.cell_groups import Group
from privcompute.tables.cell_pairs import Pairs, pairs_of
from privcompute.tables.cells import MAX_CELLS, Grouping, LevelCells, LocalCells, Partition, cell_count
from privcompute.tables.checks import MASK_BITS, Check, limbs
from privcompute.tables.engine import Limits, identifier, named_errors, streamed
from privcompute.tables.expressions import wrapped
from privcompute.tables.features import WIDE, Feature, Level
from privcompute.tables.keys import key_types
from privcompute.tables.memory import give_back
from privcompute.tables.rows import Rows, check_rows_per_key
from privcompute.tables.schema import Column
from privcompute.tables.tally import MOST_ROWS, Tally, count_by

if TYPE_CHECKING:
    import duckdb
    import numpy.typing as npt

    from privcompute.tables.source import Source

_WHAT = "a feature, filter or group"


def local_cells(
    source: Source,
    keys: Sequence[str],
    groupings: Sequence[Grouping],
    features: Sequence[Feature],
    selections: Sequence[str] = (),
    levels: Sequence[Level] = (),
    *,
    columns: Sequence[Column],
    rows_per_key: int,
    limits: Limits | None = None,
) -> LocalCells:
    """Sum features per cell, in one pass over the table.

    Args:
        source: the table.
        keys: its key columns, in order.
        groupings: what the rows are grouped by; none: one cell.
        features: what to sum over the selected rows of each cell; with `contributors`, the number of distinct keys that
            have a selected row in the cell whose encoded value is not 0.
        selections: DuckDB boolean expressions; for each, which keys have a row in which cell that passes it.
        levels: expressions whose values the ledger looks at, each under one of the selections.
        columns: the published columns; those that are used are checked against their range, their digits, their domain
            and their promise of no NULL, over the whole table.
        rows_per_key: the public cap on rows per key, checked over the whole table.
        limits: what DuckDB may use. Beside it a row takes the bytes of its key and 12 more, 8 more again for every 62
            selections and features of `contributors`, and 8 for every level.

    Raises:
        UsageError: as `local_features`, and `null_keys`, `outside_domain`, `too_many_cells`.
    """
    cells = cell_count(groupings)
    if cells > MAX_CELLS:
        raise UsageError(f"the groups make more than {MAX_CELLS} cells", code="too_many_cells")
    work = _Pass(source, keys, groupings, features, selections, levels, columns)
    give_back()  # what the last run left
    try:
        with source.scan(work.wanted, limits=limits) as scan, named_errors(_WHAT):
            for batch in streamed(scan.connection.sql(work.query(scan.table)).to_arrow_reader(MOST_ROWS), _WHAT):
                for start in range(0, batch.num_rows, MOST_ROWS):
                    work.take(batch.slice(start, MOST_ROWS))
            work.judge()
            return work.result(scan.connection, rows_per_key)
    finally:
        give_back()


class _Pass:
    """The query over the rows, what is gathered from its stream, and the result."""

    def __init__(
        self,
        source: Source,
        keys: Sequence[str],
        groupings: Sequence[Grouping],
        features: Sequence[Feature],
        selections: Sequence[str],
        levels: Sequence[Level],
        columns: Sequence[Column],
    ) -> None:
        types = key_types(source, keys)
        self._keys = [f"k{place}" for place in range(len(keys))]
        read = [one.sql for one in groupings] + [one.sql for one in levels]
        self._rows = Rows(source, features, selections, read, columns, [_no_null(keys)])
        self.wanted = sorted(self._rows.used | {column.name for column in source.columns(keys)})
        self._groups = [Group.of(source, one) for one in groupings]
        named = [
            f"CAST({identifier(key)} AS {kind}) AS {name}"
            for key, kind, name in zip(keys, types, self._keys, strict=True)
        ]
        named += [f"{group.sql} AS g{place}" for place, group in enumerate(self._groups)]
        named += [f"hash({wrapped(one.sql)}) AS l{place}" for place, one in enumerate(levels)]
        self._levels = levels
        self._select = [*named, *self._rows.columns()]
        self._cells = cell_count(groupings)
        pairs = [
            (value, self._rows.where_of[one.where]) for value, one in zip(self._rows.value_of, features, strict=True)
        ]
        # What is summed, and which conditions on (key, cell) are noted, each once; a condition is a filter, or a
        # filter and a value that is not 0.
        counted = [one.contributors for one in features]
        self._tallies = {
            pair: Tally(self._cells, self._rows.bounds[pair[0]])
            for pair, counts in zip(pairs, counted, strict=True)
            if not counts
        }
        chosen: list[tuple[int | None, int]] = [(None, self._rows.where_of[where]) for where in selections]
        reached = [pair for pair, counts in zip(pairs, counted, strict=True) if counts]
        self._flags = {flag: place for place, flag in enumerate(dict.fromkeys([*chosen, *reached]))}
        self._pairs = list(zip(pairs, counted, strict=True))
        self._chosen = chosen
        self._broken = 0
        self._outside = False
        self._kept: list[pa.RecordBatch] = []

    def query(self, table: str) -> str:
        """The query over a view of the source; its rows are the view's."""
        inner = f"SELECT {', '.join(self._select)} FROM {table}"
        outer = [*self._keys, *(f"g{place}" for place in range(len(self._groups)))]
        outer += [f"l{place}" for place in range(len(self._levels))]
        for place, bound in enumerate(self._rows.bounds):
            if bound < WIDE:
                outer.append(f"v{place}")
            else:
                outer += limbs(f"v{place}", f"v{place}", f"h{place}")
        outer += [f"w{place}" for place in range(len(self._rows.wheres))]
        return f"SELECT {', '.join([*outer, *self._rows.masks])} FROM ({inner})"

    def take(self, batch: pa.RecordBatch) -> None:
        """Add some rows to the sums, and keep their keys, cells and flags."""
        self._broken |= self._rows.broken(batch)
        cells: Any = np.zeros(batch.num_rows, dtype=np.int32)
        for place, group in enumerate(self._groups):
            found = group.index(batch.column(f"g{place}"))
            missing = found < 0
            self._outside |= group.closed and bool(missing.any())
            cells = np.where(missing | (cells < 0), np.int32(-1), cells * np.int32(group.size) + found)
        values = [_values(batch, place, bound) for place, bound in enumerate(self._rows.bounds)]
        picked = [(_numbers(batch, f"w{place}") != 0) & (cells >= 0) for place in range(len(self._rows.wheres))]
        for (value, where), tally in self._tallies.items():
            low, high = values[value]
            rows = picked[where]
            tally.add(cells[rows], low[rows], None if high is None else high[rows])
        words: list[Any] = [np.zeros(batch.num_rows, dtype=np.int64) for _ in range(0, len(self._flags), MASK_BITS)]
        for (noted, where), place in self._flags.items():
            holds = picked[where] if noted is None else picked[where] & _not_zero(*values[noted])
            words[place // MASK_BITS] |= holds.astype(np.int64) << np.int64(place % MASK_BITS)
        kept = [_copied(batch.column(name)) for name in self._keys] + [pa.array(one) for one in [cells, *words]]
        names = [*self._keys, "cell", *(f"f{place}" for place in range(len(words)))]
        for place, level in enumerate(self._levels):
            counts = picked[self._chosen[level.selection][1]]
            kept.append(pa.array(_numbers(batch, f"l{place}"), pa.uint64(), mask=~counts))
            names.append(f"l{place}")
        self._kept.append(pa.RecordBatch.from_arrays(kept, names))

    def judge(self) -> None:
        """Raise the error of the first broken promise."""
        self._rows.judge(self._broken)
        if self._outside:
            raise UsageError(
                "a group holds values outside its public domain",
                code="outside_domain",
                remedy="declare the missing values: dataset edit … --domain COL=V1,V2,…; or correct the rows",
            )

    def result(self, connection: duckdb.DuckDBPyConnection, rows_per_key: int) -> LocalCells:
        """Count keys per cell; hold the rows of each key to the cap."""
        kept, self._kept = self._kept, []
        found = pairs_of(connection, kept, self._keys, len(self._flags), len(self._levels))
        most = np.bincount(found.keys, found.rows).max(initial=0)
        check_rows_per_key(int(most), rows_per_key)
        contributors = {
            flag: count_by(found.cells[found.holds(place)], self._cells)
            for flag, place in self._flags.items()
            if flag[0] is not None
        }
        totals = {pair: tally.totals() for pair, tally in self._tallies.items()}
        partitions = []
        for flag in self._chosen:
            holds = found.holds(self._flags[flag])
            partitions.append(Partition(found.keys[holds], found.cells[holds]))
        sums = tuple(contributors[pair] if counts else totals[pair] for pair, counts in self._pairs)
        seen = tuple(self._level(found, place) for place in range(len(self._levels)))
        return LocalCells(sums, tuple(partitions), int(found.keys[-1]) + 1 if len(found.keys) else 0, seen)

    def _level(self, found: Pairs, place: int) -> LevelCells:
        holds = found.holds(self._flags[self._chosen[self._levels[place].selection]])
        return LevelCells(found.keys[holds], found.cells[holds], found.lows[place][holds], found.highs[place][holds])


def _no_null(keys: Sequence[str]) -> Check:
    return Check(
        " OR ".join(f"{identifier(key)} IS NULL" for key in keys),
        "null_keys",
        "some row has a NULL in its key: in a union every row is of somebody",
        "publish a view without these rows",
    )


def _copied(column: pa.Array[Any]) -> pa.Array[Any]:
    """The column in memory of its own: a part of DuckDB's batch would keep all of the batch, every feature, alive."""
    return pa.concat_arrays([column, column.slice(0, 0)])


def _numbers(batch: pa.RecordBatch, name: str) -> Any:
    return batch.column(name).to_numpy(zero_copy_only=False)


def _values(batch: pa.RecordBatch, place: int, bound: int) -> tuple[Any, Any]:
    """The lower limb, and the upper one if there is one."""
    return _numbers(batch, f"v{place}"), _numbers(batch, f"h{place}") if bound >= WIDE else None


def _not_zero(low: Any, high: Any) -> npt.NDArray[np.bool_]:
    nonzero: npt.NDArray[np.bool_] = low != 0 if high is None else (low != 0) | (high != 0)
    return nonzero
