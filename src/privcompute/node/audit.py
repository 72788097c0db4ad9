"""The audit trail: who asked, was refused, approved, ran, received. Append-only, each entry chained to the last.

The chain (SHA-256 over the previous link and the entry) shows an edit or a gap to whoever kept a later link; it does
not stop the owner of the file from rewriting all of it. Details never hold values of a table.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from typing import Any

from privcompute.errors import IntegrityError
from privcompute.node.database import Database

_START = "0" * 64


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the trail; `at` in seconds since 1970."""

    number: int
    at: float
    event: str
    peer: str | None
    plan_digest: str | None
    detail: dict[str, Any]


class Audit:
    """The trail in the state file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, event: str, *, peer: str | None = None, plan_digest: str | None = None, **detail: Any) -> None:
        """Add an entry; on disk when this returns."""
        text = json.dumps(detail, sort_keys=True, default=str)
        with self._database.transaction():
            last = self._database.row("SELECT chain FROM audit ORDER BY number DESC LIMIT 1")
            at = time.time()
            link = _link(last["chain"] if last else _START, at, event, peer, plan_digest, text)
            self._database.run(
                "INSERT INTO audit (at, event, peer, plan_digest, detail, chain) VALUES (?, ?, ?, ?, ?, ?)",
                (at, event, peer, plan_digest, text, link),
            )

    def entries(self, limit: int = 100) -> list[AuditEntry]:
        """The newest entries, newest first."""
        return [
            AuditEntry(r["number"], r["at"], r["event"], r["peer"], r["plan_digest"], json.loads(r["detail"]))
            for r in self._database.rows("SELECT * FROM audit ORDER BY number DESC LIMIT ?", (limit,))
        ]

    def verify(self) -> int:
        """Recompute the chain; returns the number of entries.

        Raises:
            IntegrityError: an entry was changed or removed.
        """
        link, count = _START, 0
        for r in self._database.rows("SELECT * FROM audit ORDER BY number"):
            count += 1
            link = _link(link, r["at"], r["event"], r["peer"], r["plan_digest"], r["detail"])
            if r["number"] != count or r["chain"] != link:
                raise IntegrityError(
                    f"the audit trail breaks at entry {count}",
                    code="audit_broken",
                    remedy="someone edited the state file; compare it with a backup",
                )
        return count


def _link(last: str, at: float, event: str, peer: str | None, plan_digest: str | None, detail: str) -> str:
    body = json.dumps([last, at, event, peer, plan_digest, detail])
    return hashlib.sha256(body.encode()).hexdigest()
