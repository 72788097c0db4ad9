"""The same forty rows in a source of each of the five kinds."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from support import postgres

KINDS = ("csv", "parquet", "duckdb", "sqlite", "postgresql")

COLUMNS = ("id", "n", "x", "m", "b", "d", "t", "w")
_TYPES = {
    "id": "VARCHAR",
    "n": "BIGINT",
    "x": "DOUBLE",
    "m": "DECIMAL(10,2)",
    "b": "BOOLEAN",
    "d": "DATE",
    "t": "TIMESTAMP",
    "w": "VARCHAR",
}


def rows() -> list[tuple[Any, ...]]:
    """Forty rows: leading zeros, duplicates, NULL keys, NULLs everywhere, both signs."""
    result: list[tuple[Any, ...]] = []
    for i in range(40):
        result.append(
            (
                None if i % 13 == 12 else f"{i % 31:05d}",
                None if i % 7 == 6 else (i - 20) * 10**15 + i,
                None if i % 5 == 4 else (i - 17) / 8,
                None if i % 6 == 5 else Decimal(i * 37 - 500).scaleb(-2),
                None if i % 4 == 3 else i % 3 == 0,
                None if i % 9 == 8 else dt.date(2020, 1, 1) + dt.timedelta(days=37 * i),
                None if i % 8 == 7 else dt.datetime(2020, 1, 1, 23, 59) + dt.timedelta(hours=11 * i),
                None if i % 10 == 9 else ("Ärzte, 'x'", "0012", "b", "a\\b")[i % 4],
            )
        )
    return result


def keyed_rows() -> list[tuple[Any, ...]]:
    """The rows whose key is not NULL: what a union admits."""
    return [row for row in rows() if row[0] is not None]


def duck(of: Sequence[tuple[Any, ...]] | None = None) -> duckdb.DuckDBPyConnection:
    """DuckDB with the rows (or others) as table `same`: what every source must agree with."""
    connection = duckdb.connect()
    connection.execute(f"CREATE TABLE same ({', '.join(f'{name} {_TYPES[name]}' for name in COLUMNS)})")
    connection.executemany(f"INSERT INTO same VALUES ({', '.join('?' * len(COLUMNS))})", of or rows())
    return connection


def write(kind: str, directory: Path, of: Sequence[tuple[Any, ...]] | None = None) -> str:
    """Write the rows (or others) as a file of this kind and return its source text."""
    path = directory / f"same.{kind}"
    if kind == "sqlite":
        lite = sqlite3.connect(path)
        lite.execute(f"CREATE TABLE same ({', '.join(f'{name} {_TYPES[name]}' for name in COLUMNS)})")
        places = ", ".join("?" * len(COLUMNS))
        lite.executemany(
            f"INSERT INTO same VALUES ({places})", [[_lite(value) for value in row] for row in of or rows()]
        )
        lite.commit()
        lite.close()
        return f"{path}?table=same"
    with duck(of) as connection:
        if kind == "duckdb":
            connection.execute(f"ATTACH '{path}' AS there")
            connection.execute("CREATE TABLE there.same AS FROM same")
            return f"{path}?table=same"
        connection.execute(f"COPY same TO '{path}' ({'HEADER' if kind == 'csv' else 'FORMAT parquet'})")
    return str(path)


def _lite(value: object) -> object:
    """As SQLite keeps it: money as REAL, dates as text."""
    if isinstance(value, Decimal):
        return float(value)
    return str(value) if isinstance(value, dt.date) else value


def fill_postgres(running: postgres.Server, table: str = "same", of: Sequence[tuple[Any, ...]] | None = None) -> None:
    """Create the same table in PostgreSQL."""
    from adbc_driver_postgresql import dbapi

    words = {"DOUBLE": "double precision", "VARCHAR": "text"}
    with dbapi.connect(running.admin, autocommit=True) as connection, connection.cursor() as cursor, duck(of) as oracle:
        declared = ", ".join(f"{name} {words.get(_TYPES[name], _TYPES[name])}" for name in COLUMNS)
        cursor.execute(f"DROP TABLE IF EXISTS {table}")  # another suite of this worker may have made it
        cursor.execute(f"CREATE TABLE {table} ({declared})")
        literals = ", ".join(f"CAST({name} AS VARCHAR)" for name in COLUMNS)
        for row in oracle.execute(f"SELECT {literals} FROM same").fetchall():
            values = ", ".join("NULL" if v is None else "'" + v.replace("'", "''") + "'" for v in row)
            cursor.execute(f"INSERT INTO {table} VALUES ({values})")
