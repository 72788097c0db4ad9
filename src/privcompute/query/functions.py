"""The scalar functions that expressions may use, with the interval and the errors of each result.

Only functions that are total belong here: one that fails on some row would end the run, and thereby tell something
about that row.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from sqlglot import exp

from privcompute.query import expr
from privcompute.query.expr import EXACT, NUMBERS, ZERO, Node
from privcompute.query.refuse import Span
from privcompute.query.render import MAX_DECIMAL
from privcompute.stats.interval import Interval, rounding
from privcompute.tables.schema import Kind

if TYPE_CHECKING:
    from privcompute.query.build import Builder

NAMES = (
    "ABS", "ROUND", "FLOOR", "CEIL", "GREATEST", "LEAST", "NULLIF", "EXTRACT", "LENGTH", "LOWER", "UPPER", "TRIM",
    "SUBSTRING", "LEFT", "RIGHT", "||",
)  # fmt: skip

_INTEGERS = {
    "TINYINT": 8, "SMALLINT": 16, "INT": 32, "INTEGER": 32, "BIGINT": 64, "HUGEINT": 127, "INT128": 127,
}  # fmt: skip
_PARTS = {
    "YEAR": (-300_000, 6_000_000),
    "QUARTER": (1, 4),
    "MONTH": (1, 12),
    "DAY": (1, 31),
    "DOY": (1, 366),
    "DOW": (0, 6),
    "ISODOW": (1, 7),
    "WEEK": (1, 53),
    "HOUR": (0, 23),
    "MINUTE": (0, 59),
}
_DAYS = 2**33
_YEARS = (-6_000_000, 6_000_000)


def call(build: Builder, tree: exp.Expression, span: Span) -> Node:
    """The node of a function call.

    Raises:
        UsageError: `unsupported_sql` if the function is none of `NAMES`.
    """
    for kind, make in _CALLS.items():
        if type(tree) is kind:
            return make(build, tree, span)
    from privcompute.query.build import SUPPORTED

    if isinstance(tree, exp.AggFunc):
        build.refuse.unsupported(
            "an aggregate cannot stand here", span, "aggregates do not nest and are not conditions"
        )
    if isinstance(tree, exp.Subquery | exp.Select | exp.Exists):
        build.refuse.unsupported("subqueries are not supported", span, "ask one question over one join")
    return build.refuse.unsupported("this expression is not supported", span, f"supported: {SUPPORTED}")


def one_of(op: str, args: tuple[Node, ...], values: tuple[Node, ...], nullable: bool, span: Span) -> Node:
    """A node whose value is that of one of `values`, which are alike (see `Builder.alike`)."""
    known = [v for v in values if v.op != "null"]
    single = any(v.single for v in known)
    kinds = {v.kind for v in known}
    if not kinds or not kinds <= NUMBERS:
        kind = Kind.TIMESTAMP if Kind.TIMESTAMP in kinds else next(iter(kinds), Kind.OTHER)
        digits = 0 if kind is Kind.BOOLEAN else None
        span_ = Interval(ZERO, Fraction(1)) if kind is Kind.BOOLEAN else None
        return Node(op, args, kind, digits=digits, range=span_, nullable=nullable, span=span)
    kind, digits = expr.unified(tuple(known))
    hull: Interval | None = known[0].range
    for v in known[1:]:
        hull = None if hull is None or v.range is None else hull.hull(v.range)
    drift, carry = max(v.drift for v in known), max(v.carry for v in known)
    return Node(
        op,
        args,
        kind,
        digits=digits,
        range=hull,
        nullable=nullable,
        drift=drift,
        carry=carry,
        single=single,
        span=span,
    )


def days(x: Node, y: Node, span: Span) -> Node:
    """The days from one date to another; NULL where one of them is infinite."""
    interval = Interval(Fraction(-_DAYS), Fraction(_DAYS))
    return Node("days", (x, y), Kind.INTEGER, digits=0, range=interval, nullable=True, span=span)


def modulo(build: Builder, x: Node, y: Node, span: Span) -> Node:
    """x % y of exact numbers, with the sign of x."""
    if x.kind is not Kind.INTEGER or y.kind is not Kind.INTEGER:
        build.refuse.unsupported("% is supported for integers", span, "cast the operands to BIGINT")
    if y.interval.holds_zero:
        build.refuse.unsupported("the divisor's public range holds 0", y.span, "declare a range without 0")
    most = y.interval.magnitude - 1
    low = max(-most, x.interval.lo) if x.interval.lo < 0 else ZERO
    high = min(most, x.interval.hi) if x.interval.hi > 0 else ZERO
    nullable = x.nullable or y.nullable
    return Node("%", (x, y), Kind.INTEGER, digits=0, range=Interval(low, high), nullable=nullable, span=span)


def _abs(build: Builder, tree: exp.Expression, span: Span) -> Node:
    build.source.only(tree, "this")
    x = build.number(tree.this)
    errors = {"drift": x.drift, "carry": x.carry}
    # |x| is computed in x's own digits: for a REAL column of exact decimals in the decimals themselves.
    digits = x.digits if x.kind in EXACT else None
    carry = errors["carry"] if digits is not None else ZERO
    return Node(
        "abs",
        (x,),
        x.kind,
        digits=digits,
        range=abs(x.interval),
        nullable=x.nullable,
        drift=x.drift,
        carry=carry,
        span=span,
    )


def _whole(op: str) -> Callable[[Builder, exp.Expression, Span], Node]:
    """FLOOR, CEIL or ROUND without digits: DuckDB gives a DOUBLE for integers too."""

    def make(build: Builder, tree: exp.Expression, span: Span) -> Node:
        build.source.only(tree, "this", "decimals", "casts_non_integer_decimals", "caching")
        x = build.number(tree.this)
        places = 0
        decimals = tree.args.get("decimals")
        if decimals is not None:
            value = build.node(decimals).literal
            if op != "round" or value is None or value.denominator != 1 or not 0 <= value <= 15:
                build.refuse.unsupported("the digits are a constant from 0 to 15", span, "write ROUND(x, 2)")
            places = int(value)
        return rounded(op, x, places, decimals is not None, span)

    return make


def rounded(op: str, x: Node, places: int, given: bool, span: Span) -> Node:
    """FLOOR, CEIL or ROUND of a number, as DuckDB types it."""
    step = Fraction(1, 10**places)
    out = Interval(math.floor(x.interval.lo / step) * step, math.ceil(x.interval.hi / step) * step)
    args = (x, expr.number(str(places))) if given else (x,)
    if x.kind is Kind.DECIMAL:
        digits = min(places, x.digits or 0)
        return Node(op, args, Kind.DECIMAL, digits=digits, range=out, nullable=x.nullable, span=span)
    if x.kind is Kind.INTEGER and op == "round":
        return x
    # A double next to the rounding point may fall on either side of it: the drift is then a whole step.
    drift = rounding(out.magnitude) + (step if x.drift else ZERO)
    x_real = expr.double(x)
    args = (x_real, *args[1:])
    return Node(op, args, Kind.REAL, range=out, nullable=x.nullable, drift=drift, span=span)


def _extreme(op: str) -> Callable[[Builder, exp.Expression, Span], Node]:
    def make(build: Builder, tree: exp.Expression, span: Span) -> Node:
        build.source.only(tree, "this", "expressions", "ignore_nulls")
        nodes = [build.number(t) for t in (tree.this, *tree.expressions)]
        alike = tuple(build.alike(nodes, span))
        made = one_of(op, alike, alike, all(n.nullable for n in alike), span)
        if any(n.nullable for n in alike):
            return made
        pick = max if op == "greatest" else min
        bounds = Interval(pick(n.interval.lo for n in alike), pick(n.interval.hi for n in alike))
        return Node(
            op, alike, made.kind, digits=made.digits, range=bounds, drift=made.drift, carry=made.carry, span=span
        )

    return make


def _nullif(build: Builder, tree: exp.Expression, span: Span) -> Node:
    build.source.only(tree, "this", "expression")
    x, y = build.node(tree.this), build.node(tree.expression)
    equal = Node("=", (x, build.matched(y, x)), nullable=True, span=span)
    build.alike([x, y], span)
    return one_of("case", (equal, Node("null", kind=Kind.OTHER, nullable=True), x), (x,), True, span)


def _extract(build: Builder, tree: exp.Expression, span: Span) -> Node:
    build.source.only(tree, "this", "expression")
    name, x = str(tree.this.name).upper(), build.node(tree.expression)
    if name not in _PARTS or x.kind not in (Kind.DATE, Kind.TIMESTAMP):
        build.refuse.unsupported("this part of a date is not supported", span, f"supported: {', '.join(_PARTS)}")
    low, high = _YEARS if name == "YEAR" else _PARTS[name]
    interval = Interval(Fraction(low), Fraction(high))
    return Node("extract", (x,), Kind.INTEGER, text=name.lower(), digits=0, range=interval, nullable=True, span=span)


def _text(build: Builder, tree: exp.Expression) -> Node:
    x = build.node(tree)
    if x.kind is not Kind.TEXT:
        build.refuse.unsupported(f"a text is expected, not {x.kind.value}", x.span, "use a text column")
    return x


def _text_call(op: str, *numbers: str) -> Callable[[Builder, exp.Expression, Span], Node]:
    def make(build: Builder, tree: exp.Expression, span: Span) -> Node:
        build.source.only(tree, "this", *numbers, "binary", "encoding")
        args = [_text(build, tree.this)]
        for name in numbers:
            if tree.args.get(name) is not None:
                n = build.node(tree.args[name])
                if n.literal is None or n.literal.denominator != 1 or abs(n.literal) > 2**31 - 1:
                    build.refuse.unsupported("positions are whole constants", n.span, "write SUBSTRING(x, 1, 3)")
                args.append(n)
        if op == "length":
            interval = Interval(ZERO, Fraction(2**32))
            return Node(op, tuple(args), Kind.INTEGER, digits=0, range=interval, nullable=args[0].nullable, span=span)
        return Node(op, tuple(args), Kind.TEXT, nullable=args[0].nullable, span=span)

    return make


def _pattern(op: str) -> Callable[[Builder, exp.Expression, Span], Node]:
    def make(build: Builder, tree: exp.Expression, span: Span) -> Node:
        build.source.only(tree, "this", "expression", "negate")
        x, y = _text(build, tree.this), _text(build, tree.expression)
        if y.op != "text":
            build.refuse.unsupported("the pattern is a constant", y.span, "write x LIKE 'abc%'")
        found = Node(op, (x, y), nullable=x.nullable, span=span)
        negated = bool(tree.args.get("negate"))
        return Node("not", (found,), nullable=x.nullable, span=span) if negated else found

    return make


def _concat(build: Builder, tree: exp.Expression, span: Span) -> Node:
    build.source.only(tree, "this", "expression", "safe")
    x, y = _text(build, tree.this), _text(build, tree.expression)
    return Node("||", (x, y), Kind.TEXT, nullable=x.nullable or y.nullable, span=span)


def cast(build: Builder, tree: exp.Expression, span: Span) -> Node:
    """CAST between types where no value can fail."""
    build.source.only(tree, "this", "to", "_type")
    x, target = build.node(tree.this), tree.args["to"]
    name = str(target.this.value if hasattr(target.this, "value") else target.this).upper()
    if name in ("DATE", "TIMESTAMP"):
        kind = Kind.DATE if name == "DATE" else Kind.TIMESTAMP
        if x.op == "text":
            return build.moment(x.text, kind, span)
        if x.kind is kind:
            return x
    if name in ("DOUBLE", "FLOAT8", "DOUBLE PRECISION") and x.kind in NUMBERS:
        if x.single:
            return replace(x, op="double", args=(x,), text="", side=None, single=False, span=span)
        return expr.double(build.as_number(x), span)
    digits = [str(p.this.name) for p in target.expressions]
    if name in ("DECIMAL", "NUMERIC") and x.kind in NUMBERS and len(digits) == 2:
        if not all(d.isascii() and d.isdigit() and len(d) <= 2 for d in digits) or int(digits[0]) > MAX_DECIMAL:
            build.refuse.unsupported("there is no such DECIMAL", span, "write DECIMAL(p,s) with p at most 38")
        width, scale = (int(d) for d in digits)
        return exact_cast(build, x, f"DECIMAL({width},{scale})", scale, Fraction(10**width - 1, 10**scale), span)
    if name in _INTEGERS and (x.kind in NUMBERS or x.kind is Kind.BOOLEAN):
        bits = _INTEGERS[name]
        sql_type = "HUGEINT" if bits == 127 else "INTEGER" if name == "INT" else name
        return exact_cast(build, x, sql_type, 0, Fraction(2 ** (bits - 1) - 1), span)
    remedy = (
        "cast numbers to INTEGER, BIGINT, DECIMAL(p,s) or DOUBLE, BOOLEAN to INTEGER; other casts may fail on a row"
    )
    return build.refuse.unsupported("this cast is not supported", span, remedy)


def exact_cast(build: Builder, x: Node, sql_type: str, digits: int, most: Fraction, span: Span) -> Node:
    """A number rounded to a multiple of 10^-digits, whose public range fits the type.

    Raises:
        UsageError: `too_wide` if it does not fit.
    """
    interval = x.range if x.kind is Kind.BOOLEAN else build.as_number(x).range
    step = Fraction(1, 10**digits)
    if interval is None or digits > 38:
        build.refuse.unsupported("this cast is not supported", span, "use DECIMAL(p,s) with s at most 38")
    out = Interval(math.floor(interval.lo / step) * step, math.ceil(interval.hi / step) * step)
    if out.magnitude > most:
        build.refuse.wide("the column's public range does not fit this type", span, "cast to a wider type")
    kind = Kind.DECIMAL if sql_type.startswith("DECIMAL") else Kind.INTEGER
    # A double may round to the other neighbour of a tie; from exact numbers nothing is lost.
    carry = step if x.drift else ZERO
    return Node(
        "cast",
        (x,),
        kind,
        text=sql_type,
        digits=digits,
        range=out,
        nullable=x.nullable,
        drift=carry,
        carry=carry,
        span=span,
    )


_CALLS: dict[type[exp.Expression], Callable[[Builder, exp.Expression, Span], Node]] = {
    exp.Abs: _abs,
    exp.Round: _whole("round"),
    exp.Floor: _whole("floor"),
    exp.Ceil: _whole("ceil"),
    exp.Greatest: _extreme("greatest"),
    exp.Least: _extreme("least"),
    exp.Nullif: _nullif,
    exp.Extract: _extract,
    exp.Length: _text_call("length"),
    exp.Lower: _text_call("lower"),
    exp.Upper: _text_call("upper"),
    exp.Trim: _text_call("trim"),
    exp.Substring: _text_call("substring", "start", "length"),
    exp.Left: _text_call("left", "expression"),
    exp.Right: _text_call("right", "expression"),
    exp.Like: _pattern("like"),
    exp.ILike: _pattern("ilike"),
    exp.DPipe: _concat,
}
