"""Small random tables of several holders, their catalogue entries, the pooled table, and a run in the open.

The run takes each holder's sums straight from DuckDB, adds them, and hands them to the plan: what a scheme of the
union does, without hiding anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import duckdb
import numpy as np

from privcompute.query.union import UnionPlan
from privcompute.tables.catalogue import DatasetEntry
from privcompute.tables.cells import Grouping, LocalCells
from privcompute.tables.features import Feature
from privcompute.tables.schema import Column
from privcompute.union.job import Totals
from support.query_tables import ALL, REGIONS, SIDE_COLUMNS, Row, random_row

COLUMNS = tuple(replace(c, domain=tuple(sorted(REGIONS))) if c.name == "region" else c for c in SIDE_COLUMNS)
KEY = replace(COLUMNS[0], name="id", type="BIGINT", lo=None, hi=None, nullable=False)
NAMES = ("ada", "bea", "cyd", "dot", "eve", "fay")
POOLED = "(SELECT * FROM pooled)"


@dataclass(frozen=True)
class UnionWorld:
    """The tables, openly.

    Attributes:
        entries: By "party.dataset".
        rows: By party.
        connection: A DuckDB with all rows as `pooled`; its column `holder` says whose a row is.
    """

    entries: dict[str, DatasetEntry]
    rows: dict[str, list[Row]]
    connection: duckdb.DuckDBPyConnection

    @property
    def parties(self) -> list[str]:
        """The holders."""
        return sorted(self.rows)

    def pooled(self) -> list[Row]:
        """All rows."""
        return [row for party in self.parties for row in self.rows[party]]


def union_world(
    seed: int,
    holders: int = 3,
    rows: int = 30,
    cap: int = 2,
    minimum: int = 1,
    min_holders: int = 1,
    **fixed: Sequence[Any],
) -> UnionWorld:
    """A world; `fixed` gives a column's values to draw from instead."""
    rng = np.random.default_rng(seed)
    tables: dict[str, list[Row]] = {}
    for party in NAMES[:holders]:
        table: list[Row] = []
        for key in range(rows):
            for _ in range(int(rng.integers(1, cap + 1))):
                row = random_row(rng, key)
                row.update({name: values[int(rng.integers(0, len(values)))] for name, values in fixed.items()})
                table.append({"id": key, **{c.name: row[c.name] for c in COLUMNS}})
        tables[party] = table
    return world_of(tables, cap, minimum, min_holders)


def world_of(
    tables: dict[str, list[Row]],
    cap: int = 1,
    minimum: int = 1,
    min_holders: int = 1,
    columns: tuple[Column, ...] = COLUMNS,
) -> UnionWorld:
    """A world with these rows; what a row does not name is NULL."""
    connection = duckdb.connect()
    types = ", ".join(["holder VARCHAR", "id BIGINT", *(f"{c.name} {c.type}" for c in columns)])
    connection.execute(f"CREATE TABLE pooled ({types})")
    names = ["id", *(c.name for c in columns)]
    entries = {}
    for n, (party, table) in enumerate(sorted(tables.items())):
        marks = ", ".join("?" for _ in range(len(names) + 1))
        values = [[party, *(row.get(name) for name in names)] for row in table]
        connection.executemany(f"INSERT INTO pooled VALUES ({marks})", values)
        entries[f"{party}.people"] = DatasetEntry(
            party=party,
            name="people",
            version=f"{n:x}" * 64,
            keys=("id",),
            key_types=("BIGINT",),
            distinct_keys=len({row["id"] for row in table}),
            rows_per_key=cap,
            columns=(KEY, *columns),
            allow={c.name: ALL for c in columns},
            reveal="nothing",
            min_cell=minimum,
            consent="auto",
            min_holders=min_holders,
        )
    return UnionWorld(entries, tables, connection)


def local_sums(world: UnionWorld, plan: UnionPlan) -> dict[str, LocalCells]:
    """Each holder's sums per cell, as the features' definition says."""
    cells = 1
    for grouping in plan.groupings:
        cells *= len(grouping.values)
    place = "0"
    for grouping in plan.groupings:
        place = f"(({place}) * {len(grouping.values)} + ({_place(grouping)}))"
    columns = "".join(f", {_summed(f)}" for f in plan.features)
    found = world.connection.execute(
        f"SELECT holder, {place} AS cell{columns} FROM pooled GROUP BY holder, cell"
    ).fetchall()
    sums = {party: [[0] * cells for _ in plan.features] for party in world.parties}
    for party, cell, *values in found:
        if cell is not None:
            for n, value in enumerate(values):
                sums[party][n][int(cell)] = int(value or 0)
    return {party: LocalCells(tuple(tuple(column) for column in table)) for party, table in sums.items()}


def _literal(value: object) -> str:
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)


def _place(grouping: Grouping) -> str:
    """The place of a row's value in the grouping; NULL if it has none."""
    kind = f"AS {grouping.type})"
    whens = " ".join(
        f"WHEN {grouping.sql} IS NULL THEN {n}"
        if value is None
        else f"WHEN CAST({grouping.sql} {kind} = CAST({_literal(value)} {kind} THEN {n}"
        for n, value in enumerate(grouping.values)
    )
    return f"CASE {whens} END"


def _summed(feature: Feature) -> str:
    value = f"CASE WHEN {feature.where} THEN {feature.sql} END"
    if feature.encoding == "real":
        value = f"round(({value}) / {float(feature.step)!r}::DOUBLE)"
    value = f"coalesce(CAST({value} AS HUGEINT), 0)"
    return f"count(DISTINCT CASE WHEN {value} <> 0 THEN id END)" if feature.contributors else f"sum({value})"


def run(world: UnionWorld, plan: UnionPlan, absent: Sequence[str] = ()) -> Totals:
    """What opens when all holders but the absent ones take part."""
    present = [m.party for m in plan.members if m.party not in absent]
    sums = local_sums(world, plan)
    parts = [plan.contribution(sums[party]) for party in present]
    half = 1 << (plan.shape.bits - 1)
    for own in parts:
        assert (len(own[0]), len(own[1])) == (plan.shape.counts, plan.shape.values)
        assert all(-half <= value < half for value in own[1])
    counts = tuple(sum(part[0][n] for part in parts) for n in range(plan.shape.counts))
    values = [sum(part[1][n] for part in parts) for n in range(plan.shape.values)]
    assert all(-half <= value < half for value in values)
    shown = plan.decide(counts)
    starts = plan.shape.starts
    opened = {unit: tuple(values[starts[unit] : starts[unit + 1]]) for unit in shown}
    return Totals(counts, shown, opened, tuple(present), dict.fromkeys(absent, "lost"))


def fractions(rows: Sequence[Row], name: str) -> list[Fraction]:
    """The values of a column that are not NULL, exactly."""
    return [Fraction(row[name]) for row in rows if row.get(name) is not None]
