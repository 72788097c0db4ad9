"""A table that its owner holds, wherever it is: its schema, its rows as a stream, its version."""

# ruff: noqa: S608 - SQL is built here from quoted identifiers, our own literals and checked expressions

from __future__ import annotations

import difflib
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from privcompute.errors import UsageError
from privcompute.tables import engine
from privcompute.tables.engine import Limits, identifier, named_errors
from privcompute.tables.schema import Column

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

BATCH_ROWS = 1 << 16


@dataclass(frozen=True)
class Scan:
    """A locked-down connection in which the view `table` holds the wanted columns.

    Attributes:
        connection: DuckDB.
        table: the view's name; ready for one query, for more than one only if `again`.
        again: whether the view may be read more than once.
    """

    connection: duckdb.DuckDBPyConnection
    table: str
    again: bool


class Source(ABC):
    """One table. Nothing is read before it is asked for, and only the columns that are asked for."""

    place: str
    """Where it is, for messages; without credentials."""

    @abstractmethod
    def schema(self) -> tuple[Column, ...]:
        """The columns, without ranges.

        Raises:
            UsageError: `unreadable`, `no_such_table`.
        """

    @abstractmethod
    def _scan(self, columns: tuple[Column, ...], limits: Limits) -> AbstractContextManager[Scan]:
        """Open `columns` for reading, under their own names, in the schema's types."""

    @abstractmethod
    def _digest(self, into: hashlib.blake2b, limits: Limits) -> None:
        """Feed everything that makes this content this content."""

    def columns(self, names: Sequence[str]) -> tuple[Column, ...]:
        """The columns of these names, matched without regard to case, each once.

        Raises:
            UsageError: `no_such_column`, with the nearest name there is.
        """
        by_name = {column.name.casefold(): column for column in self.schema()}
        found = {}
        for name in names:
            column = by_name.get(name.casefold())
            if column is None:
                raise missing("column", name, [column.name for column in by_name.values()], self.place)
            found[column.name] = column
        return tuple(found.values())

    @contextmanager
    def scan(self, columns: Sequence[str], *, limits: Limits | None = None) -> Iterator[Scan]:
        """Open some columns, and only these, for one pass of DuckDB.

        Args:
            columns: names; no name reads the first column, so that rows can still be counted.
            limits: what DuckDB may use.

        Raises:
            UsageError: `no_such_column`, `unreadable`.
        """
        wanted = self.columns(columns) or self.schema()[:1]
        with named_errors(self.place), self._scan(wanted, limits or Limits()) as opened:
            yield opened

    @contextmanager
    def relation(self, columns: Sequence[str], *, limits: Limits | None = None) -> Iterator[pa.RecordBatchReader]:
        """The columns as a stream of Arrow batches, in no particular order.

        Raises:
            UsageError: `no_such_column`, `unreadable`.
        """
        with self.scan(columns, limits=limits) as opened:
            query = f"SELECT {', '.join(identifier(c.name) for c in self.columns(columns))} FROM {opened.table}"
            yield opened.connection.sql(query).to_arrow_reader(BATCH_ROWS)

    def fingerprint(self, key: bytes, *, limits: Limits | None = None) -> str:
        """The dataset's version: 64 hexadecimal digits that change when schema or content changes.

        The peer sees it. It is keyed with the owner's key, so that nobody can guess content and compare, nor tell
        that two owners hold the same table. Names and times of files do not enter: the same content is the same
        version, and touching a file does not start the ledger anew.

        Args:
            key: at least 16 bytes that stay with the owner.
            limits: what DuckDB may use.

        Raises:
            UsageError: `bad_key`, `unreadable`.
        """
        if not 16 <= len(key) <= hashlib.blake2b.MAX_KEY_SIZE:
            raise UsageError("a fingerprint key has 16 to 64 bytes", code="bad_key")
        digest = hashlib.blake2b(key=key, digest_size=32, person=b"privcomp-table-1")
        for column in self.schema():
            for part in (column.name, column.type):
                digest.update(len(part.encode()).to_bytes(4, "big") + part.encode())
        with named_errors(self.place):
            self._digest(digest, limits or Limits())
        return digest.hexdigest()

    def _digest_rows(self, into: hashlib.blake2b, limits: Limits) -> None:
        """Feed a digest of the rows that does not depend on their order: their number and two sums of hashes.

        Every field is tagged with its length, a NULL is not a text. MD5 suffices as the inner hash: who could look
        for collisions is the owner, and the outer hash is keyed.
        """
        columns = self.schema()
        texts = [f"CAST({identifier(column.name)} AS VARCHAR)" for column in columns]
        row = " || ".join(f"coalesce(length({text}) || ':' || {text}, 'N')" for text in texts)
        low = f"CAST(h & CAST('{(1 << 64) - 1}' AS UHUGEINT) AS HUGEINT)"
        query = (
            f"SELECT count(*), coalesce(sum({low}), 0), coalesce(sum(CAST(h >> 64 AS HUGEINT)), 0)"
            f" FROM (SELECT md5_number({row}) AS h FROM {{}})"
        )
        with self._scan(columns, limits) as opened:
            figures = opened.connection.execute(query.format(opened.table)).fetchone() or ()
        for figure in figures:
            into.update(int(figure).to_bytes(20, "big"))


def missing(what: str, name: str, there: Sequence[str], place: str) -> UsageError:
    """The error for a column or table that is not there, with the nearest name that is."""
    close = difflib.get_close_matches(name.casefold(), [known.casefold() for known in there], n=1, cutoff=0.5)
    nearest = [known for known in there if close and known.casefold() == close[0]]
    known = ", ".join(sorted(there)[:20])
    remedy = f"did you mean {nearest[0]!r}?" if nearest else f"there is: {known}" if there else ""
    return UsageError(f"{place} has no {what} {name!r}", code=f"no_such_{what}", remedy=remedy)


@contextmanager
def view(connection: duckdb.DuckDBPyConnection, select: str, *, again: bool) -> Iterator[Scan]:
    """A Scan over `select` that closes its connection."""
    try:
        connection.execute(f"CREATE TEMP VIEW {engine.identifier('opened')} AS {select}")
        yield Scan(connection, engine.identifier("opened"), again)
    finally:
        connection.close()
