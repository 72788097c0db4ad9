"""Syntax trees of scalar expressions to typed nodes with public bounds; what is not listed here is refused."""

from __future__ import annotations

import datetime as dt
import re
import shlex
from collections.abc import Callable
from typing import NoReturn, TypeVar

from sqlglot import exp

from privcompute.errors import PrivacyError
from privcompute.query import expr, functions
from privcompute.query.expr import NUMBERS, Node
from privcompute.query.parse import Table, resolve
from privcompute.query.refuse import Span, marked
from privcompute.query.render import fits_alone
from privcompute.query.source import Source
from privcompute.tables.catalogue import DatasetEntry
from privcompute.tables.schema import Kind

MAX_EXPONENT = 400
_NUMBER = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE]([+-]?[0-9]+))?")
MAX_NODES = 5_000
"""Most nodes of all expressions together. NULLIF, BETWEEN and CASE with a subject repeat an operand, so that a short
text can stand for a huge tree."""

COMPARISONS: dict[type[exp.Expression], str] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.NullSafeEQ: "is not distinct from",
    exp.NullSafeNEQ: "is distinct from",
}
_OPERATIONS: dict[type[exp.Expression], Callable[[Node, Node], Node]] = {
    exp.Add: expr.add,
    exp.Sub: expr.subtract,
    exp.Mul: expr.multiply,
    exp.Div: expr.divide,
}
SUPPORTED = (
    "columns, numbers, texts, DATE '…', + - * / %, comparisons, AND OR NOT, IN, BETWEEN, LIKE, IS [NOT] NULL, CASE, "
    "COALESCE, CAST, " + ", ".join(functions.NAMES)
)
E = TypeVar("E", bound=exp.Expression)


