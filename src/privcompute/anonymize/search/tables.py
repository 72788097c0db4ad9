"""Checking nodes of the lattice: tables of grouped tuples, and what one node does to them.

Rows are grouped once into distinct tuples. A node is checked on the smallest grouped table that lies below it (rolled up
from), and leaves its own classes behind as such a table. All tables have one row a distinct tuple: codes, rows, rows of the
population, and the entries of the sensitive columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from privcompute.anonymize.classes import Classes, Histogram, Ints, Mask, Tree
from privcompute.anonymize.columns import QuasiIdentifier
from privcompute.anonymize.kernels.closeness import class_histograms
from privcompute.anonymize.kernels.grouping import (
    add_by_class,
    count_outside,
    dense_classes,
    hashed_classes,
    keys,
    recode,
)

Node = tuple[int, ...]
"""A level for each quasi-identifier."""

Slots = npt.NDArray[np.int32]
Codes = npt.NDArray[np.unsignedinteger]  # type: ignore[type-arg]  # uint16, or uint32 where a column has more values

_DENSE = 1 << 22
"""Key spaces up to this size may be counted in a table of all keys, if there are not many times fewer tuples."""

_KEYS = 1 << 62
_CACHED_TUPLES = 6_000_000
"""Tuples that rolled-up tables may hold together: at 9 columns some 30 bytes each."""


@dataclass(frozen=True)
class Sensitive:
    """A sensitive column, coded.

    Attributes:
        codes: (rows,), places in the sorted list of its values.
        values: how many there are.
        tree: its hierarchy, where it has one.
    """

    codes: Ints = field(repr=False)
    values: int
    tree: Tree | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Entries:
    """A sensitive column's values by tuple: `count` rows of tuple `holder` have the value `value`."""

    holder: Slots = field(repr=False)
    value: Ints = field(repr=False)
    count: Ints = field(repr=False)


@dataclass(frozen=True)
class Grouped:
    """A table of distinct tuples at a node.

    Attributes:
        node: the levels of its codes.
        codes: (columns, tuples).
        rows: (tuples,), rows of the table; may be 0 where the population alone has the tuple.
        population: (tuples,), rows of the population; None without one.
        entries: per sensitive column.
    """

    node: Node
    codes: Codes = field(repr=False)
    rows: Ints = field(repr=False)
    population: Ints | None = field(repr=False)
    entries: Mapping[str, Entries] = field(repr=False)


@dataclass(frozen=True)
class Checked:
    """The classes of one node.

    Attributes:
        node: which.
        classes: the classes with a row of the table.
        table: what was grouped.
        slot: per tuple of `table`, its class; classes of the population alone stand behind the others.
        first: per class, its first tuple.
    """

    node: Node
    classes: Classes
    table: Grouped = field(repr=False)
    slot: Slots = field(repr=False)
    first: Slots = field(repr=False)


