"""From what the owner writes on the command line to a Source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from privcompute.errors import UsageError
from privcompute.tables.files import CsvFile, DuckdbTable, ParquetFile
from privcompute.tables.source import Source

_SUFFIXES = (".csv", ".csv.gz", ".parquet", ".duckdb", ".sqlite", ".sqlite3")


def is_csv(uri: str) -> bool:
    """Whether the source is a CSV file, whose key columns are text unless their owner says otherwise."""
    return "://" not in uri and uri.lower().endswith((".csv", ".csv.gz"))


def open_source(
    uri: str,
    *,
    credentials: Path | None = None,
    keys: Sequence[str] = (),
    key_types: Mapping[str, str] | None = None,
) -> Source:
    """The source an owner names.

    Args:
        uri: a path to .csv (.csv.gz), .parquet, .duckdb or .sqlite, the last two with `?table=NAME` if they hold more
            than one table, or `postgresql://host/db?table=schema.t`.
        credentials: a PostgreSQL password file.
        keys: the key columns; a CSV file needs to know them to read them as text.
        key_types: of a CSV file, what else than text its key columns are (`csv_types.KEY_TYPES`).

    Raises:
        UsageError: `bad_source`, `bad_key_type`, `no_such_file`, `unreadable`, `password_in_url`,
            `credentials_exposed`.
    """
    if key_types is not None and not is_csv(uri):
        raise UsageError(
            "only the keys of a CSV file are given a type: every other source says itself what they are",
            code="bad_key_type",
            remedy="leave --key-type out, or cast the column in a view",
        )
    scheme, colon, _ = uri.partition("://")
    if colon:
        from privcompute.tables.postgresql import SCHEMES, PostgresTable

        if scheme.lower() not in SCHEMES:
            raise UsageError(
                f"there is no source of the kind {scheme[:20]!r}",
                code="bad_source",
                remedy="name a file or postgresql://host/db?table=schema.t",
            )
        return PostgresTable(uri, credentials)
    text, asked, table = uri.partition("?table=")
    path = Path(text)
    lower = path.name.lower()
    if lower.endswith((".duckdb", ".sqlite", ".sqlite3")):
        if asked and not table:
            raise UsageError("the source names no table after ?table=", code="bad_source")
        if lower.endswith(".duckdb"):
            return DuckdbTable(path, table or None)
        from privcompute.tables.sqlite import SqliteTable

        return SqliteTable(path, table or None)
    if asked:
        raise UsageError("a CSV or Parquet file is one table: ?table= does not apply", code="bad_source")
    if lower.endswith((".csv", ".csv.gz")):
        return CsvFile(path, keys, key_types)
    if lower.endswith(".parquet"):
        return ParquetFile(path)
    raise UsageError(
        f"{text} is none of the kinds of file that can be read",
        code="bad_source",
        remedy=f"use one of {', '.join(_SUFFIXES)} or postgresql://host/db?table=schema.t",
    )
