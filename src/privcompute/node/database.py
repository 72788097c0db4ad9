"""The SQLite file of a home: one connection, a versioned schema, transactions that survive kill -9.

WAL with synchronous=FULL: a transaction that returned is on disk, one that did not leaves no trace. Several
processes (the running node and a command) share the file; writers wait for each other.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from privcompute.errors import IntegrityError, TransportError, UsageError

_BUSY_SECONDS = 20.0

# Each entry brings the schema from its index to the next version. Released entries are never edited, only followed.
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;

    CREATE TABLE peers (
        name TEXT PRIMARY KEY, certificates TEXT NOT NULL, addresses TEXT NOT NULL, added REAL NOT NULL
    ) STRICT;

    CREATE TABLE invitations (
        id TEXT PRIMARY KEY, peer TEXT NOT NULL, body TEXT NOT NULL, tries INTEGER NOT NULL, expires REAL NOT NULL
    ) STRICT;

    CREATE TABLE datasets (
        name TEXT PRIMARY KEY, source TEXT NOT NULL, credentials TEXT, partners TEXT NOT NULL, entry TEXT NOT NULL,
        fingerprint TEXT NOT NULL, added REAL NOT NULL, changed REAL NOT NULL
    ) STRICT;

    CREATE TABLE requests (
        id TEXT PRIMARY KEY, peer TEXT NOT NULL, plan_digest TEXT NOT NULL, sql TEXT NOT NULL, plan TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('waiting', 'approved', 'refused', 'used')),
        asked REAL NOT NULL, decided REAL
    ) STRICT;
    CREATE INDEX requests_by_plan ON requests (peer, plan_digest);

    CREATE TABLE releases (
        id TEXT PRIMARY KEY, at REAL NOT NULL, asker TEXT NOT NULL, sql TEXT NOT NULL, plan_digest TEXT NOT NULL,
        body TEXT NOT NULL
    ) STRICT;

    CREATE TABLE ledger_entries (
        number INTEGER PRIMARY KEY AUTOINCREMENT, version TEXT NOT NULL, dataset TEXT NOT NULL, peer TEXT NOT NULL,
        plan_digest TEXT NOT NULL, at REAL NOT NULL
    ) STRICT;
    CREATE INDEX ledger_entries_by_version ON ledger_entries (version, peer);

    CREATE TABLE ledger_sets (
        version TEXT NOT NULL, digest BLOB NOT NULL, keys INTEGER NOT NULL, selected INTEGER NOT NULL,
        bitmap BLOB NOT NULL, first_entry INTEGER NOT NULL, PRIMARY KEY (version, digest)
    ) STRICT;
    CREATE INDEX ledger_sets_by_size ON ledger_sets (version, selected);

    CREATE TABLE audit (
        number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, event TEXT NOT NULL, peer TEXT,
        plan_digest TEXT, detail TEXT NOT NULL, chain TEXT NOT NULL
    ) STRICT;
    """,
    """
    CREATE TABLE audit_pruned (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, chain TEXT NOT NULL) STRICT;
    CREATE INDEX audit_by_peer ON audit (peer, event);
    """,
    """
    UPDATE datasets SET entry = json_set(
        entry, '$.min_holders', 3,
        '$.columns', json((
            SELECT json_group_array(json_set(value, '$.domain', NULL)) FROM json_each(entry, '$.columns')
        ))
    );

    CREATE TABLE ledger_partitions (
        version TEXT NOT NULL, digest BLOB NOT NULL, keys INTEGER NOT NULL, pairs INTEGER NOT NULL,
        body BLOB NOT NULL, first_entry INTEGER NOT NULL, PRIMARY KEY (version, digest)
    ) STRICT;

    CREATE TABLE ledger_holders (
        version TEXT NOT NULL, holders TEXT NOT NULL, peer TEXT NOT NULL, plan_digest TEXT NOT NULL, at REAL NOT NULL,
        PRIMARY KEY (version, holders)
    ) STRICT;
    """,
    """
    ALTER TABLE datasets ADD COLUMN grades TEXT NOT NULL DEFAULT '{}';
    UPDATE datasets SET entry = json_set(entry, '$.floors', json('{}'));

    CREATE TABLE sent_tables (
        id TEXT PRIMARY KEY, peer TEXT NOT NULL, dataset TEXT NOT NULL, version TEXT NOT NULL, manifest TEXT NOT NULL,
        recipe TEXT NOT NULL, kind TEXT NOT NULL, sha256 TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('ready', 'sending', 'delivered')), at REAL NOT NULL, delivered REAL
    ) STRICT;
    CREATE INDEX sent_tables_by_version ON sent_tables (version, state);

    CREATE TABLE received_tables (
        id TEXT PRIMARY KEY, peer TEXT NOT NULL, remote TEXT NOT NULL, manifest TEXT NOT NULL, digest TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('receiving', 'received')), at REAL NOT NULL, received REAL,
        UNIQUE (peer, remote)
    ) STRICT;
    """,
)


