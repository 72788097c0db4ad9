"""From the opened sums of a union to the result: exact fractions, certain bounds, one row a shown cell."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction

from privcompute.errors import UsageError
from privcompute.query.finish import Finished, Value, shown_as
from privcompute.query.plan import Outer
from privcompute.query.union.cells import Cell, CellFinisher, shown_cells
from privcompute.query.union.plan import OrderBy, UnionPlan
from privcompute.query.union.results import Entry, table_columns, table_rows
from privcompute.stats.estimate import Estimate
from privcompute.tables.cells import GroupValue
from privcompute.union.job import Decide, Totals

Row = list[tuple[Value, Fraction | None]]
"""Values with their errors; None for what is no number."""


def finish_union(plan: UnionPlan, totals: Totals | None, decide: Decide | None = None) -> Finished:
    """The result of a plan.

    Args:
        plan: The plan.
        totals: What opened; None if nothing did.
        decide: The run's `Decision`, where it has decided already; default: the plan's.

    Raises:
        IntegrityError: `undeclared` or `out_of_bounds` if what opened is not what the plan declares,
            `inconsistent_sums` if no rows have such sums.
        UsageError: `ill_conditioned` if a divisor may be 0 within its error.
    """
    named = [(o.name, o.expression.type) for o in plan.outputs]
    if plan.table is not None:
        named += table_columns(plan, plan.table)
    columns, types = tuple(n for n, _ in named), tuple(t for _, t in named)
    units = [] if totals is None else shown_cells(plan, totals, decide or plan.decide)
    rows = _tables(plan, units, types) if plan.table is not None else _cells(plan, [cells[0] for cells in units])
    bounds: dict[str, Fraction] = {}
    for row in rows:
        for name, (_, error) in zip(columns, row, strict=True):
            if error is not None:
                bounds[name] = max(error, bounds.get(name, Fraction(0)))
    shown = tuple(tuple(value for value, _ in row) for row in rows)
    return Finished(columns, types, shown, bounds, plan.units - len(units))


@contextmanager
def _conditioned(what: str) -> Iterator[None]:
    try:
        yield
    except (ZeroDivisionError, OverflowError):
        raise UsageError(
            f"{what} is ill-conditioned: a divisor, a comparison or a size is within its own error of the limit",
            code="ill_conditioned",
            stage="finish",
            remedy="declare narrower ranges, or ask for the sums and counts themselves",
        ) from None


def _cells(plan: UnionPlan, cells: Sequence[Cell]) -> list[Row]:
    """The rows of aggregates: those that HAVING keeps, in order."""
    kept = []
    for cell in cells:
        finisher = CellFinisher(plan.max_rows, cell)
        with _conditioned("HAVING"):
            if plan.having is None or finisher.holds(plan.having):
                kept.append(finisher)
    for one in reversed(plan.order):
        kept = _ordered(kept, one)
    rows = []
    for finisher in kept[: plan.limit]:
        row: Row = []
        for output in plan.outputs:
            with _conditioned(f"column {output.name!r}"):
                row.append(_output(finisher, output.expression))
        rows.append(row)
    return rows


def _ordered(kept: list[CellFinisher], order: OrderBy) -> list[CellFinisher]:
    """Sorted by one expression; equal ones keep their order."""
    known: list[tuple[Fraction, CellFinisher]] = []
    missing = []
    for finisher in kept:
        with _conditioned("ORDER BY"):
            key = _key(finisher, order.expression)
        if key is None:
            missing.append(finisher)
        else:
            known.append((key, finisher))
    known.sort(key=lambda pair: pair[0], reverse=order.descending)
    found = [finisher for _, finisher in known]
    return missing + found if order.nulls_first else found + missing


def _key(finisher: CellFinisher, outer: Outer) -> Fraction | None:
    if outer.op == "group" and outer.opening is not None:
        null = finisher.cell.group[outer.opening] is None
        return None if null else Fraction(finisher.cell.places[outer.opening])
    found = finisher.value(outer)
    return None if found is None else found.value


def _output(finisher: CellFinisher, outer: Outer) -> tuple[Value, Fraction | None]:
    if outer.op == "group" and outer.opening is not None:
        return _label(finisher.cell.group[outer.opening], outer.type), None
    return shown_as(finisher.value(outer), outer.type)


def _label(value: GroupValue, sql_type: str) -> Value:
    return dt.date.fromisoformat(value) if sql_type == "DATE" and isinstance(value, str) else value


def _tables(plan: UnionPlan, units: Sequence[Sequence[Cell]], types: Sequence[str]) -> list[Row]:
    """The rows of a statistic's table, group after group."""
    if plan.table is None:
        return []
    rows: list[Row] = []
    for cells in units:
        finisher = CellFinisher(plan.max_rows, cells[0])
        groups = [_output(finisher, output.expression) for output in plan.outputs]
        with _conditioned(plan.table.op.upper()):
            for entries in table_rows(plan, plan.table, cells):
                shown = [_entry(e, t) for e, t in zip(entries, types[len(groups) :], strict=True)]
                rows.append([*groups, *shown])
    return rows


def _entry(entry: Entry, sql_type: str) -> tuple[Value, Fraction | None]:
    if isinstance(entry, Estimate):
        return shown_as(entry, sql_type)
    return _label(entry, sql_type), None
