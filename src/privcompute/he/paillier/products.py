"""Products of many numbers modulo one of full length, eight columns of numbers at a time.

Sums of encrypted columns multiply numbers once and never square them, so the pairs of `pairs`, which cost a conversion
each, do not pay: here is Montgomery's product as it stands in the book. Each product divides by R once too often; one
factor at the end puts that right for a whole chain, so a further number in a sum costs one product and one reduction.

Bounds: the modulus is below R / 2^16; a factor below R and an intermediate result below twice the modulus give one
below (2 + 1) times, and the last factor, which is below the modulus, one below twice, for one conditional subtraction.
"""

from __future__ import annotations

from typing import Any, Final

from privcompute.he.paillier.limbs import BITS, BLOCK, LANES, carry, reduce_row, row
from privcompute.he.paillier.pairs import inner, limbs_in, words_out
from privcompute.kernels.compiled import kernel

_BLOCK: Final[int] = BLOCK
_LANES: Final[int] = LANES
_BYTES: Final = 8 * LANES
_BITS: Final[int] = BITS
_MASK: Final = 2**BITS - 1


def product_vectors(k: int) -> int:
    """Vectors of scratch: an intermediate result, a factor, columns, a quotient."""
    return 5 * k


@inner
def _times(work: Any, form: Any, factor: int, k: int) -> None:
    """The first k vectors of the scratch: themselves times the factor over R."""
    work[2 * k * _LANES : 4 * k * _LANES] = 0
    base = work.ctypes.data
    columns, quotient = base + 2 * k * _BYTES, base + 4 * k * _BYTES
    inverse = form.ctypes.data
    for r in range(0, k, _BLOCK):
        row(columns + r * _BYTES, base + r * _BYTES, factor, k)
    for r in range(0, k, _BLOCK):
        reduce_row(columns + r * _BYTES, quotient + r * _BYTES, inverse + _BYTES, inverse, k)
    carry(base, columns + k * _BYTES, k)


@kernel
def products(form: Any, work: Any, x: Any, correction: Any, out: Any, k: int) -> None:
    """out[i] = the product of all x[., i], row by row.

    Args:
        form: One vector of -1/modulus mod 2^52, then the modulus.
        work: `product_vectors`(k) vectors.
        x: (factors, rows, words) int64, a multiple of eight rows.
        correction: R^factors modulo the modulus, k vectors.
        out: (rows, words) int64.
        k: Limbs.
    """
    factor = work.ctypes.data + k * _BYTES
    spare = k * _LANES
    for first in range(0, x.shape[1], _LANES):
        limbs_in(work, 0, x[0], first, 0, k)
        for number in range(1, x.shape[0]):
            limbs_in(work, spare, x[number], first, 0, k)
            _times(work, form, factor, k)
        _times(work, form, correction.ctypes.data, k)
        for lane in range(_LANES):
            borrow = 0
            for i in range(lane, k * _LANES, _LANES):
                value = work[i] - form[_LANES + i] + borrow
                work[spare + i] = value & _MASK
                borrow = value >> _BITS
            for i in range(lane, k * _LANES, _LANES):  # borrow is -1: keep the old one
                work[i] = (work[i] & borrow) | (work[spare + i] & ~borrow)
        words_out(work, 0, out[first : first + _LANES], k)
