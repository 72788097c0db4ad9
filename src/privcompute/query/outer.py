"""Outputs: aggregates, and arithmetic over what they open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from sqlglot import exp

from privcompute.query import functions
from privcompute.query.build import Builder
from privcompute.query.collect import Collector, Combination
from privcompute.query.expr import Node
from privcompute.query.lower import Lowered, Lowering, RowForm, simplified
from privcompute.query.parse import resolve
from privcompute.query.plan import Outer, Term
from privcompute.query.refuse import Span
from privcompute.stats.form import Factor, Form
from privcompute.stats.interval import outwards
from privcompute.tables.schema import Kind

AGGREGATES = "COUNT(*), COUNT(x), COUNT(DISTINCT key), SUM(x), AVG(x)"
ARITHMETIC = "+ - * /, ROUND, ABS, COALESCE, NULLIF, CAST(… AS DOUBLE) and numbers"
LATER = frozenset(
    {
        *("MIN", "MAX", "MEDIAN", "MODE", "QUANTILE", "PERCENTILE_CONT", "PERCENTILE_DISC"),
        *("VARIANCE", "VAR_SAMP", "VAR_POP", "STDDEV", "STDDEV_SAMP", "STDDEV_POP", "COVAR_SAMP", "COVAR_POP", "CORR"),
        *("REGR_SLOPE", "REGR_INTERCEPT", "REGR_R2", "REGR_COUNT", "REGR_AVGX", "REGR_AVGY"),
        *("REGR_SXX", "REGR_SYY", "REGR_SXY", "OLS", "LOGIT", "CHI2", "TTEST", "HISTOGRAM"),
    }
)
_SIGNS: dict[type[exp.Expression], str] = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/"}
HUGE = Fraction(2**127 - 1)
LONG = Fraction(2**63 - 1)
DECIMAL_MAX = Fraction(10**38 - 1)


@dataclass(frozen=True)
class Sized:
    """An output expression before openings have their numbers.

    Attributes:
        op: As in `Outer`.
        kind: INTEGER, DECIMAL or REAL.
        digits: SQL's scale of an exact result.
        size: Largest absolute value, from public bounds.
        args: The operands.
        main: The combination of a "sum", "count" or "avg".
        rows: The number of rows of an "avg".
        factor: As in `Outer`.
        drift: DuckDB's error in one row.
        row_size: The largest absolute value of a row.
        doubles: Whether the rows are doubles.
        long: Whether SQL's type is BIGINT, not HUGEINT.
    """

    op: str
    kind: Kind
    digits: int
    size: Fraction
    args: tuple[Sized, ...] = ()
    main: Combination | None = None
    rows: Combination | None = field(default=None, repr=False)
    factor: Fraction = Fraction(1)
    drift: Fraction = Fraction(0)
    row_size: Fraction = Fraction(0)
    doubles: bool = False
    long: bool = False

    @property
    def type(self) -> str:
        """DuckDB's type."""
        if self.kind is Kind.REAL:
            return "DOUBLE"
        if self.kind is Kind.DECIMAL:
            return f"DECIMAL(38,{self.digits})"
        return "BIGINT" if self.long and self.size <= LONG else "HUGEINT"

    def numbered(self, index: Mapping[tuple[Term, ...], int], caps: int) -> Outer:
        """The output with its openings' numbers.

        Args:
            index: Number of the opening by its terms.
            caps: The most joined rows of one key.
        """
        main, rows = self.main, self.rows
        bounds: tuple[tuple[int, int], ...] = ()
        if main is not None and main.exact_rows:
            bounds = tuple((index[c], caps) for c in main.counts)
        return Outer(
            self.op,
            self.type,
            tuple(a.numbered(index, caps) for a in self.args),
            opening=None if main is None else index[main.terms],
            second=None if rows is None else index[rows.terms],
            factor=self.factor if main is None else main.unit,
            row_factor=Fraction(1) if rows is None else rows.unit,
            rows=bounds,
            doubles=self.doubles,
            row_error=Fraction(0) if main is None else outwards(main.error),
            row_drift=outwards(self.drift),
            row_size=self.row_size,
        )


