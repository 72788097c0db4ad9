"""From SQL and the holders' public catalogue entries to the plan of a question over a union; pure and deterministic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, get_args

from privcompute.errors import UsageError
from privcompute.query.disclosure import Disclosure
from privcompute.query.expr import Node
from privcompute.query.lower import Condition, Lowering
from privcompute.query.outer import Sized
from privcompute.query.parse import Item
from privcompute.query.plan import Opening, Output, Term
from privcompute.query.refuse import Span
from privcompute.query.union.builder import UnionBuilder
from privcompute.query.union.collector import CellCollector
from privcompute.query.union.disclosure import disclosure
from privcompute.query.union.domains import grouping
from privcompute.query.union.having import HavingBuilder
from privcompute.query.union.outputs import AGGREGATES, TABLES, CellBuilder, Group
from privcompute.query.union.plan import PER_COUNT, Member, OrderBy, Scheme, UnionPlan
from privcompute.query.union.read import read
from privcompute.query.union.tables import TableCall, table_call, table_item
from privcompute.query.uses import Use, uses_of
from privcompute.tables.catalogue import DatasetEntry
from privcompute.tables.cells import Grouping, cell_count
from privcompute.tables.features import Feature
from privcompute.tables.schema import Kind
from privcompute.union.job import RINGS, Roster, SumShape

MAX_CELLS = 20_000
"""Most cells of one question."""
MAX_LINES = 1 << 18
"""Most cells times marginals they are in: what is shown is decided in seconds."""
MAX_GROUPINGS = 5
"""Most groupings: the marginals that suppression looks at double with each."""


def plan_union(
    sql: str,
    entries: Mapping[str, DatasetEntry],
    *,
    asker: str,
    receivers: Sequence[str] = (),
    scheme: str | None = None,
    key_holder: str | None = None,
    quorum: int | None = None,
) -> UnionPlan:
    """The plan of a question over a union.

    Args:
        sql: PostgreSQL's syntax, the subset of docs/sql.md.
        entries: The known datasets by "party.dataset"; UNION(x) is over all of them that are called x.
        asker: The party that asks; it collects the sums.
        receivers: Who gets what opens; the asker if empty.
        scheme: "masks" (the default) or "paillier".
        key_holder: Of Paillier, who decrypts, a holder; by default the first holder that does not ask.
        quorum: The fewest holders with which the sum may finish; by default more than two thirds of them, and as many
            as the owners want in a total.

    Raises:
        UsageError: The question is outside what can run; nothing was sent. The text is marked.
        PrivacyError: A key is used as a value, or the holders are too few for an owner.
    """
    try:
        planner = _Planner(sql, entries, asker, tuple(dict.fromkeys(receivers)) or (asker,))
        holders = sorted(entry.party for entry in planner.union.entries)
        return planner.plan(*_scheme(scheme, key_holder, asker, holders), quorum)
    except RecursionError:
        raise UsageError("the query is nested too deeply", code="unsupported_sql", stage="plan") from None


def _scheme(
    scheme: str | None, key_holder: str | None, asker: str, holders: Sequence[str]
) -> tuple[Scheme, str | None]:
    if scheme not in (None, *get_args(Scheme)):
        raise UsageError(
            f"there is no scheme {scheme[:20]!r}" if scheme else "there is no such scheme",
            code="usage",
            stage="plan",
            remedy=f"one of {', '.join(get_args(Scheme))}",
        )
    if scheme == "paillier":
        key_holder = key_holder or next((one for one in holders if one != asker), None)
        if key_holder is None or key_holder == asker:
            what = "the one who asks collects, and collector and key holder together open everything"
            raise UsageError(
                "Paillier needs a key holder" if key_holder is None else what,
                code="key_holder",
                stage="plan",
                remedy="name another party with --key-holder",
            )
        if key_holder not in holders:
            raise UsageError(
                f"{key_holder} brings no rows to this union: only a holder's ledger knows its earlier unions",
                code="key_holder",
                stage="plan",
                remedy=f"name one of {', '.join(one for one in holders if one != asker)} with --key-holder",
            )
        return "paillier", key_holder
    if key_holder is not None:
        raise UsageError(
            "masks have no key holder", code="key_holder", stage="plan", remedy="ask with --scheme paillier"
        )
    return "masks", None


class _Planner:
    def __init__(self, sql: str, entries: Mapping[str, DatasetEntry], asker: str, receivers: tuple[str, ...]) -> None:
        self.source, self.statement = read(sql, entries)
        self.refuse = self.source.refuse
        self.union = self.statement.union
        self.asker, self.receivers = asker, receivers
        self.minimum = max(e.min_cell for e in self.union.entries)
        self.max_rows = sum(e.distinct_keys * e.rows_per_key for e in self.union.entries)
        self.builder = UnionBuilder(self.source, self.union)
        self.filters = [self.builder.boolean(tree) for tree in self.statement.conditions]
        base = tuple(dict.fromkeys(Condition(n) for n in self.filters if n.op != "boolean" or n.text != "true"))
        self.collector = CellCollector(self.union, base, self.refuse)
        self.group_nodes: list[Node] = []
        self.groupings: list[Grouping] = []
        self._group()
        groups = tuple(Group(n, self._type(n, g)) for n, g in zip(self.group_nodes, self.groupings, strict=True))
        self.cells = CellBuilder(self.builder, Lowering(self.refuse), self.collector, self.max_rows, groups)

    def plan(self, scheme: Scheme, key_holder: str | None, quorum: int | None) -> UnionPlan:
        """The plan, once."""
        statement, grouped = self.statement, len(self.groupings)
        call, items = self._items()
        having = None if statement.having is None else HavingBuilder(self.cells).build(statement.having)
        order = [(o, self.cells.output(o.expression)) for o in statement.order]
        if not self.collector.counts:
            span = statement.items[0].span if statement.items else self.source.span(None)
            self.refuse.unsupported(
                "there is no aggregate", span, f"ask for {AGGREGATES}, or one of {', '.join(TABLES)}"
            )
        openings = self._openings()
        pieces = (*self.collector.counts, *self.collector.values)
        index = {terms: n for n, terms in enumerate(pieces)}
        caps = max(e.rows_per_key for e in self.union.entries)
        made = UnionPlan(
            sql=statement.canonical,
            members=self._members(call),
            collector=self.asker,
            receivers=self.receivers,
            scheme=scheme,
            key_holder=key_holder,
            quorum=self._quorum(quorum),
            minimum=self.minimum,
            min_holders=max(e.min_holders for e in self.union.entries),
            groupings=tuple(self.groupings),
            grouped=grouped,
            features=tuple(self.collector.features[0]),
            selections=tuple(self.collector.selections[0]),
            levels=tuple(self.collector.levels[0]),
            openings=openings,
            least=tuple(self.minimum + self.collector.more.get(terms, 0) for terms in self.collector.counts),
            shape=SumShape(1, (1,), RINGS[0]),
            outputs=tuple(Output(name, one.numbered(index, caps)) for name, one in items),
            table=call.numbered(index) if call else None,
            having=having.numbered(index, caps) if having else None,
            order=tuple(OrderBy(one.numbered(index, caps), o.descending, o.nulls_first) for o, one in order),
            limit=statement.limit,
            max_rows=self.max_rows,
            disclosure=Disclosure(()),
        )
        made = replace(made, shape=self._shape(made))
        return replace(made, disclosure=disclosure(made, self.union.entries))

    def _group(self) -> None:
        for tree in self.statement.groups:
            node = self.builder.node(tree)
            if node not in self.group_nodes:
                self.groupings.append(grouping(node, self.filters, self.refuse))
                self.group_nodes.append(node)
                self._limit(node.span)

    def _limit(self, span: Span) -> None:
        cells = cell_count(self.groupings)
        if cells > MAX_CELLS:
            remedy = "group by less, by a coarser CASE, or limit values with WHERE x IN (…)"
            what = f"the groups make {cells} cells, and at most {MAX_CELLS} are added up at once"
            self.refuse.unsupported(what, span, remedy)
        if cells << len(self.groupings) > MAX_LINES:
            what = f"the groups make {cells} cells in {len(self.groupings)} dimensions: too many marginals to look at"
            self.refuse.unsupported(what, span, "group by fewer expressions, or by coarser ones")
        if len(self.groupings) > MAX_GROUPINGS:
            what = f"at most {MAX_GROUPINGS} expressions make groups"
            self.refuse.unsupported(what, span, "group by less, or ask in several queries")

    def _type(self, node: Node, found: Grouping) -> str:
        column = self.union.table.entry.column(node.text) if node.op == "column" else None
        return column.type if column is not None and node.kind is Kind.INTEGER else found.type

    def _items(self) -> tuple[TableCall | None, list[tuple[str, Sized]]]:
        """The outputs; with a table statistic those beside it."""
        items, trees = self.statement.items, self.source.tree.expressions
        place = table_item(self.source, items, trees)
        if place is None:
            return None, [(i.name, self.cells.output(i.expression)) for i in items]
        span = items[place].span
        clauses = {"HAVING": self.statement.having, "ORDER BY": self.statement.order, "LIMIT": self.statement.limit}
        for word, found in clauses.items():
            if found is not None and found != ():
                self.refuse.unsupported(f"{word} does not go with a statistic's table", span, f"leave out {word}")
        call = table_call(self.source, items[place].expression, self.cells, self.filters)
        self.groupings += call.groupings
        self._limit(span)
        return call, [(i.name, self._beside(i)) for n, i in enumerate(items) if n != place]

    def _beside(self, item: Item) -> Sized:
        found = self.cells.group(item.expression)
        if found is None:
            what = "beside a statistic that gives a table only groups stand"
            self.refuse.unsupported(what, item.span, "ask for other aggregates in a query of their own")
        return found

    def _openings(self) -> tuple[Opening, ...]:
        """The openings of a cell, with terms that name features."""
        collector = self.collector
        features, places = tuple(collector.features[0]), [local.feature for local in collector.locals]
        everyone = tuple(dict.fromkeys((self.asker, *self.receivers)))
        found = []
        phases: tuple[tuple[Literal["count", "value"], dict[tuple[Term, ...], str]], ...] = (
            ("count", collector.counts),
            ("value", collector.values),
        )
        for phase, pieces in phases:
            for n, (terms, what) in enumerate(pieces.items()):
                own = tuple(Term(t.coef, "local", places[t.index]) for t in terms)
                bound = sum(abs(t.coef) * self._bound(features[t.index]) for t in own)
                found.append(Opening(f"{phase}.{n}", phase, own, everyone, bound, what))
        return tuple(found)

    def _bound(self, feature: Feature) -> int:
        """The public bound of a feature's sum over all holders."""
        return sum(e.distinct_keys * feature.per_key(e.rows_per_key) for e in self.union.entries)

    def _shape(self, made: UnionPlan) -> SumShape:
        """The integers of one holder, in the narrowest ring that holds every total."""
        bits = max(o.bound for o in made.values).bit_length() + 1
        ring = next((ring for ring in RINGS if bits <= ring), None)
        if ring is None:
            raise UsageError(
                f"a sum may take {bits} bits, and at most {RINGS[-1]} are added",
                code="too_wide",
                stage="plan",
                remedy="declare narrower ranges with `privcompute dataset edit NAME --range COL=LO:HI`",
            )
        per_unit = made.cells_per_unit
        counts = PER_COUNT * len(made.counts) * per_unit * made.units
        return SumShape(counts, (len(made.values) * per_unit,) * made.units, ring)

    def _quorum(self, wanted: int | None) -> int:
        """The fewest holders that may finish."""
        holders = len(self.union.entries)
        least = max(2, *(e.min_holders for e in self.union.entries))
        if wanted is None:
            return min(holders, max(least, Roster.threshold(holders)))
        if not least <= wanted <= holders:
            raise UsageError(
                f"a quorum of {wanted} is not between {least} and the {holders} holders of this union",
                code="bad_quorum",
                stage="plan",
                remedy=f"ask with --quorum from {least} to {holders}",
            )
        return wanted

    def _members(self, call: TableCall | None) -> tuple[Member, ...]:
        uses = self._uses(call)
        members = []
        for entry in self.union.entries:
            own = sorted({(self._spelled(entry, column), use) for _, column, use in uses})
            members.append(
                Member(
                    party=entry.party,
                    dataset=entry.name,
                    version=entry.version,
                    keys=entry.keys,
                    distinct_keys=entry.distinct_keys,
                    rows_per_key=entry.rows_per_key,
                    min_cell=entry.min_cell,
                    min_holders=entry.min_holders,
                    columns=tuple(sorted({column for column, _ in own})),
                    uses=tuple(own),
                )
            )
        return tuple(members)

    def _spelled(self, entry: DatasetEntry, name: str) -> str:
        found = entry.column(name)
        return name if found is None else found.name

    def _uses(self, call: TableCall | None) -> set[Use]:
        found = uses_of(self.filters, self.cells.arguments)
        products = uses_of((), self.cells.products)
        found |= {(side, column, "product" if use == "aggregate" else use) for side, column, use in products}
        for node in (*self.group_nodes, *(call.nodes if call else ())):
            found |= {(c.side, c.text, "group") for c in node.columns() if c.side is not None}
        return found
