"""What each column is used for, in the words of the owners' rules."""

from __future__ import annotations

from collections.abc import Iterable

from privcompute.query.expr import Node
from privcompute.query.shape import fills_gaps, is_piecewise, is_weighing

Use = tuple[int, str, str]


def uses_of(filters: Iterable[Node], arguments: Iterable[Node]) -> set[Use]:
    """(side, column, use) of every column.

    Args:
        filters: The conditions of WHERE.
        arguments: The arguments of the aggregates.
    """
    found: set[Use] = set()
    for node in filters:
        found |= _all(node, "filter")
    for node in arguments:
        _walk(node, "aggregate", found, alone=True)
    return found


def _all(node: Node, use: str) -> set[Use]:
    return {(c.side, c.text, use) for c in node.columns() if c.side is not None}


def _conditions(node: Node) -> tuple[Node, ...]:
    return node.args[:-1:2] if node.op == "case" else ()


def _values(node: Node) -> tuple[Node, ...]:
    return node.args[1:-1:2] + node.args[-1:] if node.op == "case" else node.args


def _value_sides(node: Node) -> frozenset[int]:
    """The sides whose columns make up the value, conditions of CASE left out."""
    own = frozenset() if node.side is None else frozenset({node.side})
    return own.union(*(_value_sides(v) for v in _values(node)))


def _walk(node: Node, use: str, found: set[Use], *, alone: bool) -> None:
    for condition in _conditions(node):
        found.update(_all(condition, "filter"))
    if node.op in ("*", "/") and all(_value_sides(a) for a in node.args) and len(_value_sides(node)) == 2:
        use = "product"
    if node.op in ("and", "or"):
        found.update(_all(node, "filter"))  # whether it is NULL depends on the values
    gaps = alone and fills_gaps(node)
    if is_piecewise(node) and not gaps:
        found.update(_all(node, "filter"))  # LEAST(ABS(x - 5), 1) is a filter in all but name
    if node.side is not None:
        found.add((node.side, node.text, use))
    inner = alone and not is_weighing(node) and (gaps or not is_piecewise(node))
    for value in _values(node):
        _walk(value, use, found, alone=inner)
