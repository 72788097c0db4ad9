"""Selections hidden in values, in the cells of a union: as `levels` has them for the whole table.

Per cell the people of each value that at least the owner's minimum of them share are a set, as if that value had been a
filter. The sets of one level are the cells of a partition: a key's rows in a cell have one value or count for none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from privcompute.node.levels import MOST_VALUES
from privcompute.node.partitions import CellSets
from privcompute.tables.cells import LevelCells, Partition

if TYPE_CHECKING:
    from privcompute.tables.features import Level


def hidden_partitions(levels: Sequence[Level], values: Sequence[LevelCells], keys: int, least: int) -> list[CellSets]:
    """One partition for each level that has sets.

    Of two sets of one group that nearly coincide one stands for both, as in `levels.hidden_sets`.

    Args:
        levels: The plan's.
        values: What they are, in the same order.
        keys: Number of distinct keys of the table.
        least: How many keys two sets have to differ by, and fewest keys of a set.
    """
    groups: dict[int, list[CellSets]] = {}
    for level, value in zip(levels, values, strict=True):
        kept = groups.setdefault(level.group, [])
        found = CellSets.of(shared_values(value, least), keys)
        for other in kept:
            found = found.without(found.near_sets(other, least))
        if len(found.sizes):
            kept.append(found)
    return [one for kept in groups.values() for one in kept]


def shared_values(level: LevelCells, least: int) -> Partition:
    """The keys of each cell whose selected rows there all have one value that enough of them share.

    Args:
        level: The hashed values.
        least: Fewest keys of a value in a cell.

    Returns:
        A partition whose cells are pairs of a cell and one of its `MOST_VALUES` most frequent values.
    """
    single = level.low == level.high
    keys, cells, hashes = level.keys[single], level.cells[single], level.low[single]
    order = np.lexsort((hashes, cells))
    cells_in_order, hashes_in_order = cells[order], hashes[order]
    begins = np.ones(len(order), dtype=np.bool_)
    begins[1:] = (cells_in_order[1:] != cells_in_order[:-1]) | (hashes_in_order[1:] != hashes_in_order[:-1])
    value = np.empty(len(order), dtype=np.int64)
    value[order] = np.cumsum(begins) - 1
    counts = np.bincount(value, minlength=int(np.count_nonzero(begins)))
    of_cell = cells_in_order[begins]
    _, place = np.unique(of_cell, return_inverse=True)
    in_cell = np.bincount(place, weights=counts).astype(np.int64)[place] if len(place) else counts
    many = (counts >= least) & (counts * MOST_VALUES >= in_cell)
    frequent = many & (_rank(of_cell, counts) < MOST_VALUES)
    kept = frequent[value]
    return Partition(keys[kept], value[kept].astype(np.int32))


def _rank(cells: npt.NDArray[np.int32], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """For each value its place among those of its cell, the most frequent first; `cells` ascend."""
    order = np.lexsort((-counts, cells))
    begins = np.searchsorted(cells, cells, "left")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) - begins[order]
    return rank
