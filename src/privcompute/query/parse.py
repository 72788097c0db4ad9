"""SQL text to a statement of the supported shape: two tables, their join keys, conditions, items.

PostgreSQL's syntax through sqlglot. Nothing is dropped silently: every part of the syntax tree that this module does
not read is refused, with the text marked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlglot import exp

from privcompute.query.refuse import Span
from privcompute.query.source import FORM, UNION_FORM, Source
from privcompute.tables.catalogue import DatasetEntry

MAX_ITEMS = 200


@dataclass(frozen=True)
class Table:
    """One table of the FROM clause.

    Attributes:
        entry: The public catalogue entry.
        names: The spellings, in lower case, that columns may be qualified with.
        merged: The columns, in lower case, that USING makes one with the other table's: they need no qualifier.
    """

    entry: DatasetEntry
    names: frozenset[str]
    merged: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Item:
    """One output: its expression, its column name and where it stands."""

    expression: exp.Expression
    name: str
    span: Span


@dataclass(frozen=True)
class Statement:
    """A query of the supported shape.

    Attributes:
        canonical: The statement as sqlglot writes it again.
        tables: The two tables; side 0 is the one after FROM.
        keys: The pairs of joined key columns, in the order of side 0's catalogue entry.
        conditions: The conjuncts of WHERE.
        items: The outputs.
    """

    canonical: str
    tables: tuple[Table, Table]
    keys: tuple[tuple[str, str], ...]
    conditions: tuple[exp.Expression, ...]
    items: tuple[Item, ...]


def part(node: exp.Expression, name: str) -> object:
    """An argument of a syntax node, under the name of any sqlglot version (`from`, `from_`)."""
    return node.args.get(name) or node.args.get(f"{name}_")


_LATER = {
    "group": ("GROUP BY", "ask for one group at a time with WHERE"),
    "having": ("HAVING", "leave it out; one cell is returned"),
    "order": ("ORDER BY", "leave it out; one cell is returned"),
    "limit": ("LIMIT", "leave it out; one cell is returned"),
}


def read(sql: str, entries: Mapping[str, DatasetEntry]) -> tuple[Source, Statement]:
    """Read a query of the supported shape.

    Args:
        sql: The text.
        entries: The known datasets by "party.dataset".

    Raises:
        UsageError: `unsupported_sql`, `not_yet`, `unknown_dataset` or `key_types`, with the text marked.
    """
    source = Source(sql)
    tree = source.tree
    refuse = source.refuse
    union = tree.find(exp.SetOperation)
    if isinstance(union, exp.SetOperation):
        what = "a union of SELECTs is not supported"
        refuse.unsupported(what, source.span(union), f"write FROM UNION(name): {UNION_FORM}")
    if not isinstance(tree, exp.Select):
        refuse.unsupported("only SELECT is supported", source.span(tree), f"write {FORM}")
    for name, (what, remedy) in _LATER.items():
        node = part(tree, name)
        if isinstance(node, exp.Expression):
            refuse.not_yet(what, source.clause(what, node), remedy)
    source.only(tree, "expressions", "from", "joins", "where")
    tables, join = _tables(source, tree, entries)
    keys = _keys(source, join, tables)
    where = part(tree, "where")
    conditions = tuple(conjuncts(where.this)) if isinstance(where, exp.Where) else ()
    return source, Statement(
        tree.sql(dialect="postgres", comments=False), tables, keys, conditions, read_items(source, tree)
    )


def conjuncts(node: exp.Expression) -> Iterator[exp.Expression]:
    """The parts of an AND, brackets removed."""
    if isinstance(node, exp.Paren):
        yield from conjuncts(node.this)
    elif isinstance(node, exp.And):
        yield from conjuncts(node.this)
        yield from conjuncts(node.expression)
    else:
        yield node


def _tables(
    source: Source, tree: exp.Select, entries: Mapping[str, DatasetEntry]
) -> tuple[tuple[Table, Table], exp.Join]:
    start, joins = part(tree, "from"), tree.args.get("joins") or []
    if source.unions:
        call = next((node for node in tree.find_all(exp.Anonymous) if source.is_union(node)), None)
        source.refuse.unsupported("a union is not joined", source.span(call), f"write {UNION_FORM}")
    if not isinstance(start, exp.From):
        source.refuse.unsupported("FROM is missing", source.span(tree), f"write {FORM}")
    if len(joins) != 1:
        where = source.span(joins[1]) if joins else source.span(start)
        what = "one join of two tables is supported" if joins else "a join of two parties' tables is expected"
        source.refuse.unsupported(what, where, f"write {FORM}")
    join = joins[0]
    if (
        join.args.get("side")
        or join.args.get("method")
        or str(join.args.get("kind") or "").upper() not in ("", "INNER")
    ):
        source.refuse.unsupported("only an inner join is supported", source.span(join), f"write {FORM}")
    if not join.args.get("on") and not join.args.get("using"):
        source.refuse.unsupported("the join names no keys", source.span(join), "write JOIN … ON a.key = b.key")
    source.only(join, "this", "on", "using", "kind")
    first, second = _table(source, start.this, entries), _table(source, join.this, entries)
    if first.entry.party == second.entry.party:
        remedy = f"join with a dataset of another party; {first.entry.party} can compute this alone"
        source.refuse.unsupported("both tables belong to one party", source.span(join.this), remedy)
    shared = first.names & second.names
    merged = frozenset(name.name.casefold() for name in join.args.get("using") or ())
    unique = (Table(first.entry, first.names - shared, merged), Table(second.entry, second.names - shared, merged))
    if not unique[0].names or not unique[1].names:
        source.refuse.unsupported("both tables have the same alias", source.span(join.this), "give each its own alias")
    return unique, join


def _table(source: Source, node: object, entries: Mapping[str, DatasetEntry]) -> Table:
    if not isinstance(node, exp.Table) or not isinstance(node.this, exp.Identifier):
        place = node if isinstance(node, exp.Expression) else None
        source.refuse.unsupported("a table is expected here", source.span(place), f"write {FORM}")
    source.only(node, "this", "db", "alias")
    if not node.db:
        source.refuse.unsupported("a table is named party.dataset", source.span(node), f"write {FORM}")
    wanted = f"{node.db}.{node.name}"
    entry = entries.get(wanted)
    if entry is None:
        alike = [e for name, e in entries.items() if name.casefold() == wanted.casefold()]
        if len(alike) != 1:
            known = ", ".join(sorted(entries)) or "none"
            raise source.refuse.error(
                "unknown_dataset", f"there is no dataset {wanted}", source.span(node), f"known datasets: {known}"
            )
        entry = alike[0]
    alias = node.args.get("alias")
    if isinstance(alias, exp.TableAlias):
        source.only(alias, "this")
        return Table(entry, frozenset({alias.name.casefold()}))
    return Table(entry, frozenset({entry.name.casefold(), f"{entry.party}.{entry.name}".casefold()}))


def resolve(source: Source, node: exp.Column, tables: tuple[Table, ...]) -> tuple[int, str]:
    """Side and column name (as the catalogue spells it) of a column reference.

    Raises:
        UsageError: `unknown_column`, or `unsupported_sql` if it is ambiguous.
    """
    qualifier = ".".join(p for p in (node.catalog, node.db, node.table) if p).casefold()
    found = [
        (side, column.name)
        for side, table in enumerate(tables)
        if (not qualifier or qualifier in table.names) and (column := table.entry.column(node.name)) is not None
    ]
    if len(found) == 1 or (found and not qualifier and node.name.casefold() in tables[0].merged):
        return found[0]
    if found:
        source.refuse.unsupported(
            "both tables have this column", source.span(node), "qualify it with the table's alias"
        )
    aliases = ", ".join(min(t.names, key=len) for t in tables)
    remedy = f"the tables' names here are {aliases}; `privcompute explain` and `dataset list` show their columns"
    raise source.refuse.error("unknown_column", "there is no such column", source.span(node), remedy)


def _keys(source: Source, join: exp.Join, tables: tuple[Table, Table]) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    using = join.args.get("using")
    for name in using or []:
        columns = [t.entry.column(name.name) for t in tables]
        if columns[0] is None or columns[1] is None:
            raise source.refuse.error("unknown_column", "both tables need this column", source.span(name), "use ON")
        found[columns[0].name] = columns[1].name
    on = join.args.get("on")
    for condition in conjuncts(on) if isinstance(on, exp.Expression) else ():
        pair = _equality(source, condition, tables)
        if pair[0] in found or pair[1] in found.values():
            source.refuse.unsupported("a key is joined twice", source.span(condition), "name each key column once")
        found[pair[0]] = pair[1]
    first, second = tables[0].entry, tables[1].entry
    if set(found) != set(first.keys) or set(found.values()) != set(second.keys):
        keys = " and ".join(f"{e.party}.{e.name} ({', '.join(e.keys)})" for e in (first, second))
        remedy = f"the keys are {keys}: join on all of them and on nothing else"
        source.refuse.unsupported("the join is not on the datasets' keys", source.span(join), remedy)
    types = [dict(zip(e.keys, e.key_types, strict=True)) for e in (first, second)]
    for a, b in found.items():
        if types[0][a] != types[1][b]:
            raise source.refuse.error(
                "key_types",
                f"key {a} is {types[0][a]} at {first.party} and {b} is {types[1][b]} at {second.party}",
                source.span(join),
                "give both key columns the same type at their sources; a number and a text never match",
            )
    return tuple((a, found[a]) for a in first.keys)


def _equality(source: Source, node: exp.Expression, tables: tuple[Table, Table]) -> tuple[str, str]:
    if isinstance(node, exp.EQ) and isinstance(node.left, exp.Column) and isinstance(node.right, exp.Column):
        (a, x), (b, y) = resolve(source, node.left, tables), resolve(source, node.right, tables)
        if a != b:
            return (x, y) if a == 0 else (y, x)
    remedy = "write ON a.key = b.key [AND …]; conditions of one table go to WHERE"
    return source.refuse.unsupported("a join condition is an equality of two keys", source.span(node), remedy)


def read_items(source: Source, tree: exp.Select) -> tuple[Item, ...]:
    """The outputs, each with a name of its own."""
    items: list[Item] = []
    taken: set[str] = set()
    if len(tree.expressions) > MAX_ITEMS:
        source.refuse.unsupported(f"more than {MAX_ITEMS} outputs", source.span(tree), "ask in several queries")
    for node, text in zip(tree.expressions, source.outputs(tree), strict=True):
        inner = node.this if isinstance(node, exp.Alias) else node
        span = source.span(inner)
        name = node.alias if isinstance(node, exp.Alias) else text
        unique, n = name, 1
        while unique.casefold() in taken:
            unique, n = f"{name}_{n}", n + 1
        taken.add(unique.casefold())
        items.append(Item(inner, unique, span))
    return tuple(items)
