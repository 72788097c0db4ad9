"""One opened cell: its integers, its group's values, and the outputs computed from both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from privcompute.errors import IntegrityError
from privcompute.query.finish import Finisher
from privcompute.query.plan import Outer
from privcompute.query.union.plan import MomentSums, Statistic, UnionPlan
from privcompute.stats import moments as stats
from privcompute.stats.estimate import Estimate
from privcompute.stats.moments import Moments
from privcompute.tables.cells import GroupValue
from privcompute.union.job import Decide, Totals


@dataclass(frozen=True)
class Cell:
    """What opened of a cell.

    Attributes:
        group: The values of the groupings.
        places: Their places in the groupings.
        opened: The integers, in the order of the plan's openings.
    """

    group: tuple[GroupValue, ...]
    places: tuple[int, ...]
    opened: tuple[int, ...] = field(repr=False)


def shown_cells(plan: UnionPlan, totals: Totals, decide: Decide) -> list[list[Cell]]:
    """The cells of each shown unit.

    Args:
        plan: The plan.
        totals: What opened.
        decide: What its counts let show.

    Raises:
        IntegrityError: `undeclared` or `out_of_bounds`.
    """
    _check(plan, totals, decide)
    inner, width = plan.cells_per_unit, len(plan.values)
    found = []
    for unit in totals.shown:
        values = totals.values[unit]
        cells = []
        for n in range(inner):
            cell = unit * inner + n
            start = 2 * cell * len(plan.counts)
            counts = totals.counts[start : start + 2 * len(plan.counts) : 2]
            opened = (*counts, *values[n * width : (n + 1) * width])
            places = _places(cell, [len(g.values) for g in plan.groupings])
            group = tuple(g.values[p] for g, p in zip(plan.groupings, places, strict=True))
            cells.append(Cell(group, places, opened))
        found.append(cells)
    return found


def _places(cell: int, sizes: Sequence[int]) -> tuple[int, ...]:
    found: list[int] = []
    for size in reversed(sizes):
        cell, place = divmod(cell, size)
        found.insert(0, place)
    return tuple(found)


def _check(plan: UnionPlan, totals: Totals, decide: Decide) -> None:
    declared = (
        len(totals.counts) == plan.shape.counts
        and set(totals.values) == set(totals.shown)
        and tuple(totals.shown) == tuple(decide(totals.counts))
        and all(len(totals.values[unit]) == plan.shape.units[unit] for unit in totals.shown)
    )
    if not declared:
        raise IntegrityError("what opened is not what the plan declares", code="undeclared", stage="finish")
    holders = len(totals.survivors)
    counts, values = plan.counts, plan.values
    people = totals.counts[::2]
    within = all(0 <= have <= holders for have in totals.counts[1::2]) and all(
        0 <= count <= counts[n % len(counts)].bound for n, count in enumerate(people)
    )
    for unit in totals.shown:
        within &= all(abs(v) <= values[n % len(values)].bound for n, v in enumerate(totals.values[unit]))
    if not within:
        raise IntegrityError("an opened value is beyond its public bound", code="out_of_bounds", stage="finish")


def moments(sums: MomentSums, opened: Sequence[int]) -> Moments:
    """The moments that opened in a cell."""
    size = len(sums.errors)
    found = [opened[n] for n in sums.openings]
    return stats.of_integers(opened[sums.rows], found[:size], found[size:], sums.units, sums.errors)


class CellFinisher(Finisher):
    """Computes the outputs of one cell.

    Args:
        max_rows: Public bound of the rows of all holders.
        cell: The cell.
    """

    def __init__(self, max_rows: int, cell: Cell) -> None:
        super().__init__(max_rows, cell.opened)
        self.cell = cell

    def value(self, outer: Outer) -> Estimate | None:
        """The number of an output expression; None is NULL."""
        if isinstance(outer, Statistic) and outer.sums is not None:
            return _statistic(outer.op, moments(outer.sums, self.opened))
        if outer.op == "group" and outer.opening is not None:
            value = self.cell.group[outer.opening]
            return None if value is None else Estimate(Fraction(int(value)))
        return super().value(outer)

    def holds(self, outer: Outer) -> bool | None:
        """Whether a condition holds; None is NULL.

        Raises:
            ZeroDivisionError: If the errors leave it open.
        """
        match outer.op:
            case "and" | "or":
                found = [self.holds(a) for a in outer.args]
                decisive = outer.op == "or"
                return decisive if decisive in found else None if None in found else not decisive
            case "not":
                inner = self.holds(outer.args[0])
                return None if inner is None else not inner
            case "is null":
                return self.value(outer.args[0]) is None
        x, y = (self.value(a) for a in outer.args)
        return None if x is None or y is None else _compared(outer.op, x, y)


def _compared(op: str, x: Estimate, y: Estimate) -> bool:
    if x.double or y.double:
        x, y = x.as_double(), y.as_double()
    low, high = x.interval - y.interval, y.interval - x.interval
    less, more = low.hi < 0, low.lo > 0
    equal = low.lo == high.lo == 0
    known = less or more or equal
    if op in ("<", ">="):
        known = known or low.lo >= 0
    if op in ("<=", ">"):
        known = known or low.hi <= 0
    if not known:
        raise ZeroDivisionError
    match op:
        case "=":
            return equal
        case "<>":
            return not equal
        case "<":
            return less
        case ">=":
            return not less
        case ">":
            return more
    return not more


def _statistic(op: str, m: Moments) -> Estimate | None:
    match op:
        case "var_samp" | "var_pop":
            return stats.variance(m, int(op == "var_samp"))
        case "stddev_samp" | "stddev_pop":
            return stats.deviation(m, int(op == "stddev_samp"))
        case "covar_samp" | "covar_pop":
            return stats.covariance(m, int(op == "covar_samp"))
        case "corr":
            return stats.correlation(m)
        case "squares":
            return stats.estimate(m.centred(0, 0), m.squares(0))
        case "regr_sxy":
            return stats.estimate(m.centred(0, 1), m.cross(0, 1))
        case "regr_slope":
            return stats.slope(m)
        case "regr_intercept":
            return stats.intercept(m)
        case "regr_r2":
            return stats.determination(m)
    raise IntegrityError("the plan holds an unknown statistic", code="bad_plan", stage="finish")
