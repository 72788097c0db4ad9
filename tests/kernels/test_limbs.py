"""Multi-limb kernels, bit packing and sampling, against Python integers."""

from __future__ import annotations

from fractions import Fraction
from math import prod

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privcompute.he.primes import PRIMES
from privcompute.kernels import limbs, packing, sampling
from privcompute.randomness import public_stream

Words = npt.NDArray[np.uint64]


def planes(values: list[int], count: int) -> Words:
    mask = 2**64 - 1
    return np.array([[(v >> (64 * j)) & mask for v in values] for j in range(count)], dtype=np.uint64)


def integers(array: Words) -> list[int]:
    return [sum(int(v) << (64 * j) for j, v in enumerate(column)) for column in array.T]


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 4), data=st.data())
def test_scale(count: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.integers(-(2**255), 2**255), min_size=1, max_size=6))
    factor = data.draw(st.integers(0, 2 ** (64 * count) - 1))
    out = np.empty((count, len(values)), np.uint64)
    limbs.scale_planes(planes(values, count), planes([factor], count)[:, 0].copy(), out)
    assert integers(out) == [v * factor % 2 ** (64 * count) for v in values]


@settings(max_examples=80, deadline=None)
@given(width=st.integers(2, 250), data=st.data())
def test_split_and_residues(width: int, data: st.DataObject) -> None:
    p = data.draw(st.sampled_from([PRIMES[31][0], PRIMES[49][0]]))
    edge = 2 ** (width - 1)
    drawn = st.one_of(st.integers(-edge, edge - 1), st.sampled_from([-edge, edge - 1, 0, -1]))
    values = data.draw(st.lists(drawn, min_size=1, max_size=9))
    noise = data.draw(st.integers(0, 2**256 - 1)) >> width << width  # bits above the width do not count
    pieces = np.empty((-(-width // limbs.PIECE_BITS), len(values)))
    limbs.split_signed(planes([v % 2**width + noise for v in values], -(-width // 64)), width, pieces)
    assert np.abs(pieces).max() <= 2**48
    sums = [sum(int(v) << (48 * t) for t, v in enumerate(column)) for column in pieces.T]
    assert sums == values
    factors = np.array([float((1 << (48 * t)) % p) for t in range(len(pieces))])
    factors -= p * (factors > p / 2)
    out = np.empty(len(values))
    limbs.residues(pieces, factors, float(p), 1.0 / p, out)
    assert [int(v) % p for v in out] == [v % p for v in values]
    assert np.abs(out).max() <= p / 2 + 2


@settings(max_examples=60, deadline=None)
@given(count=st.integers(2, 9), w=st.integers(70, 260), data=st.data())
def test_round_to_a_power_of_two(count: int, w: int, data: st.DataObject) -> None:
    primes = PRIMES[data.draw(st.sampled_from([37, 49]))][:count]
    q = prod(primes)
    values = [*data.draw(st.lists(st.integers(0, q - 1), min_size=1, max_size=5)), 0, 1, q - 1, q // 2]
    many = -(-w // 64)
    residues = np.array([[float(v % p) for v in values] for p in primes])
    inverses = [pow(q // p, -1, p) for p in primes]
    cofactors = np.array([float(c - p if c > p // 2 else c) for c, p in zip(inverses, primes, strict=True)])
    steps = np.stack([planes([2 ** (w + 64) // p], many + 1)[:, 0] for p in primes])
    out = np.empty((many, len(values)), np.uint64)
    limbs.round_to_power(residues, np.array([float(p) for p in primes]), cofactors, steps, w - 64 * (many - 1), out)
    for value, got in zip(values, integers(out), strict=True):
        assert got < 2**w
        off = (got - Fraction(value * 2**w, q)) % 2**w
        assert min(off, 2**w - off) <= Fraction(1, 2) + Fraction(1, 2**11)


@settings(max_examples=60, deadline=None)
@given(width=st.sampled_from([16, 32, 64]), data=st.data())
def test_digits(width: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 128 // width))
    edge = min(2**126, 2 ** (width * count - 1) - 2 ** (width * count - 2))
    values = data.draw(st.lists(st.integers(-edge, edge), min_size=1, max_size=9))
    both = planes([v % 2**128 for v in values], 2)
    out = np.empty((count, len(values)), np.int64)
    limbs.balanced_digits(both[0], both[1], width, out)
    assert [sum(int(d) << (width * j) for j, d in enumerate(column)) for column in out.T] == values
    assert np.all(out >= -(2 ** (width - 1)))
    assert np.all(out[:-1] <= 2 ** (width - 1) - 1)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_ternary_products(data: st.DataObject) -> None:
    values = data.draw(st.lists(st.integers(0, 2**192 - 1), min_size=1, max_size=20))
    signs = [data.draw(st.sampled_from([-1, 0, 1])) for _ in values]
    out = np.empty(6, np.int64)
    limbs.ternary_products(planes(values, 3), np.array(signs, np.int8), out)
    assert sum(int(v) << (32 * h) for h, v in enumerate(out)) == sum(s * v for s, v in zip(signs, values, strict=True))


@settings(max_examples=60, deadline=None)
@given(bound=st.integers(0, 2**126), data=st.data())
def test_values_beyond_a_bound_are_counted(bound: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.integers(-(2**127), 2**127 - 1), max_size=6))
    values += [bound, -bound, bound + 1, -bound - 1, -(2**127), 0]
    both = planes([v % 2**128 for v in values], 2)
    beyond = limbs.count_beyond(both[0], both[1], np.uint64(bound % 2**64), np.uint64(bound >> 64))
    assert beyond == sum(abs(v) > bound for v in values)


@settings(max_examples=80, deadline=None)
@given(width=st.integers(1, 64), blocks=st.integers(1, 3), seed=st.integers(0, 2**32))
def test_packing_words(width: int, blocks: int, seed: int) -> None:
    values = (
        np.random.default_rng(seed).integers(0, 2**width, 64 * blocks, dtype=np.uint64, endpoint=False)
        if (width < 64)
        else np.random.default_rng(seed).integers(0, 2**64, 64 * blocks, dtype=np.uint64)
    )
    out = np.empty(packing.packed_words(len(values), width), np.uint64)
    packing.pack_words(values, width, out)
    assert sum(int(w) << (64 * i) for i, w in enumerate(out)) == sum(
        int(v) << (width * i) for i, v in enumerate(values)
    )
    back = np.empty_like(values)
    packing.unpack_words(out, width, back)
    assert np.array_equal(back, values)


@settings(max_examples=40, deadline=None)
@given(width=st.integers(31, 49), seed=st.integers(0, 2**32))
def test_packing_residues_and_refusing_what_is_not_reduced(width: int, seed: int) -> None:
    p = PRIMES[width][0]
    rows = np.random.default_rng(seed).integers(0, p, (3, 64)).astype(np.float64)
    rows[1, 5] = p - 1
    out = np.empty((3, width), np.uint64)
    packing.pack_residues(rows, width, out)
    back = np.empty_like(rows)
    assert packing.unpack_residues(out, width, p, back) == 0
    assert np.array_equal(rows, back)
    rows[2, 63], rows[0, 0] = p, 2**width - 1
    packing.pack_residues(rows, width, out)
    assert packing.unpack_residues(out, width, p, back) == 2


def test_uniform_residues_skip_what_is_too_large() -> None:
    p, width = PRIMES[31][8], 31
    words = np.array([5, p, p - 1, 2**31 - 1, 0, 2**40 + 7], dtype=np.uint64)
    out = np.full(6, -1.0)
    assert sampling.uniform(words, width, p, out) == 4
    assert out[:4].tolist() == [5, p - 1, 0, 7]
    assert sampling.uniform(words[:1], width, p, out) == 1


def test_ternary_skips_one_byte_in_256_and_is_uniform_on_the_rest() -> None:
    out = np.empty(255 * 3, np.int8)
    noise = np.tile(np.arange(256, dtype=np.uint8), 3)
    assert sampling.ternary(noise, out) == len(out)
    assert [int((out == v).sum()) for v in (-1, 0, 1)] == [255, 255, 255]
    assert sampling.ternary(noise, out[:10]) == 10


def test_the_noise_is_centred_binomial() -> None:
    words = public_stream(b"noise", "test").uint64(1 << 18)
    out = np.empty(len(words))
    sampling.centred_binomial(words, out)
    low, high = words & np.uint64(2**21 - 1), (words >> np.uint64(21)) & np.uint64(2**21 - 1)
    assert np.array_equal(out, np.bitwise_count(low).astype(np.float64) - np.bitwise_count(high))
    assert abs(out.mean()) < 5 * np.sqrt(10.5 / len(out))
    assert abs(out.var() - 10.5) < 0.2
    extremes = np.empty(2)
    sampling.centred_binomial(np.array([2**21 - 1, (2**21 - 1) << 21], np.uint64), extremes)
    assert extremes.tolist() == [21, -21]


@pytest.mark.parametrize("width", PRIMES)
def test_residues_are_uniform(width: int) -> None:
    p = PRIMES[width][-1]
    out = np.empty(1 << 14)
    done = int(sampling.uniform(public_stream(b"uniform", str(width)).uint64(len(out)), width, p, out))
    counts, _ = np.histogram(out[:done], bins=16, range=(0, p))
    assert ((counts - done / 16) ** 2 / (done / 16)).sum() < 50  # chi-square, 15 degrees: one in 10**5
