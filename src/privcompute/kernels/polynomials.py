"""The steps of ring-LWE on rows of transformed polynomials, fused where that saves passes over memory."""

import numpy as np
import numpy.typing as npt

from privcompute.kernels.compiled import kernel
from privcompute.kernels.modular import balance, canonical, multiply

Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

MAX_ROWS = 16
"""Rows of one call of `accumulate_products`: more could leave the range in which doubles are exact."""


@kernel
def integers_to_residues(values: Integers, p: float, inverse: float, step: float, out: Doubles) -> None:
    """Balanced residues of 64-bit integers.

    Args:
        values: (rows, n).
        p: the prime.
        inverse: 1/p.
        step: 2**32 mod p, balanced.
        out: (rows, n).
    """
    for row in range(values.shape[0]):
        source, target = values[row], out[row]
        for i in range(source.shape[0]):
            high = np.float64(source[i] >> 32)
            low = np.float64(source[i] & 0xFFFFFFFF)
            target[i] = balance(multiply(high, step, p, inverse) + low, p, inverse)


@kernel
def encrypt_rows(messages: Doubles, uniform: Doubles, secret: Doubles, p: float, inverse: float) -> None:
    """messages = messages - uniform * secret, canonical; all transformed.

    Args:
        messages: (rows, n), |value| <= p.
        uniform: (rows, n), the public polynomials.
        secret: (n,).
        p: the prime.
        inverse: 1/p.
    """
    for row in range(messages.shape[0]):
        m, a = messages[row], uniform[row]
        for i in range(secret.shape[0]):
            m[i] = canonical(m[i] - multiply(a[i], secret[i], p, inverse), p, inverse)


@kernel
def accumulate_products(
    sums: Doubles, first: Doubles, second: Doubles, plain: Doubles, pairs: Integers, p: float, inverse: float
) -> None:
    """sums[r] += the sum over blocks b of (first, second)[b, g] * plain[b, d], for pairs[r] = (g, d).

    Args:
        sums: (pairs, 2, n) balanced; stays so.
        first: (blocks, groups, n), |value| <= p.
        second: like first.
        plain: (blocks, digits, n) balanced.
        pairs: (count, 2); public.
        p: the prime.
        inverse: 1/p.

    A tile of the sums stays in the first-level cache while the blocks pass by. Each product is at most
    (1/2 + 1/16) p, so after 16 blocks a sum is below 10 p < 2**53.
    """
    n, tile = sums.shape[2], 1024
    for start in range(0, n, tile):
        for r in range(pairs.shape[0]):
            g, d = pairs[r, 0], pairs[r, 1]
            out0 = sums[r, 0, start : start + tile]
            out1 = sums[r, 1, start : start + tile]
            for b in range(first.shape[0]):
                y = plain[b, d, start : start + tile]
                x0 = first[b, g, start : start + tile]
                x1 = second[b, g, start : start + tile]
                for i in range(y.shape[0]):
                    out0[i] += multiply(y[i], x0[i], p, inverse)
                    out1[i] += multiply(y[i], x1[i], p, inverse)
            for i in range(out0.shape[0]):
                out0[i] = balance(out0[i], p, inverse)
                out1[i] = balance(out1[i], p, inverse)


@kernel
def add_canonical(values: Doubles, addend: Doubles, p: float, inverse: float) -> None:
    """values = values + addend, canonical; both (n,), |value| <= p."""
    for i in range(values.shape[0]):
        values[i] = canonical(values[i] + addend[i], p, inverse)


@kernel
def add_product(values: Doubles, left: Doubles, right: Doubles, p: float, inverse: float) -> None:
    """values = values + left * right, balanced; all (n,), |value| <= p."""
    for i in range(values.shape[0]):
        values[i] = balance(values[i] + multiply(left[i], right[i], p, inverse), p, inverse)
