"""A plan run in the open: features straight from DuckDB, sums by a trusted party."""

from __future__ import annotations

import duckdb

from privcompute.query import Plan, ideal
from privcompute.query.plan import Side
from privcompute.tables.features import Feature


def encoded(feature: Feature) -> str:
    """The feature's encoded value of one row, as its definition says."""
    value = f"CASE WHEN {feature.where} THEN {feature.sql} END"
    if feature.encoding == "real":
        value = f"round(({value}) / {float(feature.step)!r}::DOUBLE)"
    value = f"coalesce(CAST({value} AS HUGEINT), 0)"
    return f"max(CASE WHEN {value} <> 0 THEN 1 ELSE 0 END)" if feature.contributors else f"sum({value})"


def holding(connection: duckdb.DuckDBPyConnection, side: Side) -> ideal.Holding:
    """One side's distinct keys and per-key features."""
    keys = ", ".join(side.keys)
    columns = "".join(f", {encoded(f)}" for f in side.features)
    known = " AND ".join(f"{k} IS NOT NULL" for k in side.keys)
    sql = f"SELECT {keys}{columns} FROM {side.party}.{side.dataset} WHERE {known} GROUP BY {keys}"
    rows = connection.execute(sql).fetchall()
    width = len(side.keys)
    return ideal.Holding(
        [row[:width] for row in rows], [[int(row[width + n]) for row in rows] for n in range(len(side.features))]
    )


def run(connection: duckdb.DuckDBPyConnection, plan: Plan) -> ideal.Transcript:
    """What the plan opens on the connection's tables."""
    return ideal.run(plan, (holding(connection, plan.sides[0]), holding(connection, plan.sides[1])))
