"""Outputs of a question over a union: aggregates of a cell, its group's values, and arithmetic over both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import NoReturn

from sqlglot import exp

from privcompute.query import functions
from privcompute.query.collect import Combination
from privcompute.query.expr import Node
from privcompute.query.lower import Lowered, Lowering, RowForm, simplified
from privcompute.query.outer import ARITHMETIC, OuterBuilder, Sized
from privcompute.query.plan import Outer, Term
from privcompute.query.refuse import Span
from privcompute.query.union.builder import UnionBuilder
from privcompute.query.union.collector import CellCollector, Variables
from privcompute.query.union.plan import MomentSums, Statistic
from privcompute.stats.form import Form
from privcompute.tables.schema import Kind

AGGREGATES = (
    "COUNT(*), COUNT(x), SUM, AVG, VAR_SAMP, VAR_POP, VARIANCE, STDDEV, STDDEV_SAMP, STDDEV_POP, COVAR_SAMP, "
    "COVAR_POP, CORR, REGR_*"
)
TABLES = ("OLS", "CHI2", "TTEST", "ANOVA", "HISTOGRAM")
"""Statistics that give a table; they are the only output of their query."""
_ONE = {
    "VAR_SAMP": "var_samp",
    "VARIANCE": "var_samp",
    "VAR_POP": "var_pop",
    "STDDEV": "stddev_samp",
    "STDDEV_SAMP": "stddev_samp",
    "STDDEV_POP": "stddev_pop",
}
_TWO = {
    "COVAR_SAMP": "covar_samp",
    "COVAR_POP": "covar_pop",
    "CORR": "corr",
    **{f"REGR_{name}": f"regr_{name.lower()}" for name in ("SLOPE", "INTERCEPT", "R2", "SXX", "SYY", "SXY")},
}
_COUNTED = ("REGR_COUNT", "REGR_AVGX", "REGR_AVGY")
_COMPARISONS = "it needs comparisons on shares, which sums cannot give"
_LATER = {
    **dict.fromkeys(("MIN", "MAX", "MEDIAN", "MODE", "QUANTILE", "QUANTILE_CONT", "QUANTILE_DISC"), _COMPARISONS),
    **dict.fromkeys(("PERCENTILE_CONT", "PERCENTILE_DISC", "APPROX_QUANTILE", "MAD"), _COMPARISONS),
    **dict.fromkeys(("TOPK", "TOP_K", "APPROX_TOP_K", "ARGMIN", "ARGMAX", "MIN_BY", "MAX_BY"), _COMPARISONS),
    "LOGIT": "it takes many rounds of sums, and each would open",
    **dict.fromkeys(
        ("KAPLAN_MEIER", "SURVIVAL", "COX", "LOGRANK"), "it needs comparisons on shares, and time bins of enough people"
    ),
}


@dataclass(frozen=True)
class GroupSized(Sized):
    """The value of a GROUP BY expression.

    Attributes:
        group: Which one.
        sql_type: DuckDB's type.
    """

    group: int = 0
    sql_type: str = ""

    @property
    def type(self) -> str:
        """DuckDB's type."""
        return self.sql_type

    def numbered(self, index: Mapping[tuple[Term, ...], int], caps: int) -> Outer:
        """The output; of a group nothing opens."""
        return Outer("group", self.sql_type, opening=self.group)


@dataclass(frozen=True)
class MomentSized(Sized):
    """A statistic of moments."""

    variables: Variables | None = None

    def numbered(self, index: Mapping[tuple[Term, ...], int], caps: int) -> Outer:
        """The output with its openings' numbers."""
        if self.variables is None:
            return super().numbered(index, caps)
        return Statistic(self.op, self.type, sums=numbered_sums(self.variables, index))


