"""The second look at a finished release: from the table that would leave, by other code than the search's.

Classes are made by Arrow's own grouping of the shown labels; every condition is spelt out again in numpy, and so are
the estimators (recheck_uniqueness.py). Nothing of the search, its codes, kernels, classes or judgement is used. Shared
are the models' parameters, as what was asked for, and `text_of`, by which a hierarchy knows a value: how values are
written is no judgement, and two ways would only disagree. What does not hold here does not leave (`IntegrityError`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from privcompute.anonymize.models import (
    AlphaKAnonymity,
    AverageRisk,
    BetaLikeness,
    DeltaDisclosure,
    DeltaPresence,
    DistinctLDiversity,
    EntropyLDiversity,
    EstimatedKMap,
    KAnonymity,
    KMap,
    Model,
    PopulationUniqueness,
    RecursiveCLDiversity,
    TCloseness,
)
from privcompute.anonymize.recheck_uniqueness import uniqueness_again
from privcompute.errors import IntegrityError

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

_CLOSE = 1e-8
_CELLS = 1 << 22


class Recheck:
    """The classes of a released table, made anew.

    Args:
        table: what would leave.
        qi: its quasi-identifiers.
        marker: what a suppressed row shows in all of them.
        before: the table that came in: what the sensitive columns' distributions are compared with.
        trees: of sensitive columns with a hierarchy, the label of each value's text at each level.
        population: the population's quasi-identifiers as they would be shown; None without one.
    """

    def __init__(
        self,
        table: pa.Table,
        qi: Sequence[str],
        marker: str,
        before: pa.Table,
        trees: dict[str, list[dict[str | None, str | None]]] | None = None,
        population: pa.Table | None = None,
    ) -> None:
        self._before, self._trees = before, trees or {}
        suppressed = np.ones(table.num_rows, np.bool_)
        for name in qi:
            column: Any = table.column(name)
            if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
                same: Any = pc.equal(column, pa.scalar(marker))
                suppressed &= pc.fill_null(same, False).to_numpy()
            else:
                suppressed[:] = False
        self.suppressed = int(suppressed.sum())
        self._table = table.filter(pa.array(~suppressed))
        self._class, self.size = self._grouped(list(qi))
        self._population = None if population is None else self._sizes_in(list(qi), population)

    @property
    def population_sizes(self) -> Ints | None:
        """(classes,), rows of the population in each class; None without a population."""
        return None if self._population is None else self._population[0]

    def require(self, models: Sequence[Model]) -> None:
        """Stop the release if a model does not hold.

        Raises:
            IntegrityError: `recheck`, naming the model.
        """
        for model in models:
            if not self.holds(model):
                raise IntegrityError(
                    f"the finished release does not hold {model.kind}: it is not given out",
                    code="recheck",
                    remedy="report it: search and check should never disagree",
                )

    def holds(self, model: Model) -> bool:
        """Whether a model holds in every class that is shown."""
        if not len(self.size):
            return True
        if isinstance(model, KAnonymity):
            return bool(self.size.min() >= model.k)
        if isinstance(model, EstimatedKMap):
            return self._most_likely_mapped(model)
        if isinstance(model, KMap):
            return bool(self._in_population()[0].min() >= model.k)
        if isinstance(model, DeltaPresence):
            there, outside = self._in_population()
            share = self.size / there
            inside = bool((share >= model.low - _CLOSE).all() and (share <= model.high + _CLOSE).all())
            return inside and (model.low <= _CLOSE or not outside)
        if isinstance(model, AverageRisk):
            return len(self.size) <= (model.threshold + _CLOSE) * int(self.size.sum())
        if isinstance(model, PopulationUniqueness):
            rows = max(model.population, int(self.size.sum()))
            unique = uniqueness_again(self.size, rows, model.estimator)
            return unique is not None and unique <= model.threshold + _CLOSE
        (column,) = model.columns
        counts, total, names = self._counts(column)
        return all(
            self._holds_in(model, counts[start : start + step].astype(np.float64), total, names)
            for step in (max(1, _CELLS // max(1, counts.shape[1])),)
            for start in range(0, len(counts), step)
        )

    def _holds_in(self, model: Model, counts: Doubles, total: Doubles, names: list[str | None]) -> bool:
        """Whether a model holds in some classes, given as a matrix of classes by values."""
        size = counts.sum(axis=1, keepdims=True)
        p, q = counts / size, total / total.sum()
        if isinstance(model, AlphaKAnonymity):
            return bool(size.min() >= model.k and p.max() <= model.alpha + _CLOSE)
        if isinstance(model, DistinctLDiversity):
            return bool((counts > 0).sum(axis=1).min() >= model.l)
        if isinstance(model, EntropyLDiversity):
            logs = np.log(p, out=np.zeros_like(p), where=p > 0)
            return bool((-(p * logs).sum(axis=1)).min() >= math.log(model.l) - _CLOSE)
        if isinstance(model, RecursiveCLDiversity):
            ordered = -np.sort(-counts, axis=1)
            return bool((ordered[:, 0] < model.c * ordered[:, model.l - 1 :].sum(axis=1)).all())
        if isinstance(model, TCloseness):
            return bool(self._distance(model, p - q, names).max() <= model.t + _CLOSE)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(counts > 0, p / q, 1.0)
            if isinstance(model, BetaLikeness):
                limit = np.minimum(model.beta, -np.log(q)) if model.enhanced else np.full(len(q), model.beta)
                return bool((ratio - 1 <= limit + _CLOSE).all())
            if isinstance(model, DeltaDisclosure):
                logs = np.log2(ratio) if model.log == "2" else np.log(ratio)
                return bool((np.abs(logs) < model.delta + _CLOSE).all())
        return False

    def _most_likely_mapped(self, model: EstimatedKMap) -> bool:
        """Whether classes of k rows of the population seldom show as many rows as the smallest class does.

        From the tail, where the model adds up from below. A class of k rows shows the whole population, k rows.
        """
        rows, smallest = self._before.num_rows, int(self.size.min())
        if smallest >= min(model.k, rows):
            return True
        if smallest < 2:
            return False
        mean = model.k * min(1.0, rows / model.population)
        truncated = model.estimator == "zero-truncated-poisson"
        least, there = (smallest, -math.expm1(-mean)) if truncated else (smallest - 1, 1.0)
        tail = 0.0
        for count in range(least, least + 64 + math.ceil(40 * math.sqrt(mean) + max(0.0, mean - least))):
            tail += math.exp(count * math.log(mean) - mean - math.lgamma(count + 1))
        return tail / there <= model.significance * (1 + 1e-6)

    def _distance(self, model: TCloseness, off: Doubles, names: list[str | None]) -> Doubles:
        if model.distance != "hierarchical":
            equal = model.distance == "equal"
            moved = np.abs(off) / 2 if equal else np.abs(np.cumsum(off, axis=1)) / max(1, off.shape[1] - 1)
            out: Doubles = moved.sum(axis=1)
            return out
        levels = self._trees[model.column]
        height = len(levels) - 1
        cost = np.zeros(len(off))
        for level in range(1, height + 1):
            lower = [levels[level - 1][name] for name in names]
            parent = {low: levels[level][name] for low, name in zip(lower, names, strict=True)}
            for label in set(parent.values()):
                # What the children of a label have too much, and what they lack.
                nets = [
                    off[:, [i for i, one in enumerate(lower) if one == child]].sum(axis=1)
                    for child, above in parent.items()
                    if above == label
                ]
                surplus = np.sum([np.maximum(net, 0) for net in nets], axis=0)
                lack = np.sum([np.maximum(-net, 0) for net in nets], axis=0)
                cost += level / height * np.minimum(surplus, lack)
        return cost

    def _grouped(self, qi: list[str]) -> tuple[pa.Table, Ints]:
        """Each class once with its labels, and its rows."""
        grouped = self._table.select(qi).group_by(qi, use_threads=False).aggregate([([], "count_all")])
        return grouped.select(qi), grouped.column("count_all").to_numpy()

    def _sizes_in(self, qi: list[str], population: pa.Table) -> tuple[Ints, int]:
        there = population.group_by(qi, use_threads=False).aggregate([([], "count_all")])
        names = zip(*(there.column(name).to_pylist() for name in qi), strict=True)
        counts = dict(zip(names, there.column("count_all").to_pylist(), strict=True))
        mine = list(zip(*(self._class.column(name).to_pylist() for name in qi), strict=True))
        return np.array([counts.get(one, 0) for one in mine], np.int64), len(counts.keys() - set(mine))

    def _in_population(self) -> tuple[Ints, int]:
        if self._population is None:
            raise IntegrityError("a model needs a population, and the second look has none", code="recheck")
        return self._population

    def _counts(self, column: str) -> tuple[Ints, Doubles, list[str | None]]:
        """(classes, values) rows of each value; (values,) the same of the table that came in; the values' texts."""
        qi = self._class.column_names
        everywhere = self._before.column(column).value_counts()
        values, rows = everywhere.field(0), everywhere.field(1).to_numpy()
        order = pc.sort_indices(values).to_numpy()
        values, rows = values.take(pa.array(order)), rows[order]
        data = self._table
        number = pa.array(np.arange(self._class.num_rows))
        keys = _texts(self._class, qi).append_column("\x00class", pa.chunked_array([number]))
        mine = _texts(data, qi)
        place = pc.index_in(data.column(column), value_set=values).to_numpy()
        joined = mine.append_column("\x00value", pa.chunked_array([pa.array(place)])).join(keys, qi)
        flat = joined["\x00class"].to_numpy() * len(rows) + joined["\x00value"].to_numpy()
        cells = np.bincount(flat, minlength=self._class.num_rows * len(rows))
        texts = [None if v is None else _text(v) for v in values.to_pylist()]
        return cells.reshape(-1, len(rows)), rows.astype(np.float64), texts


def _texts(table: pa.Table, names: list[str]) -> pa.Table:
    """Columns as texts that can be joined on: NULL becomes a text that no label is."""
    found: dict[str, Any] = {}
    for name in names:
        column: Any = table.column(name).cast(pa.string())
        found[name] = pc.fill_null(column, "\x00")
    return pa.table(found)


def _text(value: object) -> str:
    from privcompute.anonymize.encode import text_of

    return text_of(value)
