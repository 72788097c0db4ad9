"""The values of a GROUP BY expression that are public beforehand: the domain that the plan states.

Known without looking at a row are: the values that a column's owners declared, TRUE and FALSE, the whole numbers of a
public range, the results of a CASE over constants, and what WHERE limits an expression to by `x = …` or `x IN (…)`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from privcompute.query.expr import Node
from privcompute.query.refuse import Refuser
from privcompute.query.render import render
from privcompute.tables.cells import Grouping, GroupType, GroupValue
from privcompute.tables.schema import Kind

MAX_VALUES = 1000
"""Most values of one expression."""
_TYPES: dict[Kind, GroupType] = {
    Kind.TEXT: "VARCHAR",
    Kind.INTEGER: "BIGINT",
    Kind.BOOLEAN: "BOOLEAN",
    Kind.DATE: "DATE",
}
_WORDS = "a text, a whole number, a boolean or a date"
REMEDIES = (
    "an owner declares the values (`privcompute dataset edit NAME --domain COL=V1,V2,…`), a whole number has a public "
    f"range of at most {MAX_VALUES} values, or the query states them: WHERE x IN (…), or a CASE whose results are "
    "constants"
)


@dataclass(frozen=True)
class Domain:
    """Values and whether every row has one of them."""

    values: frozenset[GroupValue] = field(repr=False)
    closed: bool


def grouping(node: Node, conditions: Sequence[Node], refuse: Refuser) -> Grouping:
    """The grouping of an expression.

    Args:
        node: The expression.
        conditions: The conjuncts of WHERE.
        refuse: Refuses, with the text marked.

    Raises:
        UsageError: `not_yet` without a stated domain, `unsupported_sql` for other kinds and too many values.
    """
    kind = _TYPES.get(node.kind)
    if kind is None or not node.columns():
        refuse.unsupported(f"GROUP BY takes {_WORDS} of a row", node.span, "group by a CASE over it")
    found = _limited(node, conditions, _domain(node))
    if found is None:
        refuse.not_yet("GROUP BY over values that nobody has stated (discovered groups)", node.span, REMEDIES)
    whole = sorted((v for v in found.values if v is not None), key=lambda v: (isinstance(v, str), v))
    values = (*whole, None) if None in found.values else tuple(whole)
    if not values:
        refuse.unsupported("WHERE leaves no value of this", node.span, "ask for values that it can have")
    if len(values) > MAX_VALUES:
        what = f"this has {len(values)} values, and at most {MAX_VALUES} are groups"
        refuse.unsupported(what, node.span, "group by a CASE over it, or limit it by WHERE x IN (…)")
    return Grouping(render(node), kind, tuple(values), found.closed)


def _domain(node: Node) -> Domain | None:
    """What is known of an expression's values by itself."""
    constant = _constant(node)
    if constant is not None:
        return Domain(constant, True)
    if node.domain is not None:
        return Domain(frozenset(node.domain) | _null(node), True)
    if node.kind is Kind.BOOLEAN:
        return Domain(frozenset({False, True}) | _null(node), True)
    if node.op in ("case", "coalesce"):
        return _either(node)
    if node.kind is Kind.INTEGER and node.range is not None:
        low, high = math.ceil(node.range.lo), math.floor(node.range.hi)
        if high - low < 2 * MAX_VALUES:
            return Domain(frozenset(range(low, high + 1)) | _null(node), True)
    return None


def _null(node: Node) -> frozenset[GroupValue]:
    return frozenset({None}) if node.nullable else frozenset()


def _either(node: Node) -> Domain | None:
    """The domain of a CASE or COALESCE: what any of its results may be."""
    values: set[GroupValue] = set()
    for result in node.args[1:-1:2] + node.args[-1:] if node.op == "case" else node.args:
        found = _domain(result)
        if found is None:
            return None
        values |= found.values
    if not node.nullable:
        values.discard(None)
    return Domain(frozenset(values), True)


def _constant(node: Node) -> frozenset[GroupValue] | None:
    if node.op == "null":
        return frozenset({None})
    if node.op in ("text", "date"):
        return frozenset({node.text})
    if node.op == "boolean":
        return frozenset({node.text == "true"})
    if node.literal is not None and node.kind is Kind.INTEGER:
        return frozenset({int(node.literal)})
    return None


def _limited(node: Node, conditions: Sequence[Node], known: Domain | None) -> Domain | None:
    """The domain within what WHERE asks of the expression."""
    for condition in conditions:
        if known is not None and condition.op == "is not null" and condition.args[0] == node:
            known = Domain(known.values - {None}, False)
        asked = _asked(node, condition)
        if asked is None:
            continue
        # Values outside are not of the group's type, or of no row: they make no cell.
        held = frozenset(asked) if known is None else known.values & frozenset(asked)
        known = Domain(held, False)
    return known


def _asked(node: Node, condition: Node) -> set[GroupValue] | None:
    if condition.op == "=":
        for own, other in (condition.args, condition.args[::-1]):
            if own == node:
                return _values(node, (other,))
    if condition.op == "in" and condition.args[0] == node:
        return _values(node, condition.args[1:])
    if condition.op in ("is true", "is false") and condition.args[0] == node:
        return {condition.op == "is true"}
    if node.kind is Kind.BOOLEAN and condition == node:
        return {True}
    if node.kind is Kind.BOOLEAN and condition.op == "not" and condition.args[0] == node:
        return {False}
    return None


def _values(node: Node, options: Iterable[Node]) -> set[GroupValue] | None:
    """The constants of a list; None if one is no constant of the expression's type."""
    values: set[GroupValue] = set()
    for option in options:
        value = _constant(option)
        if value is None or option.kind is not node.kind:
            if option.literal is not None and node.kind is Kind.INTEGER:
                if option.literal.denominator == 1:
                    values.add(int(option.literal))
                continue  # no whole number is 1.5
            return None
        values |= value
    values.discard(None)
    return values
