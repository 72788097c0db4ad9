"""A whole query between parties of one process: tables, plan, features, run, result and DuckDB's answer."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from privcompute import query
from privcompute.psi import encode_keys
from privcompute.query.plan import Plan
from privcompute.query.run import Holding, Opened, run_plan
from privcompute.session import Session
from privcompute.tables.catalogue import USES, DatasetEntry
from privcompute.tables.local import local_features
from privcompute.tables.open import open_source
from privcompute.tables.schema import Column, Kind

SQL = """
SELECT COUNT(*) AS n, SUM(h.visits * i.cost) AS spent, AVG(h.visits) AS visits,
       SUM(CASE WHEN h.smoker THEN i.cost ELSE 0 END) AS smokers
FROM hospital.patients h JOIN insurer.members i ON h.id = i.id
WHERE i.active
"""
RANGE = 1000


def patients(count: int = 120) -> pa.Table:
    """People 0 … count-1, with a few duplicates and NULLs."""
    ids = [f"p{n}" for n in range(count)] + ["p3", "p4"]
    visits = [None if n % 11 == 5 else n * 7 % 23 for n in range(len(ids))]
    smoker = [None if n % 13 == 2 else n % 3 == 0 for n in range(len(ids))]
    return pa.table({"id": ids, "visits": pa.array(visits, pa.int32()), "smoker": pa.array(smoker, pa.bool_())})


def members(count: int = 120) -> pa.Table:
    """People 20 … count+19, with a few duplicates and NULLs."""
    ids = [f"p{n + 20}" for n in range(count)] + ["p30", None]
    cost = [None if n % 17 == 3 else n * 37 % 501 - 100 for n in range(len(ids))]
    return pa.table(
        {"id": ids, "cost": pa.array(cost, pa.int32()), "active": pa.array([n % 5 != 0 for n in range(len(ids))])}
    )


@dataclass(frozen=True)
class SmallQuery:
    """A query ready to run.

    Attributes:
        plan: What both parties derived.
        holdings: By party.
        digest: That the parties agree on.
        expected: DuckDB's rows over the pooled tables.
    """

    plan: Plan
    holdings: dict[str, Holding]
    digest: bytes
    expected: list[tuple[Any, ...]]

    async def program(self, s: Session) -> Opened:
        """One party's part, to be run by `privcompute.testing.simulate`."""

        async def commit() -> None:
            return None

        return await run_plan(s, self.plan, self.digest, self.holdings.get(s.me), commit=commit)

    def rows(self, opened: Opened) -> list[tuple[Any, ...]]:
        """The result a receiver derives from what opened."""
        return [tuple(row) for row in query.finish(self.plan, opened.values).rows]


def prepare(
    place: Path,
    *,
    sql: str = SQL,
    left: pa.Table | None = None,
    right: pa.Table | None = None,
    minimum: int = 10,
    receivers: tuple[str, ...] = ("insurer",),
) -> SmallQuery:
    """Writes the two tables below ``place``, plans the query for the insurer and computes the features."""
    tables = {"hospital.patients": patients() if left is None else left}
    tables["insurer.members"] = members() if right is None else right
    entries, files = {}, {}
    for name, table in tables.items():
        files[name] = place / f"{name}.parquet"
        pq.write_table(table, files[name])
        entries[name] = _entry(name, table, minimum)
    plan = query.plan(sql, entries, asker="insurer", receivers=receivers, reveal="matches")
    query.check_rules(plan, entries)
    holdings = {}
    for side in plan.sides:
        name = f"{side.party}.{side.dataset}"
        found = local_features(
            open_source(str(files[name])), side.keys, side.features, side.selections,
            columns=[c for c in entries[name].columns if c.name in side.columns],
            rows_per_key=side.rows_per_key,
        )  # fmt: skip
        holdings[side.party] = Holding(encode_keys(found.keys, side.key_types), found.columns)
    return SmallQuery(plan, holdings, bytes.fromhex(plan.digest()), oracle(sql, tables))


def oracle(sql: str, tables: dict[str, pa.Table]) -> list[tuple[Any, ...]]:
    """DuckDB's rows over tables named ``party.dataset``."""
    with duckdb.connect() as connection:
        for name, table in tables.items():
            party, _, dataset = name.partition(".")
            connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{party}"')
            connection.register("incoming", table)
            connection.execute(f'CREATE TABLE "{party}"."{dataset}" AS SELECT * FROM incoming')
            connection.unregister("incoming")
        return connection.execute(sql).fetchall()


def _entry(name: str, table: pa.Table, minimum: int) -> DatasetEntry:
    party, _, dataset = name.partition(".")
    kinds = {pa.int32(): Kind.INTEGER, pa.bool_(): Kind.BOOLEAN, pa.string(): Kind.TEXT}
    types = {Kind.INTEGER: "INTEGER", Kind.BOOLEAN: "BOOLEAN", Kind.TEXT: "VARCHAR"}
    columns = []
    for field in table.schema:
        kind = kinds[field.type]
        high = Fraction(RANGE) if kind is Kind.INTEGER else None
        low = None if high is None else -high
        columns.append(Column(field.name, kind, types[kind], None, low, high, "declared", True))
    counts = table.column("id").drop_null().value_counts()
    return DatasetEntry(
        party=party,
        name=dataset,
        version=hashlib.sha256(name.encode()).hexdigest(),
        keys=("id",),
        key_types=("VARCHAR",),
        distinct_keys=len(counts),
        rows_per_key=max(one["counts"].as_py() for one in counts),
        columns=tuple(columns),
        allow={c.name: USES for c in columns if c.name != "id"},
        reveal="matches",
        min_cell=minimum,
        consent="auto",
    )
