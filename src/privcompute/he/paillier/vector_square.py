"""Arithmetic modulo a square on the kernels of `pairs` and `products`: all cores, no interpreter lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Final

import gmpy2
import numpy as np
from numpy.typing import NDArray

from privcompute.he.paillier import limbs
from privcompute.he.paillier.rows import Rows, from_rows, to_rows, words_of
from privcompute.he.threads import each

_LANES: Final = limbs.LANES
_SPARE_BITS: Final = 8
"""R is more than 2^8 times the modulus; see `pairs`."""
_PIECE: Final = 256
"""Rows a thread takes at a time, at most: some hundred milliseconds, so that others get their turn."""
TABLE_WINDOW: Final = 6
"""Bits of an exponent per product with a table: 64 entries are read for each; see docs/decisions/0007-paillier.md."""


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
    """See `squares.Square`; eight rows side by side.

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
        """See `squares.Square`; memory is a few times that of the factors."""
        from privcompute.he.paillier import products

        correction = self._correction(len(factors))

        def piece(rows: list[Rows], out: Rows) -> None:
            work = _aligned(products.product_vectors(2 * self.k))
            products.products(self._long, work, np.stack(rows), correction, out, 2 * self.k)

        return self._spread(len(factors[0]), self.words, factors, piece)

    def product(self, x: Rows) -> Rows:
        """See `squares.Square`: eight products of every eighth row, and then their product."""
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
        """See `squares.Square`."""
        return self._powers(x, exponents, bits, messages, second=False)

    def quotients(self, x: Rows, exponent: int) -> Rows:
        """See `squares.Square`."""
        bits = self.modulus.bit_length()
        return self._powers(x, to_rows([exponent], words_of(bits)), bits, None, second=True)

    def _powers(self, x: Rows, exponents: Rows, bits: int, messages: Rows | None, *, second: bool) -> Rows:
        from privcompute.he.paillier import pairs

        exponents = np.broadcast_to(exponents, (len(x), exponents.shape[1]))

        def piece(rows: list[Rows], out: Rows) -> None:
            pairs.powers(self._form, self._work(), rows[0], rows[1], bits, rows[2], out, second, self.k)

        inputs = (x, exponents, self._messages(messages, len(x)))
        return self._spread(len(x), self._half if second else self.words, inputs, piece)

    def table(self, base: int, bits: int) -> VectorTable:
        """See `squares.Square`."""
        return VectorTable(self, base, bits)


class VectorTable:
    """See `squares.Table`."""

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
        """See `squares.Table`."""
        from privcompute.he.paillier import pairs

        square = self._square

        def piece(rows: list[Rows], out: Rows) -> None:
            exponents, messages = rows
            work = square._work()
            pairs.table_powers(square._form, work, self._table, TABLE_WINDOW, exponents, messages, out, square.k)

        return square._spread(len(exponents), square.words, (exponents, messages), piece)
