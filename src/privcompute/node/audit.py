"""The audit trail: who asked, was refused, approved, ran, received. Each entry is chained to the last.

The chain (SHA-256 over the previous link and the entry) shows an edit or a gap to whoever kept a later link; it does
not stop the owner of the file from rewriting all of it. Of the entries, only the oldest failed runs of a peer are ever
dropped, so that no peer fills the disk; what is left of them is the last link before the gap. Details never hold
values of a table.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
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

    def prune(self, peer: str, events: Sequence[str], most: int) -> int:
        """Drop the oldest entries of these events of one peer, beyond so many; returns how many went."""
        kinds = ", ".join("?" for _ in events)
        chosen = f"FROM audit WHERE peer = ? AND event IN ({kinds})"
        with self._database.transaction():
            count = self._database.row(f"SELECT count(*) {chosen}", (peer, *events))
            extra = max(0, (count[0] if count else 0) - most)
            if not extra:
                return 0
            # The newest entry of all stays whatever it is: the next one is chained to it.
            old = self._database.rows(
                f"SELECT number, chain {chosen} AND number < (SELECT max(number) FROM audit)"  # noqa: S608  # only ?s
                " ORDER BY number LIMIT ?",
                (peer, *events, extra),
            )
            for row in old:
                self._drop(row["number"], row["chain"])
            return len(old)

    def _drop(self, number: int, chain: str) -> None:
        """Drop one entry and join its gap with those beside it."""
        before = self._database.row("SELECT first FROM audit_pruned WHERE last = ?", (number - 1,))
        after = self._database.row("SELECT first, last, chain FROM audit_pruned WHERE first = ?", (number + 1,))
        first = before["first"] if before else number
        self._database.run("DELETE FROM audit_pruned WHERE first IN (?, ?)", (first, number + 1))
        self._database.run(
            "INSERT INTO audit_pruned (first, last, chain) VALUES (?, ?, ?)",
            (first, after["last"] if after else number, after["chain"] if after else chain),
        )
        self._database.run("DELETE FROM audit WHERE number = ?", (number,))

    def verify(self) -> int:
        """Recompute the chain, from link to link over the gaps of dropped entries; returns the number of entries.

        Raises:
            IntegrityError: an entry was changed or removed.
        """
        with self._database.transaction():
            rows = self._database.rows("SELECT * FROM audit ORDER BY number")
            gaps = {r["first"]: r for r in self._database.rows("SELECT * FROM audit_pruned")}
        link, count = _START, 0
        for r in rows:
            count += 1
            gap = gaps.get(count)
            if gap is not None:
                link, count = gap["chain"], gap["last"] + 1
            link = _link(link, r["at"], r["event"], r["peer"], r["plan_digest"], r["detail"])
            if r["number"] != count or r["chain"] != link:
                raise IntegrityError(
                    f"the audit trail breaks at entry {count}",
                    code="audit_broken",
                    remedy="someone edited the state file; compare it with a backup",
                )
        return len(rows)


def _link(last: str, at: float, event: str, peer: str | None, plan_digest: str | None, detail: str) -> str:
    body = json.dumps([last, at, event, peer, plan_digest, detail])
    return hashlib.sha256(body.encode()).hexdigest()
