"""The sums that a question over a union needs from every holder, each kept once.

A union is read as a join whose other side has one row for everybody: every factor of that side is 1, so that each term
is a sum of one table's rows, and what the join's collector knows about encodings, contributors and the ledger's
selections holds here too. New are the *moments*: sums of products of values that are encoded one by one, so that n, S
and Q belong to one and the same table of encoded numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction

from privcompute.query.collect import (
    ALONE_BITS,
    REAL_BITS,
    Collector,
    Combination,
    power_of_two,
    primitive,
)
from privcompute.query.expr import Node
from privcompute.query.lower import Condition, Lowered, RowFactor, RowForm, contradictory, simplified
from privcompute.query.plan import Term
from privcompute.query.refuse import Refuser, Span
from privcompute.query.render import HUGE_LIMIT, fits, render, scaled
from privcompute.query.union.members import Merged
from privcompute.stats.form import Factor, Form
from privcompute.stats.interval import outwards
from privcompute.tables.catalogue import DatasetEntry
from privcompute.tables.features import LIMIT, Feature

Terms = tuple[Term, ...]


@dataclass(frozen=True)
class Digits:
    """A value as an integer of its own.

    Attributes:
        sql: DuckDB expression of the integer.
        unit: The value is the integer times this.
        error: Worst distance to the mathematical value.
        bound: Largest absolute value of the integer.
    """

    sql: str
    unit: Fraction
    error: Fraction
    bound: int


@dataclass(frozen=True)
class Variables:
    """The sums of one or more variables over the rows where none is NULL.

    Attributes:
        rows: The number of rows.
        sums: Per variable, the sum.
        products: The sums of products, upper triangle, row by row.
        errors: Per variable, the worst error of one row.
    """

    rows: Combination = field(repr=False)
    sums: tuple[Combination, ...]
    products: tuple[Combination, ...]
    errors: tuple[Fraction, ...]


class CellCollector(Collector):
    """Collects what one question over a union needs of each cell.

    Args:
        union: The tables.
        base: The conditions of WHERE.
        refuse: Refuses what is too wide.
    """

    def __init__(self, union: Merged, base: tuple[Condition, ...], refuse: Refuser) -> None:
        entry = union.table.entry
        everybody: DatasetEntry = replace(entry, rows_per_key=1)
        super().__init__((entry, everybody), (base, ()), refuse)
        self.more: dict[Terms, int] = {}
        """By count, how many contributors more than the minimum it needs."""

    def variables(
        self, lowered: tuple[Lowered, ...], span: Span, what: str, also: tuple[Lowered, ...] = ()
    ) -> Variables:
        """The moments of some variables.

        Args:
            lowered: Each as forms.
            span: Where the statistic stands.
            what: For people.
            also: What else must not be NULL in a row.
        """
        present: RowForm = Form.constant(1)
        for one in (*lowered, *also):
            present = simplified(present * one.present)
        rows = self.combine(present, span, f"the number of rows in {what}")
        self._note(rows, span, f"the number of rows in {what}")
        size = len(lowered)
        # The parameters of one variable explained by the others: an intercept, their coefficients, a variance. So many
        # people more than the minimum have to take part.
        for count in rows.counts:
            self.more[count] = max(self.more.get(count, 0), size + 1)
        values = [one.value * present for one in lowered]
        sums = tuple(self.moment(v, span, f"a sum in {what}") for v in values)
        products = tuple(
            self.moment(values[i] * lowered[j].value, span, f"a sum of products in {what}")
            for i in range(size)
            for j in range(i, size)
        )
        return Variables(rows, sums, products, tuple(self._error(v.value) for v in lowered))

    def moment(self, form: RowForm, span: Span, what: str) -> Combination:
        """A sum of products of values, each value an integer by itself."""
        parts: dict[tuple[str, int], Fraction] = {}
        counts: list[Terms] = []
        for (factor, _), coefficient in simplified(form):
            where = self.base[0] + factor.where
            if contradictory(where):
                continue
            feature, unit = self._product(factor, span)
            key = ("local", self._local(0, feature))
            parts[key] = parts.get(key, Fraction(0)) + coefficient * unit
            count = self._contributing(factor, span)
            if count not in counts:
                counts.append(count)
                self.counts.setdefault(count, what)
            distinct = tuple(dict.fromkeys(factor.values))
            self.select(Factor(distinct, factor.where), Factor(), span)
        terms, unit = primitive(parts)
        made = Combination(terms, unit, Fraction(0), tuple(counts), False)
        self._note(made, span, what)
        return made

    def _note(self, made: Combination, span: Span, what: str) -> None:
        if not made.terms:
            self.refuse.unsupported("this is the same constant for any data", span, "aggregate a column")
        self.values.setdefault(made.terms, what)

    def _contributing(self, factor: RowFactor, span: Span) -> Terms:
        """The count of keys with a row where the product is not 0; of x * x that is where x is not."""
        values = tuple(dict.fromkeys(factor.values))
        if not values:
            return self.contributors(factor, Factor(), span)[0]
        feature, _ = self._product(Factor(values, factor.where), span)
        if all(not v.interval.holds_zero and not v.mentions("days") and v.digits is not None for v in values):
            # The conditions say already that the values are not NULL.
            return self.contributors(Factor((), factor.where), Factor(), span)[0]
        return (Term(1, "local", self._local(0, replace(feature, contributors=True))),)

    def _product(self, factor: RowFactor, span: Span) -> tuple[Feature, Fraction]:
        where = self._where(0, factor)
        if not factor.values:
            return Feature("1", where, "indicator", Fraction(1), 1), Fraction(1)
        digits = sorted((self._digits(v, span) for v in factor.values), key=lambda d: d.sql)
        unit, bound = Fraction(1), 1
        for one in digits:
            unit *= one.unit
            bound *= one.bound
        if bound >= HUGE_LIMIT or bound * self.entries[0].rows_per_key >= LIMIT:
            remedy = "declare narrower ranges or fewer rows per key"
            self.refuse.wide("a product of this may leave 126 bits", span, remedy)
        sql = " * ".join(d.sql for d in digits)
        return Feature(f"({sql})" if len(digits) > 1 else sql, where, "integer", Fraction(1), bound), unit

    def _digits(self, node: Node, span: Span) -> Digits:
        if not fits(node):
            self.refuse.wide("this may leave 126 bits", span, "declare narrower ranges")
        size = node.interval.magnitude
        if node.digits is not None:
            unit = Fraction(1, 10**node.digits)
            return Digits(scaled(node, node.digits), unit, node.carry, int(size / unit))
        # 40 bits over the range, but never more than 56 over the size: beyond these a double has nothing.
        unit = max(power_of_two(node.interval.width, size, REAL_BITS), power_of_two(size, size, ALONE_BITS))
        if not Fraction(1, 2**1000) < unit < 2**1000:
            self.refuse.wide("this range is beyond what doubles multiply", span, "declare another range")
        factor = f"CAST('{float(1 / unit)!r}' AS DOUBLE)"
        sql = f"TRY_CAST(round({render(node)} * {factor}) AS HUGEINT)"
        return Digits(sql, unit, node.drift + unit / 2, int(size / unit) + 1)

    def _error(self, value: RowForm) -> Fraction:
        """The worst error of one row of a variable."""
        error = Fraction(0)
        for (factor, _), coefficient in value:
            for node in factor.values:
                error += abs(coefficient) * self._digits(node, node.span).error
        return outwards(error) if error else error
