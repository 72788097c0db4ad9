"""HAVING: a condition on the opened values of a cell."""

from __future__ import annotations

from fractions import Fraction

from sqlglot import exp

from privcompute.query.build import COMPARISONS
from privcompute.query.outer import Sized
from privcompute.query.union.outputs import CellBuilder
from privcompute.tables.schema import Kind

_ORDERED = ("=", "<>", "<", "<=", ">", ">=")


def _truth(op: str, *args: Sized) -> Sized:
    return Sized(op, Kind.BOOLEAN, 0, Fraction(1), args)


class HavingBuilder:
    """Builds conditions over outputs.

    Args:
        cells: Builds the outputs.
    """

    def __init__(self, cells: CellBuilder) -> None:
        self.cells = cells
        self.refuse = cells.refuse
        self.source = cells.source

    def build(self, tree: exp.Expression) -> Sized:
        """A condition.

        Raises:
            UsageError: `unsupported_sql`, `not_yet` or `too_wide`, with the text marked.
        """
        if isinstance(tree, exp.Paren):
            return self.build(tree.this)
        if isinstance(tree, exp.And | exp.Or):
            return _truth(
                "and" if isinstance(tree, exp.And) else "or", self.build(tree.this), self.build(tree.expression)
            )
        if isinstance(tree, exp.Not):
            return _truth("not", self.build(tree.this))
        if isinstance(tree, exp.Between):
            self.source.only(tree, "this", "low", "high")
            x, low, high = (self.cells.build(tree.args[name]) for name in ("this", "low", "high"))
            return _truth("and", _truth(">=", x, low), _truth("<=", x, high))
        if isinstance(tree, exp.Is) and isinstance(tree.expression, exp.Null):
            self.source.only(tree, "this", "expression", "negate")
            found = _truth("is null", self.cells.build(tree.this))
            return _truth("not", found) if tree.args.get("negate") else found
        op = COMPARISONS.get(type(tree), "")
        if op in _ORDERED:
            self.source.only(tree, "this", "expression")
            return _truth(op, self.cells.build(tree.this), self.cells.build(tree.expression))
        remedy = "compare aggregates and numbers, with AND, OR, NOT, BETWEEN, IS NULL; conditions on rows go to WHERE"
        return self.refuse.unsupported("this is not supported in HAVING", self.source.span(tree), remedy)
