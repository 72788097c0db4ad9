"""Statistics that give a table: what they open of each cell, and the groupings whose levels they compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from sqlglot import exp

from privcompute.query import expr
from privcompute.query.expr import NUMBERS, Node
from privcompute.query.parse import Item
from privcompute.query.plan import Term
from privcompute.query.refuse import Span
from privcompute.query.render import render
from privcompute.query.source import Source
from privcompute.query.union.collector import Variables
from privcompute.query.union.domains import grouping
from privcompute.query.union.outputs import TABLES, CellBuilder, numbered_sums
from privcompute.query.union.plan import Table, TableStatistic
from privcompute.stats.interval import Interval
from privcompute.tables.cells import Grouping
from privcompute.tables.schema import Kind

MAX_PREDICTORS = 20
MAX_EDGES = 999


@dataclass(frozen=True)
class TableCall:
    """A table statistic before openings have their numbers.

    Attributes:
        op: Which.
        names: As in `TableStatistic`.
        type: As there.
        groupings: The groupings whose levels it compares.
        nodes: The expressions of these groupings.
        variables: The moments, if it has any.
        rows: The terms of the number of rows, if it has no moments.
    """

    op: Table
    names: tuple[str, ...]
    type: str
    groupings: tuple[Grouping, ...]
    nodes: tuple[Node, ...]
    variables: Variables | None
    rows: tuple[Term, ...] = field(repr=False)

    def numbered(self, index: Mapping[tuple[Term, ...], int]) -> TableStatistic:
        """The statistic with its openings' numbers."""
        sums = None if self.variables is None else numbered_sums(self.variables, index)
        rows = index[self.rows] if sums is None else sums.rows
        return TableStatistic(self.op, self.names, self.type, sums, rows)


def table_item(source: Source, items: Sequence[Item], trees: Sequence[exp.Expression]) -> int | None:
    """Which output gives a table, if any.

    Raises:
        UsageError: `unsupported_sql` if there are two, or it has an alias.
    """
    found = [n for n, item in enumerate(items) if _word(source, item.expression) in TABLES]
    if not found:
        return None
    if len(found) > 1:
        source.refuse.unsupported("two statistics give tables", items[found[1]].span, "ask in two queries")
    if isinstance(trees[found[0]], exp.Alias):
        source.refuse.unsupported(
            "a table has no alias; its columns have names", items[found[0]].span, "drop the alias"
        )
    return found[0]


def _word(source: Source, tree: exp.Expression) -> str:
    return source.word(tree) if isinstance(tree, exp.Func) else ""


def table_call(source: Source, tree: exp.Expression, cells: CellBuilder, conditions: Sequence[Node]) -> TableCall:
    """Read OLS, CHI2, TTEST, ANOVA or HISTOGRAM.

    Raises:
        UsageError: `unsupported_sql`, `not_yet` or `too_wide`, with the text marked.
    """
    return _Reader(source, cells, conditions).read(tree)


