"""Sources that DuckDB reads itself: CSV and Parquet files, and tables of DuckDB files."""

# ruff: noqa: S608 - SQL is built here from quoted identifiers, our own literals and checked expressions

from __future__ import annotations

import hashlib
import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import duckdb

from privcompute.errors import UsageError
from privcompute.tables import csv_types, engine
from privcompute.tables.engine import Limits, identifier, literal, named_errors
from privcompute.tables.expressions import type_of
from privcompute.tables.schema import Column, Kind
from privcompute.tables.source import Scan, Source, missing, view

if TYPE_CHECKING:
    from collections.abc import Iterable

_PIECE = 1 << 20
_DELIMITERS = ",;\t|"
_AS_TEXT = ("ENUM", "UUID")
"""Types that are read as text: what they hold are words, and an ENUM's type would list them."""


def existing(path: Path) -> Path:
    """The absolute path of a file that is there and can be read.

    Raises:
        UsageError: `no_such_file`, `unreadable`.
    """
    if not path.exists():
        raise UsageError(
            f"there is no file {path}",
            code="no_such_file",
            remedy="check the path",
        )
    if not path.is_file() or not os.access(path, os.R_OK):
        raise UsageError(f"{path} is not a file that this user may read", code="unreadable")
    if any(sign in str(path) for sign in "*?["):
        raise UsageError(
            f"{path} holds a wildcard sign, which would name several files", code="unreadable", remedy="rename the file"
        )
    return path.resolve()


def columns_from(described: Iterable[Sequence[str]], never_null: frozenset[str] = frozenset()) -> tuple[Column, ...]:
    """Columns from rows of DuckDB's DESCRIBE (name, type, …), without ranges."""
    result = []
    for name, text, *_ in described:
        found = type_of("VARCHAR" if text.startswith(_AS_TEXT) else text)
        scale = found.scale if found.kind is Kind.DECIMAL else None
        result.append(Column(name, found.kind, found.type, scale, None, None, "type", name not in never_null))
    return tuple(result)


class _File(Source):
    """A single file."""

    _format: ClassVar[str]
    _remedy: ClassVar[str]

    def __init__(self, path: Path) -> None:
        self._path = existing(path)
        self.place = str(path)
        self._columns: tuple[Column, ...] | None = None

    def schema(self) -> tuple[Column, ...]:
        """The columns, read once."""
        if self._columns is None:
            if not self._path.stat().st_size:
                raise self._unreadable("it is empty")
            try:
                self._columns = self._described()
            except duckdb.Error:
                raise self._unreadable() from None
        return self._columns

    def _unreadable(self, reason: str = "") -> UsageError:
        return UsageError(
            f"{self.place} is not a regular {self._format} file" + (f": {reason}" if reason else ""),
            code="unreadable",
            remedy=self._remedy,
        )

    @abstractmethod
    def _described(self) -> tuple[Column, ...]:
        """Read the columns."""

    def _digest(self, into: hashlib.blake2b, limits: Limits) -> None:
        try:
            with self._path.open("rb") as file:
                while piece := file.read(_PIECE):
                    into.update(piece)
        except OSError as error:
            raise UsageError(f"{self.place} cannot be read: {error.strerror}", code="unreadable") from None


class ParquetFile(_File):
    """A Parquet file."""

    _format = "Parquet"
    _remedy = "check that the file is whole"

    @property
    def _table(self) -> str:
        return f"read_parquet({literal(str(self._path))})"

    def _described(self) -> tuple[Column, ...]:
        with engine.connect(read=[self._path]) as connection:
            return columns_from(connection.execute(f"DESCRIBE SELECT * FROM {self._table}").fetchall())

    @contextmanager
    def _scan(self, columns: tuple[Column, ...], limits: Limits) -> Iterator[Scan]:
        connection = engine.connect(read=[self._path], limits=limits)
        with view(connection, f"SELECT {_listed(columns)} FROM {self._table}", again=True) as opened:
            yield opened


