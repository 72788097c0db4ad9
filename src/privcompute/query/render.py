"""Expressions as DuckDB SQL that cannot overflow.

Exact numbers are computed as HUGEINT multiples of a power of ten, since DuckDB's own INTEGER and DECIMAL arithmetic
ends with an error where a value leaves the type; intervals show that HUGEINT is wide enough. Doubles are computed as
DuckDB computes them.
"""

from __future__ import annotations

from fractions import Fraction

from privcompute.query.expr import EXACT, Node
from privcompute.tables.schema import Kind

HUGE_LIMIT = 2**126
MAX_DECIMAL = 38

_COMPARISONS = frozenset({"=", "<>", "<", "<=", ">", ">=", "is distinct from", "is not distinct from"})
_ARITHMETIC = frozenset({"+", "-", "*", "neg"})
_INFIX = _COMPARISONS | {"like", "ilike", "||", "and", "or"}


def quoted(name: str) -> str:
    """A name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def string(text: str) -> str:
    """A text as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def decimal_text(value: Fraction, digits: int) -> str:
    """A multiple of 10^-digits in plain decimal notation."""
    scaled = value * 10**digits
    if scaled.denominator != 1:
        raise ValueError("not a multiple of the step")
    sign = "-" if scaled < 0 else ""
    text = str(abs(scaled.numerator)).rjust(digits + 1, "0")
    return sign + (f"{text[:-digits]}.{text[-digits:]}" if digits else text)


def _precision(node: Node) -> int:
    digits = node.digits or 0
    return max(len(str(int(node.interval.magnitude * 10**digits))), digits) + 1


def fits(node: Node) -> bool:
    """Whether every exact number at or below the node can be computed as HUGEINT and DECIMAL(38)."""
    return fits_alone(node) and all(fits(a) for a in node.args)


def fits_alone(node: Node) -> bool:
    """Whether the node can be computed so, given that its operands can."""
    exact = [a for a in node.args if a.kind in EXACT and a.range is not None and a.digits is not None]
    aligned = node.op in ("+", "-") or (node.op in _COMPARISONS and any(a.op in _ARITHMETIC for a in node.args))
    if aligned and exact:
        # Both operands are brought to the digits of the finer one first.
        digits = max(a.digits or 0 for a in exact)
        if any(a.interval.magnitude * 10**digits >= HUGE_LIMIT for a in exact):
            return False
    if node.kind not in EXACT or node.range is None:
        return True
    if node.range.magnitude * 10 ** (node.digits or 0) >= HUGE_LIMIT:
        return False
    if node.kind is not Kind.DECIMAL or node.op in ("column", "number"):
        return True
    return _precision(node) + (node.digits or 0) < MAX_DECIMAL


def scaled(node: Node, digits: int) -> str:
    """The node's value times 10^digits, a HUGEINT; `digits` is at least the node's own.

    Raises:
        ValueError: If the node has no exact decimal digits.
    """
    if node.digits is None or digits < node.digits:
        raise ValueError("not exact in these digits")
    if node.op == "number":
        return f"CAST({int(Fraction(node.text) * 10**digits)} AS HUGEINT)"
    if node.op == "*":
        x, y = node.args
        own = (x.digits or 0, y.digits or 0)
        return _shifted(f"({scaled(x, own[0])} * {scaled(y, own[1])})", digits - sum(own))
    if node.op in ("+", "-"):
        x, y = node.args
        return f"({scaled(x, digits)} {node.op} {scaled(y, digits)})"
    if node.op == "neg":
        return f"(-{scaled(node.args[0], digits)})"
    if node.op == "double":
        return scaled(node.args[0], digits)
    return _shifted(_unscaled(node), digits - node.digits)


def _shifted(text: str, digits: int) -> str:
    return text if digits == 0 else f"({text} * {10**digits})"


