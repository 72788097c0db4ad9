"""Powers and products modulo a square m^2, for many rows at once: what there is to call, and who does it here.

Two forms of the same arithmetic: `VectorSquare` on kernels that hold no interpreter lock and take the same time for
all values, and `PlainSquare` on gmpy2, the oracle of the tests and what runs where there is no fast vector code.
`square_of` chooses; a known answer is asked once a process.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from privcompute.he.paillier import limbs
from privcompute.he.paillier.plain_square import PlainSquare
from privcompute.he.paillier.rows import Rows, from_rows, to_rows, words_of
from privcompute.he.paillier.vector_square import VectorSquare

_log = logging.getLogger(__name__)


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
