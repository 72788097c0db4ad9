"""The holders of a union, and one catalogue entry that stands for all of their tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from privcompute.errors import PrivacyError
from privcompute.query.named import NamedUnion
from privcompute.query.parse import Table
from privcompute.query.rules import shell
from privcompute.query.source import Source
from privcompute.tables.catalogue import DatasetEntry
from privcompute.tables.schema import Column, Kind

PARTY = "union"
"""The party of the entry that stands for all."""


@dataclass(frozen=True)
class Merged:
    """The tables of a union as one.

    Attributes:
        entries: The holders' entries, by party.
        table: One table that stands for all: the columns that all have alike, with the hull of their ranges.
        unlike: By column name in lower case, why it is no column of the union.
    """

    entries: tuple[DatasetEntry, ...]
    table: Table
    unlike: Mapping[str, str]


def find_members(source: Source, named: NamedUnion, entries: Mapping[str, DatasetEntry]) -> tuple[DatasetEntry, ...]:
    """The entries that UNION(…) names, by party.

    Raises:
        UsageError: `unknown_dataset`, `too_few_holders`.
        PrivacyError: `too_few_holders`: an owner wants more holders in a total.
    """
    found: dict[str, DatasetEntry] = {}
    if named.parties:
        for party, dataset in named.parties:
            entry = _entry(party, dataset, entries)
            if entry is None:
                _unknown(source, named, f"there is no dataset {party}.{dataset}", entries)
            found[entry.party] = entry
    else:
        for party in sorted({e.party for e in entries.values()}):
            entry = _entry(party, named.dataset, entries)
            if entry is not None:
                found[party] = entry
        if not found:
            _unknown(source, named, f"no party has a dataset {named.dataset}", entries)
    if len(found) < 2:
        party = next(iter(found))
        remedy = f"pair with others who have {named.dataset}; {party} can compute this alone"
        raise source.refuse.error("too_few_holders", f"of this union only {party} takes part", named.span, remedy)
    members = tuple(found[party] for party in sorted(found))
    _enough(source, named, members)
    return members


def _entry(party: str, dataset: str, entries: Mapping[str, DatasetEntry]) -> DatasetEntry | None:
    exact = entries.get(f"{party}.{dataset}")
    if exact is not None:
        return exact
    wanted = (party.casefold(), dataset.casefold())
    alike = [e for e in entries.values() if (e.party.casefold(), e.name.casefold()) == wanted]
    return alike[0] if len(alike) == 1 else None


def _unknown(source: Source, named: NamedUnion, what: str, entries: Mapping[str, DatasetEntry]) -> NoReturn:
    known = ", ".join(sorted(entries)) or "none"
    raise source.refuse.error("unknown_dataset", what, named.span, f"known datasets: {known}")


def _enough(source: Source, named: NamedUnion, members: Sequence[DatasetEntry]) -> None:
    strictest = max(members, key=lambda e: e.min_holders)
    if len(members) >= strictest.min_holders:
        return
    danger = "of two holders' total either takes its own part away and sees the other's; " if len(members) == 2 else ""
    everybody = [e for e in members if e.min_holders > len(members)]
    orders = "; ".join(
        f"{e.party} runs `privcompute dataset edit {shell(e.name)} --min-holders {len(members)}`" for e in everybody
    )
    raise source.refuse.error(
        "too_few_holders",
        f"{danger}the owner of {strictest.party}.{strictest.name} wants at least {strictest.min_holders} holders "
        f"in a total, and this union has {len(members)}",
        named.span,
        f"pair with more holders, or {orders}",
        PrivacyError,
    )


def merged(members: Sequence[DatasetEntry], named: NamedUnion) -> Merged:
    """The members' tables as one; what they have not alike is left out, and said why where it is used."""
    first = members[0]
    unlike: dict[str, str] = {}
    columns: list[Column] = []
    for column in first.columns:
        made = _column(column, members, unlike)
        if made is not None or column.name in first.keys:
            columns.append(made or column)
    for entry in members[1:]:
        for column in entry.columns:
            if first.column(column.name) is None:
                unlike.setdefault(column.name.casefold(), f"{first.party}.{first.name} has no column {column.name}")
    table = replace(
        first,
        party=PARTY,
        version="0" * 64,
        distinct_keys=sum(e.distinct_keys for e in members),
        rows_per_key=max(e.rows_per_key for e in members),
        columns=tuple(columns),
        allow={},
        min_cell=max(e.min_cell for e in members),
        min_holders=max(e.min_holders for e in members),
    )
    names = {named.alias.casefold()} if named.alias else {e.name.casefold() for e in members}
    return Merged(tuple(members), Table(table, frozenset(names)), unlike)


def _column(column: Column, members: Sequence[DatasetEntry], unlike: dict[str, str]) -> Column | None:
    owner = members[0]
    found = [column]
    for entry in members[1:]:
        other = entry.column(column.name)
        if other is None:
            unlike[column.name.casefold()] = f"{entry.party}.{entry.name} has no column {column.name}"
            return None
        if other.kind is not column.kind:
            unlike[column.name.casefold()] = (
                f"column {column.name} is {column.type} at {owner.party} and {other.type} at {entry.party}"
            )
            return None
        found.append(other)
    return _hull(found)


def _hull(columns: Sequence[Column]) -> Column:
    """The column that admits what any of these admits."""
    first = columns[0]
    scales = [c.scale for c in columns]
    scale = None if None in scales else max(s for s in scales if s is not None)
    lows, highs = [c.lo for c in columns], [c.hi for c in columns]
    ranged = None not in lows and None not in highs
    return replace(
        first,
        type=_type(columns),
        scale=scale,
        lo=min(x for x in lows if x is not None) if ranged else None,
        hi=max(x for x in highs if x is not None) if ranged else None,
        nullable=any(c.nullable for c in columns),
        domain=_domain(columns),
    )


def _domain(columns: Sequence[Column]) -> tuple[str, ...] | tuple[int, ...] | None:
    """All values that any holder declares; None unless every holder declares some."""
    if any(c.domain is None for c in columns):
        return None
    values = {v for c in columns for v in c.domain or ()}
    texts = tuple(sorted(v for v in values if isinstance(v, str)))
    return texts or tuple(sorted(v for v in values if isinstance(v, int)))


def _type(columns: Sequence[Column]) -> str:
    """One type for all: the common one, or the widest of the kind. FLOAT anywhere means arithmetic in 24 bits."""
    types = {c.type for c in columns}
    if len(types) == 1:
        return columns[0].type
    kind = columns[0].kind
    if kind is Kind.REAL:
        return "FLOAT"
    if kind is Kind.INTEGER:
        return "BIGINT" if all(_narrow(t) for t in types) else "HUGEINT"
    if kind is Kind.DECIMAL:
        return f"DECIMAL(38,{max(c.scale or 0 for c in columns)})"
    return columns[0].type


def _narrow(sql_type: str) -> bool:
    return sql_type in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")
