"""What this node received: the result of each query it asked, or that another party named it a receiver of."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from typing import Any

from privcompute.errors import UsageError
from privcompute.node.database import Database


@dataclass(frozen=True, slots=True)
class StoredRelease:
    """One release; `body` is the object that `query --json` prints, `at` in seconds since 1970."""

    id: str
    at: float
    asker: str
    sql: str
    plan_digest: str
    body: dict[str, Any]


class Releases:
    """The releases in the state file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, asker: str, sql: str, plan_digest: str, body: dict[str, Any], *, most: int | None = None) -> str:
        """Keep a release; returns its id.

        Args:
            asker: Who asked.
            sql: The canonical text.
            plan_digest: Hexadecimal.
            body: JSON (see `node.payload`).
            most: Keep no more than so many of this asker, the newest; None: all.
        """
        with self._database.transaction():
            at = time.time()
            number = self._database.row("SELECT count(*) FROM releases")
            seed = f"{asker} {plan_digest} {at} {number[0] if number else 0}"
            identifier = "r" + hashlib.sha256(seed.encode()).hexdigest()[:8]
            self._database.run(
                "INSERT INTO releases (id, at, asker, sql, plan_digest, body) VALUES (?, ?, ?, ?, ?, ?)",
                (identifier, at, asker, sql, plan_digest, json.dumps(body, allow_nan=False)),
            )
            if most is not None:
                self._database.run(
                    "DELETE FROM releases WHERE asker = ? AND id NOT IN"
                    " (SELECT id FROM releases WHERE asker = ? ORDER BY at DESC, rowid DESC LIMIT ?)",
                    (asker, asker, most),
                )
            return identifier

    def get(self, identifier: str) -> StoredRelease:
        """The release of that id.

        Raises:
            UsageError: code `no_release`.
        """
        row = self._database.row("SELECT * FROM releases WHERE id = ?", (identifier,))
        if row is None:
            raise UsageError(
                f"no release {identifier}", code="no_release", remedy="`privcompute releases list` lists them"
            )
        return _release(row)

    def all(self) -> list[StoredRelease]:
        """All releases, oldest first."""
        return [_release(row) for row in self._database.rows("SELECT * FROM releases ORDER BY at")]


def _release(row: Any) -> StoredRelease:
    return StoredRelease(row["id"], row["at"], row["asker"], row["sql"], row["plan_digest"], json.loads(row["body"]))
