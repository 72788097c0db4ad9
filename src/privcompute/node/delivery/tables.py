"""The tables this node sent and received, in its state file: what leaves is a ledger, what comes in waits here."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from typing import Any, Literal

from privcompute.errors import UsageError
from privcompute.node.database import Database
from privcompute.node.delivery.manifest import Manifest

SentState = Literal["ready", "sending", "delivered"]
ReceivedState = Literal["receiving", "received"]


@dataclass(frozen=True, slots=True)
class SentTable:
    """One table for a peer; `at` and `delivered` in seconds since 1970.

    Attributes:
        manifest: what the peer is told.
        version: of the dataset.
        recipe: SHA-256 over all that makes another table: policy, purpose.
        state: "ready": nothing has left; "sending": something may have; "delivered": the receipt is here.
    """

    manifest: Manifest
    version: str
    recipe: str
    state: SentState
    at: float
    delivered: float | None


class SentTables:
    """The release ledger of tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, manifest: Manifest, version: str, recipe: str) -> None:
        """A table that is ready; what was ready for the same peer of the same dataset, and never left, gives way."""
        with self._database.transaction():
            self._database.run(
                "DELETE FROM sent_tables WHERE peer = ? AND dataset = ? AND state = 'ready'",
                (manifest.receiver, manifest.dataset),
            )
            self._database.run(
                "INSERT INTO sent_tables (id, peer, dataset, version, manifest, recipe, kind, sha256, state, at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'ready', ?)",
                (
                    manifest.id,
                    manifest.receiver,
                    manifest.dataset,
                    version,
                    manifest.to_json(),
                    recipe,
                    manifest.kind,
                    manifest.sha256,
                    time.time(),
                ),
            )

    def unfinished(self, peer: str, dataset: str, version: str, recipe: str) -> SentTable | None:
        """The table of that recipe that has not arrived yet."""
        row = self._database.row(
            "SELECT * FROM sent_tables WHERE peer = ? AND dataset = ? AND version = ? AND recipe = ?"
            " AND state <> 'delivered' ORDER BY at DESC LIMIT 1",
            (peer, dataset, version, recipe),
        )
        return None if row is None else _sent(row)

    def left(self, dataset: str, version: str) -> list[SentTable]:
        """All of a dataset, or of its present content under another name, of which something may have left."""
        rows = self._database.rows(
            "SELECT * FROM sent_tables WHERE (dataset = ? OR version = ?) AND state <> 'ready' ORDER BY at",
            (dataset, version),
        )
        return [_sent(row) for row in rows]

    def mark(self, identifier: str, state: SentState) -> bool:
        """Note, durably, that it is being sent or was delivered; False if it was delivered before, or is not here."""
        at = time.time() if state == "delivered" else None
        changed = self._database.run(
            "UPDATE sent_tables SET state = ?, delivered = ? WHERE id = ? AND state <> 'delivered'",
            (state, at, identifier),
        )
        return bool(changed)

    def drop(self, identifier: str) -> bool:
        """Forget a table of which nothing left; False if something may have."""
        return bool(
            self._database.run("DELETE FROM sent_tables WHERE id = ? AND state = 'ready'", (identifier,)),
        )

    def all(self) -> list[SentTable]:
        """All, the oldest first."""
        return [_sent(row) for row in self._database.rows("SELECT * FROM sent_tables ORDER BY at")]


@dataclass(frozen=True, slots=True)
class ReceivedTable:
    """One table of a peer; `at` and `received` in seconds since 1970."""

    id: str
    manifest: Manifest
    state: ReceivedState
    at: float
    received: float | None


class ReceivedTables:
    """The tables of peers; their rows lie in the spool."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, manifest: Manifest) -> ReceivedTable:
        """The row of this delivery: an earlier attempt's, or a new one."""
        with self._database.transaction():
            known = self.find(manifest)
            if known is not None:
                return known
            name = "t" + hashlib.sha256(f"{manifest.sender} {manifest.id}".encode()).hexdigest()[:12]
            self._database.run(
                "INSERT INTO received_tables (id, peer, remote, manifest, digest, state, at)"
                " VALUES (?, ?, ?, ?, ?, 'receiving', ?)",
                (name, manifest.sender, manifest.id, manifest.to_json(), manifest.digest(), time.time()),
            )
            return self.get(name)

    def find(self, manifest: Manifest) -> ReceivedTable | None:
        """The row of exactly this delivery."""
        row = self._database.row(
            "SELECT * FROM received_tables WHERE peer = ? AND remote = ? AND digest = ?",
            (manifest.sender, manifest.id, manifest.digest()),
        )
        return None if row is None else _received(row)

    def taken(self, manifest: Manifest) -> bool:
        """Whether the peer used this id for another table before."""
        row = self._database.row(
            "SELECT 1 FROM received_tables WHERE peer = ? AND remote = ? AND digest <> ?",
            (manifest.sender, manifest.id, manifest.digest()),
        )
        return row is not None

    def finish(self, identifier: str) -> bool:
        """All of it is here and checked; False if the owner has forgotten it meanwhile."""
        return bool(
            self._database.run(
                "UPDATE received_tables SET state = 'received', received = ? WHERE id = ?", (time.time(), identifier)
            )
        )

    def again(self, identifier: str) -> None:
        """What had arrived is gone from the spool: it may come once more."""
        self._database.run(
            "UPDATE received_tables SET state = 'receiving', received = NULL WHERE id = ?", (identifier,)
        )

    def remove(self, identifier: str) -> None:
        """Forget it."""
        self._database.run("DELETE FROM received_tables WHERE id = ?", (identifier,))

    def get(self, identifier: str) -> ReceivedTable:
        """The table of that id.

        Raises:
            UsageError: `no_table`.
        """
        row = self._database.row("SELECT * FROM received_tables WHERE id = ?", (identifier,))
        if row is None:
            raise UsageError(
                f"no table {identifier} was received", code="no_table", remedy="`privcompute releases list` lists them"
            )
        return _received(row)

    def all(self) -> list[ReceivedTable]:
        """All, the oldest first."""
        return [_received(row) for row in self._database.rows("SELECT * FROM received_tables ORDER BY at")]

    def waiting_bytes(self, peer: str) -> int:
        """What the tables of one peer and their manifests take on the disk, or will."""
        row = self._database.row(
            "SELECT coalesce(sum(json_extract(manifest, '$.bytes') + length(manifest) + 4096), 0)"
            " FROM received_tables WHERE peer = ?",
            (peer,),
        )
        return int(row[0]) if row is not None else 0


def _sent(row: Any) -> SentTable:
    return SentTable(_manifest(row), row["version"], row["recipe"], row["state"], row["at"], row["delivered"])


def _received(row: Any) -> ReceivedTable:
    return ReceivedTable(row["id"], _manifest(row), row["state"], row["at"], row["received"])


def _manifest(row: Any) -> Manifest:
    return Manifest.from_object(json.loads(row["manifest"]), party=row["peer"])
