"""A table or view of a PostgreSQL server, through its ADBC driver: binary COPY, streamed.

The URL never holds a password: PostgreSQL's own client library takes it from PGPASSWORD or from a password file.
"""

# ruff: noqa: S608 - SQL is built here from quoted identifiers, our own literals and checked expressions

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import adbc_driver_manager

from privcompute.errors import TransportError, UsageError
from privcompute.tables.databases import Database, fetch
from privcompute.tables.engine import identifier
from privcompute.tables.expressions import type_of
from privcompute.tables.files import pick_table
from privcompute.tables.schema import Column, Kind

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMES = ("postgresql", "postgres")

_PASSED_ON = frozenset(
    {"sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "host", "port", "user", "dbname", "connect_timeout"}
    | {"target_session_attrs", "gssencmode", "channel_binding"}
)
_NUMERIC = re.compile(r"numeric\((\d+),(\d+)\)")
_PLAIN = {
    "boolean": "BOOLEAN",
    "smallint": "SMALLINT",
    "integer": "INTEGER",
    "bigint": "BIGINT",
    "real": "FLOAT",
    "double precision": "DOUBLE",
    "text": "VARCHAR",
    "date": "DATE",
    "timestamp without time zone": "TIMESTAMP",
    "timestamp with time zone": "TIMESTAMP WITH TIME ZONE",
}
_MAX_DIGITS = 38


@dataclass(frozen=True)
class Address:
    """A PostgreSQL table's address.

    Attributes:
        uri: for the client library; without table and password.
        table: `table` or `schema.table`; None if not given.
        place: for messages.
    """

    uri: str
    table: str | None
    place: str


def parse_address(url: str) -> Address:
    """Take `postgresql://[user@]host[:port]/database?table=schema.table` apart.

    Raises:
        UsageError: `password_in_url`, `bad_source`.
    """
    try:
        parts = urlsplit(url)
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        password = parts.password is not None or any(name.casefold() in ("password", "passfile") for name, _ in options)
        place = f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
    except ValueError:
        raise UsageError("the PostgreSQL URL cannot be read", code="bad_source") from None
    if password:
        raise UsageError(
            "the PostgreSQL URL holds a password, which would end up in configuration and logs",
            code="password_in_url",
            remedy="take it out; set PGPASSWORD, or name a password file with --credentials-file",
        )
    unknown = sorted({name for name, _ in options} - _PASSED_ON - {"table"})
    if unknown:
        raise UsageError(
            f"the PostgreSQL URL has options that are not supported: {', '.join(unknown)}",
            code="bad_source",
            remedy=f"supported: table, {', '.join(sorted(_PASSED_ON))}",
        )
    tables = [value for name, value in options if name == "table"]
    if len(tables) > 1 or tables == [""]:
        raise UsageError("the PostgreSQL URL names no table, or several", code="bad_source")
    rest = urlencode([pair for pair in options if pair[0] != "table"], quote_via=quote)
    uri = f"postgresql://{parts.netloc}{parts.path}" + (f"?{rest}" if rest else "")
    table = tables[0] if tables else None
    return Address(uri, table, place + (f"?table={table}" if table else ""))


def _password_file(path: Path) -> str:
    """A password file as PostgreSQL's clients take it; they skip one that others may read, we say so."""
    try:
        mode = path.stat().st_mode
    except OSError:
        raise UsageError(f"there is no credentials file {path}", code="no_such_file") from None
    if not stat.S_ISREG(mode) or mode & 0o077:
        raise UsageError(
            f"the credentials file {path} can be read by others", code="credentials_exposed", remedy=f"chmod 600 {path}"
        )
    return str(path.resolve())


class PostgresTable(Database):
    """A table or view of a PostgreSQL server, read in read-only transactions.

    Args:
        url: see `parse_address`.
        credentials: a password file, lines of `host:port:database:user:password`, readable by its owner only.
    """

    def __init__(self, url: str, credentials: Path | None = None) -> None:
        address = parse_address(url)
        options = [("options", "-c default_transaction_read_only=on -c TimeZone=UTC")]
        if credentials is not None:
            options.append(("passfile", _password_file(credentials)))
        self._uri = address.uri + ("&" if "?" in address.uri else "?") + urlencode(options, quote_via=quote)
        self._wanted = address.table
        self._found: tuple[str, tuple[Column, ...], dict[str, str]] | None = None
        self.place = unquote(address.place)

    def schema(self) -> tuple[Column, ...]:
        """The columns, read once."""
        return self._opened()[1]

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        from adbc_driver_postgresql import dbapi

        try:
            connection = dbapi.connect(self._uri, autocommit=True)
        except adbc_driver_manager.Error:
            raise TransportError(
                f"{self.place}: no connection to the PostgreSQL server",
                code="database_unreachable",
                remedy="check host, port, user and database; the password comes from PGPASSWORD or --credentials-file",
            ) from None
        try:
            yield connection
        finally:
            connection.close()

    def _opened(self) -> tuple[str, tuple[Column, ...], dict[str, str]]:
        if self._found is None:
            with self._connection() as connection, self._driver():
                self._found = self._read(connection)
        return self._found

    def _read(self, connection: Any) -> tuple[str, tuple[Column, ...], dict[str, str]]:
        rows = fetch(
            connection,
            "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c"
            " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')"
            " AND n.nspname NOT LIKE 'pg\\_%' ORDER BY 1, 2",
        )
        there = [f"{schema}.{name}" for schema, name in rows]
        wanted = self._wanted if self._wanted is None or "." in self._wanted else f"public.{self._wanted}"
        schema, name = rows[there.index(pick_table(wanted, there, self.place))]
        table = f"{identifier(schema)}.{identifier(name)}"
        info = fetch(
            connection,
            "SELECT a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod)::text, a.attnotnull"
            " FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1::text::regclass AND a.attnum > 0"
            " AND NOT a.attisdropped ORDER BY a.attnum",
            [table],
        )
        columns, declared = [], {}
        for column, text, not_null in info:
            duck = self._numeric(connection, table, column) if text == "numeric" else _duck_type(text)
            found = type_of(duck)
            scale = found.scale if found.kind is Kind.DECIMAL else None
            columns.append(Column(column, found.kind, duck, scale, None, None, "type", not not_null))
            declared[column] = text
        return table, tuple(columns), declared

    def _numeric(self, connection: Any, table: str, column: str) -> str:
        """The DECIMAL that holds a NUMERIC without declared digits; VARCHAR if none does."""
        x = identifier(column)
        query = f"SELECT coalesce(max(scale({x})), 0), coalesce(max(length(trunc(abs({x}))::text)), 1) FROM {table}"
        ((after, before),) = fetch(connection, query)
        return f"DECIMAL({_MAX_DIGITS},{after})" if before + after <= _MAX_DIGITS else "VARCHAR"

    def _selected(self, columns: tuple[Column, ...]) -> str:
        table, _, declared = self._opened()
        listed = ", ".join(
            f"{_spelled(identifier(column.name), declared[column.name])} AS c{place}"
            for place, column in enumerate(columns)
        )
        return f"SELECT {listed} FROM {table}"

    def _batches(self, columns: tuple[Column, ...], reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        yield from reader


def _spelled(x: str, declared: str) -> str:
    """PostgreSQL's SQL for a column's values in a form that Arrow carries without loss."""
    text = _bare(declared)
    if text == "date" or text.startswith("timestamp"):
        # Infinite dates have no Arrow form and would arrive as wrong ones: let the server fail on them.
        return f"CASE WHEN isfinite({x}) THEN {x} ELSE ('not finite: ' || {x})::{text} END"
    return x if text in _PLAIN else f"{x}::text"


def _bare(text: str) -> str:
    """A type's name without the precision of a timestamp."""
    return re.sub(r"^timestamp\(\d\)", "timestamp", text)


def _duck_type(text: str) -> str:
    """DuckDB's type for PostgreSQL's text of one; what has no counterpart is read as text."""
    numeric = _NUMERIC.fullmatch(text)
    if numeric:
        width, scale = int(numeric[1]), int(numeric[2])
        return f"DECIMAL({width},{scale})" if scale <= width <= _MAX_DIGITS else "VARCHAR"
    return _PLAIN.get(_bare(text), "VARCHAR")
