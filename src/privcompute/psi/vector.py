"""X25519 and Elligator 2 for many points at once, eight lanes wide, in numba; see `privcompute.psi.field`.

No branch and no memory address depends on a scalar, a point or a hash: loops run over public counts, choices are masks.
Inversions are batched over the groups of a block (Montgomery's trick), each lane for itself.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from privcompute.kernels.compiled import kernel
from privcompute.psi.field import (
    LANES,
    SLOT,
    SLOT_BYTES,
    fe_add,
    fe_carry,
    fe_freeze,
    fe_mul,
    fe_select,
    fe_squares,
    fe_step,
    fe_sub,
)

BLOCK: Final = 32
"""Groups of eight points that share one inversion; a block's memory stays in the second-level cache."""

# Slots of the workspace. The ladder's state must be consecutive.
_X2, _Z2, _X3, _Z3, _X1 = 0, 1, 2, 3, 4
_T0, _T1, _T2, _T3, _T4 = 5, 6, 7, 8, 9
_MASK, _ONE, _A, _MINUS_A = 10, 11, 12, 13
_XS, _ZS, _PREFIX = 14, 14 + BLOCK, 14 + 2 * BLOCK
_SLOTS = 14 + 3 * BLOCK

_M26, _M25, _M13 = (1 << 26) - 1, (1 << 25) - 1, (1 << 13) - 1
_SLOT, _SLOT_BYTES, _LANES, _BLOCK = SLOT, SLOT_BYTES, LANES, BLOCK  # plain ints for the compiler
_CURVE_A = 486662

_inline: Any = njit(nogil=True, inline="always")


def _add_words_(ws: Any, slot: int, rows: Any, first: int, words: int, factor: int) -> None:
    """Adds factor times the low 255 bits of 64-bit words, two or four a lane from ``first`` on, to an element."""
    for lane in range(_LANES):
        at = slot * _SLOT + lane
        w0, w1 = rows[lane, first], rows[lane, first + 1]
        w2, w3 = (rows[lane, first + 2], rows[lane, first + 3]) if words == 4 else (0, 0)
        ws[at] += factor * (w0 & _M26)
        ws[at + 8] += factor * ((w0 >> 26) & _M25)
        ws[at + 16] += factor * (((w0 >> 51) & _M13 | (w1 << 13)) & _M26)
        ws[at + 24] += factor * ((w1 >> 13) & _M25)
        ws[at + 32] += factor * ((w1 >> 38) & _M26)
        ws[at + 40] += factor * (w2 & _M25)
        ws[at + 48] += factor * ((w2 >> 25) & _M26)
        ws[at + 56] += factor * (((w2 >> 51) & _M13 | (w3 << 13)) & _M25)
        ws[at + 64] += factor * ((w3 >> 12) & _M26)
        ws[at + 72] += factor * ((w3 >> 38) & _M25)


_add_words = _inline(_add_words_)


def _take_words_(base: int, ws: Any, slot: int, out: Any) -> None:
    """The eight canonical values (below p) of an element as (8, 4) words, lowest first; uses T4."""
    fe_freeze(base + _T4 * _SLOT_BYTES, base + slot * _SLOT_BYTES)
    for lane in range(_LANES):
        at = _T4 * _SLOT + lane
        out[lane, 0] = ws[at] | (ws[at + 8] << 26) | (ws[at + 16] << 51)
        out[lane, 1] = (ws[at + 16] >> 13) | (ws[at + 24] << 13) | (ws[at + 32] << 38)
        out[lane, 2] = ws[at + 40] | (ws[at + 48] << 25) | (ws[at + 56] << 51)
        out[lane, 3] = (ws[at + 56] >> 13) | (ws[at + 64] << 12) | (ws[at + 72] << 38)


_take_words = _inline(_take_words_)


def _fill_(ws: Any, slot: int, value: int) -> None:
    """A small non-negative constant in every lane."""
    ws[slot * _SLOT : (slot + 1) * _SLOT] = 0
    ws[slot * _SLOT : slot * _SLOT + _LANES] = value


_fill = _inline(_fill_)


def _squares_(base: int, out: int, x: int, count: int) -> None:
    fe_squares(base + out * _SLOT_BYTES, base + x * _SLOT_BYTES, count)


_squares = _inline(_squares_)


def _times_(base: int, out: int, x: int, y: int) -> None:
    fe_mul(base + out * _SLOT_BYTES, base + x * _SLOT_BYTES, base + y * _SLOT_BYTES)


_times = _inline(_times_)


