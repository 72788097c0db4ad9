"""The transform and the arithmetic below it, against Python integers."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privcompute.he.primes import PRIMES
from privcompute.kernels import modular, ntt, polynomials
from privcompute.kernels.bounds import MAX_PRIME_BITS

LARGEST = PRIMES[MAX_PRIME_BITS][0]
SOME = [PRIMES[31][0], PRIMES[43][2], LARGEST]


def product(a: list[int], b: list[int], p: int) -> list[int]:
    """a * b modulo X**n + 1 and p, the slow way: one big integer product with room for every coefficient."""
    n, slot = len(a), 16
    pack = [int.from_bytes(b"".join((v % p).to_bytes(slot, "little") for v in side), "little") for side in (a, b)]
    both = (pack[0] * pack[1]).to_bytes(2 * n * slot, "little")
    full = [int.from_bytes(both[i * slot : (i + 1) * slot], "little") for i in range(2 * n)]
    return [(full[i] - full[i + n]) % p for i in range(n)]


def through_transform(a: list[int], b: list[int], p: int) -> list[int]:
    n = len(a)
    table, inverse = ntt.transform(p, n), 1.0 / p
    both = np.array([a, b], dtype=np.float64)
    ntt.forward(both, table.first, table.forward, float(p), inverse)
    sums = np.zeros((1, 2, n))
    one = both.reshape(2, 1, n)
    pairs = np.zeros((1, 2), np.int64)
    polynomials.accumulate_products(sums, one[:1], one[:1], one[1:], pairs, float(p), inverse)
    out = np.ascontiguousarray(sums[0])
    ntt.backward(out, table.last, table.backward, table.scale, float(p), inverse)
    assert np.array_equal(out[0], out[1])
    return [int(v) for v in out[0]]


@pytest.mark.parametrize("p", SOME)
@pytest.mark.parametrize("n", [64, 128, 256])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_products_of_polynomials(p: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (rng.integers(-p, p, n, endpoint=True).tolist() for _ in range(2))
    assert through_transform(a, b, p) == product(a, b, p)


@pytest.mark.parametrize("n", [8192, 16384])
@pytest.mark.parametrize("pattern", ["top", "bottom", "alternating", "random"])
def test_products_at_full_length_and_at_the_edges_of_the_range(n: int, pattern: str) -> None:
    p = LARGEST
    values = {
        "top": [p] * n,
        "bottom": [-p] * n,
        "alternating": [p if i % 2 else -p for i in range(n)],
        "random": np.random.default_rng(3).integers(-p, p, n, endpoint=True).tolist(),
    }[pattern]
    other = np.random.default_rng(4).integers(-p, p, n, endpoint=True).tolist()
    assert through_transform(values, other, p) == product(values, other, p)


@pytest.mark.parametrize("n", [64, 128, 8192, 16384])
def test_backward_undoes_forward(n: int) -> None:
    p = LARGEST
    table = ntt.transform(p, n)
    rows = np.random.default_rng(n).integers(0, p, (3, n)).astype(np.float64)
    there = rows.copy()
    ntt.forward(there, table.first, table.forward, float(p), 1.0 / p)
    assert np.abs(there).max() <= p / 2 + 2
    ntt.backward(there, table.last, table.backward, table.scale, float(p), 1.0 / p)
    assert np.array_equal(there, rows)


def test_the_order_of_transformed_values_is_the_wire_format() -> None:
    """X is sent to the roots themselves: their order must never change between versions."""
    p, n = PRIMES[40][0], 64
    table = ntt.transform(p, n)
    row = np.zeros((1, n))
    row[0, 1] = 1
    ntt.forward(row, table.first, table.forward, float(p), 1.0 / p)
    root = ntt.root_of_unity(p, n)
    powers = {pow(root, e, p): e for e in range(1, 2 * n, 2)}
    bits = n.bit_length() - 1
    reversed_bits = [int(f"{i:0{bits}b}"[::-1], 2) for i in range(n)]
    assert [powers[int(v) % p] for v in row[0]] == [2 * r + 1 for r in reversed_bits]


def test_sizes_stay_exact_without_reductions_between_passes() -> None:
    """The bound of ntt.py with exact numbers: |a +- w*b| after each of fourteen levels, from |a| = p on."""
    p = 2**MAX_PRIME_BITS
    size = Fraction(1)  # in units of p
    for _ in range(14):
        # The quotient is off by at most 1/2 + |a| * |w/p| * 2 * 2**-53 (two roundings), |w| <= p/2.
        size += Fraction(1, 2) + size / 2 * p * Fraction(2, 2**53)
    assert size * p <= 2**53
    # Sixteen products in a sum: |x| <= p, |y| <= p/2 + 2, three roundings in the quotient; the sum starts balanced.
    one = Fraction(1, 2) + Fraction(p + 4, 2 * p) * p * Fraction(3, 2**53)
    assert (polynomials.MAX_ROWS * one + Fraction(3, 5)) * p <= 2**53


@pytest.mark.parametrize("p", SOME)
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_multiply_is_congruent_and_small(p: int, data: st.DataObject) -> None:
    a = data.draw(st.integers(-15 * p, 15 * p) if p == LARGEST else st.integers(-p, p))
    b = data.draw(st.integers(-(p // 2), p // 2))
    for result in (
        modular.multiply(float(a), float(b), float(p), 1.0 / p),
        modular.multiply_known(float(a), float(b), b / p, float(p)),
    ):
        assert result == int(result)
        assert (int(result) - a * b) % p == 0
        assert abs(result) <= (0.5 + abs(a) / p / 8) * p + 1
    assert modular.canonical(float(a), float(p), 1.0 / p) == a % p
    assert (modular.balance(float(a), float(p), 1.0 / p) - a) % p == 0


@pytest.mark.parametrize(("p", "n"), [(97, 64), (193 * 128 + 2, 64)])
def test_a_modulus_without_roots_is_refused(p: int, n: int) -> None:
    with pytest.raises(ValueError, match="is not"):
        ntt.root_of_unity(p, n)
