"""Two small random tables of two parties, with duplicates, NULLs and unmatched keys, and their catalogue entries."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import duckdb
import numpy as np

from privcompute.tables.catalogue import DatasetEntry
from privcompute.tables.schema import Column, Kind

ALL = frozenset({"aggregate", "group", "filter", "product"})
REGIONS = ("north", "south", "east", "it's")

Row = dict[str, Any]


def column(
    name: str,
    kind: Kind,
    sql_type: str,
    low: str | None = None,
    high: str | None = None,
    *,
    scale: int | None = None,
    nullable: bool = True,
) -> Column:
    """A column with a declared range."""
    ends = (None if low is None else Fraction(low), None if high is None else Fraction(high))
    return Column(name, kind, sql_type, scale, *ends, "declared", nullable)


SIDE_COLUMNS = (
    column("n", Kind.INTEGER, "INTEGER", "-50", "50"),
    column("big", Kind.INTEGER, "BIGINT", "-3000000000", "3000000000"),
    column("d", Kind.DECIMAL, "DECIMAL(9,2)", "-1000", "1000", scale=2, nullable=False),
    column("f", Kind.REAL, "DOUBLE", "-8", "120"),
    column("g", Kind.REAL, "DOUBLE", "0", "100", scale=1),
    column("p", Kind.REAL, "DOUBLE", "1", "9", nullable=False),
    column("flag", Kind.BOOLEAN, "BOOLEAN"),
    column("region", Kind.TEXT, "VARCHAR"),
    column("day", Kind.DATE, "DATE"),
)


@dataclass(frozen=True)
class World:
    """The two tables, openly.

    Attributes:
        entries: By "party.dataset".
        rows: Per side, the rows.
        connection: A DuckDB with both tables as hospital.patients and insurer.members.
    """

    entries: dict[str, DatasetEntry]
    rows: tuple[list[Row], list[Row]]
    connection: duckdb.DuckDBPyConnection

    def joined(self) -> list[tuple[Row, Row]]:
        """All joined rows, with SQL's multiplicity."""
        keys = ("k1", "k2")
        return [
            (a, b) for a in self.rows[0] for b in self.rows[1] if all(a[k] is not None and a[k] == b[k] for k in keys)
        ]


def world(seed: int, rows: int = 40, cap: int = 3, minimum: int = 1) -> World:
    """A world; with cap = 1 every key has one row."""
    rng = np.random.default_rng(seed)
    tables = []
    for _ in range(2):
        table: list[Row] = []
        keys = rng.permutation(rows + rows // 4)[:rows]
        for key in keys:
            copies = int(rng.integers(1, cap + 1))
            table += [random_row(rng, int(key)) for _ in range(copies)]
        if cap > 1:
            table.append({**random_row(rng, 0), "k1": None})
        tables.append(table)
    connection = duckdb.connect()
    names = (("hospital", "patients"), ("insurer", "members"))
    types = ", ".join(["k1 VARCHAR", "k2 INTEGER", *(f"{c.name} {c.type}" for c in SIDE_COLUMNS)])
    entries = {}
    for (party, dataset), table in zip(names, tables, strict=True):
        connection.execute(f"CREATE SCHEMA {party}")
        connection.execute(f"CREATE TABLE {party}.{dataset} ({types})")
        marks = ", ".join("?" for _ in table[0])
        connection.executemany(f"INSERT INTO {party}.{dataset} VALUES ({marks})", [list(r.values()) for r in table])
        distinct = len({(r["k1"], r["k2"]) for r in table if r["k1"] is not None})
        entries[f"{party}.{dataset}"] = DatasetEntry(
            party,
            dataset,
            ("a" if party == "hospital" else "b") * 64,
            ("k1", "k2"),
            ("VARCHAR", "BIGINT"),
            distinct,
            cap,
            (column("k1", Kind.TEXT, "VARCHAR"), column("k2", Kind.INTEGER, "INTEGER"), *SIDE_COLUMNS),
            {c.name: ALL for c in SIDE_COLUMNS},
            "matches",
            minimum,
            "auto",
        )
    return World(entries, (tables[0], tables[1]), connection)


def random_row(rng: np.random.Generator, key: int) -> Row:
    """One row of the keys and of all columns, some of them NULL."""

    def maybe(value: object) -> Any:
        return None if rng.random() < 0.15 else value

    return {
        "k1": f"0{key // 3}",
        "k2": key % 3,
        "n": maybe(int(rng.integers(-50, 51))),
        "big": maybe(int(rng.integers(-3_000_000_000, 3_000_000_001))),
        "d": _decimal(int(rng.integers(-100_000, 100_001))),
        "f": maybe(float(rng.uniform(-8, 120))),
        "g": maybe(int(rng.integers(0, 1001)) / 10),
        "p": float(rng.uniform(1, 9)),
        "flag": maybe(bool(rng.integers(0, 2))),
        "region": maybe(REGIONS[int(rng.integers(0, len(REGIONS)))]),
        "day": maybe(f"20{int(rng.integers(10, 24))}-0{int(rng.integers(1, 10))}-1{int(rng.integers(0, 10))}"),
    }


def _decimal(hundredths: int) -> str:
    sign = "-" if hundredths < 0 else ""
    return f"{sign}{abs(hundredths) // 100}.{abs(hundredths) % 100:02d}"
