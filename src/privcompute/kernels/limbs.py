"""Integers of several 64-bit limbs, one array ("plane") per limb, lowest first; and their way to residues and back.

A plane layout keeps the loops over values straight. All arithmetic is modulo 2**(64 * limbs), two's complement.
"""

import numpy as np
import numpy.typing as npt

from privcompute.kernels.compiled import kernel
from privcompute.kernels.intrinsics import mulhi
from privcompute.kernels.modular import balance, canonical, multiply

Words = npt.NDArray[np.uint64]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

PIECE_BITS = 48
"""Wide integers reach residues in pieces of this width, which a double holds exactly."""


@kernel
def scale_planes(values: Words, factor: Words, out: Words) -> None:
    """out = value * factor modulo 2**(64 * planes); all of them have the same number of limbs.

    Args:
        values: (planes, n).
        factor: (planes,) limbs.
        out: (planes, n).
    """
    planes = factor.shape[0]
    for j in range(planes):
        for i in range(values.shape[1]):
            out[j, i] = np.uint64(0)
    for j in range(planes):
        for i in range(values.shape[1]):
            limb, carry = values[j, i], np.uint64(0)
            for m in range(planes - j):
                product = limb * factor[m]
                total = out[j + m, i] + product
                first = np.uint64(total < product)
                total += carry
                second = np.uint64(total < carry)
                carry = mulhi(limb, factor[m]) + first + second
                out[j + m, i] = total


@kernel
def split_signed(planes: Words, width: int, out: Doubles) -> None:
    """Cut the low `width` bits of each value, read as a signed integer, into pieces of 48 bits; the last is signed.

    Args:
        planes: (limbs, n) with 64 * limbs >= width.
        width: bits of the signed value.
        out: (ceil(width / 48), n) doubles; value = sum of out[t] * 2**(48 t).
    """
    count, last = out.shape[0], planes.shape[0] - 1
    top = width - 48 * (count - 1)
    for t in range(count):
        word, shift = (48 * t) >> 6, np.uint64((48 * t) & 63)
        left, right = (np.uint64(64 - top), np.int64(64 - top)) if t == count - 1 else (np.uint64(16), np.int64(16))
        signed = t == count - 1
        for i in range(planes.shape[1]):
            upper = planes[min(word + 1, last), i] << (np.uint64(63) - shift)
            raw = ((planes[word, i] >> shift) | (upper << np.uint64(1))) << left
            out[t, i] = np.float64(np.int64(raw) >> right) if signed else np.float64(np.int64(raw >> left))


@kernel
def residues(pieces: Doubles, factors: Doubles, p: float, inverse: float, out: Doubles) -> None:
    """out = sum of pieces[t] * factors[t] mod p, balanced.

    Args:
        pieces: (count, n), each |value| < 2**48.
        factors: (count,) balanced residues.
        p: the prime.
        inverse: 1/p.
        out: (n,).
    """
    for i in range(out.shape[0]):
        out[i] = 0.0
    for t in range(pieces.shape[0]):
        piece, factor = pieces[t], factors[t]
        for i in range(out.shape[0]):
            out[i] = balance(out[i] + multiply(factor, piece[i], p, inverse), p, inverse)


@kernel
def round_to_power(values: Doubles, primes: Doubles, cofactors: Doubles, steps: Words, top: int, out: Words) -> None:
    """out = round(2**w * c / q) mod 2**w for c given modulo each prime (q is their product).

    c/q = sum of v_l / p_l modulo 1, with v_l = c * (q/p_l)**-1 mod p_l; each 1/p_l is a fixed-point number with 64 more
    bits than needed, so the result is off the exact quotient by at most 1/2 + 2**-11.

    Args:
        values: (L, n) canonical residues.
        primes: (L,) as doubles.
        cofactors: (L,) (q/p_l)**-1 mod p_l, balanced.
        steps: (L, limbs + 1) limbs of floor(2**(w + 64) / p_l).
        top: bits of the highest plane that are kept: w - 64 * (limbs - 1).
        out: (limbs, n).
    """
    limbs = out.shape[0]
    keep = np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(64 - top)
    total = np.empty(limbs + 1, dtype=np.uint64)
    for i in range(values.shape[1]):
        for j in range(limbs + 1):
            total[j] = np.uint64(0)
        total[0] = np.uint64(1) << np.uint64(63)  # half of the step that is dropped below
        for k in range(values.shape[0]):
            p = primes[k]
            inverse = 1.0 / p
            v = np.uint64(np.int64(canonical(multiply(values[k, i], cofactors[k], p, inverse), p, inverse)))
            carry = np.uint64(0)
            for j in range(limbs + 1):
                product = v * steps[k, j]
                accumulated = total[j] + product
                first = np.uint64(accumulated < product)
                accumulated += carry
                second = np.uint64(accumulated < carry)
                carry = mulhi(v, steps[k, j]) + first + second
                total[j] = accumulated
        for j in range(limbs):
            out[j, i] = total[j + 1]
        out[limbs - 1, i] &= keep


@kernel
def ternary_products(planes: Words, secret: npt.NDArray[np.int8], out: Integers) -> None:
    """For each plane, the sums of its lower and of its upper 32-bit halves, each value times -1, 0 or 1.

    Args:
        planes: (limbs, n), n < 2**30.
        secret: (n,).
        out: (2 * limbs,): sum of out[h] * 2**(32 h) is the inner product.
    """
    for j in range(planes.shape[0]):
        plane = planes[j]
        low, high = np.int64(0), np.int64(0)
        for i in range(secret.shape[0]):
            sign = np.int64(secret[i])
            low += sign * np.int64(plane[i] & np.uint64(0xFFFFFFFF))
            high += sign * np.int64(plane[i] >> np.uint64(32))
        out[2 * j], out[2 * j + 1] = low, high


@kernel
def balanced_digits(low: Words, high: Words, width: int, out: Integers) -> None:
    """Digits in [-2**(width-1), 2**(width-1)), lowest first; the last one takes what is left.

    Args:
        low: (n,) lower limbs of two's complement values.
        high: (n,) upper limbs.
        width: 2 ... 64.
        out: (count, n); value = sum of out[d] * 2**(width d), for values that `count` digits can hold.
    """
    count = out.shape[0]
    for i in range(low.shape[0]):
        a, b = low[i], np.int64(high[i])
        for d in range(count - 1):
            digit = np.int64(a << np.uint64(64 - width)) >> np.int64(64 - width)
            out[d, i] = digit
            # (value - digit) / 2**width: a borrow when the digit is negative becomes a carry of one.
            if width == 64:
                a = np.uint64(b)
                b = b >> np.int64(63)
            else:
                a = (a >> np.uint64(width)) | (np.uint64(b) << np.uint64(64 - width))
                b = b >> np.int64(width)
            carried = a + np.uint64(digit < 0)
            b += np.int64(carried < a)
            a = carried
        out[count - 1, i] = np.int64(a)


@kernel
def count_beyond(low: Words, high: Words, bound_low: np.uint64, bound_high: np.uint64) -> np.int64:
    """How many values exceed the bound (two limbs) in size; used on one's own column before anything is sent."""
    beyond = np.int64(0)
    for i in range(low.shape[0]):
        negative = np.uint64(np.int64(high[i]) >> 63)
        a = (low[i] ^ negative) + (negative & np.uint64(1))
        b = (high[i] ^ negative) + (negative & np.uint64(a == 0))
        beyond += np.int64((b > bound_high) | ((b == bound_high) & (a > bound_low)))
    return beyond
