"""Private set intersection by commutative masks on Curve25519: who of my keys does the peer hold too?

Inputs: each party its distinct keys as canonical bytes (`privcompute.psi.encode_keys`), nx and ny of them; both sizes
    are declared, hence public.
Needs: a fresh scalar per run; a hash to the curve (RFC 9380, x-only Elligator 2) bound to the session.
Output: each party the positions of the common keys in its own list, both in the same order.
Learned: the matches; from the peer's set besides that nothing but its declared size. A peer that deviates can bring any
    set it likes, which is why sizes and their ratio are capped, but cannot make the two lists of matches differ unseen.
Source: Meadows, IEEE S&P 1986; Huberman, Franklin, Hogg, EC 1999; curve and hash RFC 7748 and RFC 9380.
Steps:
    1. Draw a scalar a. Compute M = a·H(key) for every key and sort the set by M, so that its order says nothing.
    2. Send M in that order, a chunk at a time.
    3. For each chunk of the peer's set: check every element (32 bytes, canonical, of large order, ascending, hence
       without duplicates), compute a·M and send the first ceil((40 + log2(nx·ny)) / 8) bytes of each, in the received
       order, as tags. Keep them.
    4. Receive the peer's tags of the own set. Both parties now hold the same two lists of tags.
    5. The tags in both lists are the matches, in the order of the tags. If two keys of one set have one tag, both
       parties see it and start again at 1 with fresh scalars.
    6. Exchange a digest of the common tags and of all that was sent and received, and compare; if they differ, the run
       ends and nothing is used: a damaged element would else be a match that is silently missing.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from privcompute.errors import IntegrityError, PeerError, TransportError, UsageError
from privcompute.psi import curve
from privcompute.psi.cost import CHUNK, DIGEST, POINT, PsiLimits, tag_bytes
from privcompute.randomness import equal
from privcompute.session import Session, protocol

ATTEMPTS: Final = 3
"""Runs before a repeated tag collision, of chance 2**-40 each, is called an attack."""

WINDOW: Final = 4
"""Chunks of a set on their way before the first of them is answered: the memory a peer can ask for."""

T = TypeVar("T")
U = TypeVar("U")
Tags = NDArray[np.uint8]


@protocol(
    "dh_psi",
    source="Huberman, Franklin, Hogg, EC 1999; RFC 9380; RFC 7748",
    rounds=3,
    learned="which of its own keys the peer holds too",
)
async def dh_psi(
    s: Session,
    peer: str,
    items: pa.LargeBinaryArray | Sequence[bytes],
    *,
    peer_items: int,
    limits: PsiLimits | None = None,
    workers: int | None = None,
) -> NDArray[np.int64]:
    """Positions in ``items`` of the keys that the peer holds too, in an order that is the same on both sides.

    Args:
        s: The session; its id enters the hash, so masks of two sessions never compare.
        peer: The other party.
        items: Distinct canonical keys.
        peer_items: Size of the peer's set as it declared it; the peer must have declared ours likewise.
        limits: Caps on sizes and their ratio; default `PsiLimits()`.
        workers: Threads for the curve; default: one a core.

    Returns:
        (matches,) int64. If either set is empty, nothing is sent.

    Raises:
        UsageError: ``duplicate_keys``: the own keys are not distinct.
        PrivacyError: ``psi_size``, ``psi_ratio``: a cap; nothing was sent.
        PeerError: ``bad_elements``: the peer's set breaks a rule of step 3; ``bad_frame``: its size is not as declared.
        IntegrityError: ``psi_digest``, ``psi_collisions``: the parties did not compute the same intersection.
    """
    keys = items if isinstance(items, pa.LargeBinaryArray) else pa.array(items, pa.large_binary())
    (limits or PsiLimits()).check(len(keys), peer_items)
    if not len(keys) or not peer_items:
        return np.empty(0, np.int64)
    for attempt in range(1, ATTEMPTS + 1):
        run = _Attempt(s, peer, attempt, tag_bytes(len(keys), peer_items), workers)
        # 1.
        scalar = s.rng.private(f"scalar-{attempt}").bytes(32)
        with _progress(s, len(keys)) as tell:
            masked, order = await s.off_loop(run.mask_sorted, scalar, keys, tell)
        answering = asyncio.Event()
        of_mine, (of_theirs, seen) = await _both(run.ask(masked, answering), run.answer(scalar, peer_items, answering))
        # 5.
        matches, common = await s.off_loop(align, of_mine, of_theirs)
        # 6.
        await run.agree(await s.off_loop(run.transcript, masked, of_mine, seen, of_theirs, common))
        if matches is not None:
            return order[matches]
    raise IntegrityError("tags collided in every attempt", code="psi_collisions", party=peer, stage=s.path)


@dataclass(frozen=True)
class _Attempt:
    """One attempt of the protocol: its public parameters and its messages' names."""

    s: Session
    peer: str
    number: int
    width: int
    workers: int | None

    def mask_sorted(
        self, scalar: bytes, keys: pa.LargeBinaryArray, tell: Callable[[int], None]
    ) -> tuple[curve.Points, NDArray[np.int64]]:
        """The own set masked, ascending, and which key each row came from."""
        dst = b"privcompute-v1|psi-dh|" + hashlib.sha256(self.s.id + b"|" + self.s.path.encode()).digest()
        masked = curve.mask_keys(keys, scalar, dst, workers=self.workers, progress=tell)
        order = ascending_order(masked)
        masked = masked[order]
        if not is_ascending(words(masked)):
            raise UsageError(
                "the keys are not distinct",
                code="duplicate_keys",
                remedy="hand in each key once; duplicates are summed per key before the intersection",
            )
        return masked, order

    async def ask(self, masked: curve.Points, answering: asyncio.Event) -> Tags:
        """Sends the own masked set and collects the peer's tags of it, at most `WINDOW` chunks apart.

        Reads no tag before the own answers have begun: they do not depend on it, and so the count of rounds says.
        """
        s, total = self.s, len(masked)
        tags = np.empty((total, self.width), np.uint8)
        bounds = [(start, min(start + CHUNK, total)) for start in range(0, total, CHUNK)]
        for step in range(len(bounds) + WINDOW):
            if step < len(bounds):
                # 2.
                start, stop = bounds[step]
                await s.send(self.peer, f"masked-{self.number}", masked[start:stop])
            if 0 <= step - WINDOW < len(bounds):
                # 4.
                await answering.wait()
                start, stop = bounds[step - WINDOW]
                name = f"tags-{self.number}"
                tags[start:stop] = await s.recv(self.peer, name, np.uint8, (stop - start, self.width))
        return tags

    async def answer(self, scalar: bytes, total: int, answering: asyncio.Event) -> tuple[Tags, bytes]:
        """Checks and answers the peer's set chunk by chunk; the tags sent, in the received order, and its hash."""
        s, seen = self.s, hashlib.sha256()
        tags = np.empty((total, self.width), np.uint8)
        last: NDArray[np.uint64] | None = None
        for start in range(0, total, CHUNK):
            stop = min(start + CHUNK, total)
            # 3.
            points = await s.recv(self.peer, f"masked-{self.number}", np.uint8, (stop - start, POINT))
            await s.off_loop(seen.update, points.data)
            twice = await s.off_loop(self._tag_chunk, scalar, points, last)
            last = words(points[-1:])
            tags[start:stop] = twice
            await s.send(self.peer, f"tags-{self.number}", twice)
            answering.set()
            s.progress("matching keys", stop, total)
        return tags, seen.digest()

    def _tag_chunk(self, scalar: bytes, points: curve.Points, last: NDArray[np.uint64] | None) -> Tags:
        rows = words(points)
        if not acceptable(rows if last is None else np.concatenate([last, rows])):
            raise self._refused()
        twice = curve.multiply(scalar, points, workers=self.workers)
        if not twice.any(axis=1).all():
            raise self._refused()
        return np.ascontiguousarray(twice[:, : self.width])

    def _refused(self) -> PeerError:
        # One text for whatever is wrong: which element failed, and how, is nobody's business.
        return PeerError(
            "the peer's masked set is not acceptable",
            code="bad_elements",
            party=self.peer,
            stage=self.s.path,
            remedy="check that both nodes run the same version, then ask again",
        )

    def transcript(
        self, masked: curve.Points, of_mine: Tags, seen: bytes, of_theirs: Tags, common: Tags | None
    ) -> bytes:
        """A hash of both masked sets, both lists of tags and the outcome, the same at both parties."""
        views = {
            self.s.me: hashlib.sha256(masked.data).digest() + hashlib.sha256(of_mine.data).digest(),
            self.peer: seen + hashlib.sha256(of_theirs.data).digest(),
        }
        about = f"privcompute-v1|psi-digest|{self.s.path}|{self.number}|".encode()
        outcome = b"collision" if common is None else b"common" + common.tobytes()
        both = b"".join(views[name] for name in sorted(views))
        return hashlib.sha256(about + hashlib.sha256(self.s.id).digest() + both + outcome).digest()

    async def agree(self, transcript: bytes) -> None:
        """Compares what both parties saw and found."""
        await self.s.send(self.peer, f"digest-{self.number}", self._digest(self.s.me, transcript))
        theirs = await self.s.recv(self.peer, f"digest-{self.number}", np.uint8, (DIGEST,))
        if not equal(self._digest(self.peer, transcript).tobytes(), theirs.tobytes()):
            raise IntegrityError(
                "the two parties did not compute the same intersection",
                code="psi_digest",
                party=self.peer,
                stage=self.s.path,
                remedy="nothing was released; ask again, and if it repeats compare the nodes' versions",
            )

    @staticmethod
    def _digest(party: str, transcript: bytes) -> NDArray[np.uint8]:
        # The sender's name is in it, so that a digest cannot be returned as an echo.
        return np.frombuffer(hashlib.sha256(transcript + party.encode()).digest(), np.uint8)


