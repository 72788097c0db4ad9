"""The ledger against differencing: which sets of own keys were selected for what was released.

Two released sums whose selected keys differ by one person give away that person. So a query is refused when a set of
own keys that it selects (by filter, group or CASE, or by the values of an expression, see `levels`) differs by
1 ... minimum - 1 keys from a set of an earlier query, whoever asked it, from another set of the same query, or from
everybody: the matches tell how many there are. The minimum is this owner's own; the peer does not choose it.

In a union the groups part the selected keys into cells. Every cell is such a set; but cells of one partition are not
compared with each other, only those that have a key in common count as near, and everybody is no set by itself: nobody
learns one holder's matches. What a union releases is a sum over holders, so it is also refused if its holders differ
by 1 ... least - 1 from those of an earlier union over the same version.

Each owner checks its own side; the peer's private filter and weights are not covered, nor are two versions of a dataset
compared with each other.

A query is recorded before anything of it opens: a run that is killed afterwards counts as released. A peer's query that
is refused here counts among its queries too: each refusal tells it a little about who is in the table.
"""

from __future__ import annotations

import hashlib
import json
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
import numpy.typing as npt

from privcompute.errors import IntegrityError, PrivacyError
from privcompute.node.database import Database
from privcompute.node.partitions import CellSets, may_be_near, sizes_of

