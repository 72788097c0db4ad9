"""Arithmetic modulo a square m^2, at the price of five products modulo m instead of eight; eight numbers at a time.

A number x modulo m^2 is a *pair* (a, b) with x = a + b m, both parts about as long as m. With R = 2^(52 k) above
256 m, Montgomery's reduction of a column T finds a quotient Q with T + Q m = t R, so that T = t R - Q m holds exactly
and modulo m^2. Hence

    (a + b m)(c + d m) / R = t + m ((a d + b c - Q) / R)    where  a c + Q m = t R,

and the bracket is again reduced modulo m, because m * m is nothing. A product costs a c, a d and b c and two
reductions; a square costs half of a a, a b and two reductions. The quotient of the first reduction, which others
throw away, is what makes the second part right. If c = 1 + m b then b is what Paillier's decryption calls L(c).

Bounds, with m < R / 256 (`tests/he/paillier/test_pairs.py` runs the extremes): the parts of what goes into a product
are below 8 m, those of what comes out below 2 m. A part that is a multiple of R less is never negative: the exact
quotient by R of something above -R is at least 0.

A pair of eight numbers is 2k vectors (see `limbs`): the limbs of a, then those of b. ``form`` belongs to a modulus: one
vector of -1/m mod 2^52, then m, then the pairs R, R^2, R^3, ... modulo m^2. ``work`` is scratch of `work_vectors`(k)
vectors. Rows of words are little-endian numbers of 64-bit words, held as int64, one number a row, a multiple of eight
rows.

No branch and no address depends on a number or an exponent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

from numba import njit

from privcompute.he.paillier.limbs import BITS, BLOCK, LANES, carry, reduce_row, row, select_own, select_shared
from privcompute.kernels.compiled import kernel

_BLOCK: Final[int] = BLOCK
_BYTES: Final = 8 * LANES
_LANES: Final[int] = LANES
_BITS: Final[int] = BITS
_MASK: Final = 2**BITS - 1

WINDOW: Final = 5
"""Bits of an exponent per product in `powers`."""
_ENTRIES: Final = 1 << WINDOW
GROUPS: Final = 4
"""Groups of eight that go through a fixed-base table side by side, so that each part of it is loaded once."""


def work_vectors(k: int) -> int:
    """Vectors of scratch that the kernels need."""
    return 1 + 4 * k + k + 2 * k * (4 + max(GROUPS, _ENTRIES))


F = TypeVar("F", bound=Callable[..., Any])


def inner(function: F) -> F:
    """A part of the kernels below, compiled with them."""
    return cast(F, njit(nogil=True, error_model="numpy")(function))


# Scratch: one vector of digits, 2k columns, 2k more columns, k limbs of a quotient, then pairs.


@inner
def _pair_at(work: Any, k: int, number: int) -> int:
    return work.ctypes.data + (1 + 5 * k + 2 * k * number) * _BYTES  # type: ignore[no-any-return]  # untyped array


@inner
def _columns_clear(work: Any, k: int) -> None:
    work[_LANES : _LANES * (1 + 4 * k)] = 0


@inner
def _finish(work: Any, form: Any, out: int, k: int, twice: int) -> None:
    """From the columns of a c and of (a d + b c) / twice to the reduced pair."""
    first = work.ctypes.data + _BYTES
    second = first + 2 * k * _BYTES
    quotient = second + 2 * k * _BYTES
    inverse = form.ctypes.data
    modulus = inverse + _BYTES
    for r in range(0, k, _BLOCK):
        reduce_row(first + r * _BYTES, quotient + r * _BYTES, modulus, inverse, k)
    at, q = _LANES * (1 + 2 * k), _LANES * (1 + 4 * k)
    for i in range(_LANES * k):
        work[at + i] = twice * work[at + i] - work[q + i]
    if twice == 2:
        for i in range(_LANES * k, 2 * _LANES * k):
            work[at + i] = 2 * work[at + i]
    for r in range(0, k, _BLOCK):
        reduce_row(second + r * _BYTES, quotient + r * _BYTES, modulus, inverse, k)
    carry(out, first + k * _BYTES, k)
    carry(out + k * _BYTES, second + k * _BYTES, k)


@inner
def _multiply(work: Any, form: Any, out: int, x: int, y: int, k: int) -> None:
    """out = x y / R; out may be x or y."""
    _columns_clear(work, k)
    first = work.ctypes.data + _BYTES
    second = first + 2 * k * _BYTES
    half = k * _BYTES
    for r in range(0, k, _BLOCK):
        shift = r * _BYTES
        row(first + shift, x + shift, y, k)
        row(second + shift, x + shift, y + half, k)
        row(second + shift, x + half + shift, y, k)
    _finish(work, form, out, k, 1)


@inner
def _square(work: Any, form: Any, x: int, k: int) -> None:
    """x = x x / R."""
    _columns_clear(work, k)
    first = work.ctypes.data + _BYTES
    second = first + 2 * k * _BYTES
    for r in range(0, k, _BLOCK):
        shift, further = r * _BYTES, (r + _BLOCK) * _BYTES
        row(first + shift + further, x + shift, x + further, k - r - _BLOCK)
        row(second + shift, x + shift, x + k * _BYTES, k)
    for i in range(_LANES, _LANES * (1 + 2 * k)):
        work[i] = 2 * work[i]
    for r in range(0, k, _BLOCK):
        row(first + 2 * r * _BYTES, x + r * _BYTES, x + r * _BYTES, _BLOCK)
    _finish(work, form, x, k, 2)


@inner
def _form_pair(form: Any, k: int, power: int) -> int:
    """Where R^power modulo m^2 stands."""
    return form.ctypes.data + (1 + k + 2 * k * (power - 1)) * _BYTES  # type: ignore[no-any-return]  # as above


@inner
def _bits(words: Any, number: int, bit: int, count: int) -> int:
    """``count`` bits of a row from ``bit`` on; bits beyond the end are 0."""
    at, shift = bit >> 6, bit & 63
    width = words.shape[1]
    value = 0
    if at < width:
        value = words[number, at]
        if shift:
            value = (value >> shift) & ((1 << (64 - shift)) - 1)  # the words are signed, and so is the shift
            if at + 1 < width:
                value |= words[number, at + 1] << (64 - shift)
    return value & ((1 << count) - 1)


@inner
def limbs_in(work: Any, place: int, words: Any, first: int, bit: int, k: int) -> None:
    """k limbs of eight rows, from ``bit`` on, into the scratch from word ``place`` on."""
    for i in range(k):
        for lane in range(_LANES):
            work[place + i * _LANES + lane] = _bits(words, first + lane, bit + i * _BITS, _BITS)


@inner
def words_out(work: Any, place: int, out: Any, k: int) -> None:
    """The k limbs of eight numbers, from word ``place`` of the scratch on, into eight rows; what is longer is cut."""
    for lane in range(_LANES):
        for w in range(out.shape[1]):
            value = 0
            for i in range(w * 64 // _BITS, min(k, (w * 64 + 63) // _BITS + 1)):
                shift = i * _BITS - w * 64
                limb = work[place + i * _LANES + lane]
                value |= limb << shift if shift >= 0 else limb >> -shift
            out[lane, w] = value


@inner
def _place(k: int, number: int) -> int:
    """As `_pair_at`, as an index into the scratch."""
    return _LANES * (1 + 5 * k + 2 * k * number)


@inner
def _enter(work: Any, form: Any, words: Any, first: int, to: int, spare: int, k: int) -> None:
    """x R as pair number ``to`` of eight rows x of any length that ``form`` has powers for."""
    place, other = _place(k, to), _place(k, spare)
    work[place : place + 2 * k * _LANES] = 0
    for part in range(-(-words.shape[1] * 64 // (_BITS * k))):
        limbs_in(work, other, words, first, part * k * _BITS, k)
        work[other + k * _LANES : other + 2 * k * _LANES] = 0
        at = _pair_at(work, k, spare)
        _multiply(work, form, at, at, _form_pair(form, k, part + 2), k)
        for i in range(2 * k * _LANES):
            work[place + i] += work[other + i]
    for half in range(2):
        at = _pair_at(work, k, to) + half * k * _BYTES
        carry(at, at, k)


@inner
def _below(work: Any, form: Any, place: int, spare: int, k: int) -> None:
    """Takes the modulus off where a part is not below it; the part is below twice the modulus."""
    for lane in range(_LANES):
        borrow = 0
        for i in range(lane, k * _LANES, _LANES):
            value = work[place + i] - form[_LANES + i] + borrow
            work[spare + i] = value & _MASK
            borrow = value >> _BITS
        for i in range(lane, k * _LANES, _LANES):  # borrow is -1: keep the old one
            work[place + i] = (work[place + i] & borrow) | (work[spare + i] & ~borrow)


@inner
def _leave(work: Any, form: Any, x: int, messages: Any, out: Any, k: int, second: bool) -> None:
    """Eight rows of x (1 + m message) / R, of pair number x; if ``second``, of that pair's second part alone.

    Uses pair number 2.
    """
    place, other, spare = _place(k, x), _place(k, 2), 2
    work[other : other + k * _LANES] = 0
    work[other : other + _LANES] = 1
    limbs_in(work, other + k * _LANES, messages, 0, 0, k)
    _multiply(work, form, _pair_at(work, k, x), _pair_at(work, k, x), _pair_at(work, k, spare), k)
    _below(work, form, place, other, k)
    _below(work, form, place + k * _LANES, other, k)
    limbs = k
    start = place + k * _LANES
    if not second:
        _columns_clear(work, k)
        work[_LANES : _LANES * (1 + k)] = work[place : place + k * _LANES]
        base = work.ctypes.data
        for r in range(0, k, _BLOCK):
            row(base + (1 + r) * _BYTES, _pair_at(work, k, x) + (k + r) * _BYTES, form.ctypes.data + _BYTES, k)
        carry(base + _BYTES, base + _BYTES, 2 * k)
        limbs, start = 2 * k, _LANES
    words_out(work, start, out, limbs)


@kernel
def powers(
    form: Any, work: Any, x: Any, exponents: Any, bits: int, messages: Any, out: Any, second: bool, k: int
) -> None:
    """x ** exponent (1 + m message) modulo m^2, row by row, exponents of ``bits`` bits; see `_leave` for ``second``.

    Fixed windows; each look-up reads all entries. The time depends on ``bits`` and the number of rows alone.
    """
    digits = work.ctypes.data
    base = 3
    for first in range(0, x.shape[0], _LANES):
        one = _place(k, base)
        work[one : one + 2 * k * _LANES] = form[(1 + k) * _LANES : (1 + 3 * k) * _LANES]
        _enter(work, form, x, first, base + 1, 2, k)
        for entry in range(2, _ENTRIES):
            before = _pair_at(work, k, base + entry - 1)
            _multiply(work, form, _pair_at(work, k, base + entry), before, _pair_at(work, k, base + 1), k)
        at, chosen, entries = _pair_at(work, k, 0), _pair_at(work, k, 1), _pair_at(work, k, base)
        turns = -(-bits // WINDOW)
        for turn in range(turns):
            if turn:
                for _ in range(WINDOW):
                    _square(work, form, at, k)
            for lane in range(_LANES):
                work[lane] = _bits(exponents, first + lane, (turns - 1 - turn) * WINDOW, WINDOW)
            select_own(chosen if turn else at, entries, digits, _ENTRIES, 2 * k)
            if turn:
                _multiply(work, form, at, at, chosen, k)
        rows = slice(first, first + _LANES)
        _leave(work, form, 0, messages[rows], out[rows], k, second)


@kernel
def ladder(form: Any, work: Any, x: Any, window: int, out: Any, k: int) -> None:
    """out[i] = the limbs of x ** (2 ** (i window)) R modulo m^2, as a pair; all eight rows of x are alike."""
    _enter(work, form, x, 0, 0, 2, k)
    place, at = _place(k, 0), _pair_at(work, k, 0)
    for i in range(out.shape[0]):
        if i:
            for _ in range(window):
                _square(work, form, at, k)
        for limb in range(2 * k):
            out[i, limb] = work[place + limb * _LANES]


@kernel
def fill_table(form: Any, work: Any, bases: Any, table: Any, k: int) -> None:
    """table[i, e] = bases[i] ** e, as limbs of pairs times R; eight i at a time, at the end the last one repeatedly."""
    base, at = _place(k, 1), _place(k, 2)
    positions = table.shape[0]
    for start in range(0, positions, _LANES):
        for lane in range(_LANES):
            i = min(start + lane, positions - 1)
            for limb in range(2 * k):
                work[base + limb * _LANES + lane] = bases[i, limb]
                work[at + limb * _LANES + lane] = bases[i, limb]
                table[i, 0, limb] = form[(1 + k + limb) * _LANES]
                table[i, 1, limb] = bases[i, limb]
        for entry in range(2, table.shape[1]):
            here = _pair_at(work, k, 2)
            _multiply(work, form, here, here, _pair_at(work, k, 1), k)
            for lane in range(_LANES):
                for limb in range(2 * k):
                    table[min(start + lane, positions - 1), entry, limb] = work[at + limb * _LANES + lane]


@kernel
def table_powers(
    form: Any, work: Any, table: Any, window: int, exponents: Any, messages: Any, out: Any, k: int
) -> None:
    """out = base ** exponent (1 + m message) modulo m^2, row by row, with the table of the base.

    Reads every entry of the table for every exponent.
    """
    digits = work.ctypes.data
    entries = table.shape[1]
    for start in range(0, exponents.shape[0], GROUPS * _LANES):
        groups = min(GROUPS, (exponents.shape[0] - start) // _LANES)
        for position in range(table.shape[0]):
            here = table[position].ctypes.data
            for group in range(groups):
                first = start + group * _LANES
                for lane in range(_LANES):
                    work[lane] = _bits(exponents, first + lane, position * window, window)
                at, chosen = _pair_at(work, k, 4 + group), _pair_at(work, k, 1)
                select_shared(chosen if position else at, here, digits, entries, 2 * k)
                if position:
                    _multiply(work, form, at, at, chosen, k)
        for group in range(groups):
            first = start + group * _LANES
            rows = slice(first, first + _LANES)
            _leave(work, form, 4 + group, messages[rows], out[rows], k, False)
