"""A quasi-identifier as the search sees it: codes of its values, and what each code becomes at each level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from privcompute.anonymize.hierarchy.tree import Hierarchy, Label
from privcompute.errors import UsageError

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
AnyCodes = npt.NDArray[np.unsignedinteger[Any]]
"""uint8, uint16 or uint32, the smallest that fits."""

Integers = npt.NDArray[np.integer[Any]]


def narrow(codes: Integers, values: int) -> AnyCodes:
    """Codes in the smallest unsigned type that holds them."""
    for kind in (np.uint8, np.uint16):
        if values <= np.iinfo(kind).max + 1:
            return codes.astype(kind, copy=False)
    return codes.astype(np.uint32, copy=False)


@dataclass(frozen=True)
class QuasiIdentifier:
    """One column, coded.

    Attributes:
        name: the column.
        codes: (rows,), places in the sorted list of the values that occur.
        values: those values, as texts; None is NULL.
        hierarchy: with all values in its leaves.
        maps: per level, (values,): the code of each value's label.
        labels: per level, the labels by code.
    """

    name: str
    codes: AnyCodes = field(repr=False)
    values: tuple[Label, ...] = field(repr=False)
    hierarchy: Hierarchy
    maps: tuple[Ints, ...] = field(repr=False)
    labels: tuple[tuple[Label, ...], ...] = field(repr=False)

    @property
    def height(self) -> int:
        """The highest level."""
        return self.hierarchy.height

    @property
    def domain(self) -> int:
        """How many leaves the hierarchy has, used or not; 1 if it is empty."""
        return max(1, len(self.hierarchy.leaves))

    @cached_property
    def shares(self) -> tuple[Doubles, ...]:
        """Per level, the part of the domain under each label."""
        found = []
        for level, labels in enumerate(self.labels):
            share = self.hierarchy.share(level)
            found.append(np.array([share[label] for label in labels], np.float64))
        return tuple(found)

    def step(self, low: int, high: int) -> Ints:
        """What the codes of one level become at a higher one."""
        out = np.zeros(len(self.labels[low]), np.int64)
        out[self.maps[low]] = self.maps[high]
        return out


def quasi_identifier(
    name: str,
    codes: Integers,
    values: Sequence[Label],
    hierarchy: Hierarchy,
) -> QuasiIdentifier:
    """Fit a hierarchy to a coded column.

    Args:
        name: the column.
        codes: (rows,), places in `values`.
        values: the values that occur, each once.
        hierarchy: what each becomes.

    Raises:
        UsageError: `not_in_hierarchy`, with the number of values that it does not hold.
    """
    line = {leaf: place for place, leaf in enumerate(hierarchy.leaves)}
    lost = sum(value not in line for value in values)
    if lost:
        raise UsageError(
            f"{lost} of the {len(values)} distinct values of column {name!r} are not in {hierarchy.place}",
            code="not_in_hierarchy",
            remedy="add a line for each of them, or say how nulls are treated",
        )
    maps, labels = [], []
    for level in hierarchy.levels:
        mine = [level[line[value]] for value in values]
        names = sorted(set(mine), key=_order) if level is not hierarchy.levels[0] else list(values)
        code = {label: place for place, label in enumerate(names)}
        maps.append(np.array([code[label] for label in mine], np.int64))
        labels.append(tuple(names))
    return QuasiIdentifier(name, narrow(codes, len(values)), tuple(values), hierarchy, tuple(maps), tuple(labels))


def _order(label: Label) -> tuple[bool, str]:
    """NULL last, texts by code point: the same on every machine."""
    return (label is None, label or "")