def _power_(base: int, z: int) -> None:
    """z^(2^250 - 1) into T2 and z^11 into T0, the common part of the two exponents; uses T1 and T3."""
    _squares(base, _T0, z, 1)  # 2
    _squares(base, _T1, _T0, 2)  # 8
    _times(base, _T1, z, _T1)  # 9
    _times(base, _T0, _T0, _T1)  # 11
    _squares(base, _T2, _T0, 1)  # 22
    _times(base, _T1, _T1, _T2)  # 2^5 - 1
    # From 2^a - 1 to 2^(a+b) - 1: square b times, multiply by z^(2^b - 1).
    _squares(base, _T2, _T1, 5)
    _times(base, _T1, _T2, _T1)  # 2^10 - 1
    _squares(base, _T2, _T1, 10)
    _times(base, _T2, _T2, _T1)  # 2^20 - 1
    _squares(base, _T3, _T2, 20)
    _times(base, _T2, _T3, _T2)  # 2^40 - 1
    _squares(base, _T2, _T2, 10)
    _times(base, _T1, _T2, _T1)  # 2^50 - 1
    _squares(base, _T2, _T1, 50)
    _times(base, _T2, _T2, _T1)  # 2^100 - 1
    _squares(base, _T3, _T2, 100)
    _times(base, _T2, _T3, _T2)  # 2^200 - 1
    _squares(base, _T2, _T2, 50)
    _times(base, _T2, _T2, _T1)  # 2^250 - 1


_power = _inline(_power_)


def _invert_all_(base: int, groups: int) -> None:
    """Replaces ZS[0..groups) by their inverses: one exponentiation, three products each; none may be zero."""
    _times(base, _PREFIX, _ZS, _ONE)
    for group in range(1, groups):
        _times(base, _PREFIX + group, _PREFIX + group - 1, _ZS + group)
    _power(base, _PREFIX + groups - 1)
    _squares(base, _T2, _T2, 5)
    _times(base, _T1, _T2, _T0)  # z^(2^255 - 21) = 1/z
    for back in range(groups - 1):
        group = groups - 1 - back
        _times(base, _T0, _T1, _PREFIX + group - 1)
        _times(base, _T1, _T1, _ZS + group)
        _times(base, _ZS + group, _T0, _ONE)
    _times(base, _ZS, _T1, _ONE)


_invert_all = _inline(_invert_all_)


def _ladder_(base: int, ws: Any, bits: Any, points: Any, out: Any) -> None:
    """X25519 of (8 m, 4) points under the scalar of these 255 bits (clamped, lowest first); zeros for small order."""
    _fill(ws, _ONE, 1)
    groups = len(points) // _LANES
    for begin in range(0, groups, _BLOCK):
        count = min(_BLOCK, groups - begin)
        for group in range(count):
            row = (begin + group) * _LANES
            _fill(ws, _X2, 1)
            _fill(ws, _Z2, 0)
            _fill(ws, _Z3, 1)
            _fill(ws, _X3, 0)
            _fill(ws, _X1, 0)
            _add_words(ws, _X3, points[row : row + _LANES], 0, 4, 1)
            _add_words(ws, _X1, points[row : row + _LANES], 0, 4, 1)
            before = np.int64(0)
            for place in range(254, -1, -1):
                # (x2, z2) holds the multiple last doubled, (x3, z3) the sum; which of the two is the lower one of the
                # ladder's pair follows from the last bit, so the doubling takes the other when two bits differ.
                bit = np.int64(bits[place])
                ws[_MASK * _SLOT : _MASK * _SLOT + _LANES] = -(bit ^ before)
                before = bit
                fe_step(base + _X2 * _SLOT_BYTES, base + _MASK * _SLOT_BYTES)
            # The lowest bit of a clamped scalar is 0: the result was doubled last, it is (x2, z2).
            _take_words(base, ws, _Z2, out[row : row + _LANES])
            for lane in range(_LANES):
                word = out[row + lane, 0] | out[row + lane, 1] | out[row + lane, 2] | out[row + lane, 3]
                some = (word | -word) >> 63  # all ones unless z is zero
                ws[_Z2 * _SLOT + lane] += 1 + some  # a zero becomes one, so that the others can be inverted
                for limb in range(10):
                    ws[_X2 * _SLOT + 8 * limb + lane] &= some
            _times(base, _XS + group, _X2, _ONE)
            _times(base, _ZS + group, _Z2, _ONE)
        _invert_all(base, count)
        for group in range(count):
            _times(base, _T0, _XS + group, _ZS + group)
            row = (begin + group) * _LANES
            _take_words(base, ws, _T0, out[row : row + _LANES])


_ladder: Any = kernel(_ladder_)