class _Reader:
    def __init__(self, source: Source, cells: CellBuilder, conditions: Sequence[Node]) -> None:
        self.source = source
        self.refuse = source.refuse
        self.cells = cells
        self.conditions = conditions

    def read(self, tree: exp.Expression) -> TableCall:
        word, span = self.source.word(tree), self.source.span(tree)
        arguments = list(tree.args.get("expressions") or [])
        if not isinstance(tree, exp.Anonymous):
            self.refuse.unsupported(f"{word} cannot be read", span, f"tables: {', '.join(TABLES)}")
        if word == "OLS":
            return self._ols(arguments, span)
        if len(arguments) != 2:
            forms = {"HISTOGRAM": "HISTOGRAM(x, [1, 2, 3])", "CHI2": "CHI2(a, b)"}
            self.refuse.unsupported(f"{word} takes 2 arguments", span, f"write {forms.get(word, word + '(x, g)')}")
        if word == "HISTOGRAM":
            return self._histogram(arguments[0], arguments[1], span)
        if word == "CHI2":
            return self._chi2(arguments, span)
        return self._contrast("ttest" if word == "TTEST" else "anova", arguments[0], arguments[1], span)

    def _ols(self, arguments: list[exp.Expression], span: Span) -> TableCall:
        if not 2 <= len(arguments) <= MAX_PREDICTORS + 1:
            what = f"OLS takes y and 1 to {MAX_PREDICTORS} predictors"
            self.refuse.unsupported(what, span, "write OLS(y, x1, x2)")
        nodes = [self.cells.number(t) for t in arguments]
        self.cells.products += nodes
        names = tuple(self.cells.text(self.source.span(t)) for t in arguments[1:])
        found = self.cells.cells.variables(self.cells.lowered(nodes), span, self.cells.text(span))
        return TableCall("ols", ("intercept", *names), "", (), (), found, ())

    def _levels(self, tree: exp.Expression) -> tuple[Node, Grouping]:
        node = self.cells.builder.node(tree)
        found = grouping(node, self.conditions, self.refuse)
        known = tuple(v for v in found.values if v is not None)
        closed = found.closed and len(known) == len(found.values)
        if len(known) < 2:
            self.refuse.unsupported("this has fewer than two values", node.span, "compare two or more")
        return node, Grouping(found.sql, found.type, known, closed)

    def _chi2(self, arguments: list[exp.Expression], span: Span) -> TableCall:
        (a, rows), (b, columns) = (self._levels(t) for t in arguments)
        if a == b:
            self.refuse.unsupported("a variable is not tested against itself", span, "write CHI2(a, b)")
        counted = self.cells.rows_of((), span)
        return TableCall("chi2", (), "", (rows, columns), (a, b), None, counted.terms)

    def _contrast(self, op: Table, value: exp.Expression, level: exp.Expression, span: Span) -> TableCall:
        node, levels = self._levels(level)
        if op == "ttest" and len(levels.values) != 2:
            remedy = "limit it with WHERE g IN (…, …), or compare all with ANOVA(x, g)"
            self.refuse.unsupported(f"TTEST compares two values, and this has {len(levels.values)}", node.span, remedy)
        x = self.cells.number(value)
        self.cells.arguments.append(x)
        found = self.cells.cells.variables(self.cells.lowered([x]), span, self.cells.text(span))
        return TableCall(op, (), "", (levels,), (node,), found, ())

    def _histogram(self, value: exp.Expression, edges: exp.Expression, span: Span) -> TableCall:
        x = self.cells.builder.node(value)
        if x.kind not in NUMBERS and x.kind is not Kind.DATE:
            self.refuse.unsupported(f"a number or date is expected, not {x.kind.value}", x.span, "use such a column")
        if not isinstance(edges, exp.Array) or not 1 <= len(edges.expressions) <= MAX_EDGES:
            what = f"HISTOGRAM takes a list of 1 to {MAX_EDGES} upper edges"
            self.refuse.unsupported(what, self.source.span(edges), "write HISTOGRAM(x, [10, 20, 30])")
        found = {self._edge(x, tree) for tree in edges.expressions}
        ordered = sorted(found, key=lambda n: n.text if x.kind is Kind.DATE else n.interval.lo)
        distinct = list({n.text: n for n in ordered}.values())
        whole = all(n.kind is Kind.INTEGER for n in distinct)
        kind = "DATE" if x.kind is Kind.DATE else "BIGINT" if whole and x.kind is Kind.INTEGER else "DOUBLE"
        bins = Grouping(self._bins(x, distinct), "BIGINT", tuple(range(len(distinct) + 1)), False)
        counted = self.cells.rows_of((), span)
        return TableCall("histogram", tuple(n.text for n in distinct), kind, (bins,), (x,), None, counted.terms)

    def _edge(self, x: Node, tree: exp.Expression) -> Node:
        edge = self.cells.builder.matched(self.cells.builder.node(tree), x)
        right = edge.op == "date" if x.kind is Kind.DATE else edge.literal is not None
        if not right:
            self.refuse.unsupported("an edge is a constant of the kind of x", edge.span, "write HISTOGRAM(x, [10, 20])")
        return edge

    def _bins(self, x: Node, edges: Sequence[Node]) -> str:
        """The number of the first edge that is not below x; one more above all of them; NULL for NULL."""
        parts: list[Node] = []
        if x.nullable:
            parts += [Node("is null", (x,)), Node("null", kind=Kind.OTHER, nullable=True)]
        for n, edge in enumerate(edges):
            parts += [Node("<=", (x, edge)), expr.number(str(n))]
        last = expr.number(str(len(edges)))
        held = Interval(Fraction(0), Fraction(len(edges)))
        node = Node("case", (*parts, last), Kind.INTEGER, digits=0, range=held, nullable=x.nullable)
        return render(node)
