"""One pass of DuckDB from rows to exact integers per key.

The pass computes, for every key of the table whatever the filter says, the sum of each feature over the key's
selected rows; and beside it, over *all* rows, whether a column leaves its public range, a feature its bound, a key
its rows. These checks look at neither filter nor peer, so an abort tells nothing about either. Everything is
integers from the first step: DECIMALs by their unscaled digits, reals rounded once to the public step.
"""

# ruff: noqa: S608 - SQL is built here from quoted identifiers, our own literals and checked expressions

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from privcompute.errors import UsageError
from privcompute.tables.checks import limbs
from privcompute.tables.engine import Limits, identifier, named_errors, streamed
from privcompute.tables.expressions import wrapped
from privcompute.tables.features import LIMIT, Feature, Level, LevelValues, LocalFeatures
from privcompute.tables.keys import key_types
from privcompute.tables.memory import give_back
from privcompute.tables.rows import Rows, check_rows_per_key
from privcompute.tables.schema import Column
from privcompute.tables.source import BATCH_ROWS

if TYPE_CHECKING:
    import duckdb
    import numpy.typing as npt

    from privcompute.tables.source import Source

_WHAT = "a feature or filter"


def local_features(
    source: Source,
    keys: Sequence[str],
    features: Sequence[Feature],
    selections: Sequence[str] = (),
    levels: Sequence[Level] = (),
    *,
    columns: Sequence[Column],
    rows_per_key: int,
    limits: Limits | None = None,
) -> LocalFeatures:
    """Sum features per key, in one pass over the table.

    Args:
        source: the table.
        keys: its key columns, in order.
        features: what to sum.
        selections: DuckDB boolean expressions; for each, which keys have a row that passes it.
        levels: expressions whose values the ledger looks at, each under one of the selections.
        columns: the published columns; those that features or selections use are checked against their range,
            their digits and their promise of no NULL, over the whole table.
        rows_per_key: the public cap on rows per key, checked over the whole table.
        limits: what DuckDB may use.

    Returns:
        Keys, one array a feature, one a selection, the values of each level, all over the same keys in the same order.

    Raises:
        UsageError: `range_exceeded`, `not_decimal`, `null_found`, `rows_per_key_exceeded`, `too_wide`,
            `encoding_mismatch`, `bad_expression`, `arithmetic_overflow`, `division_by_zero`, `conversion_failed`,
            `no_such_column`, `bad_key_type`, `out_of_memory`, `unreadable`. None holds a value.
    """
    if any(feature.per_key(rows_per_key) >= LIMIT for feature in features):
        raise UsageError(
            "a sum per key could exceed 127 bits",
            code="too_wide",
            remedy="narrow the public ranges or the cap on rows per key",
        )
    types = key_types(source, keys)
    rows = Rows(source, features, selections, [level.sql for level in levels], columns)
    query = _Pass(rows, keys, types, features, selections, levels, rows_per_key)
    wanted = sorted(rows.used | {column.name for column in source.columns(keys)})
    give_back()  # what the last run left
    try:
        with source.scan(wanted, limits=limits) as scan, named_errors(_WHAT):
            return query.run(scan.connection, scan.table)
    finally:
        give_back()


def selected(source: Source, keys: Sequence[str], where: str, *, limits: Limits | None = None) -> npt.NDArray[np.bool_]:
    """Which of the table's distinct keys have a row that passes `where`, in the canonical order of keys.

    Returns:
        bool array of shape (number of distinct keys,).

    Raises:
        UsageError: as `local_features`.
    """
    most = (1 << 62) - 1
    return local_features(source, keys, (), (where,), columns=(), rows_per_key=most, limits=limits).selected[0]


