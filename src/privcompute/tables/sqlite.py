"""A table or view of a SQLite file, through its ADBC driver.

SQLite types values, not columns. A column has the type it *declares*; a column that declares none (of a view, say)
has the type of its values if they agree. Every value is checked on its way: a column that declares INTEGER and
holds 1.5 or 'x' somewhere is refused, not rounded.
"""

# ruff: noqa: S608 - SQL is built here from quoted identifiers, our own literals and checked expressions

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import adbc_driver_manager

from privcompute.errors import UsageError
from privcompute.tables.databases import Database, fetch
from privcompute.tables.engine import identifier, literal
from privcompute.tables.expressions import type_of
from privcompute.tables.files import existing, pick_table
from privcompute.tables.schema import Column, Kind

if TYPE_CHECKING:
    import pyarrow as pa

_DECIMAL = re.compile(r"(?:DECIMAL|NUMERIC)\s*\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)")
_EXACT = 1 << 53
"""Whole numbers up to here are exact in SQLite's REAL."""


class SqliteTable(Database):
    """A table or view of a SQLite file, opened read-only.

    Args:
        path: the file.
        table: its name; None if the file holds one table only.
    """

    def __init__(self, path: Path, table: str | None) -> None:
        self._path = existing(path)
        self._wanted = table
        self._found: tuple[str, tuple[Column, ...]] | None = None
        self.place = f"{path}?table={table}" if table else str(path)

    def schema(self) -> tuple[Column, ...]:
        """The columns, read once."""
        return self._opened()[1]

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        from adbc_driver_sqlite import dbapi

        # autocommit: nothing is ever written, so no transaction is begun
        connection = dbapi.connect(f"file:{quote(str(self._path))}?mode=ro", autocommit=True)
        try:
            yield connection
        finally:
            connection.close()

    def _opened(self) -> tuple[str, tuple[Column, ...]]:
        if self._found is None:
            try:
                with self._connection() as connection:
                    self._found = self._read(connection)
            except adbc_driver_manager.Error:
                raise UsageError(
                    f"{self.place} is not a SQLite database that can be read now",
                    code="unreadable",
                    remedy="check that it is one and that nobody holds it locked",
                ) from None
        return self._found

    def _read(self, connection: Any) -> tuple[str, tuple[Column, ...]]:
        rows = fetch(
            connection,
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%' ORDER BY 1",
        )
        table = pick_table(self._wanted, [name for (name,) in rows], self.place)
        info = fetch(connection, f"PRAGMA table_info({identifier(table)})")
        columns = []
        for _, name, declared, not_null, _, _ in info:
            text = _declared(declared) or self._held(connection, table, name)
            found = type_of(text)
            scale = found.scale if found.kind is Kind.DECIMAL else None
            columns.append(Column(name, found.kind, text, scale, None, None, "type", not not_null))
        return table, tuple(columns)

    def _held(self, connection: Any, table: str, name: str) -> str:
        """The type of the values of a column that declares none."""
        column = identifier(name)
        query = f"SELECT DISTINCT typeof({column}) FROM {identifier(table)} WHERE {column} IS NOT NULL"
        types = {row[0] for row in fetch(connection, query)}
        if types == {"integer"}:
            return "BIGINT"
        return "DOUBLE" if types and types <= {"integer", "real"} else "VARCHAR"

    def _selected(self, columns: tuple[Column, ...]) -> str:
        empty = "''"
        # The driver takes a column's type from the first rows, NULLs or not: a row of ours comes first and settles it.
        first = ", ".join(f"{_SAMPLE.get(column.type, empty)} AS c{place}" for place, column in enumerate(columns))
        rest = ", ".join(f"{_checked(column)} AS c{place}" for place, column in enumerate(columns))
        return f"SELECT {first} UNION ALL SELECT {rest} FROM {identifier(self._opened()[0])}"

    def _batches(self, columns: tuple[Column, ...], reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        for column, arrived in zip(columns, reader.schema, strict=True):
            # A value of another type among the first rows widens the whole column; a later one breaks the stream.
            if str(arrived.type) != _ARROW.get(column.type, "string"):
                raise UsageError(
                    f"column {column.name!r} of {self.place} holds values that are not of its type {column.type}",
                    code="unreadable",
                    remedy="correct the values, or declare the column's type",
                )
        skip = 1
        for batch in reader:
            yield batch.slice(skip)
            skip = 0


_SAMPLE = {"BIGINT": "0", "BOOLEAN": "0", "DOUBLE": "0.0"}
_ARROW = {"BIGINT": "int64", "BOOLEAN": "int64", "DOUBLE": "double"}


def _declared(text: str) -> str | None:
    """DuckDB's type for a type that SQLite's table declares; None if it declares none."""
    word = text.strip().upper()
    decimal = _DECIMAL.fullmatch(word)
    if decimal:
        width, scale = int(decimal[1]), int(decimal[2] or 0)
        return f"DECIMAL({width},{scale})" if 0 < width <= 38 and scale <= width else "VARCHAR"
    if not word or word == "BLOB":
        return None
    if word.startswith("BOOL"):
        return "BOOLEAN"
    if "INT" in word:
        return "BIGINT"
    if any(part in word for part in ("CHAR", "CLOB", "TEXT")):
        return "VARCHAR"
    if any(part in word for part in ("REAL", "FLOA", "DOUB", "NUMERIC", "DECIMAL")):
        return "DOUBLE"
    if word == "DATE":
        return "DATE"
    return "TIMESTAMP" if word in ("TIMESTAMP", "DATETIME") else "VARCHAR"


def _checked(column: Column) -> str:
    """SQLite's SQL for a column's values: what does not fit the type becomes a text, which then fails by name."""
    x = identifier(column.name)
    if column.kind is Kind.INTEGER:
        return f"CASE WHEN typeof({x}) IN ('integer', 'null') THEN {x} ELSE 'no integer' END"
    if column.kind is Kind.BOOLEAN:
        return f"CASE WHEN {x} IS NULL OR (typeof({x}) = 'integer' AND {x} IN (0, 1)) THEN {x} ELSE 'no boolean' END"
    if column.kind is Kind.REAL:
        exact = f"typeof({x}) = 'integer' AND {x} BETWEEN {-_EXACT} AND {_EXACT}"
        return f"CASE WHEN typeof({x}) IN ('real', 'null') OR ({exact}) THEN CAST({x} AS REAL) ELSE 'no real' END"
    if column.kind is Kind.DECIMAL:
        scale = column.scale or 0
        most = _EXACT // 10**scale
        # A REAL stands for the decimal it is nearest to, and must be that nearest one.
        near = f"abs({x}) <= {most} AND round({x}, {scale}) = {x}"
        spelled = f"printf({literal(f'%!.{scale}f')}, {x})"
        return (
            f"CASE typeof({x}) WHEN 'real' THEN CASE WHEN {near} THEN {spelled} ELSE 'no decimal' END"
            f" ELSE CAST({x} AS TEXT) END"
        )
    return f"CAST({x} AS TEXT)"
