"""Number-theoretic transform: products of polynomials modulo X**n + 1 become products of vectors.

All passes have the same shape ("constant geometry", after Pease 1968): they read the four quarters of the array
side by side and write groups of four neighbours, so that each of them vectorises. The price is a second buffer.

The order of the transformed values is whatever the passes leave; it is the same for every polynomial, and
nothing but multiplication value by value is ever done there. The transformed form travels on the wire, so the
order is part of the format, and tests hold it still.

No reduction is needed between passes: a radix-2 pass takes values of size A*p to (A + 1/2 + A/16)*p (modular.py);
fourteen of them, starting at A = 1, stay below 2**4 * p <= 2**53. A test computes this with exact numbers.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from privcompute.kernels.compiled import kernel
from privcompute.kernels.modular import balance, canonical, multiply, multiply_known

Doubles = npt.NDArray[np.float64]

_LANES = 16
"""Twiddle tables are repeated up to this length, so that the inner loop is never shorter."""


@dataclass(frozen=True, eq=False, repr=False)
class Transform:
    """Tables of the transform of length n modulo p.

    Attributes:
        p: the prime, 1 modulo 2n, below 2**49.
        n: the length, a power of two, at least 64.
        forward: for each radix-4 pass six rows, one after the other: its three twiddles and their quotients by p.
        backward: the same for the inverse transform.
        first: (2, 16) the twiddle of the radix-2 pass that comes first when log2 n is odd, and its quotient.
        last: the same for the inverse transform.
        scale: 1/n mod p, balanced.
    """

    p: int
    n: int
    forward: Doubles
    backward: Doubles
    first: Doubles
    last: Doubles
    scale: float

    @property
    def inverse(self) -> float:
        """The double nearest to 1/p."""
        return 1.0 / self.p


def root_of_unity(p: int, n: int) -> int:
    """The first 2n-th primitive root of unity modulo the prime p, trying 2, 3, 4 ... (n a power of two)."""
    if (p - 1) % (2 * n):
        raise ValueError(f"{p} is not 1 modulo {2 * n}")
    for candidate in range(2, 1000):
        root = pow(candidate, (p - 1) // (2 * n), p)
        if pow(root, n, p) == p - 1:
            return root
    raise ValueError(f"{p} is not prime")


def _exponents(n: int) -> list[list[int]]:
    """For each radix-2 level, the power of the root by which each block's upper half is multiplied.

    Level s splits X**(2m) - z**2 into (X**m - z)(X**m + z); X**n + 1 = X**n - root**n starts the recursion.
    """
    levels, blocks = [], [n]
    while len(blocks) < n:
        half = [e // 2 for e in blocks]
        levels.append(half)
        blocks = [e for h in half for e in (h, h + n)]
    return levels


def _columns(values: list[list[int]], p: int) -> list[Doubles]:
    """Balanced twiddles as doubles, repeated to _LANES, followed by their quotients by p."""
    balanced = [[v - p if v > p // 2 else v for v in row] for row in values]
    arrays = [np.array(row * max(1, _LANES // len(row)), dtype=np.float64) for row in balanced]
    return arrays + [a / p for a in arrays]


@lru_cache(maxsize=64)
def transform(p: int, n: int) -> Transform:
    """Tables for length n modulo p (about 10 ms, 1 MB at n = 8192; kept)."""
    root = root_of_unity(p, n)
    powers = [1]
    for _ in range(2 * n - 1):
        powers.append(powers[-1] * root % p)
    levels = _exponents(n)
    odd = len(levels) % 2
    tables: dict[int, Doubles] = {}
    ends: dict[int, Doubles] = {}
    for sign in (1, -1):
        passes = []
        for s in range(odd, len(levels), 2):
            a, below = levels[s], levels[s + 1]
            rows = [[powers[sign * e % (2 * n)] for e in part] for part in (a, below[0::2], below[1::2])]
            passes.extend(_columns(rows, p))
        tables[sign] = np.concatenate(passes)
        ends[sign] = np.stack(_columns([[powers[sign * levels[0][0] % (2 * n)]]], p))
    scale = pow(n, -1, p)
    scale -= p if scale > p // 2 else 0
    return Transform(p, n, tables[1], tables[-1], ends[1], ends[-1], float(scale))


@kernel
def _forward_two(src: Doubles, dst: Doubles, w: Doubles, p: float) -> None:
    """One radix-2 pass with a single twiddle (the first level has one block)."""
    half = src.shape[0] // 2
    low, high = src[:half], src[half:]
    root, quotient = w[0, 0], w[1, 0]
    for i in range(half):
        t = multiply_known(high[i], root, quotient, p)
        dst[2 * i] = low[i] + t
        dst[2 * i + 1] = low[i] - t


@kernel
def _forward_four(src: Doubles, dst: Doubles, w: Doubles, p: float) -> None:
    """Two levels at once; w holds six rows of m values, which serve every run of m values."""
    quarter, m = src.shape[0] // 4, w.shape[0] // 6
    a, b, c = w[:m], w[m : 2 * m], w[2 * m : 3 * m]
    aq, bq, cq = w[3 * m : 4 * m], w[4 * m : 5 * m], w[5 * m :]
    for start in range(0, quarter, m):
        x0 = src[start : start + m]
        x1 = src[quarter + start : quarter + start + m]
        x2 = src[2 * quarter + start : 2 * quarter + start + m]
        x3 = src[3 * quarter + start : 3 * quarter + start + m]
        out = dst[4 * start : 4 * start + 4 * m]
        for i in range(m):
            u = multiply_known(x2[i], a[i], aq[i], p)
            v = multiply_known(x3[i], a[i], aq[i], p)
            y0, y1 = x0[i] + u, x0[i] - u
            z0 = multiply_known(x1[i] + v, b[i], bq[i], p)
            z1 = multiply_known(x1[i] - v, c[i], cq[i], p)
            out[4 * i] = y0 + z0
            out[4 * i + 1] = y0 - z0
            out[4 * i + 2] = y1 + z1
            out[4 * i + 3] = y1 - z1


@kernel
def forward(polys: Doubles, first: Doubles, tables: Doubles, p: float, inverse: float) -> None:
    """Transform each row of `polys` in place.

    Args:
        polys: (count, n) integers, |value| <= p; becomes the balanced values at the 2n-th roots.
        first: Transform.first.
        tables: Transform.forward.
        p: the prime.
        inverse: 1/p.
    """
    n = polys.shape[1]
    one, two = np.empty(n), np.empty(n)
    for row in range(polys.shape[0]):
        poly = polys[row]
        for i in range(n):
            one[i] = poly[i]
        block, offset = 1, 0
        if n & 0x5555555555555555 == 0:  # log2 n is odd
            _forward_two(one, two, first, p)
            one, two = two, one
            block = 2
        while block < n:
            m = max(block, 16)
            _forward_four(one, two, tables[offset : offset + 6 * m], p)
            one, two = two, one
            offset += 6 * m
            block *= 4
        for i in range(n):
            poly[i] = balance(one[i], p, inverse)


@kernel
def _backward_two(src: Doubles, dst: Doubles, w: Doubles, p: float, inverse: float) -> None:
    half = src.shape[0] // 2
    low, high = dst[:half], dst[half:]
    root, quotient = w[0, 0], w[1, 0]
    for i in range(half):
        x, y = src[2 * i], src[2 * i + 1]
        low[i] = balance(x + y, p, inverse)
        high[i] = multiply_known(x - y, root, quotient, p)


@kernel
def _backward_four(src: Doubles, dst: Doubles, w: Doubles, p: float, inverse: float) -> None:
    """Undo _forward_four up to a factor of four; values stay below p in size."""
    quarter, m = src.shape[0] // 4, w.shape[0] // 6
    a, b, c = w[:m], w[m : 2 * m], w[2 * m : 3 * m]
    aq, bq, cq = w[3 * m : 4 * m], w[4 * m : 5 * m], w[5 * m :]
    for start in range(0, quarter, m):
        x0 = dst[start : start + m]
        x1 = dst[quarter + start : quarter + start + m]
        x2 = dst[2 * quarter + start : 2 * quarter + start + m]
        x3 = dst[3 * quarter + start : 3 * quarter + start + m]
        given = src[4 * start : 4 * start + 4 * m]
        for i in range(m):
            r0, r1, r2, r3 = given[4 * i], given[4 * i + 1], given[4 * i + 2], given[4 * i + 3]
            y0, y1 = r0 + r1, r2 + r3
            z0 = multiply_known(r0 - r1, b[i], bq[i], p)
            z1 = multiply_known(r2 - r3, c[i], cq[i], p)
            x0[i] = balance(y0 + y1, p, inverse)
            x1[i] = balance(z0 + z1, p, inverse)
            x2[i] = multiply_known(y0 - y1, a[i], aq[i], p)
            x3[i] = multiply_known(z0 - z1, a[i], aq[i], p)


@kernel
def backward(polys: Doubles, last: Doubles, tables: Doubles, scale: float, p: float, inverse: float) -> None:
    """Undo `forward` for each row of `polys` in place; the coefficients come out canonical, in [0, p).

    Args:
        polys: (count, n) integers, |value| <= p.
        last: Transform.last.
        tables: Transform.backward.
        scale: Transform.scale.
        p: the prime.
        inverse: 1/p.
    """
    n = polys.shape[1]
    one, two = np.empty(n), np.empty(n)
    odd = n & 0x5555555555555555 == 0
    for row in range(polys.shape[0]):
        poly = polys[row]
        for i in range(n):
            one[i] = poly[i]
        offset = tables.shape[0]
        block = n // 4
        while block >= 1 + odd:
            m = max(block, 16)
            offset -= 6 * m
            _backward_four(one, two, tables[offset : offset + 6 * m], p, inverse)
            one, two = two, one
            block //= 4
        if odd:
            _backward_two(one, two, last, p, inverse)
            one, two = two, one
        for i in range(n):
            poly[i] = canonical(multiply(one[i], scale, p, inverse), p, inverse)