class Database:
    """One process's connection to the state file; safe to use from any thread."""

    def __init__(self, path: Path) -> None:
        """Open (or create, owner-only) the file and bring its schema up to date.

        Raises:
            UsageError: a newer privcompute wrote it.
            IntegrityError: it is not a sound SQLite file.
        """
        if not path.exists():
            # SQLite gives its -wal and -shm files the mode of the main file.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._path = path
        self._lock = threading.RLock()
        self._depth = 0
        self._connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.execute("PRAGMA foreign_keys=ON")
            self._migrate()
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise self._named(error) from None
        except UsageError:
            self._connection.close()
            raise

    def _migrate(self) -> None:
        if self._version() == len(MIGRATIONS):
            return
        with self.transaction():
            version = self._version()  # again: another process may have migrated in between
            if version > len(MIGRATIONS):
                raise UsageError(
                    f"the state in {self._path} was written by a newer privcompute",
                    code="state_newer",
                    remedy="upgrade privcompute",
                )
            for script in MIGRATIONS[version:]:
                # Not executescript: that would commit first, and a kill would leave half a schema.
                for statement in script.split(";"):
                    if statement.strip():
                        self._connection.execute(statement)
            self._connection.execute(f"PRAGMA user_version={len(MIGRATIONS)}")

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def _named(self, error: sqlite3.DatabaseError) -> IntegrityError | TransportError:
        if isinstance(error, sqlite3.OperationalError):
            return TransportError(
                f"the state file {self._path} cannot be used now: {error}",
                code="state_unavailable",
                remedy="check free disk space and permissions, then try again",
            )
        return IntegrityError(
            f"the state file {self._path} is damaged",
            code="state_damaged",
            remedy="restore it from a backup, or set up a new home with `privcompute init`",
        )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and alone: no other process writes in between. May be nested."""
        with self._lock:
            if self._depth:
                yield
                return
            self.run("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            else:
                self.run("COMMIT")
            finally:
                self._depth -= 1

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """All rows of a statement."""
        with self._lock:
            try:
                return self._connection.execute(sql, values).fetchall()
            except sqlite3.DatabaseError as error:
                raise self._named(error) from None

    def row(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Row | None:
        """The first row of a statement, if it has one."""
        found = self.rows(sql, values)
        return found[0] if found else None

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run a writing statement; returns the number of rows it changed."""
        with self._lock:
            try:
                return self._connection.execute(sql, values).rowcount
            except sqlite3.IntegrityError:
                raise
            except sqlite3.DatabaseError as error:
                raise self._named(error) from None

    def sound(self) -> bool:
        """SQLite's own quick check of the file."""
        found = self.row("PRAGMA quick_check")
        return found is not None and found[0] == "ok"

    def close(self) -> None:
        """Close the connection; committed state stays."""
        with self._lock:
            self._connection.close()