_EVERYBODY = "everybody in the dataset"
_SAME_QUERY = "another set of the same query"
_EARLIER = "the set of an earlier query"

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

    def check(
        self, version: str, selections: Sequence[Selection], minimum: int, partitions: Sequence[CellSets] = ()
    ) -> None:
        """Refuse selections that differ too little from an earlier or another one.

        Args:
            version: The dataset version whose canonical key order the selections are in.
            selections: One array (keys,) per selected set, over the distinct keys in canonical order.
            minimum: How many keys two sets have to differ by, if they differ: the owner's own minimum.
            partitions: Families of sets, over the same keys.

        Raises:
            PrivacyError: code `differencing`.
        """
        with self._database.transaction():
            self._check(version, [_Packed.of(one) for one in selections], minimum)
        self._check_partitions(version, partitions, selections, minimum)

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
        partitions: Sequence[CellSets] = (),
    ) -> int:
        """Check the selections and the peer's number of queries, then record both, in one transaction.

        Call it before anything opens. Returns the number of the entry.

        Raises:
            PrivacyError: code `differencing` or `queries_spent`; nothing is recorded then.
        """
        packed = [_Packed.of(one) for one in selections]
        bodies = [(one.digest, one.to_bytes(), one) for one in partitions]
        # Many partitions take seconds to compare: what is there already before, what came meanwhile inside.
        seen = self.epoch(version)
        self._check_partitions(version, partitions, selections, minimum)
        with self._database.transaction():
            self.check_queries(version, dataset, peer, most_queries)
            self._check(version, packed, minimum)
            self._check_partitions(version, partitions, selections, minimum, after=seen)
            number = self.count(version=version, dataset=dataset, peer=peer, plan_digest=plan_digest)
            for one in packed:
                self._database.run(
                    "INSERT OR IGNORE INTO ledger_sets (version, digest, keys, selected, bitmap, first_entry)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (version, one.digest, one.keys, one.selected, zlib.compress(one.bits.tobytes(), 1), number),
                )
            for digest, body, family in bodies:
                self._database.run(
                    "INSERT OR IGNORE INTO ledger_partitions (version, digest, keys, pairs, body, first_entry)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (version, digest, family.keys, len(family.members), body, number),
                )
            return number

    def record_holders(self, version: str, *, peer: str, plan_digest: str, holders: Sequence[str], least: int) -> None:
        """Remember whose rows a union is over; refuse holders that differ too little from an earlier union's.

        The difference of two such sums is one over the few holders in which they differ. Call it before anything
        opens, and before this holder agrees to the set.

        Args:
            version: This holder's dataset version.
            peer: Who asks.
            plan_digest: Of the plan.
            holders: The names, this holder's among them.
            least: How many holders two sets have to differ by, if they differ: the owner's own minimum.

        Raises:
            PrivacyError: code `differencing_holders`; nothing is recorded then.
        """
        with self._database.transaction():
            self.check_holders(version, holders, least)
            self._database.run(
                "INSERT OR IGNORE INTO ledger_holders (version, holders, peer, plan_digest, at) VALUES (?, ?, ?, ?, ?)",
                (version, json.dumps(sorted(set(holders))), peer, plan_digest, time.time()),
            )

    def check_holders(self, version: str, holders: Sequence[str], least: int) -> None:
        """As `record_holders`, and remembers nothing.

        Raises:
            PrivacyError: code `differencing_holders`.
        """
        now = set(holders)
        for row in self._database.rows("SELECT holders FROM ledger_holders WHERE version = ?", (version,)):
            if 0 < len(now.symmetric_difference(json.loads(row["holders"]))) < least:
                raise PrivacyError(
                    f"the holders differ from those of an earlier union by fewer than {least}",
                    code="differencing_holders",
                    remedy="ask over the same holders as before, or over a set that differs by more of them",
                )

    def record_holders_for(
        self, wanted: Mapping[str, int], *, peer: str, plan_digest: str, holders: Sequence[str]
    ) -> None:
        """`record_holders` for the rows of several owners, all or none: for who alone sees whose rows are opened.

        Args:
            wanted: By dataset version, how many holders its owner wants two sets to differ by.
            peer: Who asks.
            plan_digest: Of the plan.
            holders: The names.

        Raises:
            PrivacyError: code `differencing_holders`; nothing is recorded then.
        """
        with self._database.transaction():
            for version, least in wanted.items():
                self.record_holders(version, peer=peer, plan_digest=plan_digest, holders=holders, least=least)

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
            _refuse_if_near(one, other.bits, minimum, _SAME_QUERY)
        for one in packed:
            # Sets whose sizes differ by `minimum` or more cannot be near.
            near = self._database.rows(
                "SELECT keys, bitmap FROM ledger_sets WHERE version = ? AND selected BETWEEN ? AND ? AND digest <> ?",
                (version, one.selected - minimum + 1, one.selected + minimum - 1, one.digest),
            )
            for row in near:
                _refuse_if_near(one, _bits(row, one), minimum, _EARLIER)

    def _check_partitions(
        self,
        version: str,
        partitions: Sequence[CellSets],
        selections: Sequence[Selection],
        minimum: int,
        *,
        after: int | None = None,
    ) -> None:
        """Compare partitions with each other and with plain sets, and both with what earlier queries left of the other.

        Args:
            version: as for `check`.
            partitions: likewise.
            selections: likewise; plain sets among themselves are `_check`'s.
            minimum: likewise.
            after: compare with entries of greater numbers only.
        """
        earlier = self._database.rows(
            "SELECT digest FROM ledger_partitions WHERE version = ? AND first_entry > ?", (version, after or 0)
        )
        if not partitions and not earlier:
            return
        families = {one.digest: one for one in partitions}
        plain = [CellSets.single(one) for one in selections]
        if after is None:
            pairs = [*combinations(families.values(), 2), *product(families.values(), plain)]
            if any(one.near(other, minimum) for one, other in pairs):
                raise _near(_SAME_QUERY, minimum)
        for row in earlier:
            others = [one for digest, one in families.items() if digest != row["digest"]]
            self._check_partition(version, row["digest"], [*others, *plain], minimum)
        for row in self._database.rows(
            "SELECT digest, selected FROM ledger_sets WHERE version = ? AND first_entry > ?", (version, after or 0)
        ):
            size = np.array([row["selected"]], dtype=np.int64)
            compared = [one for one in families.values() if may_be_near(one.sizes, size, minimum)]
            if compared:
                before = CellSets.single(self._selection(version, row["digest"], compared[0].keys))
                if any(one.near(before, minimum) for one in compared):
                    raise _near(_EARLIER, minimum)

    def _check_partition(self, version: str, digest: bytes, families: Sequence[CellSets], minimum: int) -> None:
        # One at a time: a hundred large ones would not fit into memory.
        row = self._database.row(
            "SELECT keys, body FROM ledger_partitions WHERE version = ? AND digest = ?", (version, digest)
        )
        if row is None:
            return
        sizes = sizes_of(row["body"])
        compared = [one for one in families if may_be_near(one.sizes, sizes, minimum)]
        if any(one.keys != row["keys"] for one in compared):
            raise _mismatch()
        if compared:
            before = CellSets.from_bytes(row["body"])
            if any(one.near(before, minimum) for one in compared):
                raise _near(_EARLIER, minimum)

    def _selection(self, version: str, digest: bytes, keys: int) -> Selection:
        row = self._database.row(
            "SELECT keys, bitmap FROM ledger_sets WHERE version = ? AND digest = ?", (version, digest)
        )
        if row is None or row["keys"] != keys:
            raise _mismatch()
        bits = np.frombuffer(zlib.decompress(row["bitmap"]), dtype=np.uint8)
        return np.unpackbits(bits, count=keys).astype(np.bool_)


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
        raise _mismatch()
    return bits


def _mismatch() -> IntegrityError:
    return IntegrityError(
        "the ledger holds another number of keys for this version of the dataset",
        code="ledger_mismatch",
        remedy="run `privcompute dataset edit NAME --refresh`, which gives the changed data a new version",
    )


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
