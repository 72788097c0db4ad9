"""Families of sets of own keys, as a union's groups make them, and whether two families hold sets that are too near.

A partition says which keys are in which cell; each cell is a set. Two sets of different partitions that have a key in
common and differ by a few keys give these away. Cells of one partition are not compared with each other, and cells
without a common key are no danger: their difference tells no more than either alone.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from privcompute.tables.cells import Partition

Ints = npt.NDArray[np.int64]

_HEAD = struct.Struct(">QQQBBI")
_WIDTHS = ("uint8", "uint16", "uint32")
_AT_ONCE = 1 << 22
"""Pairs of memberships that are looked at in one step."""
_DENSE = 1 << 24
"""Largest table of counts, cells by cells, that is kept whole."""


@dataclass(frozen=True, repr=False, eq=False)
class CellSets:
    """The sets of one partition, without their names.

    Attributes:
        keys: number of distinct keys in the table.
        sizes: int64 (sets,): number of keys of each set, all above 0.
        members: int64 (pairs,): indices of keys, ascending.
        sets: int64 (pairs,): which set each membership is of.
    """

    keys: int
    sizes: Ints
    members: Ints
    sets: Ints

    @classmethod
    def of(cls, partition: Partition, keys: int) -> CellSets:
        """The sets of a partition over a table of so many distinct keys."""
        filled = np.bincount(partition.cells)
        sets = (np.cumsum(filled > 0) - 1)[partition.cells]
        return cls(keys, filled[filled > 0], partition.keys.astype(np.int64, copy=False), sets)

    @classmethod
    def single(cls, selected: npt.NDArray[np.bool_]) -> CellSets:
        """A selection, bool (keys,), as a family of one set (of none if it is empty)."""
        members = np.flatnonzero(selected)
        sizes = np.array([len(members)] if len(members) else [], dtype=np.int64)
        return cls(len(selected), sizes, members, np.zeros(len(members), dtype=np.int64))

    def near(self, other: CellSets, minimum: int) -> bool:
        """Whether a set of one and a set of the other have a common key and differ by 1 … minimum - 1 keys.

        Both are over the same keys. Time and memory go with the memberships, not with sets times sets.
        """
        if self.set_of is None and other.set_of is not None:
            return len(other.near_sets(self, minimum)) > 0
        return len(self.near_sets(other, minimum)) > 0

    def near_sets(self, other: CellSets, minimum: int) -> Ints:
        """Which sets of this family are near one of the other's, as `near` has it."""
        if minimum <= 1 or not may_be_near(self.sizes, other.sizes, minimum):
            return np.zeros(0, dtype=np.int64)
        width = len(other.sizes)
        found = _Common(len(self.sizes) * width)
        for a, b in _meetings(self, other):
            found.add(a * width + b)
        # Two sets that differ by less than `minimum` share more than this.
        least = (int(self.sizes.min()) + int(other.sizes.min()) - minimum) // 2
        place, common = found.above(max(least, 0))
        difference = self.sizes[place // width] + other.sizes[place % width] - 2 * common
        near: Ints = np.unique(place[(difference > 0) & (difference < minimum)] // width)
        return near

    def without(self, sets: Ints) -> CellSets:
        """The family without some of its sets."""
        kept = np.ones(len(self.sizes), dtype=np.bool_)
        kept[sets] = False
        names = np.cumsum(kept) - 1
        stays = kept[self.sets]
        return CellSets(self.keys, self.sizes[kept], self.members[stays], names[self.sets[stays]])

    @cached_property
    def set_of(self) -> Ints | None:
        """int64 (keys,): the only set of each key, -1 for a key in none; None if a key is in several."""
        if len(self.members) > 1 and not (np.diff(self.members) > 0).all():
            return None
        found = np.full(self.keys, -1, dtype=np.int64)
        found[self.members] = self.sets
        return found

    @cached_property
    def digest(self) -> bytes:
        """32 bytes, the same for the same family, whatever its cells were called."""
        by_set = self.members[np.argsort(self.sets.astype(_WIDTHS[_width(self.sets)]), kind="stable")]
        each = np.split(by_set, np.cumsum(self.sizes)[:-1])
        found = sorted(hashlib.sha256(one.tobytes()).digest() for one in each)
        return hashlib.sha256(self.keys.to_bytes(8, "big") + b"".join(found)).digest()

    def to_bytes(self) -> bytes:
        """For the state file: the sizes, which often suffice, apart from the memberships."""
        counts = np.bincount(self.members, minlength=self.keys)
        count_width, set_width = _width(counts), _width(self.sets)
        sizes = zlib.compress(self.sizes.tobytes(), 1)
        body = zlib.compress(counts.astype(_WIDTHS[count_width]).tobytes(), 1)
        body += zlib.compress(self.sets.astype(_WIDTHS[set_width]).tobytes(), 1)
        head = _HEAD.pack(self.keys, len(self.sizes), len(self.members), count_width, set_width, len(sizes))
        return head + sizes + body

    @classmethod
    def from_bytes(cls, data: bytes) -> CellSets:
        """Read `to_bytes` back."""
        keys, _, _, count_width, set_width, sizes = _HEAD.unpack_from(data)
        rest = zlib.decompressobj()
        counts = np.frombuffer(rest.decompress(data[_HEAD.size + sizes :]), dtype=_WIDTHS[count_width])
        sets = np.frombuffer(zlib.decompress(rest.unused_data), dtype=_WIDTHS[set_width]).astype(np.int64)
        # A key is mostly in one set or none.
        single = counts.max(initial=0) <= 1
        members = np.flatnonzero(counts) if single else np.repeat(np.arange(keys), counts.astype(np.int64))
        return cls(keys, sizes_of(data), members, sets)


def sizes_of(data: bytes) -> Ints:
    """The sizes alone, of what `to_bytes` wrote."""
    length = _HEAD.unpack_from(data)[-1]
    return np.frombuffer(zlib.decompress(data[_HEAD.size : _HEAD.size + length]), dtype=np.int64)


def may_be_near(sizes: Ints, others: Ints, minimum: int) -> bool:
    """Whether sets of these sizes could be near each other: their sizes differ by less than `minimum`."""
    ordered = np.sort(others)
    first, last = np.searchsorted(ordered, sizes - minimum, "right"), np.searchsorted(ordered, sizes + minimum, "left")
    return bool((first < last).any())


def _width(values: Ints) -> int:
    most = int(values.max(initial=0))
    return next(place for place, kind in enumerate(_WIDTHS) if most <= np.iinfo(kind).max)


def _meetings(one: CellSets, other: CellSets) -> Iterator[tuple[Ints, Ints]]:
    """For every key, every set of the one that holds it with every set of the other that does; some at a time."""
    if one.set_of is not None:  # a key is in one cell: by far the most frequent
        sets = one.set_of[other.members]
        met = sets >= 0
        yield (sets, other.sets) if met.all() else (sets[met], other.sets[met])
        return
    counts = np.bincount(other.members, minlength=other.keys)
    begins = np.concatenate(([0], np.cumsum(counts)[:-1]))
    each = counts[one.members]
    ends = np.cumsum(each)
    start = 0
    while start < len(each):
        done = ends[start] - each[start]
        stop = max(start + 1, int(np.searchsorted(ends, done + _AT_ONCE, "right")))
        some = each[start:stop]
        within = np.arange(int(some.sum())) - np.repeat(ends[start:stop] - some - done, some)
        place = np.repeat(begins[one.members[start:stop]], some) + within
        yield np.repeat(one.sets[start:stop], some), other.sets[place]
        start = stop


class _Common:
    """How many keys each pair of sets has in common; pairs are numbered."""

    def __init__(self, pairs: int) -> None:
        self._pairs = pairs
        self._dense: Ints | None = None
        self._sparse: tuple[Ints, Ints] = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))

    def add(self, numbers: Ints) -> None:
        if self._pairs <= _DENSE:
            found = np.bincount(numbers, minlength=self._pairs)
            self._dense = found if self._dense is None else self._dense + found
            return
        places, counts = np.unique(numbers, return_counts=True)
        old_places, old_counts = self._sparse
        merged, back = np.unique(np.concatenate([old_places, places]), return_inverse=True)
        sums = np.zeros(len(merged), dtype=np.int64)
        np.add.at(sums, back, np.concatenate([old_counts, counts]))
        self._sparse = merged, sums

    def above(self, least: int) -> tuple[Ints, Ints]:
        """The pairs that have more than `least` keys in common, and how many."""
        if self._dense is None:
            places, counts = self._sparse
            kept = counts > least
            return places[kept], counts[kept]
        places = np.flatnonzero(self._dense > least)
        return places, self._dense[places]
