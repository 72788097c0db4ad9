"""Manual consent: what a peer asked, waiting for this node's owner to approve or refuse it.

An approval is for one peer and one plan digest (SQL, disclosure, parameters, dataset versions), and for one run. It
does not wait for ever: after a day, or what the owner sets, the request waits for the owner again.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from typing import Any, Literal

from privcompute.errors import UsageError
from privcompute.node.database import Database

State = Literal["waiting", "approved", "refused", "used"]

_MOST_WAITING = 100  # per peer: a peer must not fill this node's disk with requests


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `plan` is the plan's public description (sql, disclosure, cost), `asked` in seconds since 1970."""

    id: str
    peer: str
    plan_digest: str
    sql: str
    plan: dict[str, Any]
    state: State
    asked: float
    decided: float | None


class Requests:
    """The requests in the state file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def submit(self, peer: str, plan_digest: str, sql: str, plan: dict[str, Any]) -> Request:
        """The open request for this plan: an earlier one that is not used up, else a new one that waits.

        Raises:
            UsageError: code `requests_full`, the peer has too many waiting already.
        """
        with self._database.transaction():
            known = self.find(peer, plan_digest)
            if known is not None:
                return known
            waiting = self._database.row("SELECT count(*) FROM requests WHERE peer = ? AND state = 'waiting'", (peer,))
            if waiting is not None and waiting[0] >= _MOST_WAITING:
                raise UsageError(
                    f"{waiting[0]} requests of {peer} wait already",
                    code="requests_full",
                    party=peer,
                    remedy="the owner decides them first, with `privcompute requests`",
                )
            at = time.time()
            number = self._database.row("SELECT count(*) FROM requests")
            seed = f"{peer} {plan_digest} {at} {number[0] if number else 0}"
            identifier = "q" + hashlib.sha256(seed.encode()).hexdigest()[:8]
            self._database.run(
                "INSERT INTO requests (id, peer, plan_digest, sql, plan, state, asked)"
                " VALUES (?, ?, ?, ?, ?, 'waiting', ?)",
                (identifier, peer, plan_digest, sql, json.dumps(plan), at),
            )
            return self.get(identifier)

    def find(self, peer: str, plan_digest: str) -> Request | None:
        """The newest request of this peer for this plan that is not used up."""
        row = self._database.row(
            "SELECT * FROM requests WHERE peer = ? AND plan_digest = ? AND state <> 'used' ORDER BY asked DESC LIMIT 1",
            (peer, plan_digest),
        )
        return _request(row) if row else None

    def expire(self, seconds: float) -> int:
        """Let approvals that are older than this, and were not used, wait for the owner again; returns how many."""
        return self._database.run(
            "UPDATE requests SET state = 'waiting', decided = NULL WHERE state = 'approved' AND decided < ?",
            (time.time() - seconds,),
        )

    def approved(self, peer: str, plan_digest: str) -> bool:
        """Whether an unused approval for this peer and plan is here."""
        found = self.find(peer, plan_digest)
        return found is not None and found.state == "approved"

    def use(self, peer: str, plan_digest: str) -> bool:
        """Spend the approval of this peer and plan, if there is one; call it before anything opens."""
        return bool(
            self._database.run(
                "UPDATE requests SET state = 'used' WHERE peer = ? AND plan_digest = ? AND state = 'approved'",
                (peer, plan_digest),
            )
        )

    def get(self, identifier: str) -> Request:
        """The request of that id.

        Raises:
            UsageError: code `no_request`.
        """
        row = self._database.row("SELECT * FROM requests WHERE id = ?", (identifier,))
        if row is None:
            raise UsageError(f"no request {identifier}", code="no_request", remedy="`privcompute requests` lists them")
        return _request(row)

    def all(self, *, state: State | None = None) -> list[Request]:
        """All requests, or those in one state, oldest first."""
        if state is None:
            return [_request(row) for row in self._database.rows("SELECT * FROM requests ORDER BY asked")]
        rows = self._database.rows("SELECT * FROM requests WHERE state = ? ORDER BY asked", (state,))
        return [_request(row) for row in rows]

    def decide(self, identifier: str, *, approve: bool) -> Request:
        """Approve or refuse a request; a used one stays used.

        Raises:
            UsageError: code `no_request` or `request_used`.
        """
        with self._database.transaction():
            request = self.get(identifier)
            if request.state == "used":
                raise UsageError(
                    f"request {identifier} has run already",
                    code="request_used",
                    remedy="each approval is for one run; the peer asks again for another",
                )
            self._database.run(
                "UPDATE requests SET state = ?, decided = ? WHERE id = ?",
                ("approved" if approve else "refused", time.time(), identifier),
            )
            return self.get(identifier)


def _request(row: Any) -> Request:
    return Request(
        id=row["id"],
        peer=row["peer"],
        plan_digest=row["plan_digest"],
        sql=row["sql"],
        plan=json.loads(row["plan"]),
        state=row["state"],
        asked=row["asked"],
        decided=row["decided"],
    )