class CsvFile(_File):
    """A CSV file with a header line; `csv_types` says what its columns are.

    Args:
        path: the file; it may be compressed with gzip (`.csv.gz`).
        keys: the key columns, which are text unless a type is given.
        key_types: the types of key columns, among `csv_types.KEY_TYPES`.

    Raises:
        UsageError: `bad_key_type`.
    """

    _format = "CSV"
    _remedy = "it needs a line of names and in every line as many fields, in UTF-8"

    def __init__(self, path: Path, keys: Sequence[str] = (), key_types: Mapping[str, str] | None = None) -> None:
        super().__init__(path)
        self._keys = tuple(keys)
        self._key_types = csv_types.checked(self._keys, key_types or {})

    @property
    def _table(self) -> str:
        return f"read_csv({literal(str(self._path))}, all_varchar = true, header = true)"

    def _described(self) -> tuple[Column, ...]:
        with engine.connect(read=[self._path]) as connection:
            names = [row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {self._table}").fetchall()]
            if len(names) == 1 and any(sign in names[0] for sign in _DELIMITERS):
                # DuckDB takes lines of unequal length for a single column.
                raise self._unreadable("its lines have different numbers of fields")
            types = csv_types.infer(connection, self._table, names, self._keys)
            given = {name: self._key_types[name.casefold()] for name in names if name.casefold() in self._key_types}
            csv_types.check_keys(connection, self._table, given)
            types = [given.get(name, kind) for name, kind in zip(names, types, strict=True)]
        return columns_from(zip(names, types, strict=True))

    @contextmanager
    def _scan(self, columns: tuple[Column, ...], limits: Limits) -> Iterator[Scan]:
        connection = engine.connect(read=[self._path], limits=limits)
        with view(connection, f"SELECT {_listed(columns)} FROM {self._table}", again=True) as opened:
            yield opened


class DuckdbTable(Source):
    """A table or view of a DuckDB file, opened read-only.

    Args:
        path: the file.
        table: `table` or `schema.table`; None if the file holds one table only.
    """

    def __init__(self, path: Path, table: str | None) -> None:
        self._path = existing(path)
        self._wanted = table
        self._found: tuple[str, tuple[Column, ...]] | None = None
        self.place = f"{path}?table={table}" if table else str(path)

    def schema(self) -> tuple[Column, ...]:
        """The columns, read once."""
        return self._opened()[1]

    def _opened(self) -> tuple[str, tuple[Column, ...]]:
        if self._found is None:
            with named_errors(self.place), engine.connect(attach=self._path) as connection:
                table = self._pick(connection)
                try:
                    described = connection.execute(f"DESCRIBE {table}").fetchall()
                except duckdb.PermissionException:
                    raise UsageError(
                        f"{self.place} is a view that reads other files",
                        code="not_allowed",
                        remedy="store its result as a table",
                    ) from None
                self._found = table, columns_from(described, frozenset(row[0] for row in described if row[2] == "NO"))
        return self._found

    def _pick(self, connection: duckdb.DuckDBPyConnection) -> str:
        rows = connection.execute(
            "SELECT table_schema, table_name FROM information_schema.tables WHERE table_catalog = 'source' ORDER BY ALL"
        ).fetchall()
        there = [name if schema == "main" else f"{schema}.{name}" for schema, name in rows]
        wanted = pick_table(self._wanted, there, self.place)
        return "source." + ".".join(map(identifier, rows[there.index(wanted)]))

    @contextmanager
    def _scan(self, columns: tuple[Column, ...], limits: Limits) -> Iterator[Scan]:
        table = self._opened()[0]
        connection = engine.connect(attach=self._path, limits=limits)
        with view(connection, f"SELECT {_listed(columns)} FROM {table}", again=True) as opened:
            yield opened

    def _digest(self, into: hashlib.blake2b, limits: Limits) -> None:
        self._digest_rows(into, limits)


def pick_table(wanted: str | None, there: Sequence[str], place: str) -> str:
    """The table that is meant.

    Raises:
        UsageError: `no_such_table`, with the nearest name, or `which_table`.
    """
    if wanted is None:
        if len(there) == 1:
            return there[0]
        known = ", ".join(there[:20]) or "none"
        raise UsageError(
            f"{place} holds {len(there)} tables ({known})", code="which_table", remedy="name one: …?table=NAME"
        )
    short = wanted.removeprefix("main.")
    for name in there:
        if name.casefold() == short.casefold():
            return name
    raise missing("table", wanted, there, place)


def _listed(columns: Sequence[Column]) -> str:
    """The columns in the types of the schema; nested ones stay what they are."""
    return ", ".join(
        identifier(column.name)
        if column.kind is Kind.OTHER
        else f"CAST({identifier(column.name)} AS {column.type}) AS {identifier(column.name)}"
        for column in columns
    )
