"""Which datasets a query names, before any catalogue is known; and whether it asks over a join or over a union."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from privcompute.query.refuse import Span
from privcompute.query.source import Source


@dataclass(frozen=True)
class NamedUnion:
    """The UNION(…) of a query.

    Attributes:
        dataset: The dataset that every party is asked for; of UNION(a.x, b.y) the first one's.
        parties: The (party, dataset) pairs that UNION(a.x, b.y) names; empty for UNION(x): everybody who has one.
        alias: The union's alias in the query, empty if there is none.
        span: Where it stands.
    """

    dataset: str
    parties: tuple[tuple[str, str], ...]
    alias: str
    span: Span


def named_datasets(sql: str) -> tuple[tuple[str, str], ...]:
    """The (party, dataset) pairs of the tables in ``sql``, in order, each once; tables without a party are left out.

    Raises:
        UsageError: ``unsupported_sql``: it is not SQL, or too long.
    """
    tables = Source(sql).tree.find_all(exp.Table)
    return tuple(dict.fromkeys((t.db, t.name) for t in tables if t.db and t.name))


def named_union(sql: str) -> NamedUnion | None:
    """The UNION(…) that a query asks over; None if it asks over a join.

    Raises:
        UsageError: ``unsupported_sql``: it is not SQL, or what stands in UNION(…) names no datasets.
    """
    return read_union(Source(sql))


def read_union(source: Source) -> NamedUnion | None:
    """As `named_union`."""
    if not source.unions:
        return None
    tables = [t for t in source.tree.find_all(exp.Table) if source.is_union(t.this)]
    if len(tables) != 1:
        span = source.span(tables[1] if tables else None)
        source.refuse.unsupported("one union is supported, in FROM", span, f"write {source.form}")
    table = tables[0]
    span = source.span(table)
    source.only(table, "this", "alias")
    alias = table.args.get("alias")
    if isinstance(alias, exp.TableAlias):
        source.only(alias, "this")
    names: list[tuple[str, str]] = []
    for node in table.this.expressions:
        if not isinstance(node, exp.Column) or not isinstance(node.this, exp.Identifier) or node.db:
            source.refuse.unsupported("a dataset is expected here", source.span(node), "write UNION(dataset)")
        names.append((node.table, node.name))
    parties = [party for party, _ in names if party]
    if not names or (len(names) > 1 and len(parties) < len(names)):
        remedy = "write UNION(dataset) for all parties that have it, or UNION(party.dataset, party.dataset, …)"
        source.refuse.unsupported("the datasets of a union are named in one of two ways", span, remedy)
    if len({party.casefold() for party in parties}) < len(parties):
        source.refuse.unsupported("a party is named twice", span, "one dataset of each party")
    return NamedUnion(names[0][1], tuple(names) if parties else (), table.alias, span)
