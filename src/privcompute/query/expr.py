"""Typed scalar expressions over the columns of the two tables, with public bounds.

Every node knows its SQL kind, the interval of its values (from the columns' public ranges), how many decimal digits
carry it exactly, and two worst-case errors:

- `drift`: how far DuckDB's evaluation in doubles can be from the mathematical value on the tables' doubles;
- `carry`: how far the decimal number that we carry can be from that mathematical value (only where `digits` is set).

Both are 0 for integers and decimals.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

from privcompute.query.refuse import Span
from privcompute.stats.interval import Interval, rounding
from privcompute.tables.schema import Column, Kind

ZERO = Fraction(0)
EXACT = frozenset({Kind.INTEGER, Kind.DECIMAL})
NUMBERS = EXACT | {Kind.REAL}
NOWHERE = Span(0, 0)
DOUBLE_DIGITS_LIMIT = 2**51  # a double times 10^digits below this rounds to the right integer


@dataclass(frozen=True)
class Node:
    """One expression; equality ignores where in the text it stands.

    Attributes:
        op: The operation, or "column", "number", "text", "date", "timestamp", "boolean", "null".
        args: The operands.
        kind: The SQL kind of the result.
        text: The column's name or the literal's value.
        side: The column's side, 0 or 1.
        digits: The value is a multiple of 10^-digits (SQL's scale, or a REAL column's decimal digits), or None.
        range: The public interval of the value; None where there is none.
        nullable: Whether the value may be NULL.
        drift: See the module.
        carry: See the module.
        single: Whether DuckDB would compute with it in FLOAT, 24 bits wide.
        domain: The values that a column's owner declared, NULL aside.
        span: Where the text stands.
    """

    op: str
    args: tuple[Node, ...] = ()
    kind: Kind = Kind.BOOLEAN
    text: str = ""
    side: int | None = None
    digits: int | None = None
    range: Interval | None = None
    nullable: bool = False
    drift: Fraction = ZERO
    carry: Fraction = ZERO
    single: bool = False
    domain: tuple[str | int, ...] | None = field(default=None, compare=False)
    span: Span = field(default=NOWHERE, compare=False)

    def __hash__(self) -> int:
        """Consistent with equality, and computed once: a subtree may occur in very many nodes."""
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.op, self.args, self.kind, self.text, self.side))

    @cached_property
    def size(self) -> int:
        """Nodes of the tree, a shared subtree counted wherever it occurs: what rendering and comparing it cost."""
        return 1 + sum(a.size for a in self.args)

    @property
    def sides(self) -> frozenset[int]:
        """The sides whose columns occur."""
        own = frozenset() if self.side is None else frozenset({self.side})
        return own.union(*(a.sides for a in self.args))

    @property
    def interval(self) -> Interval:
        """The interval of a number that has one.

        Raises:
            ValueError: If there is none; the builder refuses such numbers beforehand.
        """
        if self.range is None:
            raise ValueError("no public range")
        return self.range

    @property
    def literal(self) -> Fraction | None:
        """The value of a number literal, else None."""
        return Fraction(self.text) if self.op == "number" else None

    def columns(self) -> tuple[Node, ...]:
        """The column nodes, in order of appearance, repetitions included."""
        own = (self,) if self.op == "column" else ()
        return own + tuple(c for a in self.args for c in a.columns())

    def mentions(self, op: str) -> bool:
        """Whether an operation occurs at or below this node."""
        return self.op == op or any(a.mentions(op) for a in self.args)


def column(side: int, source: Column, span: Span) -> Node:
    """A column of one side."""
    interval = None if source.lo is None or source.hi is None else Interval(source.lo, source.hi)
    if source.kind is Kind.BOOLEAN:
        interval = Interval(ZERO, Fraction(1))
    digits = {Kind.INTEGER: 0, Kind.BOOLEAN: 0}.get(source.kind, source.scale)
    carry = ZERO
    if source.kind is Kind.REAL and interval is not None and digits is not None:
        if interval.magnitude * 10**digits >= DOUBLE_DIGITS_LIMIT:
            digits = None
        else:
            carry = rounding(interval.magnitude)
    return Node(
        "column",
        kind=source.kind,
        text=source.name,
        side=side,
        digits=digits,
        range=interval,
        nullable=source.nullable,
        carry=carry,
        single=source.type == "FLOAT",
        domain=source.domain,
        span=span,
    )


def number(text: str, span: Span = NOWHERE) -> Node:
    """A number literal; with an exponent it is a DOUBLE, with a point a DECIMAL, else an INTEGER."""
    value = Fraction(text)
    if "e" in text.lower():
        exact = Fraction(float(text))
        return Node("number", kind=Kind.REAL, text=str(exact), range=Interval.point(exact), span=span)
    digits = len(text.partition(".")[2])
    kind = Kind.DECIMAL if "." in text else Kind.INTEGER
    return Node("number", kind=kind, text=str(value), digits=digits, range=Interval.point(value), span=span)


def unified(nodes: tuple[Node, ...]) -> tuple[Kind, int | None]:
    """Kind and digits of a value that is one of the numbers `nodes`."""
    kinds = {n.kind for n in nodes}
    kind = Kind.REAL if Kind.REAL in kinds else Kind.DECIMAL if Kind.DECIMAL in kinds else Kind.INTEGER
    digits = [n.digits for n in nodes]
    return kind, None if None in digits else max(d for d in digits if d is not None)


def double(node: Node, span: Span | None = None) -> Node:
    """The number as SQL casts it to DOUBLE."""
    if node.kind is Kind.REAL:
        return node
    return Node(
        "double",
        (node,),
        Kind.REAL,
        digits=node.digits,
        range=node.range,
        nullable=node.nullable,
        drift=rounding(node.interval.magnitude),
        span=span or node.span,
    )


def _operands(x: Node, y: Node) -> tuple[Node, Node, bool]:
    if Kind.REAL in (x.kind, y.kind):
        return double(x), double(y), True
    return x, y, False


def _arithmetic(
    op: str, args: tuple[Node, ...], real: bool, digits: int | None, result: Interval, errors: tuple[Fraction, Fraction]
) -> Node:
    drift, carry = errors
    if real:
        drift += rounding(result.magnitude + drift)
    kind = Kind.REAL if real else unified(args)[0]
    span = args[0].span.hull(args[-1].span)
    nullable = any(a.nullable for a in args)
    return Node(op, args, kind, digits=digits, range=result, nullable=nullable, drift=drift, carry=carry, span=span)


def add(x: Node, y: Node) -> Node:
    """x + y."""
    x, y, real = _operands(x, y)
    errors = (x.drift + y.drift, x.carry + y.carry)
    return _arithmetic("+", (x, y), real, unified((x, y))[1], x.interval + y.interval, errors)


def subtract(x: Node, y: Node) -> Node:
    """x - y."""
    x, y, real = _operands(x, y)
    errors = (x.drift + y.drift, x.carry + y.carry)
    return _arithmetic("-", (x, y), real, unified((x, y))[1], x.interval - y.interval, errors)


def _product_error(x: Node, y: Node, ex: Fraction, ey: Fraction) -> Fraction:
    return x.interval.magnitude * ey + y.interval.magnitude * ex + ex * ey


def multiply(x: Node, y: Node) -> Node:
    """x * y."""
    x, y, real = _operands(x, y)
    digits = None if x.digits is None or y.digits is None else x.digits + y.digits
    errors = (_product_error(x, y, x.drift, y.drift), _product_error(x, y, x.carry, y.carry))
    return _arithmetic("*", (x, y), real, digits, x.interval * y.interval, errors)


def divide(x: Node, y: Node) -> Node:
    """x / y in doubles.

    Raises:
        ZeroDivisionError: If y's interval holds 0.
    """
    x, y = double(x), double(y)
    result = x.interval / y.interval
    smallest = min(abs(y.interval.lo), abs(y.interval.hi)) - y.drift
    if smallest <= 0:
        raise ZeroDivisionError
    drift = (x.drift + result.magnitude * y.drift) / smallest
    return _arithmetic("/", (x, y), True, None, result, (drift, ZERO))


def negate(x: Node, span: Span | None = None) -> Node:
    """-x; a literal stays one."""
    value = x.literal
    if value is not None:
        return Node("number", kind=x.kind, text=str(-value), digits=x.digits, range=-x.interval, span=span or x.span)
    return Node(
        "neg",
        (x,),
        x.kind,
        digits=x.digits,
        range=-x.interval,
        nullable=x.nullable,
        drift=x.drift,
        carry=x.carry,
        span=span or x.span,
    )


def present(x: Node) -> Node:
    """x IS NOT NULL."""
    return Node("is not null", (x,), span=x.span)


def untrue(x: Node) -> Node:
    """x is false or NULL."""
    return Node("untrue", (x,), span=x.span)
