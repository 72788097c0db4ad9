"""Exact sums per cell of integers of up to 127 bits, batch by batch, at the speed of float64 histograms.

A float64 adds integers exactly below 2^53. So values are cut into pieces of 32 bits, unless their public bound makes
the sum of a whole batch fit as it is; the pieces' sums are kept in int64 and folded into Python integers in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

MOST_ROWS = 1 << 14
"""Most rows of a batch: so many pieces of 32 bits stay below 2^53, and a hundred features take some megabytes."""

_EXACT = 1 << 53
_PIECE = 32
_FOLD = 1 << 9
"""Batches after which int64 is emptied: 2^9 sums below 2^53 stay below 2^62."""


class Tally:
    """The sums of one value, one a cell.

    Args:
        cells: the number of cells.
        bound: the largest |value|, public.
    """

    def __init__(self, cells: int, bound: int) -> None:
        self._cells = cells
        self._bound = bound
        self._open: dict[int, npt.NDArray[np.int64]] = {}
        self._folded = [0] * cells
        self._batches = 0

    def add(
        self,
        cells: npt.NDArray[np.int32],
        low: npt.NDArray[np.int64] | npt.NDArray[np.uint64],
        high: npt.NDArray[np.int64] | None,
    ) -> None:
        """Add a batch.

        Args:
            cells: shape (n,), n at most `MOST_ROWS`: the cell of each row.
            low: shape (n,): int64 values; or, with `high`, their lower 64 bits as uint64.
            high: shape (n,): the upper 64 bits of two's complement, None if the values fit 63.
        """
        for shift, piece in self._pieces(low, high):
            sums = np.bincount(cells, piece, self._cells).astype(np.int64)
            if shift in self._open:
                self._open[shift] += sums
            else:
                self._open[shift] = sums
        self._batches += 1
        if self._batches == _FOLD:
            self._fold()

    def totals(self) -> tuple[int, ...]:
        """One exact sum a cell."""
        self._fold()
        return tuple(self._folded)

    def _pieces(
        self, low: npt.NDArray[np.int64] | npt.NDArray[np.uint64], high: npt.NDArray[np.int64] | None
    ) -> list[tuple[int, npt.NDArray[np.int64] | npt.NDArray[np.uint64]]]:
        if high is None:
            return [(0, low)] if self._bound * len(low) < _EXACT else _halves(low, 0)
        return [*_halves(low, 0), *_halves(high, 64)]

    def _fold(self) -> None:
        for shift, sums in self._open.items():
            for place in np.flatnonzero(sums).tolist():
                self._folded[place] += int(sums[place]) << shift
        self._open = {}
        self._batches = 0


def _halves(
    limb: npt.NDArray[np.int64] | npt.NDArray[np.uint64], shift: int
) -> list[tuple[int, npt.NDArray[np.int64] | npt.NDArray[np.uint64]]]:
    """The lower 32 bits, never negative, and the upper ones, signed if the limb is."""
    kind = limb.dtype.type
    return [(shift, limb & kind((1 << _PIECE) - 1)), (shift + _PIECE, limb >> kind(_PIECE))]


def count_by(cells: Sequence[int] | npt.NDArray[np.int32], number: int) -> tuple[int, ...]:
    """How often each of `number` cells occurs."""
    return tuple(np.bincount(np.asarray(cells, dtype=np.int32), minlength=number).tolist())
