"""What SQLite and PostgreSQL share: a query's rows as a stream of Arrow batches through an ADBC driver."""

# ruff: noqa: S608 - SQL is built here from quoted identifiers, our own literals and checked expressions

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import adbc_driver_manager

from privcompute.errors import UsageError
from privcompute.tables import engine
from privcompute.tables.engine import Limits, identifier
from privcompute.tables.schema import Column
from privcompute.tables.source import Scan, Source, view

if TYPE_CHECKING:
    import pyarrow as pa

DriverError = (adbc_driver_manager.Error, OSError)
"""What a driver raises: its own errors when asked, pyarrow's while its stream is read."""


class Database(Source):
    """A table behind an ADBC driver. Its column list is pushed down; every expression runs in DuckDB."""

    @abstractmethod
    def _connection(self) -> AbstractContextManager[Any]:
        """An ADBC connection (DB-API) that can only read."""

    @abstractmethod
    def _selected(self, columns: tuple[Column, ...]) -> str:
        """The query, in the database's own SQL, whose result has these columns in this order, named c0, c1, …"""

    @abstractmethod
    def _batches(self, columns: tuple[Column, ...], reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        """The batches of `_selected`, checked."""

    @contextmanager
    def _scan(self, columns: tuple[Column, ...], limits: Limits) -> Iterator[Scan]:
        with self._connection() as connected, connected.cursor() as cursor, self._driver():
            cursor.execute(self._selected(columns))
            reader = cursor.fetch_record_batch()
            failure: list[UsageError] = []
            stream = _guarded(reader.schema, lambda: self._batches(columns, reader), self._unreadable, failure)
            duck = engine.connect(limits=limits)
            duck.register("arrived", stream)
            select = ", ".join(
                f"CAST(c{place} AS {column.type}) AS {identifier(column.name)}" for place, column in enumerate(columns)
            )
            try:
                with view(duck, f"SELECT {select} FROM arrived", again=False) as opened:
                    yield opened
            except Exception:
                # DuckDB reports a stream that broke as a fault of its own; ours says what happened.
                if failure:
                    raise failure[0] from None
                raise

    def _unreadable(self) -> UsageError:
        return UsageError(
            f"{self.place} could not be read to its end, or a column holds values that its type does not admit here",
            code="unreadable",
            remedy="check that the database is there; that each column holds one type, and no infinite dates",
        )

    @contextmanager
    def _driver(self) -> Iterator[None]:
        """Drivers quote data in their errors: name the place instead."""
        try:
            yield
        except adbc_driver_manager.Error:
            raise self._unreadable() from None

    def _digest(self, into: hashlib.blake2b, limits: Limits) -> None:
        self._digest_rows(into, limits)


def _guarded(
    schema: pa.Schema,
    batches: Callable[[], Iterator[pa.RecordBatch]],
    unreadable: Callable[[], UsageError],
    failure: list[UsageError],
) -> pa.RecordBatchReader:
    """A stream that notes why it broke."""
    import pyarrow as pa

    def run() -> Iterator[pa.RecordBatch]:
        try:
            yield from batches()
        except DriverError:
            failure.append(unreadable())
            raise
        except UsageError as error:
            failure.append(error)
            raise

    return pa.RecordBatchReader.from_batches(schema, run())


def fetch(connection: Any, query: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """All rows of a small query about the table."""
    with connection.cursor() as cursor:
        cursor.execute(query, tuple(parameters) or None)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows
