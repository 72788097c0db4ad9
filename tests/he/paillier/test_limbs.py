"""Rows of long multiplications: all three ways to halve a product, at their extremes, and their machine code."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray
from support.vector_arithmetic import NEEDS_VECTORS

from privcompute.he.paillier import limbs
from privcompute.he.paillier.limbs import BITS, BLOCK, LANES

pytestmark = NEEDS_VECTORS

K = 2 * BLOCK
TOP = 2**BITS - 1
Vectors = NDArray[np.int64]


def vectors(count: int) -> Vectors:
    raw = np.zeros(LANES * (count + 1), np.int64)
    start = (-raw.ctypes.data // 8) % LANES
    return raw[start : start + LANES * count]


def put(numbers: list[int], k: int) -> Vectors:
    out = vectors(k)
    for lane, number in enumerate(numbers):
        for i in range(k):
            out[i * LANES + lane] = (number >> (BITS * i)) & TOP
    return out


def get(data: Vectors) -> list[int]:
    return [sum(int(v) << (BITS * i) for i, v in enumerate(data[lane::LANES])) for lane in range(LANES)]


@pytest.fixture(params=["ifma", "truncate", "nearest"])
def method(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    features = limbs._features()
    if {"ifma": "avx512ifma", "truncate": "avx512f", "nearest": "fma"}[request.param] not in features:
        pytest.skip("no such instructions here: this way goes unchecked, and unused; the way that is used is checked")
    monkeypatch.setattr(limbs, "METHOD", request.param)
    return str(request.param)


def compiled() -> tuple[Callable[..., None], Callable[..., None]]:
    """A long product, and Montgomery's reduction; compiled anew, because the way of halving was set just now."""
    row, reduce_row, carry = limbs.row, limbs.reduce_row, limbs.carry

    @njit
    def multiply(out: Any, x: Any, y: Any, k: int) -> None:
        for r in range(0, k, BLOCK):
            row(out.ctypes.data + 64 * r, x.ctypes.data + 64 * r, y.ctypes.data, k)
        carry(out.ctypes.data, out.ctypes.data, 2 * k)

    @njit
    def reduce(columns: Any, quotient: Any, modulus: Any, inverse: Any, k: int) -> None:
        for r in range(0, k, BLOCK):
            at = columns.ctypes.data + 64 * r
            reduce_row(at, quotient.ctypes.data + 64 * r, modulus.ctypes.data, inverse.ctypes.data, k)
        carry(columns.ctypes.data, columns.ctypes.data + 64 * k, k)

    return multiply, reduce


def extremes() -> Iterator[list[int]]:
    rng = np.random.default_rng(5)
    full, half = (1 << (BITS * K)) - 1, 1 << (BITS * K - 1)
    sparse = sum(1 << (BITS * i) for i in range(K))
    ties = sum(((1 << 26) + 1) << (BITS * i) for i in range(K))  # (2^26+1)(2^25) halves an ulp of the rounding
    fixed = [0, 1, full, half, sparse, full - sparse, ties, ties >> 1]
    yield fixed
    yield fixed[::-1]
    yield [int.from_bytes(rng.bytes(BITS * K // 8), "little") for _ in range(LANES)]


def test_products_and_reductions(method: str) -> None:
    multiply, reduce = compiled()
    modulus = (1 << (BITS * K - 8)) - 27
    inverse = put([-pow(modulus, -1, 1 << BITS) % (1 << BITS)] * LANES, 1)
    for x, y in itertools.product(extremes(), extremes()):
        out, quotient = vectors(2 * K), vectors(K)
        multiply(out, put(x, K), put(y, K), K)
        products = [a * b for a, b in zip(x, y, strict=True)]
        assert get(out) == products, method
        # T + Q m = t R.
        smaller = [p % (modulus << (BITS * K)) for p in products]
        columns = put(smaller, 2 * K)
        reduce(columns, quotient, put([modulus] * LANES, K), inverse, K)
        t, q = get(columns[: LANES * K]), get(quotient)
        assert [p + b * modulus for p, b in zip(smaller, q, strict=True)] == [a << (BITS * K) for a in t], method


@njit
def _shared(out: Any, entries: Any, digits: Any, count: int, k: int) -> None:
    select_shared(out.ctypes.data, entries.ctypes.data, digits.ctypes.data, count, k)


@njit
def _own(out: Any, entries: Any, digits: Any, count: int, k: int) -> None:
    select_own(out.ctypes.data, entries.ctypes.data, digits.ctypes.data, count, k)


select_shared, select_own = limbs.select_shared, limbs.select_own


def test_selections() -> None:
    rng = np.random.default_rng(6)
    digits = vectors(1)
    digits[:] = [0, 1, 2, 3, 4, 5, 6, 7]
    shared, own = rng.integers(0, 2**52, (8, K)), vectors(8 * K)
    own[:] = rng.integers(0, 2**52, own.size)
    out = vectors(K)
    _shared(out, shared, digits, 8, K)
    assert (shared == out.reshape(K, LANES).T).all()
    _own(out, own, digits, 8, K)
    assert all((out[lane::LANES] == own.reshape(8, K, LANES)[lane, :, lane]).all() for lane in range(LANES))


# From a vector or a mask to a general register: the one way from a value to a jump or an address.
LEAVES_VECTORS = re.compile(
    r"^\t(v?movmsk\w+|v?ptest\w*|k(or)?test\w+|kmov\w+\t%k\d, %[er]\w+|v?pextr\w+|v?mov[dq]\t%[xyz]mm\d+, %[er]\w+)",
    re.M,
)


def machine_code(function: Any, name: str) -> str:
    (signature,) = function.signatures
    bodies = re.findall(r"^\"?(\w+)\"?:[^\n]*\n(.*?)^\.Lfunc_end", function.inspect_asm(signature), re.S | re.M)
    (mine,) = (text for found, text in bodies if found == f"pclimbs_{name}")
    return str(mine)


@pytest.mark.skipif(
    "avx512f" not in limbs._features(),
    reason="reads the code that LLVM makes for vectors of 512 bits; for other machines nobody reads it, and that the"
    " source has neither branch nor address of a value is all that is known",
)
def test_no_jump_or_address_depends_on_a_value() -> None:
    multiply, reduce = compiled()
    x, y = put([1] * LANES, K), put([1] * LANES, K)
    multiply(vectors(2 * K), x, y, K)
    reduce(vectors(2 * K), vectors(K), x, put([-1 % 2**BITS] * LANES, 1), K)
    test_selections()
    found = [(multiply, "row"), (multiply, "carry"), (reduce, "reduce_row")]
    for function, name in [*found, (_shared, "select_shared"), (_own, "select_own")]:
        code = machine_code(function, name)
        assert "zmm" in code
        assert not LEAVES_VECTORS.search(code), name


def test_the_search_finds_ways_out_of_vectors() -> None:
    for line in ("\tvmovq\t%xmm3, %rax", "\tkmovw\t%k1, %eax", "\tvptest\t%ymm0, %ymm0", "\tkortestb\t%k0, %k0"):
        assert LEAVES_VECTORS.search("\tnop\n" + line + "\n")
