"""The smallest set of features, products and openings that the statistics of a query need."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from math import gcd, lcm

from privcompute.query import expr, shape
from privcompute.query.expr import Node
from privcompute.query.lower import Condition, RowFactor, RowForm, contradictory
from privcompute.query.plan import Local, Opening, Side, Term
from privcompute.query.refuse import Refuser, Span
from privcompute.query.render import fits, render, scaled
from privcompute.tables.catalogue import DatasetEntry
from privcompute.tables.features import LIMIT, Feature, Level

REAL_BITS = 40
"""Bits over the public range that a real takes in a product with the other side's column."""
ALONE_BITS = 56
"""Bits of a real that its side sums alone: more than a double of the range's size has, so that it is that double."""
EVERY_ROW = "TRUE"
MAX_LEVELS = 32
"""Most levels of one side: each costs memory for every key."""


@dataclass(frozen=True)
class Encoded:
    """A factor as a feature.

    Attributes:
        feature: What the side computes.
        unit: The factor's value is the encoded integer times this.
        error: Worst distance of one row's encoded value to the mathematical one.
        size: Largest absolute value of one row.
    """

    feature: Feature
    unit: Fraction
    error: Fraction
    size: Fraction


@dataclass(frozen=True)
class Combination:
    """A sum of entries that opens as one integer.

    Attributes:
        terms: Primitive integer coefficients, the first positive.
        unit: The form's sum is the opened integer times this.
        error: Worst error of one row.
        counts: The contributor counts of all terms.
        exact_rows: Whether each term's contributors are exactly the keys whose rows enter it.
    """

    terms: tuple[Term, ...]
    unit: Fraction
    error: Fraction
    counts: tuple[tuple[Term, ...], ...]
    exact_rows: bool


