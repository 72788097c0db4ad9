"""Keys to points of Curve25519 and points times a secret scalar, many at a time on all cores.

The construction is x-only and sound throughout: RFC 9380 ``encode_to_curve`` with expand_message_xmd (SHA-512) and
Elligator 2 (curve25519_XMD:SHA-512_ELL2_NU_) gives the x-coordinate of a point *of the curve*, never of its twist; the
clamped scalar of RFC 7748 is a multiple of 8, so one X25519 both clears the cofactor and masks, and the result lies in
the subgroup of prime order. Taking a plain hash as x instead would leave half the points on the twist, where the ladder
keeps them: one leaked bit a key.

Clamping fixes which integer a scalar is; [a][b]P = [b][a]P holds for all integers, so masks commute. It does break
inverses: a mask cannot be taken off again, and nothing here does.

Arrays of points are (n, 32) uint8, little-endian x-coordinates, one row a point.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
from nacl.bindings import crypto_scalarmult
from numpy.typing import NDArray

from privcompute.errors import IntegrityError
from privcompute.psi import reference

Points = NDArray[np.uint8]

UNIFORM: Final = 48
"""Bytes of uniform randomness per field element, RFC 9380: ceil((255 + 128) / 8)."""

PIECE: Final = 2048
"""Points a thread takes at a time."""


_log = logging.getLogger(__name__)


class Engine(Protocol):
    """Batches of curve arithmetic; both methods release the GIL for most of their time."""

    @property
    def name(self) -> str:
        """For logs and benchmarks."""
        ...

    def elligator2(self, uniform: Points) -> Points:
        """(n, 48) big-endian uniform bytes to (n, 32) x-coordinates on the curve (RFC 9380 6.7.1)."""
        ...

    def x25519(self, scalar: bytes, points: Points) -> Points:
        """RFC 7748 X25519 of every point; a row of zeros where the point has small order."""
        ...


class SodiumEngine:
    """X25519 of libsodium, through PyNaCl; the map in Python integers. Runs wherever the wheels do."""

    name = "libsodium"

    def elligator2(self, uniform: Points) -> Points:
        """See `Engine`."""
        data = uniform.tobytes()
        out = bytearray()
        for start in range(0, len(data), UNIFORM):
            u = int.from_bytes(data[start : start + UNIFORM], "big") % reference.P
            out += reference.elligator2(u).to_bytes(32, "little")
        return np.frombuffer(bytes(out), np.uint8).reshape(-1, 32)

    def x25519(self, scalar: bytes, points: Points) -> Points:
        """See `Engine`."""
        data = points.tobytes()
        out = bytearray()
        for start in range(0, len(data), 32):
            try:
                out += crypto_scalarmult(scalar, data[start : start + 32])
            except Exception as error:
                if type(error).__module__ != "nacl.exceptions":
                    raise
                out += bytes(32)  # how libsodium says: small order
        return np.frombuffer(bytes(out), np.uint8).reshape(-1, 32)


def uniform_bytes(items: Sequence[bytes], dst: bytes) -> Points:
    """expand_message_xmd (SHA-512) of every item to 48 bytes: (n, 48).

    One block of output suffices (48 <= 64), so b_1 = H(b_0 || 1 || dst') is all of it. The zero block that every
    message starts with is hashed once.
    """
    if len(dst) > 255:
        raise ValueError("a domain separation tag has at most 255 bytes")
    start, tail = hashlib.sha512(bytes(128)), dst + bytes([len(dst)])
    after, last = UNIFORM.to_bytes(2, "big") + b"\0" + tail, b"\1" + tail
    sha512, out = hashlib.sha512, bytearray()
    for item in items:
        first = start.copy()
        first.update(item + after)
        out += sha512(first.digest() + last).digest()[:UNIFORM]
    return np.frombuffer(bytes(out), np.uint8).reshape(-1, UNIFORM)


def mask_keys(
    items: pa.LargeBinaryArray,
    scalar: bytes,
    dst: bytes,
    *,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Points:
    """X25519(scalar, hash_to_curve(item)) of every item, in order: (n, 32).

    Args:
        items: Canonical bytes of the keys.
        scalar: 32 secret bytes.
        dst: Domain separation tag, at most 255 bytes.
        workers: Threads; default: as many as there are cores.
        progress: Hears, from a worker thread, how many items are done; what it raises ends the work.
    """
    chosen = engine()

    def piece(start: int, stop: int) -> Points:
        texts: Any = items.slice(start, stop - start).to_pylist()
        return chosen.x25519(scalar, chosen.elligator2(uniform_bytes(texts, dst)))

    return _spread(piece, len(items), workers, progress)


def multiply(scalar: bytes, points: Points, *, workers: int | None = None) -> Points:
    """X25519 of every point under one scalar: (n, 32); rows of zeros where a point has small order."""
    chosen = engine()
    return _spread(lambda start, stop: chosen.x25519(scalar, points[start:stop]), len(points), workers, None)


def _spread(
    piece: Callable[[int, int], Points], count: int, workers: int | None, progress: Callable[[int], None] | None
) -> Points:
    """Runs ``piece`` over [0, count) in slices, on threads, and puts the rows together in order."""
    out = np.empty((count, 32), np.uint8)
    workers = max(1, workers or os.cpu_count() or 1)
    step = min(PIECE, max(64, -(-count // workers)))
    done, lock = 0, threading.Lock()

    def run(start: int) -> None:
        nonlocal done
        stop = min(start + step, count)
        out[start:stop] = piece(start, stop)
        with lock:
            done += stop - start
            if progress is not None:
                progress(done)

    starts = range(0, count, step)
    if workers == 1 or len(starts) < 2:
        for start in starts:
            run(start)
    else:
        with ThreadPoolExecutor(workers, thread_name_prefix="x25519") as pool:
            for _ in pool.map(run, starts):
                pass
    return out


# -- which engine ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Chosen:
    """The map of one engine and the ladder of another."""

    name: str
    map: Engine
    ladder: Engine

    def elligator2(self, uniform: Points) -> Points:
        return self.map.elligator2(uniform)

    def x25519(self, scalar: bytes, points: Points) -> Points:
        return self.ladder.x25519(scalar, points)


@functools.cache
def engine() -> Engine:
    """The fastest engine that gives the known answers on this machine; tried and measured once a process.

    Takes a third of a second; the first time after an installation some five more, while numba compiles: `warm_up`.
    """
    sodium = SodiumEngine()
    self_test(sodium)
    try:
        # Here, not above: numba takes its time to import and this module is imported for its types alone, too.
        from privcompute.psi.vector import VectorEngine

        vector = VectorEngine()
        self_test(vector)
    except Exception as error:  # whatever keeps numba from working here: the slower engine gives the same answers
        _log.warning("the vector engine for X25519 does not work on this machine: %s", type(error).__name__)
        return sodium
    faster: Engine = vector if rate(vector) > rate(sodium) else sodium
    return _Chosen(faster.name, vector, faster)


def warm_up() -> str:
    """Chooses, and where needed compiles, the engine now and off the user's path; returns its name."""
    return engine().name


_RFC7748 = (  # RFC 7748 section 5.2: scalar, u-coordinate, output
    (
        "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
        "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
        "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
    ),
    (
        "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
        "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
        "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
    ),
)
_RFC9380 = (  # RFC 9380 appendix J.4.2: message, x of Q
    (b"", "51125222da5e763d97f3c10fcc92ea6860b9ccbbd2eb1285728f566721c1e65b"),
    (b"abc", "7d56d1e08cb0ccb92baf069c18c49bb5a0dcd927eff8dcf75ca921ef7f3e6eeb"),
)
_RFC9380_DST = b"QUUX-V01-CS02-with-curve25519_XMD:SHA-512_ELL2_NU_"


def self_test(candidate: Engine) -> None:
    """Known answers of RFC 7748 and RFC 9380, and the two rules for hostile input.

    Raises:
        IntegrityError: ``engine``: it computes something else.
    """
    good = True
    for scalar, point, result in _RFC7748:
        row = np.frombuffer(bytes.fromhex(point) * 3, np.uint8).reshape(3, 32)
        good &= candidate.x25519(bytes.fromhex(scalar), row).tobytes() == bytes.fromhex(result) * 3
    uniform = uniform_bytes([message for message, _ in _RFC9380], _RFC9380_DST)
    wanted = b"".join(bytes.fromhex(x)[::-1] for _, x in _RFC9380)
    good &= candidate.elligator2(uniform).tobytes() == wanted
    small = np.zeros((2, 32), np.uint8)
    small[1, 0] = 1
    good &= not candidate.x25519(b"\x40" * 32, small).any()
    if not good:
        raise IntegrityError(f"the X25519 engine {candidate.name} fails its self-test", code="engine")


def rate(candidate: Engine, count: int = 256) -> float:
    """X25519 a second on one core, from the best of three short runs, in the thread's own time.

    Not by the clock: on a busy machine that would now and then choose the slower engine.
    """
    points = np.zeros((count, 32), np.uint8)
    points[:, 0] = 9
    best = float("inf")
    for _ in range(3):
        begin = time.thread_time()
        candidate.x25519(b"\x40" * 32, points)
        best = min(best, time.thread_time() - begin)
    return count / best
