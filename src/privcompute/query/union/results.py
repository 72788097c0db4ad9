"""The tables of OLS, CHI2, TTEST, ANOVA and HISTOGRAM from the cells of one group."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from privcompute.errors import IntegrityError
from privcompute.query.union.cells import Cell, moments
from privcompute.query.union.plan import TableStatistic, UnionPlan
from privcompute.stats import contrasts, regression
from privcompute.stats.estimate import Estimate
from privcompute.stats.moments import Moments, estimate
from privcompute.tables.cells import GroupValue, cell_count

Entry = Estimate | GroupValue
"""A number with its error, or a label."""

_COLUMNS: dict[str, tuple[tuple[str, str], ...]] = {
    "ols": (("term", "VARCHAR"), ("estimate", "DOUBLE"), ("std_error", "DOUBLE"), ("t", "DOUBLE"), ("p", "DOUBLE")),
    "chi2": (("chi2", "DOUBLE"), ("df", "BIGINT"), ("p", "DOUBLE"), ("n", "BIGINT")),
    "ttest": (
        *(("level_1", ""), ("n_1", "BIGINT"), ("mean_1", "DOUBLE"), ("level_2", ""), ("n_2", "BIGINT")),
        *(("mean_2", "DOUBLE"), ("difference", "DOUBLE"), ("t", "DOUBLE"), ("df", "DOUBLE"), ("p", "DOUBLE")),
    ),
    "anova": (("f", "DOUBLE"), ("df_between", "BIGINT"), ("df_within", "BIGINT"), ("p", "DOUBLE"), ("n", "BIGINT")),
    "histogram": (("bin", ""), ("count", "BIGINT")),
}


def table_columns(plan: UnionPlan, table: TableStatistic) -> tuple[tuple[str, str], ...]:
    """Names and types of the columns that a statistic gives."""
    level = table.type or (plan.groupings[-1].type if len(plan.groupings) > plan.grouped else "")
    return tuple((name, kind or level) for name, kind in _COLUMNS[table.op])


def table_rows(plan: UnionPlan, table: TableStatistic, cells: Sequence[Cell]) -> list[tuple[Entry, ...]]:
    """The rows of one unit.

    Raises:
        ZeroDivisionError: If the errors leave open whether a divisor is 0.
        IntegrityError: `inconsistent_sums` if no rows have such sums.
    """
    match table.op:
        case "ols":
            return _ols(table, cells[0])
        case "chi2":
            return [_chi2(plan, table, cells)]
        case "ttest":
            return [_ttest(table, cells)]
        case "anova":
            return [_anova(table, cells)]
        case "histogram":
            return [_bin(table, cells[0])]


def _of(table: TableStatistic, cell: Cell) -> Moments:
    if table.sums is None:
        raise IntegrityError("the plan holds no moments", code="bad_plan", stage="finish")
    return moments(table.sums, cell.opened)


def _number(value: int) -> Estimate:
    return Estimate(Fraction(value))


def _ols(table: TableStatistic, cell: Cell) -> list[tuple[Entry, ...]]:
    terms = regression.least_squares(_of(table, cell))
    return [(name, t.estimate, t.std_error, t.t, t.p) for name, t in zip(table.names, terms, strict=True)]


def _chi2(plan: UnionPlan, table: TableStatistic, cells: Sequence[Cell]) -> tuple[Entry, ...]:
    counts = [cell.opened[table.rows] for cell in cells]
    width = len(plan.groupings[-1].values)
    if len(cells) != cell_count(plan.groupings[-2:]):
        raise IntegrityError("the plan holds another table", code="bad_plan", stage="finish")
    found = contrasts.chi_square([counts[start : start + width] for start in range(0, len(counts), width)])
    return found.chi2, _number(found.freedom), found.p, _number(sum(counts))


def _ttest(table: TableStatistic, cells: Sequence[Cell]) -> tuple[Entry, ...]:
    first, second = (_of(table, cell) for cell in cells)
    found = contrasts.welch(first, second)
    labels = [cell.group[-1] for cell in cells]
    sides = [
        (label, _number(m.rows), estimate(m.mean(0), m.mean_interval(0)))
        for label, m in zip(labels, (first, second), strict=True)
    ]
    return (*sides[0], *sides[1], found.difference, found.t, found.freedom, found.p)


def _anova(table: TableStatistic, cells: Sequence[Cell]) -> tuple[Entry, ...]:
    levels = [_of(table, cell) for cell in cells]
    found = contrasts.anova(levels)
    return found.f, _number(found.between), _number(found.within), found.p, _number(sum(m.rows for m in levels))


def _bin(table: TableStatistic, cell: Cell) -> tuple[Entry, ...]:
    place, count = cell.places[-1], _number(cell.opened[table.rows])
    if place == len(table.names):
        return None, count  # above the last edge
    name = table.names[place]
    return (name if table.type == "DATE" else Estimate(Fraction(name), double=table.type == "DOUBLE")), count
