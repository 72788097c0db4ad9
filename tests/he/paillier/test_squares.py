"""Arithmetic modulo a square: the kernels and gmpy2 against Python's integers, for every length of key."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.vector_arithmetic import NEEDS_VECTORS

from privcompute.he.paillier import limbs, squares
from privcompute.he.paillier.plain_square import PlainSquare
from privcompute.he.paillier.rows import Rows, from_rows, to_rows, words_of
from privcompute.he.paillier.squares import Square
from privcompute.he.paillier.vector_square import VectorSquare

FORMS = [
    pytest.param(VectorSquare, marks=NEEDS_VECTORS),
    PlainSquare,
]
# The lengths of moduli and of primes; the last one of each pair has no bit to spare.
LENGTHS = [1024, 1280, 1536, 2048, 2560, 3072, 4096]
Make = Callable[..., Square]


def moduli(bits: int) -> list[int]:
    rng = np.random.default_rng(bits)
    return [2**bits - 1, 2 ** (bits - 1) + 1, int.from_bytes(rng.bytes(bits // 8), "little") | 1 | 1 << (bits - 1)]


def unit(number: int, m: int) -> int:
    while math.gcd(number, m) != 1:
        number += 1
    return number


@pytest.mark.parametrize("make", FORMS)
@pytest.mark.parametrize("bits", LENGTHS)
def test_products(make: Make, bits: int) -> None:
    for m in moduli(bits):
        wide, square = words_of(2 * bits), m * m
        rng = np.random.default_rng(3)
        extremes = [square - 1, 1, m - 1, m + 1, square - m - 1, square - m + 1, 1 << (2 * bits - 2)]
        x = [unit(v, m) for v in [*extremes, *(int.from_bytes(rng.bytes(bits // 4), "little") % square for _ in "123")]]
        y = x[3:] + x[:3]
        ours = make(m)
        for factors in ([x], [x, y], [x, x, x], [x, y, x, y] * 5):
            rows = ours.multiply([to_rows(numbers, wide) for numbers in factors])
            assert from_rows(rows) == [math.prod(column) % square for column in zip(*factors, strict=True)]
        assert from_rows(ours.product(to_rows(x, wide))) == [math.prod(x) % square]


@pytest.mark.parametrize("make", FORMS)
@pytest.mark.parametrize("bits", [1024, 1536, 2048])
def test_powers(make: Make, bits: int) -> None:
    m = moduli(bits)[2]
    wide, square = words_of(2 * bits), m * m
    x = [unit(v, m) for v in (square - 1, 2, m + 1, 3**200, 7, 11, 13, 17, 19)]
    exponents = [0, 1, 2, 31, 32, 2**70 - 1, 2**69, 5, 6]
    messages = to_rows([m - 1] * 9, words_of(bits))
    ours = make(m)
    wanted = [pow(a, e, square) * (1 + m * (m - 1)) % square for a, e in zip(x, exponents, strict=True)]
    assert from_rows(ours.powers(to_rows(x, wide), to_rows(exponents, 2), 70, messages)) == wanted
    table = ours.table(x[3], 70)
    wanted = [pow(x[3], e, square) * (1 + m * (m - 1)) % square for e in exponents]
    assert from_rows(table.powers(to_rows(exponents, 2), messages)) == wanted


@pytest.mark.parametrize("make", FORMS)
def test_quotients_of_longer_rows(make: Make, iso: dict[str, int]) -> None:
    p, n = iso["p"], iso["p"] * iso["q"]
    x = [iso["c1"], iso["c2"], n * n - 2, 2, n + 1]
    rows = make(p, 4096).quotients(to_rows(x, 64), p - 1)
    assert from_rows(rows) == [(pow(c, p - 1, p * p) - 1) // p for c in x]


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 33, 100])
def test_every_number_of_rows(count: int, iso: dict[str, int]) -> None:
    n = iso["p"] * iso["q"]
    x = [pow(3, i + 1, n) for i in range(count)]
    rows = squares.square_of(n).multiply([to_rows(x, 64), to_rows(x, 64)])
    assert from_rows(rows) == [a * a % n**2 for a in x]


@NEEDS_VECTORS
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**2048 - 1), st.integers(0, 2**2048 - 1), st.integers(2**1023, 2**1024 - 1))
def test_products_of_anything(x: int, y: int, m: int) -> None:
    m |= 1
    x, y = x % (m * m), y % (m * m)
    square = VectorSquare(m)
    assert from_rows(square.multiply([to_rows([x], 32), to_rows([y], 32)])) == [x * y % (m * m)]
    if math.gcd(x, m) == 1:
        assert from_rows(square.powers(to_rows([x], 32), to_rows([3], 1), 2)) == [x**3 % (m * m)]


def test_rows_are_whole_and_read_back() -> None:
    numbers = [0, 1, 2**64 - 1, 2**127, 2**128 - 1]
    assert from_rows(to_rows(numbers, 2)) == numbers
    with pytest.raises(OverflowError):
        to_rows([2**128], 2)


class OffByOne(PlainSquare):
    """A machine that computes something else."""

    def product(self, x: Rows) -> Rows:
        """One too much."""
        return super().product(x) + 1


def test_the_self_test_finds_wrong_answers(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    assert squares.self_test(PlainSquare)
    assert not squares.self_test(OffByOne)
    squares.fast.cache_clear()
    monkeypatch.setattr(squares, "VectorSquare", OffByOne)
    monkeypatch.setattr(limbs, "METHOD", "ifma")
    assert not squares.fast()
    assert "gmpy2 is used instead" in caplog.text
    assert isinstance(squares.square_of(15), PlainSquare)
    squares.fast.cache_clear()