class Collector:
    """Collects what one query needs; equal pieces are kept once.

    Args:
        entries: The two datasets.
        base: Per side, the conditions of WHERE.
        refuse: Refuses what is too wide.
    """

    def __init__(
        self,
        entries: tuple[DatasetEntry, DatasetEntry],
        base: tuple[tuple[Condition, ...], tuple[Condition, ...]],
        refuse: Refuser,
    ) -> None:
        self.entries = entries
        self.base = base
        self.refuse = refuse
        self.features: tuple[dict[Feature, int], dict[Feature, int]] = ({}, {})
        self.products: dict[tuple[int, int], int] = {}
        self.locals: dict[Local, int] = {}
        self.counts: dict[tuple[Term, ...], str] = {}
        self.values: dict[tuple[Term, ...], str] = {}
        self.selections: tuple[dict[str, int], dict[str, int]] = ({}, {})
        self.levels: tuple[dict[Level, None], dict[Level, None]] = ({}, {})
        self._groups: dict[tuple[int, int, Node], int] = {}
        self.matches = min(e.distinct_keys for e in entries)

    def combine(self, form: RowForm, span: Span, what: str) -> Combination:
        """The entries of a form, and its contributor counts, which are thereby opened."""
        parts: dict[tuple[str, int], Fraction] = {}
        error = Fraction(0)
        counts: list[tuple[Term, ...]] = []
        exact_rows = True
        for (a, b), coefficient in form:
            if any(contradictory(self.base[side] + factor.where) for side, factor in ((0, a), (1, b))):
                continue
            x, y = self.encoded(0, a, b, span), self.encoded(1, b, a, span)
            key = self.entry(x.feature, y.feature)
            parts[key] = parts.get(key, Fraction(0)) + coefficient * x.unit * y.unit
            error += abs(coefficient) * (x.size * y.error + y.size * x.error + x.error * y.error)
            self.select(a, b, span)
            count, exact = self.contributors(a, b, span)
            exact_rows = exact_rows and exact
            if count not in counts:
                counts.append(count)
                self.counts.setdefault(count, what)
        terms, unit = primitive(parts)
        return Combination(terms, unit, error, tuple(counts), exact_rows)

    def contributors(self, a: RowFactor, b: RowFactor, span: Span) -> tuple[tuple[Term, ...], bool]:
        """The opening that counts the keys contributing to a pair, and whether it counts all keys with rows."""
        (x, exact_x), (y, exact_y) = self.any(0, a, b, span), self.any(1, b, a, span)
        kind, index = self.entry(x, y)
        return (_term(1, kind, index),), exact_x and exact_y

    def encoded(self, side: int, factor: RowFactor, other: RowFactor, span: Span) -> Encoded:
        """The per-key sum of a factor; finer where the other side's factor is 1 on every key."""
        where = self._where(side, factor)
        if not factor.values:
            return Encoded(_indicator(where), Fraction(1), Fraction(0), Fraction(1))
        node = reduce(expr.multiply, factor.values)
        if not fits(node):
            self.refuse.wide("this product may leave 126 bits", span, "declare narrower ranges")
        size = node.interval.magnitude
        cap = self.entries[side].rows_per_key
        if node.digits is not None:
            unit = Fraction(1, 10**node.digits)
            feature = self._feature(scaled(node, node.digits), where, "integer", Fraction(1), size / unit, cap, span)
            return Encoded(feature, unit, node.carry, size)
        alone = not other.values and self._is_one(1 - side, _indicator(self._where(1 - side, other)))
        unit = power_of_two(node.interval.width, size, ALONE_BITS if alone else REAL_BITS)
        feature = self._feature(render(node), where, "real", unit, size / unit + 1, cap, span)
        return Encoded(feature, unit, node.drift + unit / 2, size)

    def _feature(
        self, sql: str, where: str, encoding: str, step: Fraction, bound: Fraction, cap: int, span: Span
    ) -> Feature:
        most = int(bound)
        if most * cap >= LIMIT:
            self.refuse.wide("a key's sum may leave 127 bits", span, "declare narrower ranges or fewer rows per key")
        if encoding == "real":
            return Feature(sql, where, "real", step, most)
        return Feature(sql, where, "integer", step, most)

    def any(self, side: int, factor: RowFactor, other: RowFactor, span: Span) -> tuple[Feature, bool]:
        """1 for a key that has a selected row with a non-zero factor, and whether non-zero is the same as present."""
        encoded = self.encoded(side, factor, other, span).feature
        whole = not factor.values
        if factor.values:
            node = reduce(expr.multiply, factor.values)
            if not node.interval.holds_zero and not node.mentions("days") and encoded.encoding == "integer":
                whole = True
        if not whole:
            return Feature(encoded.sql, encoded.where, encoded.encoding, encoded.step, encoded.bound, True), False
        present = [Condition(expr.present(c)) for v in factor.values if v.nullable for c in _nullable(v)]
        extra: RowFactor = type(factor)((), factor.where + tuple(c for c in present if c not in factor.where))
        feature = _indicator(self._where(side, extra))
        once = feature.where == EVERY_ROW or self.entries[side].rows_per_key == 1
        # With one row a key the sum is the indicator itself: one column serves both.
        if once and self.entries[side].rows_per_key == 1:
            return feature, True
        return Feature(feature.sql, feature.where, feature.encoding, feature.step, feature.bound, True), True

    def entry(self, x: Feature, y: Feature) -> tuple[str, int]:
        """The product of two features, or a local sum where the other is 1 on every key."""
        ones = [self._is_one(0, x), self._is_one(1, y)]
        if ones[1]:
            return "local", self._local(0, x)
        if ones[0]:
            return "local", self._local(1, y)
        pair = (self._index(0, x), self._index(1, y))
        return "product", self.products.setdefault(pair, len(self.products))

    def _is_one(self, side: int, feature: Feature) -> bool:
        everywhere = feature.encoding == "indicator" and feature.where == EVERY_ROW
        return everywhere and (feature.contributors or self.entries[side].rows_per_key == 1)

    def _index(self, side: int, feature: Feature) -> int:
        return self.features[side].setdefault(feature, len(self.features[side]))

    def _local(self, side: int, feature: Feature) -> int:
        return self.locals.setdefault(Local(side, self._index(side, feature)), len(self.locals))

    def _where(self, side: int, factor: RowFactor) -> str:
        return _conjunction({c.sql for c in self.base[side] + factor.where})

    def select(self, a: RowFactor, b: RowFactor, span: Span) -> None:
        """Note which rows of each side a pair of factors selects, and by which values, for the ledgers."""
        for side, factor, other in ((0, a, b), (1, b, a)):
            chosen = _conjunction({c.sql for c in self.base[side] + factor.where if c.selects})
            place = self.selections[side].setdefault(chosen, len(self.selections[side]))
            for group in shape.levels(factor.values, weighs=bool(other.values)):
                number = self._groups.setdefault((side, place, group[0]), len(self._groups))
                for node in group:
                    if not fits(node):
                        self.refuse.wide("this may leave 126 bits", node.span, "declare narrower ranges")
                    self.levels[side].setdefault(Level(render(node), place, number))
            if len(self.levels[side]) > MAX_LEVELS:
                what = "there are too many products, CASTs, ABS, LEAST, ROUND … for the ledger to look at"
                self.refuse.unsupported(what, span, "ask in several queries")

    def bound(self, terms: tuple[Term, ...], sides: tuple[Side, Side]) -> int:
        """The public bound of an opening's absolute value."""
        pairs, locals_ = list(self.products), list(self.locals)
        total = 0
        for term in terms:
            if term.kind == "product":
                i, j = pairs[term.index]
                size = per_key(sides[0], i) * per_key(sides[1], j)
            else:
                local = locals_[term.index]
                size = per_key(sides[local.side], local.feature)
            total += abs(term.coef) * size * self.matches
        return total