def numbered_sums(variables: Variables, index: Mapping[tuple[Term, ...], int]) -> MomentSums:
    """The openings of some variables' moments."""
    found = (*variables.sums, *variables.products)
    return MomentSums(
        rows=index[variables.rows.terms],
        openings=tuple(index[c.terms] for c in found),
        units=tuple(c.unit for c in found),
        errors=variables.errors,
    )


@dataclass(frozen=True)
class Group:
    """A GROUP BY expression that outputs may name."""

    node: Node
    type: str


class CellBuilder(OuterBuilder):
    """Builds the outputs of one cell.

    Args:
        builder: Builds scalar expressions.
        lowering: Turns them into forms.
        collector: Collects what they need.
        max_rows: Public bound of the rows of all holders.
        groups: The expressions of GROUP BY.
    """

    def __init__(
        self,
        builder: UnionBuilder,
        lowering: Lowering,
        collector: CellCollector,
        max_rows: int,
        groups: tuple[Group, ...],
    ) -> None:
        super().__init__(builder, lowering, collector, max_rows)
        self.cells = collector
        self.groups = groups
        self.products: list[Node] = []

    def output(self, tree: exp.Expression) -> Sized:
        """An output, or an expression of ORDER BY.

        Raises:
            UsageError: `unsupported_sql`, `not_yet` or `too_wide`, with the text marked.
        """
        return self.group(tree) or self.build(tree)

    def group(self, tree: exp.Expression) -> GroupSized | None:
        """The group that an expression names; None if it is none."""
        if isinstance(tree, exp.Paren):
            return self.group(tree.this)
        aggregates = tree.find(exp.AggFunc, exp.Anonymous, exp.Window, exp.Star)
        if not self.groups or aggregates is not None or tree.find(exp.Column) is None:
            return None
        node = self.builder.node(tree)
        for n, group in enumerate(self.groups):
            if group.node == node:
                size = node.range.magnitude if node.range is not None else Fraction(2**63 - 1)
                return GroupSized("group", node.kind, 0, size, long=True, group=n, sql_type=group.type)
        return None

    def _build(self, tree: exp.Expression, span: Span) -> Sized:
        group = self.group(tree)
        if group is not None:
            if group.kind is not Kind.INTEGER:
                self.refuse.unsupported(
                    f"a number is expected, not {group.kind.value}",
                    span,
                    "show it as it is; conditions on it go to WHERE",
                )
            return group
        if isinstance(tree, exp.Func):
            word = self.source.word(tree)
            if word in _ONE:
                return self._of_one(_ONE[word], self.arguments_of(tree, 1), span)
            if word in _TWO or word in _COUNTED:
                return self._of_two(word, self.arguments_of(tree, 2), span)
            if word in TABLES:
                what = f"{word} gives a table: it is the only output beside the groups"
                self.refuse.unsupported(what, span, f"ask for {self.text(span)} alone")
        return super()._build(tree, span)

    def arguments_of(self, tree: exp.Expression, number: int | None) -> list[Node]:
        """The arguments of a function as numbers; a boolean counts as 0 and 1."""
        if isinstance(tree, exp.Anonymous):
            trees = list(tree.expressions)
        else:
            self.source.only(tree, "this", "expression")
            trees = [t for t in (tree.this, tree.args.get("expression")) if t is not None]
        if number is not None and len(trees) != number:
            span, word = self.source.span(tree), self.source.word(tree)
            self.refuse.unsupported(f"{word} takes {number} argument{'s' * (number > 1)}", span, AGGREGATES)
        return [self.number(t) for t in trees]

    def number(self, tree: exp.Expression) -> Node:
        """A number of one row; TRUE is 1."""
        if isinstance(tree, exp.Distinct):
            self.refuse.unsupported("DISTINCT is not supported here", self.source.span(tree), "leave DISTINCT out")
        node = self.builder.node(tree)
        if node.kind is Kind.BOOLEAN:
            node = functions.exact_cast(self.builder, node, "INTEGER", 0, Fraction(1), node.span)
        return self.builder.as_number(node)

    def lowered(self, nodes: list[Node]) -> tuple[Lowered, ...]:
        """Numbers as forms."""
        return tuple(self.lowering.lower(node) for node in nodes)

    def _of_one(self, op: str, nodes: list[Node], span: Span) -> Sized:
        self.arguments += nodes
        found = self.cells.variables(self.lowered(nodes), span, self.text(span))
        return MomentSized(op, Kind.REAL, 0, Fraction(0), variables=found)

    def _of_two(self, word: str, nodes: list[Node], span: Span) -> Sized:
        y, x = nodes
        if word == "REGR_COUNT":
            self.arguments += nodes
            return self._count_of(self.lowered(nodes), span)
        if word in ("REGR_AVGX", "REGR_AVGY"):
            self.arguments += nodes
            own, other = (x, y) if word == "REGR_AVGX" else (y, x)
            return self._mean_of(own, other, span)
        if word in ("REGR_SXX", "REGR_SYY"):
            self.arguments += nodes
            own, other = (x, y) if word == "REGR_SXX" else (y, x)
            alone = self.cells.variables(self.lowered([own]), span, self.text(span), also=self.lowered([other]))
            return MomentSized("squares", Kind.REAL, 0, Fraction(0), variables=alone)
        self.products += nodes
        found = self.cells.variables(self.lowered(nodes), span, self.text(span))
        return MomentSized(_TWO[word], Kind.REAL, 0, Fraction(0), variables=found)

    def _count_of(self, lowered: tuple[Lowered, ...], span: Span) -> Sized:
        counted = self.combined(lowered[0].present * lowered[1].present, span)
        return Sized("count", Kind.INTEGER, 0, Fraction(self.max_rows), main=counted, long=True)

    def _mean_of(self, own: Node, other: Node, span: Span) -> Sized:
        x, y = self.lowered([own, other])
        total = self.combined(x.value * y.present, span, "the sum in ")
        rows = self.combined(x.present * y.present, span, "the number of rows in ")
        real, size = own.kind is Kind.REAL, own.interval.magnitude
        return Sized("avg", Kind.REAL, 0, size, main=total, rows=rows, drift=own.drift, row_size=size, doubles=real)

    def rows_of(self, lowered: tuple[Lowered, ...], span: Span) -> Combination:
        """The opening of the number of rows where nothing of this is NULL; of no expression: of all rows."""
        form: RowForm = Form.constant(1)
        for one in lowered:
            form = simplified(form * one.present)
        return self.combined(form, span, "the number of rows in ")

    def distinct(self, tree: exp.Distinct, span: Span) -> NoReturn:
        """COUNT(DISTINCT …) is refused: nobody is recognised across holders."""
        what = "COUNT(DISTINCT …) over a union (whoever is at two holders would count twice)"
        self.refuse.not_yet(what, span, "count rows with COUNT(*)")

    def refused(self, tree: exp.Expression, span: Span) -> Sized:
        """Refuses what is no output, by name and with the reason."""
        inner = tree.this if isinstance(tree, exp.WithinGroup) else tree
        word = self.source.word(inner) if isinstance(inner, exp.Expression) else ""
        if word in _LATER:
            self.refuse.not_yet(
                f"{word} over a union ({_LATER[word]})", span, f"built: {AGGREGATES}, {', '.join(TABLES)}"
            )
        if isinstance(tree, exp.Column):
            self.builder.resolve(tree)
            remedy = f"name it in GROUP BY, or put it into an aggregate ({AGGREGATES})"
            self.refuse.unsupported("a column stands outside an aggregate", span, remedy)
        if isinstance(tree, exp.Func) and not isinstance(tree, exp.Connector | exp.Predicate):
            remedy = f"aggregates: {AGGREGATES}; tables: {', '.join(TABLES)}; over aggregates: {ARITHMETIC}"
            self.refuse.unsupported(f"{word} is not supported here", span, remedy)
        return super().refused(tree, span)