def _unscaled(node: Node) -> str:
    # A leaf, or a function that DuckDB evaluates in the node's own type.
    text = render(node)
    if node.kind is Kind.REAL:
        factor = "" if not node.digits else f" * {10**node.digits}.0::DOUBLE"
        return f"TRY_CAST(round({text}{factor}) AS HUGEINT)"
    if node.kind is Kind.DECIMAL and node.digits:
        wide = min(MAX_DECIMAL, _precision(node))
        power = f"CAST({10**node.digits} AS DECIMAL({node.digits + 1},0))"
        # A value outside the public range becomes NULL here; the check of the whole column refuses it by name.
        held = f"TRY_CAST({text} AS DECIMAL({wide},{node.digits}))"
        # Widened before the product: DuckDB keeps one of two DECIMALs of up to 18 digits within 18.
        widened = wide + node.digits + 1
        if widened > MAX_DECIMAL:
            return f"TRY_CAST(replace(CAST({text} AS VARCHAR), '.', '') AS HUGEINT)"
        return f"CAST(CAST({held} AS DECIMAL({widened},{node.digits})) * {power} AS HUGEINT)"
    return f"CAST({text} AS HUGEINT)"


def render(node: Node) -> str:
    """The node as a DuckDB expression of its own kind."""
    leaf = _leaf(node)
    if leaf is not None:
        return leaf
    if node.kind in EXACT and node.op in _ARITHMETIC:
        digits = node.digits or 0
        text = scaled(node, digits)
        if node.kind is Kind.INTEGER:
            return text
        # A DECIMAL with the right digits again, for what DuckDB does with it next.
        unit = f"CAST({string(decimal_text(Fraction(1, 10**digits), digits))} AS DECIMAL({digits + 1},{digits}))"
        return f"(CAST({text} AS DECIMAL({_precision(node)},0)) * {unit})"
    if node.op in _COMPARISONS and all(a.kind in EXACT for a in node.args):
        return _exact_comparison(node)
    return _operation(node, [render(a) for a in node.args])


def _leaf(node: Node) -> str | None:
    if node.op == "column":
        return quoted(node.text)
    if node.op == "number":
        value = Fraction(node.text)
        if node.kind is Kind.REAL:
            return f"CAST({string(repr(float(value)))} AS DOUBLE)"
        text = decimal_text(value, node.digits or 0)
        return f"({text})" if value < 0 else text
    if node.op == "text":
        return string(node.text)
    if node.op in ("date", "timestamp"):
        return f"{node.op.upper()} {string(node.text)}"
    if node.op == "boolean":
        return node.text.upper()
    return "NULL" if node.op == "null" else None


def _exact_comparison(node: Node) -> str:
    x, y = node.args
    if any(a.op in _ARITHMETIC for a in node.args) and x.digits is not None and y.digits is not None:
        digits = max(x.digits, y.digits)
        return f"({scaled(x, digits)} {node.op.upper()} {scaled(y, digits)})"
    return _operation(node, [render(x), render(y)])


def _operation(node: Node, args: list[str]) -> str:
    op = node.op
    if op in _INFIX:
        return "(" + f" {op.upper()} ".join(args) + ")"
    if op in ("+", "-", "*", "/", "%"):
        return f"({args[0]} {op} {args[1]})"
    if op == "neg":
        return f"(-{args[0]})"
    if op == "not":
        return f"(NOT {args[0]})"
    if op == "untrue":
        return f"({args[0]} IS NOT TRUE)"
    if op.startswith("is "):
        return f"({args[0]} {op.upper()})"
    if op in ("in", "not in"):
        return f"({args[0]} {op.upper()} ({', '.join(args[1:])}))"
    if op == "double":
        return f"CAST({args[0]} AS DOUBLE)"
    if op == "cast":
        return f"CAST({args[0]} AS {node.text})"
    if op == "extract":
        return f"date_part({string(node.text)}, {args[0]})"
    if op == "days":
        return f"(CASE WHEN isfinite({args[0]}) AND isfinite({args[1]}) THEN {args[0]} - {args[1]} END)"
    if op == "case":
        whens = " ".join(f"WHEN {c} THEN {v}" for c, v in zip(args[:-1:2], args[1:-1:2], strict=True))
        return f"(CASE {whens} ELSE {args[-1]} END)"
    return f"{op}({', '.join(args)})"
