"""Paired peers and open invitations in the state file: the transport's PeerBook."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from privcompute.node.database import Database

if TYPE_CHECKING:
    from privcompute.transport.peers import Peer


class Peers:
    """The peers of this node."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str) -> Peer | None:
        """The peer of that name, or None."""
        row = self._database.row("SELECT * FROM peers WHERE name = ?", (name,))
        return _peer(row) if row else None

    def all(self) -> tuple[Peer, ...]:
        """All peers by name."""
        return tuple(_peer(row) for row in self._database.rows("SELECT * FROM peers ORDER BY name"))

    def add(self, peer: Peer) -> None:
        """Add a peer, or take its new certificates and addresses."""
        self._database.run(
            "INSERT INTO peers (name, certificates, addresses, added) VALUES (?, ?, ?, ?) ON CONFLICT (name)"
            " DO UPDATE SET certificates = excluded.certificates, addresses = excluded.addresses",
            (peer.name, json.dumps(peer.certificates), json.dumps(peer.addresses), time.time()),
        )

    replace = add

    def remove(self, name: str) -> None:
        """Forget a peer; unknown names are no error."""
        self._database.run("DELETE FROM peers WHERE name = ?", (name,))


def _peer(row: Any) -> Peer:
    from privcompute.transport.peers import Peer  # deferred: brings in grpc

    return Peer(
        name=row["name"],
        certificates=tuple(json.loads(row["certificates"])),
        addresses=tuple(json.loads(row["addresses"])),
    )
