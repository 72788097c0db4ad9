"""Checking nodes of the lattice: tables of grouped tuples, and what one node does to them.

Rows are grouped once into distinct tuples. A node is checked on the smallest grouped table that lies below it (rolled
up from), and leaves its own classes behind as such a table. All tables have one row a distinct tuple: codes, rows,
rows of the population, and the entries of the sensitive columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from privcompute.anonymize.classes import Classes, Histogram, Ints, Mask, Sensitive
from privcompute.anonymize.columns import QuasiIdentifier
from privcompute.anonymize.kernels.closeness import class_histograms
from privcompute.anonymize.kernels.grouping import (
    add_by_class,
    classes_at,
    count_outside,
    recode,
    smallest_below,
)
from privcompute.errors import UsageError

Node = tuple[int, ...]
"""A level for each quasi-identifier."""

Slots = npt.NDArray[np.int32]
Codes = npt.NDArray[Any]

_DENSE = 1 << 22
"""Key spaces up to this size may be counted in a table of all keys, if there are not many times fewer tuples."""

_KEYS = 1 << 62
_EAGER = 200_000
"""Entries of a sensitive column up to which rolled-up tables carry their own."""

_CACHED_TABLES = 1024
_CACHED_TUPLES = 6_000_000
"""Tuples that rolled-up tables may hold together: at 9 columns some 30 bytes each."""


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
        in_table: (rows,), which of the coded rows are the table's; None: all, and there is no population.
        in_population: (rows,), which are the population's; None: all.

    Raises:
        UsageError: `population_lacks_rows` if the table has rows that the population has not.
    """

    def __init__(
        self,
        columns: Sequence[QuasiIdentifier],
        sensitive: Mapping[str, Sensitive] | None = None,
        in_table: Mask | None = None,
        in_population: Mask | None = None,
    ) -> None:
        self.columns = tuple(columns)
        self._sensitive = dict(sensitive or {})
        self._steps = _Steps(columns)
        self._buffers = _Buffers()
        self.base = self._group_rows(in_table, in_population)
        self.rows = int(self.base.rows.sum())
        self._kept = _Kept(self.base)
        self.totals = {
            name: np.bincount(one.codes if in_table is None else one.codes[in_table], minlength=one.values).astype(
                np.int64
            )
            for name, one in self._sensitive.items()
        }

    def check(self, node: Node, *, of_rows: bool = False) -> Checked:
        """The classes at a node.

        Args:
            node: a level for each column.
            of_rows: whether the classes have to be those of the tuples of the rows, `tuple_of_row`.
        """
        table = self.base
        if not of_rows:
            table = self._kept.below(node)
        checked = self._checked(node, table)
        self._keep(checked)
        return checked

    def _checked(self, node: Node, table: Grouped) -> Checked:
        slot, size, first = self._classes(table, node)
        population, outside = size, size[:0]
        if table.population is not None:
            population = np.empty(len(size), np.int64)
            add_by_class(slot, table.population, population)
            slot, first, size, population, outside = _table_first(slot, first, size, population)
        kept = len(size)
        histograms: dict[str, Callable[[], Histogram]] = {
            name: self._histogram_maker(name, table, node, slot, kept) for name in self._sensitive
        }
        classes = Classes(size, population, outside, histograms, table.population is not None)
        return Checked(node, classes, table, slot, first)

    @cached_property
    def value_counts(self) -> list[Ints]:
        """Per quasi-identifier, the rows of each of its values."""
        base = self.base
        return [
            np.bincount(base.codes[place], weights=base.rows, minlength=len(column.values)).astype(np.int64)
            for place, column in enumerate(self.columns)
        ]

    def outside(self, checked: Checked, kept: Mask) -> list[Ints]:
        """Per column, how often each label of the node stands in the suppressed rows.

        Args:
            checked: the node.
            kept: (classes,), what is released.
        """
        widest = int(self._steps.widths.max(initial=1))
        out = np.zeros((len(self.columns), widest), np.int64)
        extra = len(checked.classes.outside)
        released = np.concatenate([kept, np.ones(extra, np.bool_)]) if extra else kept
        if not released.all():
            table = checked.table
            low, high = np.array(table.node, np.int64), np.array(checked.node, np.int64)
            count_outside(
                table.codes, checked.slot, table.rows, released, low, high, self._steps.starts, self._steps.steps, out
            )
        return [out[i, : self._steps.widths[i, level]] for i, level in enumerate(checked.node)]

    def labels(self, checked: Checked) -> Codes:
        """(columns, classes), the codes that each class shows."""
        return self._recoded(checked, len(checked.classes))

    def _recoded(self, checked: Checked, count: int) -> Codes:
        table = checked.table
        low, high = np.array(table.node, np.int64), np.array(checked.node, np.int64)
        out = np.empty((len(self.columns), count), table.codes.dtype)
        recode(table.codes, checked.first, count, low, high, self._steps.starts, self._steps.steps, out)
        return out

    def _group_rows(self, in_table: Mask | None, in_population: Mask | None) -> Grouped:
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
            if in_population is not None:
                population = np.empty(len(size), np.int64)
                add_by_class(slot, in_population.astype(np.int64), population)
            if (mine > population).any():
                raise UsageError(
                    "the table has rows whose quasi-identifiers the population has not, or not as often",
                    code="population_lacks_rows",
                    remedy="give a population that the table is a part of",
                )
        self.tuple_of_row = slot
        entries = {}
        for name, one in self._sensitive.items():
            pair = slot.astype(np.int64) * one.values + one.codes
            pair, counts = np.unique(pair if in_table is None else pair[in_table], return_counts=True)
            holder = (pair // one.values).astype(np.int32)
            entries[name] = Entries(holder, pair % one.values, counts.astype(np.int64))
        return Grouped(ground, np.ascontiguousarray(codes[:, first]), mine, population, entries)

    def _keep(self, checked: Checked) -> None:
        """Remember the classes as a table, if that saves enough work and there is room."""
        count = len(checked.first)
        if count * 3 > len(checked.table.rows) * 2 or not self._kept.takes(count):
            return
        codes = self._recoded(checked, count)
        classes, extra = checked.classes, np.zeros(len(checked.classes.outside), np.int64)
        population = np.concatenate([classes.population, classes.outside]) if classes.sampled else None
        entries = {}
        for name in self._sensitive:
            if len(self.base.entries[name].holder) > _EAGER:
                continue  # they are made from the base where they are asked for, which is seldom
            found = classes.histogram(name)
            holder = np.repeat(np.arange(len(classes), dtype=np.int32), np.diff(found.start))
            entries[name] = Entries(holder, found.value, found.count)
        self._kept.add(Grouped(checked.node, codes, np.concatenate([classes.size, extra]), population, entries))

    def _classes(self, table: Grouped, node: Node) -> tuple[Slots, Ints, Slots]:
        """The class of each tuple, and each class's rows and first tuple."""
        count, steps = len(table.rows), self._steps
        low, high = np.array(table.node, np.int64), np.array(node, np.int64)
        key, size, first = self._buffers.of(count)
        slot, earlier, found = np.empty(count, np.int32), _NONE, 1
        waiting = list(range(len(node)))
        while True:
            # As many columns as fit into one key; what was found so far is one more column of it.
            taken: list[int] = []
            space = found
            while waiting and space * (width := int(steps.widths[waiting[0], high[waiting[0]]])) <= _KEYS:
                space *= width
                taken.append(waiting.pop(0))
            dense = space <= _DENSE and space <= 64 * count + 65_536
            scratch, held = self._buffers.scratch(space if dense else 0, count)
            found = int(
                classes_at(
                    table.codes, table.rows, earlier, np.array(taken, np.int64), low, high, steps.widths,
                    steps.starts, steps.steps, dense, scratch, held, key, slot, size, first,
                )
            )  # fmt: skip
            if not waiting:
                return slot, size[:found].copy(), first[:found].copy()
            earlier = slot.copy()

    def _histogram_maker(
        self, name: str, table: Grouped, node: Node, slot: Slots, classes: int
    ) -> Callable[[], Histogram]:
        @cache
        def make() -> Histogram:
            if name not in table.entries:
                # Classes are numbered as they are first met, and tables keep that order: the numbers are the same.
                return self._checked(node, self.base).classes.histogram(name)
            one, entries = self._sensitive[name], table.entries[name]
            start = np.empty(classes + 1, np.int64)
            value, count = np.empty_like(entries.value), np.empty_like(entries.count)
            written = class_histograms(
                slot, entries.holder, entries.value, entries.count, one.values, start, value, count
            )
            return Histogram(start, value[:written], count[:written], self.totals[name], one.tree)

        return make


_NONE: Slots = np.empty(0, np.int32)


class _Steps:
    """What the codes of each level become at each higher one, flat for the kernels.

    Attributes:
        widths: (columns, levels), labels of each level; 0 above a column's highest.
        starts: (columns, levels, levels), where in `steps` each map begins.
        steps: the maps.
    """

    def __init__(self, columns: Sequence[QuasiIdentifier]) -> None:
        levels = max((column.height + 1 for column in columns), default=1)
        self.widths = np.zeros((len(columns), levels), np.int64)
        self.starts = np.zeros((len(columns), levels, levels), np.int64)
        found: list[Ints] = [np.zeros(1, np.int64)]
        end = 1
        for i, column in enumerate(columns):
            self.widths[i, : column.height + 1] = [len(labels) for labels in column.labels]
            for low in range(column.height + 1):
                for high in range(low, column.height + 1):
                    self.starts[i, low, high] = end
                    found.append(column.step(low, high))
                    end += len(found[-1])
        self.steps = np.concatenate(found)


class _Kept:
    """Tables that were rolled up, as many as there is room for; those that were not used for longest make way.

    Args:
        base: the table below all nodes, which always stays.
    """

    def __init__(self, base: Grouped) -> None:
        self._tables: list[Grouped | None] = [base] + [None] * (_CACHED_TABLES - 1)
        # A free place is above every node.
        self._nodes = np.full((_CACHED_TABLES, len(base.node)), np.iinfo(np.int64).max)
        self._nodes[0] = base.node
        self._sizes = np.zeros(_CACHED_TABLES, np.int64)
        self._sizes[0] = len(base.rows)
        self._used = np.zeros(_CACHED_TABLES, np.int64)
        self._used[0] = np.iinfo(np.int64).max
        self._base, self._room, self._clock, self._end = base, _CACHED_TUPLES, 0, 1

    def below(self, node: Node) -> Grouped:
        """The smallest table at or below a node."""
        place = int(smallest_below(np.array(node, np.int64), self._nodes, self._sizes, self._end))
        if place:
            self._clock += 1
            self._used[place] = self._clock
        return self._tables[place] or self._base

    def takes(self, count: int) -> bool:
        """Whether a table of so many tuples would not drive out too many others."""
        return count * 16 <= _CACHED_TUPLES

    def add(self, table: Grouped) -> None:
        """Keep a table."""
        count = len(table.rows)
        while self._room < count or (self._end == _CACHED_TABLES and all(one is not None for one in self._tables)):
            self._drop(int(np.argmin(np.where(self._sizes > 0, self._used, np.iinfo(np.int64).max))))
        free = next(i for i, one in enumerate(self._tables) if one is None)
        self._clock += 1
        self._tables[free], self._nodes[free] = table, table.node
        self._sizes[free], self._used[free] = count, self._clock
        self._room -= count
        self._end = max(self._end, free + 1)

    def _drop(self, place: int) -> None:
        self._room += int(self._sizes[place])
        self._tables[place] = None
        self._nodes[place] = np.iinfo(np.int64).max
        self._sizes[place] = 0


class _Buffers:
    """Working memory that is used again from check to check."""

    def __init__(self) -> None:
        self._key, self._size, self._first = np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int32)
        self._table = np.empty(0, np.int32)
        self._held = np.empty(0, np.int64)

    def of(self, count: int) -> tuple[Ints, Ints, Slots]:
        """Keys, sizes and first tuples for a table of that many tuples."""
        if len(self._key) < count:
            self._key, self._size = np.empty(count, np.int64), np.empty(count, np.int64)
            self._first = np.empty(count, np.int32)
        return self._key, self._size, self._first

    def scratch(self, space: int, count: int) -> tuple[Slots, Ints]:
        """A table for keys below `space`, or, if that is 0, a hash table for `count` keys; -1 everywhere."""
        size = space or 1 << max(4, (2 * count).bit_length())
        if len(self._table) < size:
            self._table = np.full(size, -1, np.int32)
        if not space and len(self._held) < size:
            self._held = np.empty(size, np.int64)
        return self._table[:size], self._held[: 0 if space else size]


def _table_first(slot: Slots, first: Slots, size: Ints, population: Ints) -> tuple[Slots, Slots, Ints, Ints, Ints]:
    """Classes renumbered: those with a row of the table first, in their order, then those of the population alone."""
    order = np.argsort(size == 0, kind="stable")
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    kept = int((size > 0).sum())
    return place[slot], first[order], size[order][:kept], population[order][:kept], population[order][kept:]