class OuterBuilder:
    """Builds outputs.

    Args:
        builder: Builds scalar expressions.
        lowering: Turns them into forms.
        collector: Collects what they need.
        max_rows: Public bound of the joined rows.
    """

    def __init__(self, builder: Builder, lowering: Lowering, collector: Collector, max_rows: int) -> None:
        self.builder = builder
        self.source = builder.source
        self.refuse = builder.refuse
        self.lowering = lowering
        self.collector = collector
        self.max_rows = max_rows
        self.arguments: list[Node] = []

    def build(self, tree: exp.Expression) -> Sized:
        """An output expression.

        Raises:
            UsageError: `unsupported_sql`, `not_yet` or `too_wide`, with the text marked.
        """
        sized = self._build(tree, self.source.span(tree))
        limit = {Kind.INTEGER: HUGE, Kind.DECIMAL: DECIMAL_MAX / 10**sized.digits}.get(sized.kind)
        if sized.digits > 38 or (limit is not None and sized.size > limit):
            remedy = "declare narrower ranges with `privcompute dataset edit NAME --range COL=LO:HI`"
            self.refuse.wide("the result may not fit its SQL type", self.source.span(tree), remedy)
        return sized

    def _build(self, tree: exp.Expression, span: Span) -> Sized:
        if isinstance(tree, exp.Paren):
            return self.build(tree.this)
        if isinstance(tree, exp.Neg):
            x = self.build(tree.this)
            return Sized("neg", x.kind, x.digits, x.size, (x,), long=x.long)
        if isinstance(tree, exp.Literal) and not tree.is_string:
            node = self.builder.number(tree)
            value = node.interval.lo
            return Sized("number", node.kind, node.digits or 0, abs(value), factor=value, long=True)
        if isinstance(tree, exp.Add | exp.Sub | exp.Mul | exp.Div):
            return self._arithmetic(tree)
        if isinstance(tree, exp.Count):
            return self._count(tree, span)
        if isinstance(tree, exp.Sum | exp.Avg):
            return self._sum(tree, span)
        if isinstance(tree, exp.Round | exp.Abs | exp.Coalesce | exp.Nullif | exp.Cast):
            return self._function(tree, span)
        return self.refused(tree, span)

    def refused(self, tree: exp.Expression, span: Span) -> Sized:
        """Refuses what is no output, by name."""
        word = self.source.word(tree)
        inner = tree.this if isinstance(tree, exp.WithinGroup) else tree
        if isinstance(inner, exp.Expression) and self.source.word(inner) in LATER:
            self.refuse.not_yet(self.source.word(inner), span, f"built: {AGGREGATES}")
        if isinstance(tree, exp.Filter):
            remedy = "write SUM(CASE WHEN condition THEN x END) or COUNT(CASE WHEN condition THEN 1 END)"
            self.refuse.unsupported("FILTER is not supported", span, remedy)
        if isinstance(tree, exp.Window):
            self.refuse.unsupported("window functions are not supported", span, f"aggregates: {AGGREGATES}")
        if isinstance(tree, exp.Star):
            self.refuse.unsupported("rows are never released", span, f"ask for aggregates: {AGGREGATES}")
        if isinstance(tree, exp.Column):
            resolve(self.source, tree, self.builder.tables)
            remedy = f"put it into an aggregate ({AGGREGATES}); GROUP BY is not built yet"
            self.refuse.unsupported("a column stands outside an aggregate", span, remedy)
        if isinstance(tree, exp.Func):
            remedy = f"aggregates: {AGGREGATES}; over them: {ARITHMETIC}"
            self.refuse.unsupported(f"{word} is not supported here", span, remedy)
        remedy = f"aggregates ({AGGREGATES}), and over them {ARITHMETIC}"
        return self.refuse.unsupported("this is not supported in an output", span, remedy)

    def _arithmetic(self, tree: exp.Expression) -> Sized:
        self.source.only(tree, "this", "expression", "typed", "safe")
        x, y = self.build(tree.this), self.build(tree.expression)
        op = _SIGNS[type(tree)]
        kind = _kind((x, y)) if op != "/" else Kind.REAL
        size = {"*": x.size * y.size, "/": Fraction(0)}.get(op, x.size + y.size)
        digits = 0 if kind is Kind.REAL else x.digits + y.digits if op == "*" else max(x.digits, y.digits)
        return Sized(op, kind, digits, size, (x, y), long=x.long and y.long)

    def _function(self, tree: exp.Expression, span: Span) -> Sized:
        if isinstance(tree, exp.Cast):
            self.source.only(tree, "this", "to", "_type")
            x = self.build(tree.this)
            if not tree.to.is_type("double"):
                self.refuse.unsupported("this cast is not supported in an output", span, "CAST(… AS DOUBLE)")
            return Sized("double", Kind.REAL, 0, x.size, (x,))
        if isinstance(tree, exp.Abs):
            x = self.build(tree.this)
            return Sized("abs", x.kind, x.digits, x.size, (x,), long=x.long)
        if isinstance(tree, exp.Round):
            return self._round(tree, span)
        if isinstance(tree, exp.Nullif):
            x, y = self.build(tree.this), self.build(tree.expression)
            if Kind.REAL in (x.kind, y.kind):
                self.refuse.unsupported("NULLIF compares exact results only", span, "apply it to COUNT or an exact SUM")
            return Sized("nullif", x.kind, x.digits, x.size, (x, y), long=x.long)
        self.source.only(tree, "this", "expressions")
        args = tuple(self.build(t) for t in (tree.this, *tree.expressions))
        kind = _kind(args)
        digits = 0 if kind is Kind.REAL else max(a.digits for a in args)
        return Sized("coalesce", kind, digits, max(a.size for a in args), args, long=all(a.long for a in args))

    def _round(self, tree: exp.Round, span: Span) -> Sized:
        self.source.only(tree, "this", "decimals", "casts_non_integer_decimals")
        x, decimals = self.build(tree.this), tree.args.get("decimals")
        places = Fraction(0) if decimals is None else self.builder.node(decimals).literal
        if places is None or places.denominator != 1 or not 0 <= places <= 15:
            self.refuse.unsupported("the digits are a constant from 0 to 15", span, "write ROUND(x, 2)")
        digits = min(x.digits, int(places)) if x.kind is Kind.DECIMAL else x.digits
        return Sized("round", x.kind, digits, x.size + 1, (x,), factor=places, long=x.long)

    def _count(self, tree: exp.Count, span: Span) -> Sized:
        self.source.only(tree, "this", "big_int")
        argument = tree.this
        if isinstance(argument, exp.Distinct):
            count = self.distinct(argument, span)
            most = Fraction(self.collector.matches)
            return Sized("count", Kind.INTEGER, 0, most, main=count, long=True)
        if isinstance(argument, exp.Star):
            form: RowForm = Form.constant(1)
        else:
            node = self.builder.node(argument)
            self.arguments.append(node)
            form = self.lowering.lower(node).present
        counted = self.combined(form, span)
        return Sized("count", Kind.INTEGER, 0, Fraction(self.max_rows), main=counted, long=True)

    def combined(self, form: RowForm, span: Span, what: str = "") -> Combination:
        """The opening of a form's sum."""
        what = what + self.text(span)
        made = self.collector.combine(simplified(form), span, what)
        if not made.terms:
            self.refuse.unsupported("this is the same constant for any data", span, "aggregate a column")
        self.collector.values.setdefault(made.terms, what)
        return made

    def text(self, span: Span) -> str:
        """What is written there, on one line."""
        return " ".join(self.source.sql[span.start : span.end].split())

    def distinct(self, tree: exp.Distinct, span: Span) -> Combination:
        """The opening of COUNT(DISTINCT …)."""
        self.source.only(tree, "expressions")
        columns = list(tree.expressions)
        if len(columns) == 1 and isinstance(columns[0], exp.Tuple):
            columns = list(columns[0].expressions)
        entries = tuple(t.entry for t in self.builder.tables)
        named = [resolve(self.source, c, self.builder.tables) for c in columns if isinstance(c, exp.Column)]
        keys = [{name for side, name in named if side == s} for s in (0, 1)]
        whole = any(keys[s] == set(entries[s].keys) and len(named) == len(columns) == len(keys[s]) for s in (0, 1))
        if not whole:
            example = ", ".join(entries[0].keys)
            example = f"({example})" if len(entries[0].keys) > 1 else example
            remedy = f"of DISTINCT only the whole key is supported: COUNT(DISTINCT {example})"
            self.refuse.unsupported("COUNT(DISTINCT …) counts keys only", span, remedy)
        terms, exact = self.collector.contributors(Factor(), Factor(), span)
        self.collector.select(Factor(), Factor(), span)
        self.collector.counts.setdefault(terms, self.text(span))
        return Combination(terms, Fraction(1), Fraction(0), (terms,), exact)

    def _sum(self, tree: exp.Expression, span: Span) -> Sized:
        self.source.only(tree, "this")
        if isinstance(tree.this, exp.Distinct):
            self.refuse.unsupported("DISTINCT is supported in COUNT(DISTINCT key) only", span, "leave DISTINCT out")
        node = self.builder.node(tree.this)
        if node.kind is Kind.BOOLEAN and isinstance(tree, exp.Sum):
            node = functions.exact_cast(self.builder, node, "INTEGER", 0, Fraction(1), node.span)
        node = self.builder.as_number(node)
        self.arguments.append(node)
        lowered: Lowered = self.lowering.lower(node)
        average = isinstance(tree, exp.Avg)
        total = self.combined(lowered.value, span, "the sum in " if average else "")
        size = node.interval.magnitude
        digits = node.digits or 0 if node.kind is Kind.DECIMAL else 0
        real = node.kind is Kind.REAL
        rows = None
        if average:
            rows = self.combined(lowered.present, span, "the number of rows in ")
        return Sized(
            "sum" if rows is None else "avg",
            node.kind if rows is None else Kind.REAL,
            digits if rows is None else 0,
            size * self.max_rows if rows is None else size,
            main=total,
            rows=rows,
            drift=node.drift,
            row_size=size,
            doubles=real,
        )


def _kind(args: tuple[Sized, ...]) -> Kind:
    kinds = {a.kind for a in args}
    return Kind.REAL if Kind.REAL in kinds else Kind.DECIMAL if Kind.DECIMAL in kinds else Kind.INTEGER
