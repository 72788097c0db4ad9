"""The plan of a question over a union: everything all parties have to agree on before anything is sent.

A plan is a pure function of the SQL, the holders' public catalogue entries and the parameters. Words: a *cell* is one
combination of the groupings' values; a *unit* is what is shown or suppressed together: a cell, or for a statistic that
compares levels all their cells. Per cell there are *count* openings (the keys that contribute to something) and
*value* openings; a holder's part is one integer for each.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any, Literal

from privcompute.query.disclosure import Disclosure
from privcompute.query.plan import Opening, Outer, Output, plain
from privcompute.query.union.suppress import Rule, shown_units
from privcompute.tables.cells import Grouping, LocalCells, cell_count
from privcompute.tables.features import Feature, Level
from privcompute.union.job import SumShape

FORMAT = 1
"""Version of the plan's meaning; part of the digest."""

Scheme = Literal["masks", "paillier"]
Table = Literal["ols", "chi2", "ttest", "anova", "histogram"]
PER_COUNT = 2
"""Integers of one count: the contributors, and the holders that have any."""


@dataclass(frozen=True)
class Member:
    """One holder's part.

    Attributes:
        party: The holder.
        dataset: Its dataset's name.
        version: The dataset's version.
        keys: Its key columns.
        distinct_keys: The declared number of distinct keys.
        rows_per_key: The public cap.
        min_cell: Fewest contributors of anything shown, as this owner wants.
        min_holders: Fewest holders in anything shown, as this owner wants.
        columns: The columns that are read, keys left out, as this holder spells them.
        uses: (column, use) pairs that the owner's rules have to allow.
    """

    party: str
    dataset: str
    version: str
    keys: tuple[str, ...]
    distinct_keys: int
    rows_per_key: int
    min_cell: int
    min_holders: int
    columns: tuple[str, ...]
    uses: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class MomentSums:
    """Where the moments of some variables open in a cell.

    Attributes:
        rows: Index of the opened number of rows.
        openings: Indices of the sums of each variable, then of the products, upper triangle row by row.
        units: Value of one unit of each.
        errors: Per variable, the worst error of one row.
    """

    rows: int = field(repr=False)
    openings: tuple[int, ...]
    units: tuple[Fraction, ...]
    errors: tuple[Fraction, ...]


@dataclass(frozen=True)
class Statistic(Outer):
    """A statistic of moments, where an output expression has one."""

    sums: MomentSums | None = None


@dataclass(frozen=True)
class OrderBy:
    """One expression of ORDER BY."""

    expression: Outer
    descending: bool
    nulls_first: bool


@dataclass(frozen=True)
class TableStatistic:
    """A statistic that gives a table for each group.

    Attributes:
        op: Which.
        names: The names of the terms, or the upper edges of the bins as fractions or dates.
        type: DuckDB's type of an edge.
        sums: The moments of each cell, if it has any.
        rows: Index of the opened number of rows of each cell.
    """

    op: Table
    names: tuple[str, ...]
    type: str
    sums: MomentSums | None
    rows: int = field(repr=False)


