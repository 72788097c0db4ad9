"""All durable state of a node, one attribute an idea, over one SQLite file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from privcompute.node.audit import Audit
from privcompute.node.catalogue import Datasets
from privcompute.node.database import Database
from privcompute.node.delivery.tables import ReceivedTables, SentTables
from privcompute.node.ledger import Ledger
from privcompute.node.peerbook import Peers
from privcompute.node.releases import Releases
from privcompute.node.requests import Requests


class Store:
    """The state of one node. Any number of processes may hold one on the same file.

    Attributes:
        peers: Paired peers and open invitations (the transport's PeerBook).
        datasets: The node's own datasets.
        requests: Queries of peers that wait for the owner's consent.
        releases: Results this node received.
        ledger: What was released, against differencing.
        sent: Tables of its own that it released to peers: the release ledger.
        received: Tables that peers delivered.
        audit: What happened, in order.
    """

    def __init__(self, path: Path) -> None:
        self.database = Database(path)
        self.peers = Peers(self.database)
        self.datasets = Datasets(self.database)
        self.requests = Requests(self.database)
        self.releases = Releases(self.database)
        self.ledger = Ledger(self.database)
        self.sent = SentTables(self.database)
        self.received = ReceivedTables(self.database)
        self.audit = Audit(self.database)

    def setting(self, name: str) -> Any:
        """A small JSON value kept under this name, or None."""
        row = self.database.row("SELECT value FROM settings WHERE name = ?", (name,))
        return json.loads(row["value"]) if row else None

    def set_setting(self, name: str, value: Any) -> None:
        """Keep a small JSON value under this name."""
        self.database.run(
            "INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, json.dumps(value)),
        )

    def close(self) -> None:
        """Close the file; committed state stays."""
        self.database.close()