def _map_(base: int, ws: Any, uniform: Any, out: Any) -> None:
    """Elligator 2 of (8 m, 6) uniform 384-bit numbers, lowest word first: x-coordinates on the curve."""
    _fill(ws, _ONE, 1)
    _fill(ws, _A, _CURVE_A)
    _fill(ws, _T0, 0)
    fe_sub(base + _MINUS_A * _SLOT_BYTES, base + _T0 * _SLOT_BYTES, base + _A * _SLOT_BYTES)
    _times(base, _MINUS_A, _MINUS_A, _ONE)
    groups = len(uniform) // _LANES
    for begin in range(0, groups, _BLOCK):
        count = min(_BLOCK, groups - begin)
        for group in range(count):
            _fill(ws, _T0, 0)
            # 384 bits: 2^255 = 19 for the one bit above, 2^256 = 38 for the upper 128.
            rows = uniform[(begin + group) * _LANES : (begin + group + 1) * _LANES]
            _add_words(ws, _T0, rows, 0, 4, 1)
            _add_words(ws, _T0, rows, 4, 2, 38)
            for lane in range(_LANES):
                ws[_T0 * _SLOT + lane] += 19 * ((rows[lane, 3] >> 63) & 1)
            fe_carry(base + _T0 * _SLOT_BYTES, base + _T0 * _SLOT_BYTES)
            _squares(base, _T1, _T0, 1)
            fe_add(base + _T1 * _SLOT_BYTES, base + _T1 * _SLOT_BYTES, base + _T1 * _SLOT_BYTES)
            fe_add(base + _T1 * _SLOT_BYTES, base + _T1 * _SLOT_BYTES, base + _ONE * _SLOT_BYTES)
            _times(base, _ZS + group, _T1, _ONE)  # 1 + 2u^2, never 0
        _invert_all(base, count)
        for group in range(count):
            _times(base, _X1, _MINUS_A, _ZS + group)
            # g = x1 (x1 (x1 + A) + 1)
            fe_add(base + _X3 * _SLOT_BYTES, base + _X1 * _SLOT_BYTES, base + _A * _SLOT_BYTES)
            _times(base, _X3, _X3, _X1)
            fe_add(base + _X3 * _SLOT_BYTES, base + _X3 * _SLOT_BYTES, base + _ONE * _SLOT_BYTES)
            _times(base, _X3, _X3, _X1)
            # g^((p-1)/2) = (g^(2^250 - 1))^16 * g^6, which is 1 for a square and p - 1 for none; g is never 0.
            _power(base, _X3)
            _squares(base, _T2, _T2, 4)
            _squares(base, _T0, _X3, 1)
            _squares(base, _T1, _T0, 1)
            _times(base, _T0, _T0, _T1)
            _times(base, _T2, _T2, _T0)
            fe_sub(base + _Z3 * _SLOT_BYTES, base + _MINUS_A * _SLOT_BYTES, base + _X1 * _SLOT_BYTES)
            _times(base, _Z3, _Z3, _ONE)
            row = (begin + group) * _LANES
            _take_words(base, ws, _T2, out[row : row + _LANES])
            for lane in range(_LANES):
                ws[_MASK * _SLOT + lane] = (out[row + lane, 0] & 1) - 1  # p - 1 is even: all ones for no square
            fe_select(
                base + _X1 * _SLOT_BYTES,
                base + _X1 * _SLOT_BYTES,
                base + _Z3 * _SLOT_BYTES,
                base + _MASK * _SLOT_BYTES,
            )
            _take_words(base, ws, _X1, out[row : row + _LANES])


_map: Any = kernel(_map_)


def _workspace() -> NDArray[np.int64]:
    """Aligned scratch memory of one call."""
    raw = np.zeros(_SLOTS * SLOT + LANES, np.int64)
    start = -(raw.ctypes.data // 8) % LANES
    return raw[start : start + _SLOTS * SLOT]


def _padded(rows: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(n, 8 w) bytes as (n', w) little-endian words, n' the next multiple of eight; the rest is the base point's x."""
    full = np.zeros((-(-len(rows) // LANES) * LANES, rows.shape[1]), np.uint8)
    full[: len(rows)] = rows
    full[len(rows) :, 0] = 9
    return full.view("<i8").astype(np.int64, copy=False)


class VectorEngine:
    """Eight lanes in numba; releases the GIL. See `privcompute.psi.curve.Engine`."""

    name = "vector"

    def elligator2(self, uniform: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """See `Engine`."""
        words = _padded(np.ascontiguousarray(uniform[:, ::-1]))
        out, ws = np.empty((len(words), 4), np.int64), _workspace()
        _map(ws.ctypes.data, ws, words, out)
        return out.astype("<i8", copy=False).view(np.uint8)[: len(uniform)]

    def x25519(self, scalar: bytes, points: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """See `Engine`."""
        clamped = bytes([scalar[0] & 248, *scalar[1:31], scalar[31] & 127 | 64])
        bits = np.unpackbits(np.frombuffer(clamped, np.uint8), bitorder="little")
        words = _padded(points)
        out, ws = np.empty((len(words), 4), np.int64), _workspace()
        _ladder(ws.ctypes.data, ws, bits, words, out)
        return out.astype("<i8", copy=False).view(np.uint8)[: len(points)]