def per_key(side: Side, feature: int) -> int:
    """The public bound of a feature's result for one key."""
    return side.features[feature].per_key(side.rows_per_key)


def openings(
    collector: Collector, sides: tuple[Side, Side], holders: tuple[str, ...], receivers: tuple[str, ...]
) -> tuple[Opening, ...]:
    """All openings: contributor counts to holders and receivers, then values to the receivers."""
    everyone = holders + tuple(r for r in receivers if r not in holders)
    found = [
        Opening(f"count.{n}", "count", terms, everyone, collector.bound(terms, sides), what)
        for n, (terms, what) in enumerate(collector.counts.items())
    ]
    rest = [(terms, what) for terms, what in collector.values.items() if terms not in collector.counts]
    found += [
        Opening(f"value.{n}", "value", terms, receivers, collector.bound(terms, sides), what)
        for n, (terms, what) in enumerate(rest)
    ]
    return tuple(found)


def _indicator(where: str) -> Feature:
    return Feature("1", where, "indicator", Fraction(1), 1)


def _conjunction(conditions: set[str]) -> str:
    return " AND ".join(sorted(conditions)) or EVERY_ROW


def _nullable(node: Node) -> tuple[Node, ...]:
    if node.args and node.op in ("+", "-", "*", "/", "%", "neg", "double"):
        return tuple(n for a in node.args if a.nullable for n in _nullable(a))
    return (node,)


def _term(coef: int, kind: str, index: int) -> Term:
    return Term(coef, "product", index) if kind == "product" else Term(coef, "local", index)


def primitive(parts: dict[tuple[str, int], Fraction]) -> tuple[tuple[Term, ...], Fraction]:
    """Entries with coefficients as whole numbers without a common divisor, the first positive, and their unit."""
    kept = sorted((key, c) for key, c in parts.items() if c)
    if not kept:
        return (), Fraction(0)
    denominator = lcm(*(c.denominator for _, c in kept))
    unit = Fraction(gcd(*(int(c * denominator) for _, c in kept)), denominator)
    if kept[0][1] < 0:
        unit = -unit
    return tuple(_term(int(c / unit), kind, index) for (kind, index), c in kept), unit


def power_of_two(width: Fraction, size: Fraction, bits: int) -> Fraction:
    """The smallest power of two in which the width takes at most that many bits."""
    width = width or size or Fraction(1)
    step = Fraction(2) ** (width.numerator.bit_length() - width.denominator.bit_length() - bits - 1)
    while width / step > 2**bits:
        step *= 2
    return step
