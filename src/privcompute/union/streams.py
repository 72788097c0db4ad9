"""Masks as long as the data: adding key streams to vectors modulo 2**64 … 2**256, and opening them unit by unit.

A *pairwise* mask is one AES-CTR stream; one of the two holders adds it, the other subtracts it. A holder's *own* mask
of the values has two levels, so that one unit can be opened while the others stay masked: a stream under the holder's
seed yields an *item* for each unit, and the item of a unit of at most `SMALL` words is its mask, that of a larger one a
key whose stream is its mask. Blocks of AES-CTR that are known say nothing about those that are not.

Source: CTR as in NIST SP 800-38A section 6.5; AES as a pseudo-random function.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from privcompute.randomness import Stream
from privcompute.union.job import SumShape, Words

PIECE: Final = 1 << 15
"""Words that are masked at a time: mask and data stay in the second-level cache."""
SMALL: Final = 64
"""Words up to which a unit's item is its mask. A key is shorter to send, but takes as long to set up as a stream of
some 20 kB; at this size a sum of many small units neither sends more than twice its values nor waits for keys."""
_KEY_WORDS: Final = 2
_KEY_BYTES: Final = 16


def add(total: Words, more: Words) -> None:
    """total += more modulo 2**(64 limbs), both (n, limbs) or both (n,)."""
    if total.ndim == 1 or total.shape[1] == 1:
        np.add(total, more, out=total)
        return
    carry: Words | None = None
    for limb in range(total.shape[1]):
        word = more[:, limb]
        new = total[:, limb] + word
        over = new < word
        if carry is not None:
            new += carry
            over |= new < carry
        total[:, limb] = new
        carry = over.astype(np.uint64)


def subtract(total: Words, less: Words) -> None:
    """total -= less modulo 2**(64 limbs), both (n, limbs) or both (n,)."""
    if total.ndim == 1 or total.shape[1] == 1:
        np.subtract(total, less, out=total)
        return
    borrow: Words | None = None
    for limb in range(total.shape[1]):
        old, word = total[:, limb], less[:, limb]
        new = old - word
        under = old < word
        if borrow is not None:
            under |= new < borrow
            new -= borrow
        total[:, limb] = new
        borrow = under.astype(np.uint64)


def apply(total: Words, key: bytes, *, plus: bool) -> None:
    """Adds a key stream to ``total``, or subtracts it, in place and a piece at a time.

    Args:
        total: (n, limbs) or (n,), contiguous.
        key: 16 bytes; the stream of this key masks nothing else.
        plus: Whether it is added.
    """
    stream, change = Stream(key), add if plus else subtract
    rows = PIECE // (total.shape[1] if total.ndim == 2 else 1)
    scratch = np.empty((min(rows, len(total)), *total.shape[1:]), np.uint64)
    for start in range(0, len(total), rows):
        piece = total[start : start + rows]
        mask = scratch[: len(piece)]
        stream.fill(mask.reshape(-1).view(np.uint8))
        change(piece, mask)


def apply_pair(counts: Words, values: Words, key: bytes, *, plus: bool) -> None:
    """Adds one pairwise mask to both vectors, or subtracts it; ``key`` is the pair's, 32 bytes."""
    apply(counts, key[:_KEY_BYTES], plus=plus)
    apply(values, key[_KEY_BYTES:], plus=plus)


class UnitMasks:
    """Where each unit's item lies, for one shape and one set of units.

    Args:
        shape: What is added.
        units: Which units, ascending; default all.
    """

    def __init__(self, shape: SumShape, units: Sequence[int] | None = None) -> None:
        self.shape = shape
        sizes = shape.sizes
        small = sizes * shape.limbs <= SMALL
        widths = np.where(small, sizes * shape.limbs, _KEY_WORDS)
        self._drawn = int(widths.sum())
        picked = np.arange(len(sizes)) if units is None else np.array(units, dtype=np.int64)
        widths_picked, small_picked = widths[picked], small[picked]
        self.words = int(widths_picked.sum())
        everything = self.words == self._drawn
        self._items = None if everything else _spans((np.cumsum(widths) - widths)[picked], widths_picked)
        # Of the picked units' items: the words that are masks, and the values that these mask; None: all.
        starts = np.cumsum(sizes) - sizes
        tiny = picked[small_picked]
        alike = len(tiny) == len(picked)
        self._mask_words = None if alike else np.flatnonzero(np.repeat(small_picked, widths_picked))
        self._masked = int(sizes[tiny].sum())
        self._rows = None if everything and alike else _spans(starts[tiny], sizes[tiny])
        large = np.flatnonzero(~small_picked)
        before = np.cumsum(widths_picked) - widths_picked
        self._large = [(int(before[i]), int(starts[picked[i]]), shape.units[picked[i]]) for i in large]

    def items(self, seed: bytes) -> Words:
        """The items of the units, in order, (words,) uint64: with them, and only with them, the units open.

        Args:
            seed: The holder's, 16 bytes of a derived key.
        """
        drawn = Stream(seed).uint64(self._drawn)
        if self._items is None:
            return drawn
        kept: Words = drawn[self._items]
        return kept

    def change(self, values: Words, items: Iterable[Words], *, plus: bool) -> None:
        """Adds the masks of several holders to the units of ``values``, or subtracts them, in place.

        Args:
            values: (values, limbs).
            items: As `items` made them, (words,) each.
            plus: Whether they are added.
        """
        limbs = self.shape.limbs
        masks = np.zeros((self._masked, limbs), np.uint64)
        for one in items:
            words = one if self._mask_words is None else one[self._mask_words]
            add(masks, words.reshape(-1, limbs))
            for at, start, size in self._large:
                apply(values[start : start + size], one[at : at + _KEY_WORDS].tobytes(), plus=plus)
        if self._rows is None:
            (add if plus else subtract)(values, masks)
        elif self._masked:
            rows = values[self._rows]
            (add if plus else subtract)(rows, masks)
            values[self._rows] = rows


def _spans(starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The indices starts[i] … starts[i] + lengths[i] - 1 of every i, one after the other."""
    before = np.cumsum(lengths) - lengths
    spans: npt.NDArray[np.int64] = np.arange(int(lengths.sum()), dtype=np.int64) + np.repeat(starts - before, lengths)
    return spans