@contextmanager
def _progress(s: Session, total: int) -> Iterator[Callable[[int], None]]:
    """Takes news of the masking from its threads to the session's loop: to a peer that waits they are signs of life.

    When the block is left early, by a cancellation say, the next piece of news ends the work in the threads too.
    """
    loop, left = asyncio.get_running_loop(), threading.Event()

    def tell(done: int) -> None:
        if left.is_set():
            raise TransportError("the run has ended", code="cancelled", stage=s.path)
        loop.call_soon_threadsafe(s.progress, "masking keys", done, total)

    try:
        yield tell
    finally:
        left.set()


async def _both(first: Coroutine[Any, Any, T], second: Coroutine[Any, Any, U]) -> tuple[T, U]:
    """Runs two coroutines side by side; the first error stops the other and is raised as it is."""
    one, two = asyncio.ensure_future(first), asyncio.ensure_future(second)
    try:
        return await asyncio.gather(one, two)
    finally:
        one.cancel()
        two.cancel()
        await asyncio.gather(one, two, return_exceptions=True)


# -- rows of bytes as numbers ------------------------------------------------------------------------------------------


def words(rows: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """(n, w) bytes as (n, ceil(w / 8)) numbers that compare, column by column, as the bytes do."""
    count, width = rows.shape
    padded = np.zeros((count, -(-width // 8) * 8), np.uint8)
    padded[:, :width] = rows
    return padded.view(">u8").astype(np.uint64)


def ascending_order(rows: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The order that sorts rows of bytes; equal rows stay in order."""
    columns = words(rows)
    return np.lexsort(columns.T[::-1]).astype(np.int64)


def is_ascending(columns: NDArray[np.uint64]) -> bool:
    """True if the rows strictly ascend, which also says that no two are equal."""
    before, after = columns[:-1], columns[1:]
    less = np.zeros(len(before), np.bool_)
    tied = np.ones(len(before), np.bool_)
    for column in range(columns.shape[1]):
        less |= tied & (before[:, column] < after[:, column])
        tied &= before[:, column] == after[:, column]
    return bool(less.all())


_SMALL_ORDER = (  # canonical x of every point of order 1, 2, 4 and 8, of the curve and of its twist
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    2**255 - 20,
)


def acceptable(columns: NDArray[np.uint64]) -> bool:
    """The rules for a peer's masked points, given as `words` of their 32 bytes: all at once, one answer."""
    top = columns[:, 3] & np.uint64(0xFF)  # byte 31, the most significant of the little-endian coordinate
    all_ones = (columns[:, 0] & np.uint64(0x00FFFFFFFFFFFFFF)) == np.uint64(0x00FFFFFFFFFFFFFF)
    for column, wanted in ((1, 0xFFFFFFFFFFFFFFFF), (2, 0xFFFFFFFFFFFFFFFF), (3, 0xFFFFFFFFFFFFFF7F)):
        all_ones &= columns[:, column] == np.uint64(wanted)
    too_large = (top > np.uint64(0x7F)) | (all_ones & ((columns[:, 0] >> np.uint64(56)) >= np.uint64(0xED)))
    small = np.zeros(len(columns), np.bool_)
    for x in _SMALL_ORDER:
        row = words(np.frombuffer(x.to_bytes(32, "little"), np.uint8).reshape(1, 32))
        small |= (columns == row).all(axis=1)
    return is_ascending(columns) and not bool((too_large | small).any())


def align(of_mine: Tags, of_theirs: Tags) -> tuple[NDArray[np.int64] | None, Tags | None]:
    """The common tags of two lists, ascending, and their places in the first; two times None if a list repeats one."""
    both = np.concatenate([of_mine, of_theirs])
    columns = words(both)
    order = np.lexsort(columns.T[::-1])
    columns = columns[order]
    same = np.flatnonzero((columns[1:] == columns[:-1]).all(axis=1))
    first, second = order[same], order[same + 1]
    mine = len(of_mine)
    if bool(((first < mine) == (second < mine)).any()):
        return None, None
    # The sort is stable and `of_mine` comes first, so of an equal pair the first is mine.
    return first.astype(np.int64), of_mine[first]
