"""What an equivalence class is: the one definition that every model, metric and risk reads.

Rows belong to one class if all their quasi-identifiers show the same label, NULL being a label like any other. With a
population, of which the table is a sample, a class also has the number of its rows there; classes of the population
without a row of the sample are kept apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from privcompute.errors import UsageError

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Histogram:
    """How often each value of a sensitive column stands in each class, without the zeros.

    Attributes:
        start: (classes + 1,), where the entries of each class begin; every class has one at least.
        value: (entries,), codes, ascending within a class.
        count: (entries,), rows, at least 1.
        total: (values,), rows of each value in the whole table.
        tree: what t-closeness with the hierarchical distance needs; None where the column has no hierarchy.
    """

    start: Ints = field(repr=False)
    value: Ints = field(repr=False)
    count: Ints = field(repr=False)
    total: Ints = field(repr=False)
    tree: Tree | None = field(default=None, repr=False)

    @cached_property
    def size(self) -> Ints:
        """(classes,), the rows of each class."""
        return self.sums(self.count)

    @cached_property
    def share(self) -> Doubles:
        """(entries,), the value's part of its class."""
        out: Doubles = self.count / np.repeat(self.size, np.diff(self.start))
        return out

    @cached_property
    def everywhere(self) -> Doubles:
        """(values,), the value's part of the whole table."""
        out: Doubles = self.total / max(1, int(self.total.sum()))
        return out

    def sums(self, entries: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Sum of entries by class."""
        if len(self.start) == 1:
            return entries[:0]
        out: npt.NDArray[Any] = np.add.reduceat(entries, self.start[:-1])
        return out

    def highest(self, entries: Doubles) -> Doubles:
        """Largest entry by class."""
        if not len(self.start) - 1:
            return entries[:0]
        out: Doubles = np.maximum.reduceat(entries, self.start[:-1])
        return out


@dataclass(frozen=True)
class Tree:
    """The hierarchy of a sensitive column.

    Attributes:
        maps: (levels, values), the code of each value's label at each level.
        width: per level, how many labels there are.
    """

    maps: Ints = field(repr=False)
    width: tuple[int, ...]


@dataclass(frozen=True)
class Classes:
    """The classes of a table at some level of generalization.

    Attributes:
        size: (classes,), rows, at least 1.
        population: (classes,), rows in the population; the same as `size` where there is none.
        outside: rows of the population's classes that hold no row of the table.
        histograms: the sensitive columns' values by class, made when asked for.
        sampled: whether a population was given.
        table_rows: rows of the table, where these are the classes of a part of it; None: all are here.
    """

    size: Ints = field(repr=False)
    population: Ints = field(repr=False)
    outside: Ints = field(repr=False)
    histograms: Mapping[str, Callable[[], Histogram]] = field(default_factory=dict, repr=False)
    sampled: bool = False
    table_rows: int | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.size)

    @cached_property
    def rows(self) -> int:
        """All rows of these classes."""
        return int(self.size.sum())

    @property
    def whole(self) -> int:
        """All rows of the table, suppressed ones, too."""
        return self.rows if self.table_rows is None else self.table_rows

    def histogram(self, column: str) -> Histogram:
        """The values of a sensitive column by class.

        Raises:
            UsageError: `no_such_column` if no model was told of it.
        """
        if column not in self.histograms:
            raise UsageError(f"there is no sensitive column {column!r}", code="no_such_column")
        return self.histograms[column]()

    def require_population(self, model: str) -> None:
        """Refuse a model that compares with a population where there is none.

        Raises:
            UsageError: `no_population`.
        """
        if not self.sampled:
            raise UsageError(
                f"{model} compares the table with a population, and none is given",
                code="no_population",
                remedy="name the population's table under [population]",
            )


@dataclass(frozen=True)
class Sensitive:
    """A sensitive column, coded.

    Attributes:
        codes: (rows,), places in the sorted list of its values.
        values: how many there are.
        tree: its hierarchy, where it has one.
    """

    codes: Ints = field(repr=False)
    values: int = field(repr=False)
    tree: Tree | None = field(default=None, repr=False)

    def totals(self) -> Ints:
        """(values,), rows of each value."""
        return np.bincount(self.codes, minlength=self.values).astype(np.int64)


def classes_by(
    number: Ints, sensitive: Mapping[str, Sensitive], totals: Mapping[str, Ints], rows: Ints | None = None
) -> Classes:
    """The classes of rows that are already numbered.

    Args:
        number: (rows,), the class of each, from 0, each number used.
        sensitive: the sensitive columns, over all rows of the table.
        totals: per sensitive column, the rows of each value in the whole table.
        rows: (rows,), which rows of the table these are; None: all.
    """
    size = np.bincount(number).astype(np.int64) if len(number) else np.empty(0, np.int64)

    def maker(name: str) -> Callable[[], Histogram]:
        @cache
        def make() -> Histogram:
            one = sensitive[name]
            codes = one.codes if rows is None else one.codes[rows]
            pair, count = np.unique(number * one.values + codes, return_counts=True)
            start = np.searchsorted(pair, np.arange(len(size) + 1) * one.values)
            return Histogram(start, pair % one.values, count.astype(np.int64), totals[name], one.tree)

        return make

    return Classes(size, size, size[:0], {name: maker(name) for name in sensitive})


def numbered(codes: Sequence[npt.NDArray[Any]], rows: int) -> Ints:
    """Rows of equal codes get equal numbers, from 0."""
    number: Ints = np.zeros(rows, np.int64)
    for one in codes:
        _, number = np.unique(number * (int(one.max(initial=0)) + 1) + one, return_inverse=True)
    return number.astype(np.int64)
