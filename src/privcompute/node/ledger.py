"""The ledger against differencing: which sets of own keys were selected for what was released.

Two released sums whose selected keys differ by one person give away that person. So a query is refused when a set of
own keys that it selects (by filter, group or CASE, or by the values of an expression, see `levels`) differs by
1 ... minimum - 1 keys from a set of an earlier query, whoever asked it, from another set of the same query, or from
everybody: the matches tell how many there are. The minimum is this owner's own; the peer does not choose it.

Each owner checks its own side; the peer's private filter and weights are not covered, nor are two versions of a dataset
compared with each other.

A query is recorded before anything of it opens: a run that is killed afterwards counts as released. A peer's query that
is refused here counts among its queries too: each refusal tells it a little about who is in the table.
"""

from __future__ import annotations

import hashlib
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from privcompute.errors import IntegrityError, PrivacyError
from privcompute.node.database import Database

_EVERYBODY = "everybody in the dataset"

Selection = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One query that counts as released on one version of a dataset; `at` in seconds since 1970."""

    number: int
    dataset: str
    peer: str
    plan_digest: str
    at: float


class Ledger:
    """The ledger in the state file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def check(self, version: str, selections: Sequence[Selection], minimum: int) -> None:
        """Refuse selections that differ too little from an earlier or another one.

        Args:
            version: The dataset version whose canonical key order the selections are in.
            selections: One array (keys,) per selected set, over the distinct keys in canonical order.
            minimum: How many keys two sets have to differ by, if they differ: the owner's own minimum.

        Raises:
            PrivacyError: code `differencing`.
        """
        with self._database.transaction():
            self._check(version, [_Packed.of(one) for one in selections], minimum)

    def record(
        self,
        *,
        version: str,
        dataset: str,
        peer: str,
        plan_digest: str,
        selections: Sequence[Selection],
        minimum: int,
        most_queries: int,
    ) -> int:
        """Check the selections and the peer's number of queries, then record both, in one transaction.

        Call it before anything opens. Returns the number of the entry.

        Raises:
            PrivacyError: code `differencing` or `queries_spent`; nothing is recorded then.
        """
        packed = [_Packed.of(one) for one in selections]
        with self._database.transaction():
            self.check_queries(version, dataset, peer, most_queries)
            self._check(version, packed, minimum)
            number = self.count(version=version, dataset=dataset, peer=peer, plan_digest=plan_digest)
            for one in packed:
                self._database.run(
                    "INSERT OR IGNORE INTO ledger_sets (version, digest, keys, selected, bitmap, first_entry)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (version, one.digest, one.keys, one.selected, zlib.compress(one.bits.tobytes(), 1), number),
                )
            return number

    def count(self, *, version: str, dataset: str, peer: str, plan_digest: str) -> int:
        """Count one query of the peer without any selection; the number of its entry.

        For a query that was refused because of its selections: the refusal says how near they are to others.
        """
        with self._database.transaction():
            self._database.run(
                "INSERT INTO ledger_entries (version, dataset, peer, plan_digest, at) VALUES (?, ?, ?, ?, ?)",
                (version, dataset, peer, plan_digest, time.time()),
            )
            row = self._database.row("SELECT last_insert_rowid()")
            return int(row[0]) if row else 0

    def check_queries(self, version: str, dataset: str, peer: str, most: int) -> None:
        """Refuse a peer that has had its number of queries on this version.

        Raises:
            PrivacyError: code `queries_spent`.
        """
        spent = self.queries(version, peer)
        if spent >= most:
            raise PrivacyError(
                f"{peer} has asked {spent} queries on this version of {dataset}, the owner's limit",
                code="queries_spent",
                party=peer,
                remedy="the owner raises limits.queries_per_peer in node.toml, or the data change",
            )

    def queries(self, version: str, peer: str) -> int:
        """How many queries of this peer the ledger holds for this version."""
        row = self._database.row("SELECT count(*) FROM ledger_entries WHERE version = ? AND peer = ?", (version, peer))
        return int(row[0]) if row else 0

    def epoch(self, version: str) -> int:
        """The number of the last entry for this version (0: none); it enters the session digest."""
        row = self._database.row("SELECT coalesce(max(number), 0) FROM ledger_entries WHERE version = ?", (version,))
        return int(row[0]) if row else 0

    def entries(self, version: str | None = None) -> list[LedgerEntry]:
        """The entries of one version or of all, oldest first."""
        rows = (
            self._database.rows("SELECT * FROM ledger_entries ORDER BY number")
            if version is None
            else self._database.rows("SELECT * FROM ledger_entries WHERE version = ? ORDER BY number", (version,))
        )
        return [LedgerEntry(r["number"], r["dataset"], r["peer"], r["plan_digest"], r["at"]) for r in rows]

    def _check(self, version: str, packed: Sequence[_Packed], minimum: int) -> None:
        for one in packed:
            if 0 < one.keys - one.selected < minimum:
                raise _near(_EVERYBODY, minimum)
        for one, other in combinations(packed, 2):
            _refuse_if_near(one, other.bits, minimum, "another set of the same query")
        for one in packed:
            # Sets whose sizes differ by `minimum` or more cannot be near.
            near = self._database.rows(
                "SELECT keys, bitmap FROM ledger_sets WHERE version = ? AND selected BETWEEN ? AND ? AND digest <> ?",
                (version, one.selected - minimum + 1, one.selected + minimum - 1, one.digest),
            )
            for row in near:
                _refuse_if_near(one, _bits(row, one), minimum, "the set of an earlier query")


@dataclass(frozen=True, slots=True, repr=False)
class _Packed:
    """A selection as bits: `bits` (ceil(keys / 8),) uint8."""

    keys: int
    selected: int
    digest: bytes
    bits: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, selection: Selection) -> _Packed:
        bits = np.packbits(np.ascontiguousarray(selection, dtype=np.bool_))
        digest = hashlib.sha256(len(selection).to_bytes(8, "big") + bits.tobytes()).digest()
        return cls(len(selection), int(np.count_nonzero(selection)), digest, bits)


def _bits(row: Any, one: _Packed) -> npt.NDArray[np.uint8]:
    bits = np.frombuffer(zlib.decompress(row["bitmap"]), dtype=np.uint8)
    if row["keys"] != one.keys or len(bits) != len(one.bits):
        raise IntegrityError(
            "the ledger holds another number of keys for this version of the dataset",
            code="ledger_mismatch",
            remedy="run `privcompute dataset edit NAME --refresh`, which gives the changed data a new version",
        )
    return bits


def _refuse_if_near(one: _Packed, other: npt.NDArray[np.uint8], minimum: int, what: str) -> None:
    difference = int(np.bitwise_count(one.bits ^ other).sum(dtype=np.int64))
    if 0 < difference < minimum:
        raise _near(what, minimum)


def _near(what: str, minimum: int) -> PrivacyError:
    # The number itself stays at home: the refusal travels to the peer.
    remedy = (
        "ask without that condition or expression, or with one that leaves out more people"
        if what == _EVERYBODY
        else "ask for the same people as before, or for a selection that differs by more of them"
    )
    return PrivacyError(
        f"the people selected here differ from {what} by fewer than {minimum}", code="differencing", remedy=remedy
    )