class Builder:
    """Builds nodes over the columns of two tables, or of one.

    Args:
        source: The SQL text.
        tables: The tables.
    """

    def __init__(self, source: Source, tables: tuple[Table, ...]) -> None:
        self.source = source
        self.refuse = source.refuse
        self.tables = tables
        self._left = MAX_NODES
        self._depth = 0

    def node(self, tree: exp.Expression) -> Node:
        """The node of a scalar expression.

        Raises:
            UsageError: `unsupported_sql`, `not_yet`, `unknown_column`, `no_range` or `too_wide`, text marked.
        """
        self._depth += 1
        built = self._build(tree)
        self._depth -= 1
        if built.size > self._left:
            self.refuse.unsupported("the query is too large", self.source.span(tree), "ask in several queries")
        if not self._depth:
            self._left -= built.size
        if not fits_alone(built):
            self.refuse.wide(
                "this may leave 126 bits or 38 decimal digits", self.source.span(tree), "declare narrower ranges"
            )
        return built

    def number(self, tree: exp.Expression) -> Node:
        """The node of an expression that has to be a number with public bounds."""
        return self.as_number(self.node(tree))

    def as_number(self, node: Node) -> Node:
        """The node, checked to be a number with public bounds.

        Raises:
            UsageError: `unsupported_sql` if it is no number, `no_range` if a column's range is not public.
        """
        if node.kind not in NUMBERS:
            self.refuse.unsupported(f"a number is expected, not {node.kind.value}", node.span, "use a numeric column")
        if node.range is None:
            names = sorted({c.text for c in node.columns() if c.kind in NUMBERS and c.range is None})
            side = next((c.side for c in node.columns() if c.side is not None), 0)
            entry = self.publisher(side, names)
            # A range is public, so an owner publishes none for a column that nobody may compute with.
            barred = [n for n in names if not entry.allow.get(n, frozenset()) & {"aggregate", "product"}]
            if barred:
                self._barred(entry, barred, node.span)
            remedy = "; ".join(f"privcompute dataset edit {entry.name} --range {n}=LO:HI" for n in names)
            raise self.refuse.error("no_range", "there is no public range", node.span, f"{entry.party}: {remedy}")
        return node

    def publisher(self, side: int, names: list[str]) -> DatasetEntry:
        """Who has to publish the ranges that these columns lack."""
        return self.tables[side].entry

    def _barred(self, entry: DatasetEntry, names: list[str], span: Span) -> NoReturn:
        """Refuses columns that are used as numbers though their owner's rules do not let anybody compute with them."""
        rules = {n: entry.allow.get(n, frozenset()) for n in names}
        said = f"its rule allows {', '.join(sorted(rules[names[0]]))}" if rules[names[0]] else "no rule names it"
        options = " ".join(
            f"--allow {shlex.quote(n + '=' + ','.join(sorted(r | {'aggregate'})))}" for n, r in rules.items()
        )
        text = marked(self.source.sql, span)
        raise PrivacyError(
            f"{entry.party}.{entry.name}: column {names[0]} is used as a number; {said}\n{text}",
            code="not_allowed",
            party=entry.party,
            stage="plan",
            remedy=f"{entry.party} runs `privcompute dataset edit {shlex.quote(entry.name)} {options}`",
        )

    def boolean(self, tree: exp.Expression) -> Node:
        """The node of an expression that has to be a condition."""
        built = self.node(tree)
        if built.kind is not Kind.BOOLEAN:
            self.refuse.unsupported("a condition is expected here", built.span, "compare it with a value")
        return built

    def _build(self, tree: exp.Expression) -> Node:
        span = self.source.span(tree)
        if isinstance(tree, exp.Paren):
            return self.node(tree.this)
        if isinstance(tree, exp.Column):
            self.source.only(tree, "this", "table", "db", "catalog")
            side, name = self.resolve(tree)
            found = self.tables[side].entry.column(name)
            if found is not None:
                self.no_key(side, name, span)
                return expr.column(side, found, span)
        if isinstance(tree, exp.Literal):
            return self._literal(tree, span)
        if isinstance(tree, exp.Boolean):
            return Node("boolean", text=str(tree.this).lower(), span=span)
        if isinstance(tree, exp.Null):
            return Node("null", kind=Kind.OTHER, nullable=True, span=span)
        for kind, op in COMPARISONS.items():
            if type(tree) is kind:
                return self._comparison(op, tree, span)
        for kinds, build in self._table():
            if isinstance(tree, kinds):
                return build(tree, span)
        return functions.call(self, tree, span)

    def resolve(self, tree: exp.Column) -> tuple[int, str]:
        """Side and name of a column reference."""
        return resolve(self.source, tree, self.tables)

    def no_key(self, side: int, name: str, span: Span) -> None:
        """Refuse a key where a value is expected.

        Raises:
            PrivacyError: `key_use`.
        """
        entry = self.tables[side].entry
        if name in entry.keys:
            remedy = "of keys only COUNT(DISTINCT key) exists; count rows with COUNT(*)"
            what = f"{entry.party}.{entry.name}: {name} is a key and is used for the join alone"
            raise self.refuse.error("key_use", what, span, remedy, PrivacyError)

    def _table(self) -> list[tuple[type[exp.Expression], Callable[[exp.Expression, Span], Node]]]:
        return [
            (exp.And, lambda t, s: self._connective("and", t, s)),
            (exp.Or, lambda t, s: self._connective("or", t, s)),
            (exp.Not, self._not),
            (exp.Is, self._is),
            (exp.In, self._in),
            (exp.Between, self._between),
            (exp.Neg, lambda t, s: expr.negate(self.number(t.this), s)),
            (exp.Add, self._arithmetic),
            (exp.Sub, self._arithmetic),
            (exp.Mul, self._arithmetic),
            (exp.Div, self._arithmetic),
            (exp.Mod, self._arithmetic),
            (exp.Case, self._case),
            (exp.Coalesce, self._coalesce),
            (exp.Cast, lambda t, s: functions.cast(self, t, s)),
        ]

    def _literal(self, tree: exp.Literal, span: Span) -> Node:
        if tree.is_string:
            return Node("text", kind=Kind.TEXT, text=str(tree.this), span=span)
        text = str(tree.this)
        found = _NUMBER.fullmatch(text)
        if found is None:
            self.refuse.unsupported("this number cannot be read", span, "write it with digits and a point")
        # Looked at before it is computed: 1e-999999999 as a fraction would have a thousand million digits.
        exponent = found[1] or "0"
        if len(text) > 40 or abs(int(exponent)) > MAX_EXPONENT or float(text) == float("inf"):
            self.refuse.wide("this number is too long", span, "use at most 38 digits")
        return expr.number(text, span)

    def _comparison(self, op: str, tree: exp.Expression, span: Span) -> Node:
        self.source.only(tree, "this", "expression")
        x, y = self.node(tree.this), self.node(tree.expression)
        x, y = self.matched(x, y), self.matched(y, x)
        self._comparable((x, y), span)
        nullable = not op.startswith("is ") and (x.nullable or y.nullable)
        return Node(op, (x, y), nullable=nullable, span=span)

    def matched(self, node: Node, other: Node) -> Node:
        """A text literal read as a date or time where it meets one, as SQL does."""
        if node.op == "text" and other.kind in (Kind.DATE, Kind.TIMESTAMP):
            return self.moment(node.text, other.kind, node.span)
        return node

    def moment(self, text: str, kind: Kind, span: Span) -> Node:
        """A DATE or TIMESTAMP literal, checked here: DuckDB must never fail on a row."""
        try:
            if kind is Kind.DATE:
                text = dt.date.fromisoformat(text.strip()).isoformat()
            else:
                text = dt.datetime.fromisoformat(text.strip()).replace(tzinfo=None).isoformat(" ")
        except ValueError:
            self.refuse.unsupported("this is not an ISO date or time", span, "write DATE '2024-12-31'")
        return Node(kind.value, kind=kind, text=text, span=span)

    def _comparable(self, nodes: tuple[Node, ...], span: Span) -> None:
        kinds = {n.kind for n in nodes if n.op != "null"}
        groups = (NUMBERS, {Kind.TEXT}, {Kind.DATE, Kind.TIMESTAMP}, {Kind.BOOLEAN})
        if not any(kinds <= group for group in groups):
            names = " and ".join(sorted(k.value for k in kinds))
            self.refuse.unsupported(f"{names} cannot be compared", span, "compare values of one kind")

    def _connective(self, op: str, tree: exp.Expression, span: Span) -> Node:
        x, y = self.boolean(tree.this), self.boolean(tree.expression)
        return Node(op, (x, y), nullable=x.nullable or y.nullable, span=span)

    def _not(self, tree: exp.Expression, span: Span) -> Node:
        x = self.boolean(tree.this)
        if x.op in ("in", "is null"):
            return Node({"in": "not in", "is null": "is not null"}[x.op], x.args, nullable=x.nullable, span=span)
        return Node("not", (x,), nullable=x.nullable, span=span)

    def _is(self, tree: exp.Expression, span: Span) -> Node:
        self.source.only(tree, "this", "expression", "negate")
        x, what = self.node(tree.this), tree.expression
        word = "null" if isinstance(what, exp.Null) else str(what.this).lower() if isinstance(what, exp.Boolean) else ""
        if not word or (word != "null" and x.kind is not Kind.BOOLEAN):
            self.refuse.unsupported("IS takes NULL, TRUE or FALSE here", span, "write x IS [NOT] NULL")
        return Node(f"is {'not ' if tree.args.get('negate') else ''}{word}", (x,), span=span)

    def _in(self, tree: exp.Expression, span: Span) -> Node:
        self.source.only(tree, "this", "expressions")
        x = self.node(tree.this)
        options = tuple(self.matched(self.node(t), x) for t in tree.expressions)
        if any(n.op not in ("number", "text", "date", "timestamp", "boolean") for n in options):
            self.refuse.unsupported("IN takes a list of constants", span, "write x IN (1, 2, 3)")
        self._comparable((x, *options), span)
        return Node("in", (x, *options), nullable=x.nullable, span=span)

    def _between(self, tree: exp.Expression, span: Span) -> Node:
        self.source.only(tree, "this", "low", "high")
        x = self.node(tree.this)
        low, high = (self.matched(self.node(tree.args[name]), x) for name in ("low", "high"))
        self._comparable((x, low, high), span)
        parts = [
            Node(op, (x, y), nullable=x.nullable or y.nullable, span=span) for op, y in ((">=", low), ("<=", high))
        ]
        return Node("and", tuple(parts), nullable=any(p.nullable for p in parts), span=span)

    def _arithmetic(self, tree: exp.Expression, span: Span) -> Node:
        self.source.only(tree, "this", "expression", "typed", "safe")
        x, y = self.node(tree.this), self.node(tree.expression)
        if isinstance(tree, exp.Sub) and x.kind is y.kind is Kind.DATE:
            return functions.days(x, y, span)
        x, y = self.as_number(x), self.as_number(y)
        if x.single or y.single:
            remedy = "write CAST(x AS DOUBLE): DuckDB computes with FLOAT in 24 bits"
            self.refuse.unsupported("arithmetic on FLOAT has no certain bound", span, remedy)
        if isinstance(tree, exp.Mod):
            return functions.modulo(self, x, y, span)
        try:
            return _OPERATIONS[type(tree)](x, y)
        except ZeroDivisionError:
            return self.refuse.unsupported("the divisor's public range holds 0", y.span, "declare a range without 0")

    def _case(self, tree: exp.Expression, span: Span) -> Node:
        self.source.only(tree, "this", "ifs", "default")
        subject = self.node(tree.this) if tree.this is not None else None
        conditions: list[Node] = []
        values: list[Node] = []
        for branch in tree.args["ifs"]:
            if subject is None:
                conditions.append(self.boolean(branch.this))
            else:
                option = self.matched(self.node(branch.this), subject)
                self._comparable((subject, option), span)
                conditions.append(Node("=", (subject, option), nullable=True, span=option.span))
            values.append(self.node(branch.args["true"]))
        default = tree.args.get("default")
        values.append(self.node(default) if default is not None else Node("null", kind=Kind.OTHER, nullable=True))
        values = self.alike(values, span)
        args = [n for pair in zip(conditions, values[:-1], strict=True) for n in pair] + [values[-1]]
        return functions.one_of("case", tuple(args), tuple(values), any(v.nullable for v in values), span)

    def alike(self, nodes: list[Node], span: Span) -> list[Node]:
        """The alternatives of CASE or COALESCE, cast to their common kind."""
        known = [n for n in nodes if n.op != "null"]
        self._comparable(tuple(known), span)
        if any(n.kind is Kind.REAL for n in known):
            return [n if n.op == "null" else expr.double(self.as_number(n)) for n in nodes]
        return nodes

    def _coalesce(self, tree: exp.Expression, span: Span) -> Node:
        self.source.only(tree, "this", "expressions")
        nodes = self.alike([self.node(t) for t in (tree.this, *tree.expressions)], span)
        return functions.one_of("coalesce", tuple(nodes), tuple(nodes), all(n.nullable for n in nodes), span)
