"""The one door to DuckDB: connections that reach nothing but what they were opened for.

A connection reads the files it is given and no others, loads no extension and downloads none, writes no file
unless a spill directory is named, and its configuration is locked before the first query. Errors of DuckDB quote
values ("Overflow in multiplication of …"), so they never pass: each becomes one of ours, named, without its text.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from privcompute.errors import UsageError
from privcompute.tables.interrupt import watched

if TYPE_CHECKING:
    import pyarrow as pa

DEFAULT_MEMORY = 512 << 20
MIN_MEMORY = 32 << 20

_LOCKED_DOWN = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_unsigned_extensions": "false",
    "allow_persistent_secrets": "false",
    # A table is what we registered, never a Python variable that happens to have its name.
    "python_enable_replacements": "false",
    "preserve_insertion_order": "false",
}


@dataclass(frozen=True)
class Limits:
    """What one DuckDB connection may use.

    Attributes:
        memory: bytes DuckDB may hold.
        threads: threads it may run; None: one a core.
        spill: directory for what does not fit, on a disk that the owner trusts with plain data.
            None: nothing is ever written; what does not fit is refused.
    """

    memory: int = DEFAULT_MEMORY
    threads: int | None = None
    spill: Path | None = None

    def __post_init__(self) -> None:
        """Check the figures.

        Raises:
            UsageError: `bad_limits`.
        """
        if self.memory < MIN_MEMORY or (self.threads is not None and self.threads < 1):
            raise UsageError("tables need at least 32 MiB and one thread", code="bad_limits")


def identifier(name: str) -> str:
    """`name` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """`text` as a quoted SQL string."""
    return "'" + text.replace("'", "''") + "'"


def connect(
    *, read: Sequence[Path] = (), attach: Path | None = None, limits: Limits | None = None
) -> duckdb.DuckDBPyConnection:
    """Open a locked-down in-memory connection.

    Args:
        read: the only files its queries may read.
        attach: a DuckDB file to attach read-only under the name `source`.
        limits: memory, threads, spill directory.

    Raises:
        UsageError: `unreadable` if the file to attach is not one, or is being written by another process.
    """
    limits = limits or Limits()
    config: dict[str, str | bool | int | float | list[str]] = {
        **_LOCKED_DOWN,
        "memory_limit": f"{limits.memory}B",
        "threads": str(limits.threads or os.cpu_count() or 1),
        "temp_directory": str(limits.spill) if limits.spill else "",
    }
    connection = duckdb.connect(":memory:", config=config)
    try:
        watched(connection)
        # A day begins at the same instant on every machine.
        connection.execute("SET TimeZone = 'UTC'")
        paths = ", ".join(literal(str(path)) for path in read)
        connection.execute(f"SET allowed_paths = [{paths}]")
        if attach is not None:
            _attach(connection, attach)
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
    except BaseException:
        connection.close()
        raise
    return connection


def _attach(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    try:
        connection.execute(f"ATTACH {literal(str(path))} AS source (TYPE duckdb, READ_ONLY)")
    except duckdb.Error:
        raise UsageError(
            f"{path} is not a DuckDB database that can be read now",
            code="unreadable",
            remedy="check that it is one, that its version is not newer than ours and that nobody writes to it",
        ) from None


_NAMED: tuple[tuple[type[Exception], str, str, str, str], ...] = (
    (
        duckdb.OutOfMemoryException,
        "Out of Memory Error:",
        "out_of_memory",
        "needs more memory than it may use",
        "raise the memory limit of tables or name a spill directory",
    ),
    (
        duckdb.OutOfRangeException,
        "Out of Range Error:",
        "arithmetic_overflow",
        "leaves the range of its type in some row",
        "cast an operand to a wider type (HUGEINT, DECIMAL or DOUBLE) in the expression",
    ),
    (
        duckdb.ConversionException,
        "Conversion Error:",
        "conversion_failed",
        "meets a value that is not of the type it is read as",
        "correct the column, or use TRY_CAST in the expression",
    ),
    (
        duckdb.PermissionException,
        "Permission Error:",
        "not_allowed",
        "reaches outside of its table",
        "name columns of this table only",
    ),
    (
        duckdb.BinderException,
        "Binder Error:",
        "bad_expression",
        "does not fit the columns' types or names",
        "check names and types with `privcompute dataset list`",
    ),
    (duckdb.ParserException, "Parser Error:", "bad_expression", "is not an expression of DuckDB", ""),
    (duckdb.CatalogException, "Catalog Error:", "bad_expression", "names something that does not exist", ""),
    (duckdb.IOException, "IO Error:", "unreadable", "cannot be read", "check that the file is whole and readable"),
    (duckdb.InterruptException, "INTERRUPT Error:", "cancelled", "was cancelled", ""),
)


@contextmanager
def named_errors(what: str) -> Iterator[None]:
    """Turn DuckDB's errors into ours, dropping their text, which may quote data.

    Args:
        what: what runs, for the message: `the query's filter`, `the file a.csv`.

    Raises:
        UsageError: with a code of the cause.
    """
    try:
        yield
    except duckdb.Error as error:
        raise _named(what, error) from None


def streamed(reader: pa.RecordBatchReader, what: str) -> Iterator[pa.RecordBatch]:
    """The batches of a result that DuckDB computes while it is read.

    An error in the middle arrives through Arrow as an OSError with DuckDB's text, value and all; it is named likewise.

    Raises:
        UsageError: with a code of the cause.
    """
    while True:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            return
        except OSError as error:
            raise _named(what, error) from None
        yield batch


def _named(what: str, error: Exception) -> UsageError:
    text = str(error)
    for kind, start, code, fault, remedy in _NAMED:
        if isinstance(error, kind) or text.startswith(start):
            return UsageError(f"{what} {fault}", code=code, remedy=remedy)
    if "Division by zero" in text:
        return UsageError(
            f"{what} divides by zero in some row",
            code="division_by_zero",
            remedy="write the divisor as NULLIF(divisor, 0)",
        )
    return UsageError(f"{what} failed ({type(error).__name__})", code="expression_failed")
