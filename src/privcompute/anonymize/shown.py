"""What a release shows of the quasi-identifiers: a label for each row and column, and which rows are suppressed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from privcompute.anonymize.classes import Ints, Mask, numbered
from privcompute.anonymize.columns import QuasiIdentifier
from privcompute.anonymize.hierarchy.tree import Label
from privcompute.anonymize.search.tables import Node


@dataclass(frozen=True)
class ShownColumn:
    """One quasi-identifier as it is released.

    Attributes:
        labels: each label once.
        codes: (rows that take part,), places in `labels`.
        share: per label, the part of the column's domain that it covers.
        single: per label, whether it is a single value.
        as_is: whether every label is the value itself, so that the column may keep its type.
    """

    labels: tuple[Label, ...] = field(repr=False)
    codes: Ints = field(repr=False)
    share: npt.NDArray[np.float64] = field(repr=False)
    single: Mask = field(repr=False)
    as_is: bool = False


@dataclass(frozen=True)
class Shown:
    """All quasi-identifiers as they are released.

    Attributes:
        columns: in the policy's order.
        suppressed: (rows that take part,).
        hidden: per column, (rows that take part,), cells that are suppressed alone; empty: none.
    """

    columns: tuple[ShownColumn, ...]
    suppressed: Mask = field(repr=False)
    hidden: tuple[Mask, ...] = field(default=(), repr=False)


def at_node(columns: tuple[QuasiIdentifier, ...], node: Node, rows: int, suppressed: Mask) -> Shown:
    """What full-domain generalization shows.

    Args:
        columns: coded; the table's rows come first.
        node: the level of each.
        rows: how many rows are the table's.
        suppressed: (rows,).
    """
    found = []
    for column, level in zip(columns, node, strict=True):
        codes = column.maps[level][column.codes[:rows]]
        single = np.full(len(column.labels[level]), level == 0)
        if level and column.hierarchy.shares is None:
            single = column.shares[level] * column.domain < 1.5
        found.append(ShownColumn(column.labels[level], codes, column.shares[level], single, as_is=level == 0))
    return Shown(tuple(found), suppressed)


def ncp(shown: Shown) -> float:
    """The normalized certainty penalty: the mean over cells of the share of the domain that a cell covers, in percent.

    A cell that shows a single value costs nothing, a suppressed one everything.

    Source: Xu, Wang, Pei, Wang, Shi, Fu, KDD 2006.
    """
    rows = len(shown.suppressed)
    if not rows or not shown.columns:
        return 0.0
    total = 0.0
    for place, column in enumerate(shown.columns):
        lost = np.where(column.single, 0.0, column.share)[column.codes]
        gone = shown.suppressed | shown.hidden[place] if shown.hidden else shown.suppressed
        total += float(lost[~gone].sum()) + int(gone.sum())
    return 100 * total / rows / len(shown.columns)


def shown_numbers(shown: Shown) -> Ints:
    """(released rows,), the class of each row that is not suppressed, by what it shows."""
    kept = np.flatnonzero(~shown.suppressed)
    codes = []
    for place, column in enumerate(shown.columns):
        mine = column.codes.copy()
        if shown.hidden:
            mine[shown.hidden[place]] = len(column.labels)
        codes.append(mine[kept])
    return numbered(codes, len(kept))
