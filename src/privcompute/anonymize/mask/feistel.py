"""The inner loops of FF1 for a whole column: what enters the block cipher in a round, and what its result does.

A block's first eight bytes are the same for all rows of one tweak; the last eight hold the round and the half's number.
Kernels see the owner's own data in the owner's own process: they hide nothing from him.
"""

import numpy as np
import numpy.typing as npt

from privcompute.kernels.compiled import kernel

Words = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]


@kernel
def swapped(x: np.uint64) -> np.uint64:
    """The eight bytes of a word in the opposite order."""
    a = np.uint64(0x00FF00FF00FF00FF)
    b = np.uint64(0x0000FFFF0000FFFF)
    x = ((x >> np.uint64(8)) & a) | ((x & a) << np.uint64(8))
    x = ((x >> np.uint64(16)) & b) | ((x & b) << np.uint64(16))
    return np.uint64((x >> np.uint64(32)) | (x << np.uint64(32)))


@kernel
def fill_blocks(templates: Words, codes: Places, half: Words, tag: np.uint64, out: Words) -> None:
    """Write each row's last block.

    Args:
        templates: (tweaks, 2) big-endian words: the chained blocks before, XOR the last block without its number.
        codes: (n,) each row's tweak.
        half: (n,) the half that is encoded, below 2**56.
        tag: the round's number, shifted in front of the half.
        out: (n, 2) words as they lie in memory.
    """
    for i in range(half.shape[0]):
        code = codes[i]
        out[i, 0] = swapped(templates[code, 0])
        out[i, 1] = swapped(templates[code, 1] ^ half[i] ^ tag)


@kernel
def add_result(blocks: Words, wide: bool, modulus: np.uint64, forward: bool, half: Words, out: Words) -> None:
    """Write half ± NUM(first bytes of each block), modulo `modulus` < 2**56.

    Args:
        blocks: (n, 2) the cipher's output as it lies in memory.
        wide: twelve bytes count, else eight.
        modulus: radix to the half's length.
        forward: add; else subtract.
        half: (n,) below the modulus.
        out: (n,) the new half.
    """
    small = modulus < np.uint64(1) << np.uint64(32)
    for i in range(half.shape[0]):
        y = swapped(blocks[i, 0]) % modulus
        if wide:
            rest = swapped(blocks[i, 1]) >> np.uint64(32)
            if small:
                y = ((y << np.uint64(32)) | rest) % modulus
            else:
                for shift in (24, 16, 8, 0):  # a byte at a time, so that nothing leaves 64 bits
                    y = ((y << np.uint64(8)) | ((rest >> np.uint64(shift)) & np.uint64(255))) % modulus
        total = half[i] + (y if forward else modulus - y)
        out[i] = total - modulus if total >= modulus else total
