"""What a generalization costs: the metrics of the literature, in ARX's semantics.

Rows of classes that violate a model are suppressed first. Then, with N rows, S of them suppressed, classes C, levels
l_a of height h_a, and the share of a value the part of its column's domain (leaves of the hierarchy, used or not) that
it covers:

- `aecs`: N / (released classes + [S > 0]), the average class size.
- `discernibility`: sum of |C|^2 over released classes, plus S * N; `discernibility-star`: the sum over all classes.
- `height`: sum of l_a.
- `precision`: mean over columns of ((N - S) * l_a / h_a + S) / N; `precision-monotone`: of l_a / h_a.
- `loss`: per column x_a = (sum over rows of the share, 1 if suppressed, - N / |D_a|) / (N - N / |D_a|); then the
  geometric mean of 1 + x_a, less 1. It is ARX's loss, which is NCP normalized by column.
- `entropy`: sum over columns of -sum over values v of n_v * log2(n_v / n_g(v)), g(v) the label of v;
  `entropy-suppressed` adds, for the suppressed rows, -sum of x * log2(x / S) over their labels.
- `ambiguity`: sum over classes of |C| * product of share * |D_a|; a suppressed row counts the whole domain.

Each has a bound from below for what lies at and above a node, which is what the exact search prunes with.
Source: Prasser, Eicher, Bild, Spengler, Kuhn, BMC Med. Inform. Decis. Mak. 16:49 (2016), and the papers named there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from privcompute.anonymize.classes import Ints, Mask
from privcompute.anonymize.columns import QuasiIdentifier
from privcompute.anonymize.search.tables import Checked, Node, Tables
from privcompute.errors import UsageError

Metric = Literal[
    "aecs",
    "discernibility",
    "discernibility-star",
    "height",
    "precision",
    "precision-monotone",
    "loss",
    "entropy",
    "entropy-suppressed",
    "ambiguity",
]
Doubles = npt.NDArray[np.float64]

_OF_LEVELS = frozenset({"height", "precision-monotone", "entropy"})
_SEPARABLE = _OF_LEVELS | {"precision", "loss", "entropy-suppressed"}


@dataclass(frozen=True)
class Cost:
    """One metric on one data set.

    Attributes:
        metric: which.
        tables: the data.
        terms: per column and level, what a released table costs at least; the cost of a node is at least `join` of
        their sum.
    """

    metric: Metric
    tables: Tables = field(repr=False)
    terms: tuple[Doubles, ...] = field(repr=False)

    @property
    def of_levels(self) -> bool:
        """Whether the levels alone decide: then the bound is the cost."""
        return self.metric in _OF_LEVELS

    @property
    def separable(self) -> bool:
        """Whether the bound is a sum over columns, known before any check."""
        return self.metric in _SEPARABLE

    def join(self, total: float) -> float:
        """From a sum of terms to the metric."""
        return math.expm1(total) if self.metric == "loss" else total

    def bound(self, node: Node) -> float:
        """No release at this node costs less."""
        return self.join(math.fsum(float(term[level]) for term, level in zip(self.terms, node, strict=True)))

    def bound_above(self, checked: Checked) -> float:
        """No release at this or a more general node costs less, by the classes found here."""
        size, rows = checked.classes.size, self.tables.rows
        if self.metric == "aecs":
            return rows / (len(size) + 1)
        if self.metric in ("discernibility", "discernibility-star"):
            return float(np.dot(size, size))
        if self.metric == "ambiguity":
            return self._ambiguity(checked, np.ones(len(size), np.bool_))
        return self.bound(checked.node)

    def value(self, checked: Checked, kept: Mask) -> float:
        """The cost of releasing these classes of the node."""
        return self._value(checked, kept)

    def by_column(self, checked: Checked, kept: Mask) -> list[float]:
        """x_a of `loss` for each quasi-identifier: 0 as it was, 1 nothing left."""
        return _loss(self.tables, checked, kept)

    def _value(self, checked: Checked, kept: Mask) -> float:
        node, size, rows = checked.node, checked.classes.size, self.tables.rows
        if self.of_levels:
            return self.bound(node)
        released = int(size[kept].sum())
        suppressed = rows - released
        if self.metric == "aecs":
            return rows / max(1, int(kept.sum()) + (suppressed > 0))
        if self.metric == "discernibility-star":
            return float(np.dot(size, size))
        if self.metric == "discernibility":
            return float(np.dot(size[kept], size[kept])) + float(suppressed) * rows
        if self.metric == "ambiguity":
            return self._ambiguity(checked, kept)
        if self.metric == "precision":
            parts = [released * float(term[level]) for term, level in zip(self.terms, node, strict=True)]
            return (math.fsum(parts) + suppressed) / max(1, rows)
        if self.metric == "loss":
            return (
                math.expm1(math.fsum(map(math.log1p, by)) / len(by)) if (by := self.by_column(checked, kept)) else 0.0
            )
        return self.bound(node) + (self._entropy_outside(checked, kept) if suppressed else 0.0)

    def _entropy_outside(self, checked: Checked, kept: Mask) -> float:
        total = 0.0
        for counts in self.tables.outside(checked, kept):
            some = counts[counts > 0]
            total -= float(np.dot(some, np.log2(some / some.sum())))
        return total

    def _ambiguity(self, checked: Checked, kept: Mask) -> float:
        labels = self.tables.labels(checked)
        volume = np.ones(len(kept))
        whole = 1.0
        for place, (column, level) in enumerate(zip(self.tables.columns, checked.node, strict=True)):
            volume *= column.shares[level][labels[place]] * column.domain
            whole *= column.domain
        size = checked.classes.size
        return float(np.dot(size[kept], volume[kept])) + float(size[~kept].sum()) * whole


def cost(metric: Metric, tables: Tables) -> Cost:
    """Prepare a metric for a data set.

    Raises:
        UsageError: `bad_metric`.
    """
    if metric not in get_args(Metric):
        raise UsageError(f"a metric is one of {', '.join(get_args(Metric))}", code="bad_metric")
    counts = tables.value_counts
    terms = []
    columns = len(tables.columns)
    for column, count in zip(tables.columns, counts, strict=True):
        levels = np.arange(column.height + 1, dtype=np.float64)
        if metric == "height":
            terms.append(levels)
        elif metric in ("precision", "precision-monotone"):
            terms.append(levels / max(1, column.height) / columns)
        elif metric == "loss":
            lost = [_lost(column, level, count, tables.rows) for level in range(column.height + 1)]
            terms.append(np.log1p(lost) / columns)
        elif metric in ("entropy", "entropy-suppressed"):
            terms.append(np.array([_entropy(column, level, count) for level in range(column.height + 1)]))
        else:
            terms.append(np.zeros(column.height + 1))
    return Cost(metric, tables, tuple(terms))


def _lost(column: QuasiIdentifier, level: int, count: Ints, rows: int, outside: Ints | None = None) -> float:
    """x_a of `loss` if nothing is suppressed, or the labels counted in `outside` are."""
    shares = column.shares[level]
    total = float(np.dot(count, shares[column.maps[level]]))
    if outside is not None:
        total += float(outside.sum()) - float(np.dot(outside, shares))
    least = rows / column.domain
    return (total - least) / (rows - least) if rows > least else 0.0


def _loss(tables: Tables, checked: Checked, kept: Mask) -> list[float]:
    outside = tables.outside(checked, kept)
    return [
        _lost(column, level, count, tables.rows, gone)
        for column, level, count, gone in zip(tables.columns, checked.node, tables.value_counts, outside, strict=True)
    ]


def _entropy(column: QuasiIdentifier, level: int, count: Ints) -> float:
    labels = np.bincount(column.maps[level], weights=count, minlength=len(column.labels[level]))
    some = count > 0
    return float(-np.dot(count[some], np.log2(count[some] / labels[column.maps[level][some]]))) + 0.0
