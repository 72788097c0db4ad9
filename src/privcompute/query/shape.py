"""How a value depends on its columns: along a line, by a product, or in pieces; what the owners' ledgers look at.

A sum of what is affine in its columns (constants times columns, and sums of these) tells what the columns' own sums
tell. Anything else can pick rows without a filter: `LEAST(ABS(x - 5), 1)` is 0 for the rows of 5 and 1 for all others,
`x * (2 - flag)` counts the rows of some flag once and the others twice. So such a part of an aggregate's argument is
taken for what it may be, a selection: each value that many keys share is treated like a filter for that value. A
*level* is a local expression that is looked at in this way.
"""

from __future__ import annotations

from privcompute.query.expr import NUMBERS, Node
from privcompute.tables.schema import Kind

_AFFINE = frozenset({"column", "number", "+", "-", "neg", "double", "days", "*", "/", "case", "null"})


def is_piecewise(node: Node) -> bool:
    """Whether this operation (not its operands) makes a number in pieces: by cases, steps or remainders."""
    return node.kind in NUMBERS and node.op not in _AFFINE and not _lossless(node)


def fills_gaps(node: Node) -> bool:
    """Whether it is COALESCE(x, constant).

    Standing alone in a sum that adds constant x number of NULLs, which COUNT(x) tells anyway.
    """
    return node.op == "coalesce" and all(a.op in ("number", "neg") and not a.columns() for a in node.args[1:])


def is_weighing(node: Node) -> bool:
    """Whether it is a product or quotient of two expressions that both depend on the row, or 1 / x."""
    if node.op == "/":
        return bool(node.args[1].columns())
    return node.op == "*" and all(a.columns() for a in node.args)


def levels(values: tuple[Node, ...], *, weighs: bool) -> list[tuple[Node, ...]]:
    """The levels of a factor.

    Args:
        values: The expressions of one side that are multiplied, without CASE.
        weighs: Whether the product is multiplied by an expression of the other side too.

    Returns:
        Groups: one for every operand of a product or quotient, save a plain column (times a constant) that meets only
        the other side's; and one for every piecewise part, with a level more for each number that it is made from,
        whether it is equal to it: GREATEST(x, y) picks rows by being x, ABS(x) by being x, FLOOR(x) by being x.
    """
    found: dict[Node, tuple[Node, ...]] = {}
    own = len(values) > 1
    for value in values:
        _walk(value, found, operand=own or (weighs and not _plain(value)), alone=not own and not weighs)
    return list(found.values())


def _walk(node: Node, found: dict[Node, tuple[Node, ...]], *, operand: bool, alone: bool) -> None:
    if not node.columns():
        return
    if node.op in ("neg", "double") or _lossless(node):
        _walk(node.args[0], found, operand=operand, alone=alone)
    elif is_weighing(node):
        for arg in node.args:
            _walk(arg, found, operand=True, alone=False)
    elif node.op in ("*", "/"):
        for arg in node.args:
            _walk(arg, found, operand=operand, alone=alone)
    elif alone and fills_gaps(node):
        _walk(node.args[0], found, operand=False, alone=True)
    elif is_piecewise(node):
        numbers = [a for a in node.args if a.kind in NUMBERS and a.columns()]
        found[node] = (node, *(Node("is not distinct from", (node, arg), span=node.span) for arg in numbers))
        for arg in numbers:
            _walk(arg, found, operand=False, alone=False)
    else:
        if operand:
            found.setdefault(node, (node,))
        for arg in node.args:
            _walk(arg, found, operand=False, alone=alone and not operand)


def _plain(node: Node) -> bool:
    if (node.op in ("neg", "double", "*", "/") and not is_weighing(node)) or _lossless(node):
        return all(_plain(a) for a in node.args if a.columns())
    return node.op == "column"


def _lossless(node: Node) -> bool:
    """Whether it is a cast of a number to one that holds all its digits."""
    if node.op != "cast" or node.args[0].kind is Kind.BOOLEAN or node.drift or node.digits is None:
        return False
    digits = node.args[0].digits
    return digits is not None and digits <= node.digits
