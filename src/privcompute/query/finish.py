"""From the opened integers to the result: exact fractions, certain bounds, SQL's types."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal
from fractions import Fraction

from privcompute.errors import IntegrityError, UsageError
from privcompute.query.plan import Outer, Plan
from privcompute.stats import estimate
from privcompute.stats.estimate import Estimate
from privcompute.stats.interval import UNIT

Value = int | Decimal | float | str | bool | dt.date | None


@dataclass(frozen=True)
class Finished:
    """A result.

    Attributes:
        columns: Names.
        types: DuckDB's types.
        rows: One row a shown cell, or the rows of a statistic's table; int, Decimal, float, None, and of groups also
            text, booleans and dates.
        error_bound: By column, the worst-case absolute distance of the printed number to the mathematical value and,
            for counts, sums and averages, to what DuckDB prints, in any row; empty if nothing is shown.
        suppressed_cells: Cells that are not shown.
    """

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...] = field(repr=False)
    error_bound: dict[str, Fraction]
    suppressed_cells: int


def finish(plan: Plan, opened: Mapping[str, int] | None) -> Finished:
    """The result of a plan.

    Args:
        plan: The plan.
        opened: The opened integers by name; None if the cell is suppressed.

    Raises:
        IntegrityError: `missing_opening` or `out_of_bounds` if an integer is not what the plan declared.
        UsageError: `ill_conditioned` if a divisor may be 0 within its error.
    """
    columns = tuple(o.name for o in plan.outputs)
    types = tuple(o.expression.type for o in plan.outputs)
    if opened is None or _too_few(plan, opened):
        return Finished(columns, types, (), {}, 1)
    values = [_checked(plan, opened, n) for n in range(len(plan.openings))]
    row: list[Value] = []
    bounds: dict[str, Fraction] = {}
    for output in plan.outputs:
        try:
            result = Finisher(plan.max_rows, values).value(output.expression)
            shown, bound = shown_as(result, output.expression.type)
        except (ZeroDivisionError, OverflowError):
            raise UsageError(
                f"column {output.name!r} is ill-conditioned: a divisor or a size is within its own error of the limit",
                code="ill_conditioned",
                stage="finish",
                remedy="declare narrower ranges, or ask for the sums and counts themselves",
            ) from None
        row.append(shown)
        bounds[output.name] = bound
    return Finished(columns, types, (tuple(row),), bounds, 0)


def _too_few(plan: Plan, opened: Mapping[str, int]) -> bool:
    counts = [opened[o.name] for o in plan.openings if o.phase == "count" and o.name in opened]
    return any(count < plan.minimum for count in counts)


def _checked(plan: Plan, opened: Mapping[str, int], index: int) -> int:
    opening = plan.openings[index]
    value = opened.get(opening.name)
    if value is None:
        raise IntegrityError("a declared value did not open", code="missing_opening", stage="finish")
    if abs(value) > opening.bound:
        raise IntegrityError("an opened value is beyond its public bound", code="out_of_bounds", stage="finish")
    return value


def shown_as(result: Estimate | None, sql_type: str) -> tuple[Value, Fraction]:
    """The number as SQL's type prints it, and the bound that holds for it.

    Raises:
        OverflowError: If the number is beyond the doubles.
    """
    if result is None:
        return None, Fraction(0)
    if sql_type == "DOUBLE":
        return estimate.printed(result)
    if not sql_type.startswith("DECIMAL"):
        return int(result.value), result.error
    digits = int(sql_type.rpartition(",")[2].rstrip(")"))
    scaled = result.value * 10**digits
    wide = Context(prec=200)  # the default context would round to 28 digits
    return wide.scaleb(Decimal(int(scaled)), -digits), result.error


class Finisher:
    """Computes output expressions of one cell.

    Args:
        max_rows: Public bound of the number of rows.
        opened: The opened integers, in the order of the plan's openings.
    """

    def __init__(self, max_rows: int, opened: Sequence[int]) -> None:
        self.max_rows = max_rows
        self.opened = opened

    def value(self, outer: Outer) -> Estimate | None:
        """The number of an output expression; None is NULL."""
        if outer.op == "number":
            return Estimate(outer.factor, double=outer.type == "DOUBLE")
        if outer.op == "count" and outer.opening is not None:
            return Estimate(outer.factor * self.opened[outer.opening])
        if outer.op == "sum":
            return self._sum(outer, self._rows(outer), outer.type == "DOUBLE")
        if outer.op == "avg" and outer.second is not None:
            return self._average(outer, outer.row_factor * self.opened[outer.second])
        return self.combined(outer, [self.value(a) for a in outer.args])

    def combined(self, outer: Outer, args: list[Estimate | None]) -> Estimate | None:
        """An operation over its operands; None is NULL."""
        if outer.op == "coalesce":
            found = next((a for a in args if a is not None), None)
            return found if found is None or outer.type != "DOUBLE" else found.as_double()
        known = [a for a in args if a is not None]
        if outer.op == "nullif":
            equal = len(known) == 2 and known[0].value == known[1].value
            return None if equal else args[0]
        return self._operation(outer, known) if len(known) == len(args) else None

    def _rows(self, outer: Outer) -> Fraction:
        """A bound of the rows that entered a sum, from opened counts where they tell."""
        known = sum(self.opened[i] * cap for i, cap in outer.rows)
        return Fraction(min(known, self.max_rows) if outer.rows else self.max_rows)

    def _sum(self, outer: Outer, rows: Fraction, double: bool) -> Estimate:
        value = Fraction(0) if outer.opening is None else outer.factor * self.opened[outer.opening]
        error = rows * outer.row_error
        if double:
            # DuckDB adds doubles in some order: n - 1 roundings of partial sums of at most n rows each.
            error += rows * outer.row_drift + rows * rows * UNIT * (outer.row_size + outer.row_drift)
        return Estimate(value, error, double)

    def _average(self, outer: Outer, rows: Fraction) -> Estimate | None:
        # DuckDB divides an exact sum, cast to DOUBLE, or a sum of doubles.
        total = self._sum(outer, rows, outer.doubles).as_double()
        return estimate.divide(total, Estimate(rows))

    def _operation(self, outer: Outer, args: list[Estimate]) -> Estimate | None:
        x = args[0]
        match outer.op:
            case "+":
                return estimate.add(x, args[1])
            case "-":
                return estimate.add(x, estimate.negate(args[1]))
            case "*":
                return estimate.multiply(x, args[1])
            case "/":
                return estimate.divide(x, args[1])
            case "neg":
                return estimate.negate(x)
            case "abs":
                return Estimate(abs(x.value), x.error, x.double)
            case "double":
                return x.as_double()
            case "round":
                return estimate.rounded(x, int(outer.factor))
        raise IntegrityError("the plan holds an unknown operation", code="bad_plan", stage="finish")
