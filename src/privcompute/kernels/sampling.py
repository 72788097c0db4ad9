"""From uniform bits to the distributions of ring-LWE. The bits come from the caller's AES key stream.

Rejection decides which *words* are used, never which value comes out, so its running time tells nothing about the
values kept.
"""

import numpy as np
import numpy.typing as npt

from privcompute.kernels.compiled import kernel
from privcompute.kernels.intrinsics import popcount

Words = npt.NDArray[np.uint64]
Doubles = npt.NDArray[np.float64]


@kernel
def uniform(words: Words, width: int, p: int, out: Doubles) -> np.int64:
    """Uniform residues from the low `width` bits of each word; words that give p or more are skipped.

    Returns:
        How many residues were written, at the start of `out`.
    """
    mask = (np.uint64(1) << np.uint64(width)) - np.uint64(1)
    wrong = np.int64(0)
    for i in range(words.shape[0]):
        value = np.int64(words[i] & mask)
        wrong += np.int64(value >= p)
        out[i] = value
    if wrong == 0:
        return np.int64(words.shape[0])
    kept = np.int64(0)
    for i in range(words.shape[0]):
        value = np.int64(words[i] & mask)
        out[kept] = value
        kept += np.int64(value < p)
    return kept


@kernel
def ternary(noise: npt.NDArray[np.uint8], out: npt.NDArray[np.int8]) -> np.int64:
    """Uniform values of -1, 0, 1 from bytes: 255 is skipped, the others are taken modulo 3.

    Returns:
        How many values were written, at most out.shape[0].
    """
    kept, size = np.int64(0), out.shape[0]
    for i in range(noise.shape[0]):
        if kept == size:  # how many bytes it took is public
            break
        value = np.int64(noise[i])
        out[kept] = value % 3 - 1
        kept += np.int64(value != 255)
    return kept


@kernel
def centred_binomial(words: Words, out: Doubles) -> None:
    """One value of the centred binomial distribution with parameter 21 (bounds.ETA) from each word."""
    mask = np.uint64((1 << 21) - 1)
    for i in range(words.shape[0]):
        word = words[i]
        ones = np.int64(popcount(word & mask))
        out[i] = ones - np.int64(popcount((word >> np.uint64(21)) & mask))