@dataclass(frozen=True)
class UnionPlan:
    """A question over a union as all parties run it.

    Attributes:
        sql: The canonical text.
        members: The holders, by party.
        collector: Who adds: the asker.
        receivers: Who gets what opens.
        scheme: How it is added: "masks" or "paillier".
        key_holder: Of Paillier, who decrypts.
        quorum: The fewest holders with which the sum may finish.
        minimum: Fewest contributors of everything that is shown.
        min_holders: Fewest holders in everything that is shown.
        groupings: The groups and their values; those of GROUP BY first, then those that a table statistic compares.
        grouped: How many of them are of GROUP BY.
        features: The per-row factors, each summed per cell.
        selections: The distinct selections of own rows, DuckDB conditions, for the ledger.
        levels: The expressions that select rows by the values they take, for the ledger.
        openings: What opens of each cell, the counts first.
        least: Fewest contributors of each count.
        shape: How many integers are added, and how wide they are.
        outputs: The result's columns; what a table statistic gives stands in `table`.
        table: The statistic that gives a table, if any.
        having: A condition on the shown cells.
        order: How the shown cells are ordered.
        limit: The most rows.
        max_rows: Public bound of the number of rows of all holders.
        disclosure: What each party will learn.
    """

    sql: str
    members: tuple[Member, ...]
    collector: str
    receivers: tuple[str, ...]
    scheme: Scheme
    key_holder: str | None
    quorum: int
    minimum: int
    min_holders: int
    groupings: tuple[Grouping, ...]
    grouped: int
    features: tuple[Feature, ...]
    selections: tuple[str, ...]
    levels: tuple[Level, ...]
    openings: tuple[Opening, ...]
    least: tuple[int, ...]
    shape: SumShape
    outputs: tuple[Output, ...]
    table: TableStatistic | None
    having: Outer | None
    order: tuple[OrderBy, ...]
    limit: int | None
    max_rows: int
    disclosure: Disclosure = field(repr=False)

    @property
    def asker(self) -> str:
        """Who asks: the collector."""
        return self.collector

    @cached_property
    def unit_groupings(self) -> tuple[Grouping, ...]:
        """The groupings whose cells are shown one by one."""
        whole = self.table is not None and self.table.op in ("chi2", "ttest", "anova")
        return self.groupings[: self.grouped] if whole else self.groupings

    @cached_property
    def units(self) -> int:
        """Number of units."""
        return cell_count(self.unit_groupings)

    @cached_property
    def cells_per_unit(self) -> int:
        """Cells that are shown together; those of a unit follow each other."""
        return cell_count(self.groupings) // self.units

    @cached_property
    def counts(self) -> tuple[Opening, ...]:
        """The count openings of a cell."""
        return tuple(o for o in self.openings if o.phase == "count")

    @cached_property
    def values(self) -> tuple[Opening, ...]:
        """The value openings of a cell."""
        return tuple(o for o in self.openings if o.phase == "value")

    @cached_property
    def rule(self) -> Rule:
        """What has to hold of whatever is shown."""
        return Rule(
            least=self.least * self.cells_per_unit,
            holders=max(1, self.min_holders),
            cells_per_key=max(m.rows_per_key for m in self.members),
            axes=tuple(len(g.values) for g in self.unit_groupings),
        )

    def contribution(self, cells: LocalCells) -> tuple[list[int], list[int]]:
        """What one holder adds.

        Args:
            cells: Its sums: one tuple a feature, one integer a cell.

        Returns:
            Counts: per cell and count opening the contributors, and 1 if there are any. Values: per cell and value
            opening one signed integer. Units follow each other, in both.
        """
        counts: list[int] = []
        values: list[int] = []
        for cell in range(cell_count(self.groupings)):
            for opening in self.counts:
                contributors = _combined(opening, cells, cell)
                counts += [contributors, int(contributors > 0)]
            values += [_combined(opening, cells, cell) for opening in self.values]
        return counts, values

    def decide(self, counts: Sequence[int]) -> tuple[int, ...]:
        """The units that may be shown, given the opened counts: a pure function that every party computes alike."""
        return shown_units(counts, self.rule)

    def may_open(self, party: str) -> frozenset[str]:
        """What may open to a party: "counts", "values" (of the units that `decide` shows), "result", "shown"."""
        return self.disclosure.opened(party)

    def to_object(self) -> dict[str, Any]:
        """The plan as plain JSON values; no floats, fractions as text."""
        return {"format": FORMAT, "kind": "union", **plain(self)}

    def to_json(self) -> str:
        """Canonical JSON: equal plans give equal text."""
        return json.dumps(self.to_object(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)

    def digest(self) -> str:
        """SHA-256 of the canonical JSON, hexadecimal."""
        return hashlib.sha256(self.to_json().encode("ascii")).hexdigest()


def _combined(opening: Opening, cells: LocalCells, cell: int) -> int:
    return sum(term.coef * cells.sums[term.index][cell] for term in opening.terms)
