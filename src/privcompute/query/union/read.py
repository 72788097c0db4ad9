"""SQL text to a question over a union: the holders, conditions, groups, outputs, order.

Nothing is dropped silently: every part of the syntax tree that is not read here is refused, with the text marked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlglot import exp

from privcompute.query.named import read_union
from privcompute.query.parse import Item, conjuncts, part, read_items
from privcompute.query.source import UNION_FORM, Source
from privcompute.query.union.members import Merged, find_members, merged
from privcompute.tables.catalogue import DatasetEntry

MAX_LIMIT = 1 << 31


@dataclass(frozen=True)
class Ordering:
    """One expression of ORDER BY."""

    expression: exp.Expression
    descending: bool
    nulls_first: bool


@dataclass(frozen=True)
class UnionStatement:
    """A question over a union.

    Attributes:
        canonical: The statement as sqlglot writes it again.
        union: The tables.
        conditions: The conjuncts of WHERE.
        items: The outputs.
        groups: The expressions of GROUP BY; an output's number or alias is that output's expression.
        having: The condition of HAVING, if any.
        order: The expressions of ORDER BY.
        limit: The number of LIMIT, if any.
    """

    canonical: str
    union: Merged
    conditions: tuple[exp.Expression, ...]
    items: tuple[Item, ...]
    groups: tuple[exp.Expression, ...]
    having: exp.Expression | None
    order: tuple[Ordering, ...]
    limit: int | None


def read(sql: str, entries: Mapping[str, DatasetEntry]) -> tuple[Source, UnionStatement]:
    """Read a question over a union.

    Args:
        sql: The text.
        entries: The known datasets by "party.dataset".

    Raises:
        UsageError: `unsupported_sql`, `unknown_dataset` or `too_few_holders`, with the text marked.
        PrivacyError: `too_few_holders`.
    """
    source = Source(sql)
    tree, refuse = source.tree, source.refuse
    named = read_union(source)
    sets = tree.find(exp.SetOperation)
    if isinstance(sets, exp.SetOperation) or named is None:
        span = source.span(sets if isinstance(sets, exp.SetOperation) else None)
        refuse.unsupported("this is not a question over FROM UNION(…)", span, f"write {UNION_FORM}")
    if not isinstance(tree, exp.Select):
        refuse.unsupported("only SELECT is supported", source.span(tree), f"write {UNION_FORM}")
    joins = tree.args.get("joins") or []
    if joins:
        refuse.unsupported("a union is not joined", source.span(joins[0]), f"write {UNION_FORM}")
    source.only(tree, "expressions", "from", "where", "group", "having", "order", "limit")
    start = part(tree, "from")
    if not isinstance(start, exp.From) or not source.is_union(start.this.this):
        refuse.unsupported("a union stands in FROM alone", named.span, f"write {UNION_FORM}")
    members = find_members(source, named, entries)
    union = merged(members, named)
    items = read_items(source, tree)
    where, having = part(tree, "where"), part(tree, "having")
    return source, UnionStatement(
        _canonical(source, tree),
        union,
        tuple(conjuncts(where.this)) if isinstance(where, exp.Where) else (),
        items,
        _groups(source, tree, items, union),
        having.this if isinstance(having, exp.Having) else None,
        _order(source, tree, items, union),
        _limit(source, tree),
    )


def _meant(source: Source, node: exp.Expression, items: tuple[Item, ...], union: Merged) -> exp.Expression:
    """An output's number or alias as that output's expression."""
    if isinstance(node, exp.Literal) and not node.is_string:
        text = str(node.this)
        if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= len(items):
            source.refuse.unsupported("there is no output of that number", source.span(node), "count from 1")
        return items[int(text) - 1].expression
    if isinstance(node, exp.Column) and not node.table and union.table.entry.column(node.name) is None:
        for item in items:
            if item.name.casefold() == node.name.casefold():
                return item.expression
    return node


def _canonical(source: Source, tree: exp.Select) -> str:
    """The statement again; where NULL stands is written out, for PostgreSQL's habit is not ours."""
    places = [_nulls_first(source, node) for node in tree.find_all(exp.Ordered)]
    copy = tree.copy()
    for node, first in zip(copy.find_all(exp.Ordered), places, strict=True):
        text = node.this.sql(dialect="postgres", comments=False)
        way = " DESC" if node.args.get("desc") else ""
        node.replace(exp.Var(this=f"{text}{way} NULLS {'FIRST' if first else 'LAST'}"))
    return copy.sql(dialect="postgres", comments=False)


def _groups(source: Source, tree: exp.Select, items: tuple[Item, ...], union: Merged) -> tuple[exp.Expression, ...]:
    group = part(tree, "group")
    if not isinstance(group, exp.Group):
        return ()
    source.only(group, "expressions")
    return tuple(_meant(source, node, items, union) for node in group.expressions)


def _order(source: Source, tree: exp.Select, items: tuple[Item, ...], union: Merged) -> tuple[Ordering, ...]:
    order = part(tree, "order")
    if not isinstance(order, exp.Order):
        return ()
    source.only(order, "expressions")
    found = []
    for node in order.expressions:
        if not isinstance(node, exp.Ordered):
            source.refuse.unsupported("this is no order", source.span(node), "write ORDER BY x [DESC]")
        source.only(node, "this", "desc", "nulls_first")
        meant = _meant(source, node.this, items, union)
        found.append(Ordering(meant, bool(node.args.get("desc")), _nulls_first(source, node)))
    return tuple(found)


def _nulls_first(source: Source, node: exp.Ordered) -> bool:
    """Whether NULLS FIRST is written. The parser says so of DESC by itself; DuckDB's order has NULL last always."""
    end = source.span(node.this).end
    for token in source.tokens:
        if token.start < end:
            continue
        if token.text.upper() in ("ASC", "DESC", "NULLS"):
            continue
        return token.text.upper() == "FIRST"
    return False


def _limit(source: Source, tree: exp.Select) -> int | None:
    limit = part(tree, "limit")
    if not isinstance(limit, exp.Expression):
        return None
    source.only(limit, "expression")
    number = limit.args.get("expression")
    text = str(number.this) if isinstance(number, exp.Literal) and not number.is_string else ""
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= MAX_LIMIT):
        source.refuse.unsupported("LIMIT takes a whole number", source.clause("LIMIT", limit), "write LIMIT 10")
    return int(text)
