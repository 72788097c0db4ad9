"""Arithmetic modulo a square on gmpy2, one row after the other: the readable text; runs where nothing is faster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import gmpy2
import numpy as np

from privcompute.he.paillier.rows import Rows, from_rows, to_rows, words_of


class PlainSquare:
    """See `squares.Square`; one row after the other through gmpy2, on one core."""

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
        """See `squares.Square`."""
        value = [gmpy2.mpz(v) for v in from_rows(factors[0])]
        for factor in factors[1:]:
            value = [v * f % self._square for v, f in zip(value, from_rows(factor), strict=True)]
        return to_rows((int(v) for v in value), self.words)

    def product(self, x: Rows) -> Rows:
        """See `squares.Square`."""
        value = gmpy2.mpz(1)
        for factor in from_rows(x):
            value = value * factor % self._square
        return to_rows([int(value)], self.words)

    def powers(self, x: Rows, exponents: Rows, bits: int, messages: Rows | None = None) -> Rows:
        """See `squares.Square`; through GMP's constant-time power, whose time does depend on an exponent's length."""
        exponents = np.broadcast_to(exponents, (len(x), exponents.shape[1]))
        found = (
            gmpy2.powmod_sec(a, e, self._square) if e else gmpy2.mpz(1)
            for a, e in zip(from_rows(x), from_rows(exponents), strict=True)
        )
        return self._with_messages(found, messages)

    def quotients(self, x: Rows, exponent: int) -> Rows:
        """See `squares.Square`."""
        found = (gmpy2.powmod_sec(a % self._square, exponent, self._square) for a in from_rows(x))
        return to_rows((int((v - 1) // self.modulus) for v in found), self._half)

    def table(self, base: int, bits: int) -> PlainTable:
        """See `squares.Square`."""
        return PlainTable(self, base, bits)


class PlainTable:
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
        """See `squares.Table`."""
        modulus = self._plain._square
        found = []
        for digits in exponents.view(np.uint8).reshape(len(exponents), -1):
            value = gmpy2.mpz(1)
            for entries, digit in zip(self._table, digits.tolist(), strict=False):
                value = value * entries[digit] % modulus
            found.append(value)
        return self._plain._with_messages(found, messages)