class Tables:
    """The grouped tables of one data set, and the checks on them.

    Args:
        columns: the quasi-identifiers, coded alike for table and population.
        sensitive: the sensitive columns that models read.
        in_table: (rows,), which rows belong to the table, where the coded columns are those of a population; None: all.
    """

    def __init__(
        self,
        columns: Sequence[QuasiIdentifier],
        sensitive: Mapping[str, Sensitive] | None = None,
        in_table: Mask | None = None,
    ) -> None:
        self.columns = tuple(columns)
        self._sensitive = dict(sensitive or {})
        self._widths = [[len(labels) for labels in column.labels] for column in columns]
        self._offsets = np.concatenate([[0], np.cumsum([len(c.values) for c in columns])]).astype(np.int64)
        self._steps: dict[tuple[int, int, int], Ints] = {}
        self._scratch = _Scratch()
        self.base = self._group_rows(in_table)
        self.rows = int(self.base.rows.sum())
        self._cache = [self.base]
        self._nodes = np.array([self.base.node], np.int64)
        self._room = _CACHED_TUPLES
        self.totals = {
            name: np.bincount(
                one.codes if in_table is None else one.codes[in_table], minlength=one.values
            ).astype(np.int64)
            for name, one in self._sensitive.items()
        }

    def check(self, node: Node) -> Checked:
        """The classes at a node."""
        table = self._below(node)
        slot, size, first = self._classes(table, node)
        population, outside = size, size[:0]
        if table.population is not None:
            population = np.empty(len(size), np.int64)
            add_by_class(slot, table.population, population)
            slot, first, size, population, outside = _table_first(slot, first, size, population)
        kept = len(size)
        histograms: dict[str, Callable[[], Histogram]] = {
            name: self._histogram_maker(name, table, slot, kept) for name in self._sensitive
        }
        classes = Classes(size, population, outside, histograms, table.population is not None)
        checked = Checked(node, classes, table, slot, first)
        self._keep(checked)
        return checked

    def outside(self, checked: Checked, kept: Mask) -> list[Ints]:
        """Per column, how often each label of the node stands in the suppressed rows.

        Args:
            checked: the node.
            kept: (classes,), what is released.
        """
        node = checked.node
        maps, offsets = self._maps(checked.table, node)
        out = np.zeros(int(offsets[-1]), np.int64)
        extra = len(checked.classes.outside)
        released = np.concatenate([kept, np.ones(extra, np.bool_)]) if extra else kept
        if not released.all():
            count_outside(checked.table.codes, checked.slot, checked.table.rows, released, offsets, maps, out)
        widths = [width[level] for width, level in zip(self._widths, node, strict=True)]
        return [out[start : start + width] for start, width in zip(offsets.tolist(), widths, strict=False)]

    def labels(self, checked: Checked) -> Codes:
        """(columns, classes), the codes that each class shows."""
        maps, offsets = self._maps(checked.table, checked.node)
        count = len(checked.classes)
        out = np.empty((len(self.columns), count), checked.table.codes.dtype)
        recode(checked.table.codes, checked.first, count, offsets, maps, out)
        return out

    def _group_rows(self, in_table: Mask | None) -> Grouped:
        columns = self.columns
        wide = any(len(column.values) > 1 << 16 for column in columns)
        count = len(columns[0].codes) if columns else 0
        codes: Codes = np.empty((len(columns), count), np.uint32 if wide else np.uint16)
        for place, column in enumerate(columns):
            codes[place] = column.codes
        ones = np.ones(count, np.int64)
        ground = (0,) * len(columns)
        rows = Grouped(ground, codes, ones, None, {})
        slot, size, first = self._classes(rows, ground)
        mine, population = size, None
        if in_table is not None:
            mine, population = np.empty(len(size), np.int64), size
            add_by_class(slot, in_table.astype(np.int64), mine)
        entries = {}
        for name, one in self._sensitive.items():
            pair = slot.astype(np.int64) * one.values + one.codes
            pair, counts = np.unique(pair if in_table is None else pair[in_table], return_counts=True)
            holder = (pair // one.values).astype(np.int32)
            entries[name] = Entries(holder, pair % one.values, counts.astype(np.int64))
        return Grouped(ground, np.ascontiguousarray(codes[:, first]), mine, population, entries)

    def _below(self, node: Node) -> Grouped:
        """The smallest table from which the node can be grouped."""
        fits = np.flatnonzero((self._nodes <= np.array(node, np.int64)).all(axis=1))
        return min((self._cache[i] for i in fits.tolist()), key=lambda one: len(one.rows))

    def _keep(self, checked: Checked) -> None:
        """Remember the classes as a table, if that saves enough work and there is room."""
        count = len(checked.first)
        if count * 3 > len(checked.table.rows) * 2 or count > self._room:
            return
        maps, offsets = self._maps(checked.table, checked.node)
        codes = np.empty((len(self.columns), count), checked.table.codes.dtype)
        recode(checked.table.codes, checked.first, count, offsets, maps, codes)
        classes, extra = checked.classes, np.zeros(len(checked.classes.outside), np.int64)
        population = np.concatenate([classes.population, classes.outside]) if classes.sampled else None
        entries = {}
        for name in self._sensitive:
            found = classes.histogram(name)
            holder = np.repeat(np.arange(len(classes), dtype=np.int32), np.diff(found.start))
            entries[name] = Entries(holder, found.value, found.count)
        self._cache.append(Grouped(checked.node, codes, np.concatenate([classes.size, extra]), population, entries))
        self._nodes = np.vstack([self._nodes, np.array(checked.node, np.int64)])
        self._room -= count

    def _maps(self, table: Grouped, node: Node) -> tuple[Codes, Ints]:
        """Per column one after the other, what each code of a table becomes at a node; and where each column starts."""
        steps = [self._step(i, low, high) for i, (low, high) in enumerate(zip(table.node, node, strict=True))]
        offsets = np.zeros(len(steps) + 1, np.int64)
        np.cumsum([len(step) for step in steps], out=offsets[1:])
        return np.concatenate(steps).astype(table.codes.dtype), offsets

    def _step(self, column: int, low: int, high: int) -> Ints:
        key = (column, low, high)
        if key not in self._steps:
            self._steps[key] = self.columns[column].step(low, high)
        return self._steps[key]

    def _classes(self, table: Grouped, node: Node) -> tuple[Slots, Ints, Slots]:
        """The class of each tuple, and each class's rows and first tuple."""
        count = len(table.rows)
        widths = [width[level] for width, level in zip(self._widths, node, strict=True)]
        active = [i for i, width in enumerate(widths) if width > 1]
        slot, size = np.zeros(count, np.int32), np.empty(count, np.int64)
        first, key = np.empty(count, np.int32), np.empty(count, np.int64)
        found, done, space = 0, False, 1
        while active or not done:
            # As many columns as fit into one key; what was found so far is one more column of it.
            room = _KEYS // max(1, found) if done else _KEYS
            taken: list[int] = []
            space = 1
            while active and space * widths[active[0]] <= room:
                space *= widths[active[0]]
                taken.append(active.pop(0))
            steps: list[Ints] = []
            place = 1
            for column in taken:
                steps.append(self._step(column, table.node[column], node[column]) * place)
                place *= widths[column]
            offsets = np.zeros(len(self.columns), np.int64)
            offsets[taken] = np.concatenate([[0], np.cumsum([len(step) for step in steps])])[:-1]
            contributions = np.concatenate(steps) if steps else np.zeros(1, np.int64)
            keys(table.codes, np.array(taken, np.int64), offsets, contributions, key)
            if done:
                key += slot.astype(np.int64) * space
                space *= found
            if space <= _DENSE and space <= 8 * count + 65_536:
                found = int(dense_classes(key, table.rows, self._scratch.table(space), slot, size, first))
            else:
                slots, held = self._scratch.hashed(count)
                found = int(hashed_classes(key, table.rows, slots, held, slot, size, first))
            done = True
        return slot, size[:found].copy(), first[:found].copy()

    def _histogram_maker(self, name: str, table: Grouped, slot: Slots, classes: int) -> Callable[[], Histogram]:
        made: list[Histogram] = []

        def make() -> Histogram:
            if not made:
                one, entries = self._sensitive[name], table.entries[name]
                start = np.empty(classes + 1, np.int64)
                value, count = np.empty_like(entries.value), np.empty_like(entries.count)
                written = class_histograms(
                    slot, entries.holder, entries.value, entries.count, one.values, start, value, count
                )
                made.append(Histogram(start, value[:written], count[:written], self.totals[name], one.tree))
            return made[0]

        return make


class _Scratch:
    """Counting tables that are used again from check to check."""

    def __init__(self) -> None:
        self._table = np.empty(1, np.int32)
        self._held = np.empty(1, np.int64)

    def table(self, size: int) -> Slots:
        if len(self._table) < size:
            self._table = np.empty(size, np.int32)
        return self._table[:size]

    def hashed(self, count: int) -> tuple[Slots, Ints]:
        size = 1 << max(4, (2 * count).bit_length())
        if len(self._held) < size:
            self._held = np.empty(size, np.int64)
        return self.table(size), self._held[:size]


def _table_first(
    slot: Slots, first: Slots, size: Ints, population: Ints
) -> tuple[Slots, Slots, Ints, Ints, Ints]:
    """Classes renumbered: those with a row of the table first, in their order, then those of the population alone."""
    order = np.argsort(size == 0, kind="stable")
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    kept = int((size > 0).sum())
    return place[slot], first[order], size[order][:kept], population[order][:kept], population[order][kept:]
