"""Values of any width up to 64 bits, side by side in little-endian 64-bit words, and back.

Branches and indices depend on positions and widths only, never on values.
"""

import numpy as np
import numpy.typing as npt

from privcompute.kernels.compiled import kernel

Words = npt.NDArray[np.uint64]
Doubles = npt.NDArray[np.float64]


def packed_words(count: int, width: int) -> int:
    """How many 64-bit words `count` values of `width` bits take."""
    return -(-count * width // 64)


@kernel
def pack_words(values: Words, width: int, out: Words) -> None:
    """Write the values (each below 2**width, 1 <= width <= 64) into `out`, first value in the lowest bits."""
    held, word = 0, 0
    pending = np.uint64(0)
    for i in range(values.shape[0]):
        value = values[i]
        pending |= value << np.uint64(held)
        held += width
        if held >= 64:
            out[word] = pending
            word += 1
            held -= 64
            # Two shifts, because a shift by 64 is undefined; width - held is 1 ... 64.
            pending = (value >> np.uint64(width - held - 1)) >> np.uint64(1)
    if held > 0:
        out[word] = pending


@kernel
def unpack_words(words: Words, width: int, out: Words) -> None:
    """Read out.shape[0] values of `width` bits."""
    mask = np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(64 - width)
    last = words.shape[0] - 1
    for i in range(out.shape[0]):
        position = i * width
        word, shift = position >> 6, np.uint64(position & 63)
        upper = words[min(word + 1, last)] << (np.uint64(63) - shift)
        out[i] = ((words[word] >> shift) | (upper << np.uint64(1))) & mask


@kernel
def pack_residues(values: Doubles, width: int, out: Words) -> None:
    """Each row of `values` (canonical residues below 2**width) into the same row of `out`; n a multiple of 64."""
    for row in range(values.shape[0]):
        source, target = values[row], out[row]
        held, word = 0, 0
        pending = np.uint64(0)
        for i in range(source.shape[0]):
            value = np.uint64(np.int64(source[i]))
            pending |= value << np.uint64(held)
            held += width
            if held >= 64:
                target[word] = pending
                word += 1
                held -= 64
                pending = value >> np.uint64(width - held)


@kernel
def unpack_residues(words: Words, width: int, p: int, out: Doubles) -> np.int64:
    """Each row of packed words into doubles; returns how many of them are not below p (public: they are refused)."""
    mask = (np.uint64(1) << np.uint64(width)) - np.uint64(1)
    last = words.shape[1] - 1
    wrong = np.int64(0)
    for row in range(words.shape[0]):
        source, target = words[row], out[row]
        for i in range(target.shape[0]):
            position = i * width
            word, shift = position >> 6, np.uint64(position & 63)
            upper = source[min(word + 1, last)] << (np.uint64(63) - shift)
            value = np.int64(((source[word] >> shift) | (upper << np.uint64(1))) & mask)
            wrong += np.int64(value >= p)
            target[i] = value
    return wrong
