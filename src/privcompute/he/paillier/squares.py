"""Powers and products modulo a square m^2, for many rows at once on all cores.

A batch is an array of rows, (count, words) int64: little-endian 64-bit words, one number a row. Two forms of the same
arithmetic: `VectorSquare` on the kernels of `pairs`, which hold no interpreter lock and take the same time for all
values, and `PlainSquare` on gmpy2, the readable text, the oracle of the tests, and what runs where there is no fast
vector code. `square_of` chooses once a process, after a known answer.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import gmpy2
import numpy as np
from numpy.typing import NDArray

from privcompute.he.paillier import limbs
from privcompute.he.threads import each

Rows = NDArray[np.int64]

_log = logging.getLogger(__name__)
_LANES: Final = limbs.LANES
_SPARE_BITS: Final = 8
"""R is more than 2^8 times the modulus; see `pairs`."""
_PIECE: Final = 256
"""Rows a thread takes at a time, at most: some hundred milliseconds, so that others get their turn."""


def words_of(bits: int) -> int:
    """64-bit words that a number of so many bits takes."""
    return -(-bits // 64)


def to_rows(numbers: Iterable[int], words: int) -> Rows:
    """Numbers below 2^(64 words), one a row."""
    return np.frombuffer(bytearray().join(int(v).to_bytes(8 * words, "little") for v in numbers), "<i8").reshape(
        -1, words
    )


def from_rows(rows: Rows) -> list[int]:
    """The numbers of the rows."""
    data, width = rows.tobytes(), 8 * rows.shape[1]
    return [int.from_bytes(data[i : i + width], "little") for i in range(0, len(data), width)]


class Table(Protocol):
    """A fixed base, prepared."""

    def powers(self, exponents: Rows, messages: Rows) -> Rows:
        """base ** exponent (1 + m message) modulo m^2, row by row."""
        ...


class Square(Protocol):
    """Arithmetic modulo the square of an odd m."""

    modulus: int

    def multiply(self, factors: Sequence[Rows]) -> Rows:
        """The product of all factors modulo m^2, row by row."""
        ...

    def product(self, x: Rows) -> Rows:
        """One row: the product of all rows modulo m^2."""
        ...

    def powers(self, x: Rows, exponents: Rows, bits: int, messages: Rows | None = None) -> Rows:
        """x ** exponent (1 + m message) modulo m^2, row by row, for exponents below 2**bits; one row serves all."""
        ...

    def quotients(self, x: Rows, exponent: int) -> Rows:
        """(x ** exponent - 1) / m modulo m, row by row, where x ** exponent is 1 modulo m. Rows x of any length."""
        ...

    def table(self, base: int, bits: int) -> Table:
        """Prepares a base for exponents below 2**bits."""
        ...


def _split(count: int) -> list[slice]:
    """Slices of rows for the threads: whole groups of lanes, about alike for all cores."""
    cores = os.cpu_count() or 1
    groups = -(-count // _LANES)
    turns = max(1, -(-groups * _LANES // (_PIECE * cores)))
    step = max(1, -(-groups // (cores * turns))) * _LANES
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def _filled(rows: Rows, count: int) -> Rows:
    """Whole groups of lanes: the last row again where there is none."""
    missing = -count % _LANES
    if missing:
        rows = np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)])
    # A copy: to the compiler a read-only array, or one in another order, would be a type of its own.
    return np.array(rows, order="C")


def _aligned(vectors: int) -> NDArray[np.int64]:
    raw = np.zeros(_LANES * (vectors + 1), np.int64)
    start = (-raw.ctypes.data // 8) % _LANES
    return raw[start : start + _LANES * vectors]


def _limbs(value: int, k: int) -> list[int]:
    return [(value >> (limbs.BITS * i)) & ((1 << limbs.BITS) - 1) for i in range(k)]


def _vectors(numbers: list[int]) -> NDArray[np.int64]:
    """One vector a number, which stands in every lane."""
    out = _aligned(len(numbers))
    out.reshape(-1, _LANES)[:] = np.array(numbers, np.int64)[:, None]
    return out


class VectorSquare:
    """See `Square`; eight rows side by side.

    Args:
        modulus: m, odd.
        widest: Bits of the widest rows that come in; default: those of m^2.
    """

    def __init__(self, modulus: int, widest: int | None = None) -> None:
        self.modulus = modulus
        bits = modulus.bit_length()
        self.words = words_of(2 * bits)
        self._half = words_of(bits)
        self.k = -(-(bits + _SPARE_BITS) // (limbs.BITS * limbs.BLOCK)) * limbs.BLOCK
        parts = -(-64 * words_of(widest or 2 * bits) // (limbs.BITS * self.k))
        if parts > 4:
            raise ValueError("rows of more than four parts")  # the bounds of `pairs` say so
        square, radix = modulus * modulus, 1 << (limbs.BITS * self.k)
        inverse = [-pow(modulus, -1, 1 << limbs.BITS) % (1 << limbs.BITS)]
        numbers = inverse + _limbs(modulus, self.k)
        for power in range(1, parts + 2):
            second, first = divmod(pow(radix, power, square), modulus)
            numbers += _limbs(first, self.k) + _limbs(second, self.k)
        self._form = _vectors(numbers)
        inverse = [-pow(square, -1, 1 << limbs.BITS) % (1 << limbs.BITS)]
        self._long = _vectors(inverse + _limbs(square, 2 * self.k))

    def __repr__(self) -> str:
        return f"VectorSquare({self.modulus.bit_length()} bits)"

    def _work(self) -> NDArray[np.int64]:
        from privcompute.he.paillier import pairs

        return _aligned(pairs.work_vectors(self.k))

    def _messages(self, messages: Rows | None, count: int) -> Rows:
        return np.zeros((count, self._half), np.int64) if messages is None else messages

    def _spread(
        self, count: int, words: int, inputs: Sequence[Rows], piece: Callable[[list[Rows], Rows], None]
    ) -> Rows:
        """Runs ``piece`` on slices of the inputs on all cores and puts the rows together."""
        out = np.empty((count, words), np.int64)

        def one(part: slice) -> None:
            size = part.stop - part.start
            result = np.zeros((size + -size % _LANES, words), np.int64)
            piece([_filled(rows[part], size) for rows in inputs], result)
            out[part] = result[:size]

        each(one, _split(count))
        return out

    def multiply(self, factors: Sequence[Rows]) -> Rows:
        """See `Square`; memory is a few times that of the factors."""
        from privcompute.he.paillier import products

        correction = self._correction(len(factors))

        def piece(rows: list[Rows], out: Rows) -> None:
            work = _aligned(products.product_vectors(2 * self.k))
            products.products(self._long, work, np.stack(rows), correction, out, 2 * self.k)

        return self._spread(len(factors[0]), self.words, factors, piece)

    def product(self, x: Rows) -> Rows:
        """See `Square`: eight products of every eighth row, and then their product."""
        from privcompute.he.paillier import products

        ones = to_rows([1], self.words)
        parts = _split(len(x))
        found: list[Rows] = [ones] * len(parts)

        def one(number: int) -> None:
            rows = x[parts[number]]
            rows = np.concatenate([rows, np.repeat(ones, -len(rows) % _LANES, axis=0)])
            groups = rows.reshape(-1, _LANES, self.words)
            work, out = _aligned(products.product_vectors(2 * self.k)), np.zeros((_LANES, self.words), np.int64)
            products.products(self._long, work, groups, self._correction(len(groups)), out, 2 * self.k)
            found[number] = out

        each(one, range(len(parts)))
        square = gmpy2.mpz(self.modulus) ** 2
        value = gmpy2.mpz(1)
        for factor in from_rows(np.concatenate(found)):
            value = value * factor % square
        return to_rows([int(value)], self.words)

    def _correction(self, factors: int) -> NDArray[np.int64]:
        radix = 1 << (limbs.BITS * 2 * self.k)
        return _vectors(_limbs(int(gmpy2.powmod(radix, factors, self.modulus**2)), 2 * self.k))

    def powers(self, x: Rows, exponents: Rows, bits: int, messages: Rows | None = None) -> Rows:
        """See `Square`."""
        return self._powers(x, exponents, bits, messages, second=False)

    def quotients(self, x: Rows, exponent: int) -> Rows:
        """See `Square`."""
        bits = self.modulus.bit_length()
        return self._powers(x, to_rows([exponent], words_of(bits)), bits, None, second=True)

    def _powers(self, x: Rows, exponents: Rows, bits: int, messages: Rows | None, *, second: bool) -> Rows:
        from privcompute.he.paillier import pairs

        exponents = np.broadcast_to(exponents, (len(x), exponents.shape[1]))

        def piece(rows: list[Rows], out: Rows) -> None:
            pairs.powers(self._form, self._work(), rows[0], rows[1], bits, rows[2], out, second, self.k)

        inputs = (x, exponents, self._messages(messages, len(x)))
        return self._spread(len(x), self._half if second else self.words, inputs, piece)

    def table(self, base: int, bits: int) -> Table:
        """See `Square`."""
        return _VectorTable(self, base, bits)


TABLE_WINDOW: Final = 6
"""Bits of an exponent per product with a table: 64 entries are read for each; see docs/decisions/0007-paillier.md."""


class _VectorTable:
    def __init__(self, square: VectorSquare, base: int, bits: int) -> None:
        from privcompute.he.paillier import pairs

        self._square = square
        k, form = square.k, square._form
        positions = -(-bits // TABLE_WINDOW)
        bases = np.zeros((positions, 2 * k), np.int64)
        start = to_rows([base] * _LANES, square.words)
        pairs.ladder(form, square._work(), start, TABLE_WINDOW, bases, k)
        self._table = np.zeros((positions, 1 << TABLE_WINDOW, 2 * k), np.int64)

        def fill(part: slice) -> None:
            pairs.fill_table(form, square._work(), bases[part], self._table[part], k)

        each(fill, _split(positions))

    def powers(self, exponents: Rows, messages: Rows) -> Rows:
        """See `Table`."""
        from privcompute.he.paillier import pairs

        square = self._square

        def piece(rows: list[Rows], out: Rows) -> None:
            exponents, messages = rows
            work = square._work()
            pairs.table_powers(square._form, work, self._table, TABLE_WINDOW, exponents, messages, out, square.k)

        return square._spread(len(exponents), square.words, (exponents, messages), piece)


class PlainSquare:
    """See `Square`; one row after the other through gmpy2, on one core."""

    def __init__(self, modulus: int, widest: int | None = None) -> None:
        self.modulus = modulus
        self._square = gmpy2.mpz(modulus) ** 2
        self.words = words_of(2 * modulus.bit_length())
        self._half = words_of(modulus.bit_length())

    def __repr__(self) -> str:
        return f"PlainSquare({self.modulus.bit_length()} bits)"

    def _with_messages(self, values: Iterable[Any], messages: Rows | None) -> Rows:
        if messages is not None:
            factors = (1 + self.modulus * m for m in from_rows(messages))
            values = (v * f % self._square for v, f in zip(values, factors, strict=True))
        return to_rows((int(v) for v in values), self.words)

    def multiply(self, factors: Sequence[Rows]) -> Rows:
        """See `Square`."""
        value = [gmpy2.mpz(v) for v in from_rows(factors[0])]
        for factor in factors[1:]:
            value = [v * f % self._square for v, f in zip(value, from_rows(factor), strict=True)]
        return to_rows((int(v) for v in value), self.words)

    def product(self, x: Rows) -> Rows:
        """See `Square`."""
        value = gmpy2.mpz(1)
        for factor in from_rows(x):
            value = value * factor % self._square
        return to_rows([int(value)], self.words)

    def powers(self, x: Rows, exponents: Rows, bits: int, messages: Rows | None = None) -> Rows:
        """See `Square`; through the constant-time power of GMP, whose time does depend on an exponent's length."""
        exponents = np.broadcast_to(exponents, (len(x), exponents.shape[1]))
        # powmod_sec wants an exponent above 0; a multiple of nothing is added by one more factor below.
        found = (
            gmpy2.powmod_sec(a, e + 1, self._square) * gmpy2.invert(a, self._square) % self._square
            for a, e in zip(from_rows(x), from_rows(exponents), strict=True)
        )
        return self._with_messages(found, messages)

    def quotients(self, x: Rows, exponent: int) -> Rows:
        """See `Square`."""
        found = (gmpy2.powmod_sec(a % self._square, exponent, self._square) for a in from_rows(x))
        return to_rows((int((v - 1) // self.modulus) for v in found), self._half)

    def table(self, base: int, bits: int) -> Table:
        """See `Square`."""
        return _PlainTable(self, base, bits)


class _PlainTable:
    """Tables of 2^8 powers a position; which entry is read depends on the exponent, so its time may too."""

    _WINDOW: Final = 8

    def __init__(self, square: PlainSquare, base: int, bits: int) -> None:
        self._plain = square
        modulus = square._square
        self._table: list[list[Any]] = []
        step = gmpy2.mpz(base)
        for _ in range(-(-bits // self._WINDOW)):
            entries = [gmpy2.mpz(1)]
            for _ in range((1 << self._WINDOW) - 1):
                entries.append(entries[-1] * step % modulus)
            self._table.append(entries)
            step = entries[-1] * step % modulus

    def powers(self, exponents: Rows, messages: Rows) -> Rows:
        """See `Table`."""
        modulus = self._plain._square
        found = []
        for digits in exponents.view(np.uint8).reshape(len(exponents), -1):
            value = gmpy2.mpz(1)
            for entries, digit in zip(self._table, digits.tolist(), strict=False):
                value = value * entries[digit] % modulus
            found.append(value)
        return self._plain._with_messages(found, messages)


@dataclass(frozen=True)
class _Known:
    """A question whose answer Python's own integers give."""

    modulus: int = 2**521 - 1
    base: int = 3**300
    exponents: tuple[int, ...] = (0, 1, 2**64 - 1, 0x9E3779B97F4A7C15)
    messages: tuple[int, ...] = (5, 0, 2**520 + 1, 2**521 - 2)


def self_test(make: Callable[[int], Square]) -> bool:
    """Whether the arithmetic gives the right answers to known questions."""
    q = _Known()
    m, square = q.modulus, make(q.modulus)
    wide, narrow = words_of(2 * m.bit_length()), words_of(m.bit_length())
    exponents, messages = to_rows(q.exponents, 1), to_rows(q.messages, narrow)
    wanted = [pow(q.base, e, m * m) * (1 + m * x) % (m * m) for e, x in zip(q.exponents, q.messages, strict=True)]
    base = to_rows([q.base % m**2] * len(wanted), wide)
    plain = [
        to_rows([pow(q.base, e, m * m) for e in q.exponents], wide),
        to_rows([1 + m * x for x in q.messages], wide),
    ]
    found = (
        square.table(q.base % m**2, 64).powers(exponents, messages),
        square.powers(base, exponents, 64, messages),
        square.multiply(plain),
    )
    total = 1
    for value in wanted:
        total = total * value % m**2
    logarithm = (pow(q.base, m - 1, m * m) - 1) // m
    return (
        all(from_rows(rows) == wanted for rows in found)
        and from_rows(square.product(found[0])) == [total]
        and from_rows(square.quotients(base, m - 1)) == [logarithm] * 4
    )


@functools.cache
def fast() -> bool:
    """Whether this machine has the vector kernels and they answer rightly; a failure is logged."""
    if limbs.METHOD is None:
        _log.info("no fused multiply-add for vectors on this machine: Paillier runs on gmpy2, many times slower")
        return False
    if not self_test(VectorSquare):
        _log.warning("the Paillier kernels give a wrong answer to a known question here: gmpy2 is used instead")
        return False
    return True


def square_of(modulus: int, widest: int | None = None) -> Square:
    """The best arithmetic modulo modulus^2 that this machine has."""
    return VectorSquare(modulus, widest) if fast() else PlainSquare(modulus, widest)