class _Pass:
    """The query of one pass, and the reading of its result."""

    def __init__(
        self,
        rows: Rows,
        keys: Sequence[str],
        types: Sequence[str],
        features: Sequence[Feature],
        selections: Sequence[str],
        levels: Sequence[Level],
        rows_per_key: int,
    ) -> None:
        self._rows = rows
        self._keys = keys
        self._types = types
        self._features = features
        self._selections = selections
        self._levels = levels
        self._levels_of = {sql: f"l{place}" for place, sql in enumerate(dict.fromkeys(one.sql for one in levels))}
        self._rows_per_key = rows_per_key

    def run(self, connection: duckdb.DuckDBPyConnection, table: str) -> LocalFeatures:
        """Run the query over a view and read its result, checks first."""
        reader = connection.sql(self._query(table)).to_arrow_reader(BATCH_ROWS)
        found = []
        flags = 0
        most = 0
        for batch in streamed(reader, _WHAT):
            flags |= self._rows.broken(batch)
            whole = batch.filter(batch.column("whole"))
            if whole.num_rows:
                most = max(most, int(whole.column("n").to_numpy(zero_copy_only=False).max()))
                found.append(whole)
        self._rows.judge(flags)
        check_rows_per_key(most, self._rows_per_key)
        return self._result(pa.Table.from_batches(found, reader.schema))

    def _query(self, table: str) -> str:
        names = [f"k{place}" for place in range(len(self._keys))]
        keys = [
            f"CAST({identifier(key)} AS {kind}) AS {name}"
            for key, kind, name in zip(self._keys, self._types, names, strict=True)
        ]
        hashes = [f"hash({wrapped(sql)}) AS {name}" for sql, name in self._levels_of.items()]
        rows = f"SELECT {', '.join([*keys, *self._rows.columns(), *hashes])} FROM {table}"
        sums = [self._sum(feature, place) for place, feature in enumerate(self._features)]
        chosen = [f"max({self._where(where)}) = 1 AS s{place}" for place, where in enumerate(self._selections)]
        reached = [text for place, level in enumerate(self._levels) for text in self._reached(level, place)]
        flags = [f"bit_or({name}) AS {name}" for name in self._rows.masks]
        whole = " AND ".join(f"{name} IS NOT NULL" for name in names)
        listed = ", ".join(names)
        inner = ", ".join([listed, "count(*) AS n", f"{whole} AS whole", *sums, *chosen, *reached, *flags])
        outer = ", ".join([listed, "n", "whole", *self._outputs(), *(f"s{p}" for p in range(len(chosen)))])
        outer += "".join(f", a{place}, z{place}" for place in range(len(self._levels)))
        outer += "".join(f", {name}" for name in self._rows.masks)
        return f"SELECT {outer} FROM (SELECT {inner} FROM ({rows}) GROUP BY {listed}) ORDER BY {listed}"

    def _where(self, where: str) -> str:
        return f"w{self._rows.where_of[where]}"

    def _sum(self, feature: Feature, place: int) -> str:
        value, where = f"v{self._rows.value_of[place]}", self._where(feature.where)
        if feature.contributors:
            return f"CAST(max(CASE WHEN {value} <> 0 THEN {where} ELSE 0 END) AS BIGINT) AS f{place}"
        return f"sum({value} * {where}) AS f{place}"

    def _reached(self, level: Level, place: int) -> list[str]:
        """The least and the greatest hash among a key's selected rows: equal where they have one value."""
        value, where = self._levels_of[level.sql], self._where(self._selections[level.selection])
        picked = f"CASE WHEN {where} = 1 THEN {value} END"
        return [f"coalesce({ends}({picked}), 0) AS {name}{place}" for ends, name in (("min", "a"), ("max", "z"))]

    def _outputs(self) -> list[str]:
        outputs = []
        for place, feature in enumerate(self._features):
            if feature.wide(self._rows_per_key):
                outputs += limbs(f"f{place}", f"f{place}", f"h{place}")
            else:
                # Too many rows a key could leave 64 bits; that is found below, by the count.
                outputs.append(f"coalesce(TRY_CAST(f{place} AS BIGINT), 0) AS f{place}")
        return outputs

    def _result(self, table: pa.Table) -> LocalFeatures:
        columns: list[npt.NDArray[np.int64] | npt.NDArray[np.uint64]] = []
        for place, feature in enumerate(self._features):
            low = table.column(f"f{place}").to_numpy()
            if feature.wide(self._rows_per_key):
                high = table.column(f"h{place}").to_numpy().view(np.uint64)
                columns.append(np.stack([low.astype(np.uint64, copy=False), high], axis=1))
            else:
                columns.append(low.astype(np.int64, copy=False))
        keys = table.select([f"k{place}" for place in range(len(self._keys))]).rename_columns(list(self._keys))
        chosen = tuple(table.column(f"s{place}").to_numpy().astype(np.bool_) for place in range(len(self._selections)))
        levels = tuple(
            LevelValues(
                table.column(f"a{place}").to_numpy().astype(np.uint64, copy=False),
                table.column(f"z{place}").to_numpy().astype(np.uint64, copy=False),
                chosen[level.selection],
            )
            for place, level in enumerate(self._levels)
        )
        return LocalFeatures(keys, tuple(columns), chosen, levels)
