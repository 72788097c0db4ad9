"""From SQL and two public catalogue entries to the plan; pure and deterministic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from privcompute.errors import PrivacyError, UsageError
from privcompute.he import CrossShape, cross_cost
from privcompute.query import collect, report, rules
from privcompute.query.build import Builder
from privcompute.query.collect import Collector
from privcompute.query.expr import Node
from privcompute.query.lower import Condition, Lowering
from privcompute.query.outer import OuterBuilder
from privcompute.query.parse import Statement, read
from privcompute.query.plan import Kernel, Opening, Output, Plan, Side
from privcompute.query.source import Source
from privcompute.query.uses import uses_of
from privcompute.tables.catalogue import DatasetEntry

REVEALS = ("nothing", "size", "matches")
BUILT = "matches"
MAX_PRODUCTS = 256


def plan(
    sql: str,
    entries: Mapping[str, DatasetEntry],
    asker: str,
    receivers: Sequence[str] = (),
    reveal: str | None = None,
) -> Plan:
    """The plan of a query.

    Args:
        sql: PostgreSQL's syntax, the subset of docs/sql.md.
        entries: The known datasets by "party.dataset".
        asker: The party that asks.
        receivers: Who gets the result; the asker if empty.
        reveal: What the join may tell; None for the most private mode that is built and both owners allow.

    Raises:
        UsageError: The query is outside what can run; nothing was sent. The text is marked.
        PrivacyError: A key is used as a value, or an owner does not allow the reveal mode.
    """
    try:
        return _plan(sql, entries, asker, tuple(dict.fromkeys(receivers)) or (asker,), reveal)
    except RecursionError:
        raise UsageError("the query is nested too deeply", code="unsupported_sql", stage="plan") from None


def _plan(
    sql: str, entries: Mapping[str, DatasetEntry], asker: str, receivers: tuple[str, ...], reveal: str | None
) -> Plan:
    source, statement = read(sql, entries)
    pair = (statement.tables[0].entry, statement.tables[1].entry)
    mode = _reveal(pair, reveal)
    builder, lowering = Builder(source, statement.tables), Lowering(source.refuse)
    filters, base = _where(source, statement, builder)
    collector = Collector(pair, base, source.refuse)
    caps = pair[0].rows_per_key * pair[1].rows_per_key
    max_rows = collector.matches * caps
    outer = OuterBuilder(builder, lowering, collector, max_rows)
    sized = [(item.name, outer.build(item.expression)) for item in statement.items]
    if not collector.counts:
        span = statement.items[0].span if statement.items else source.span(None)
        source.refuse.unsupported("there is no aggregate", span, "ask for COUNT(*), SUM(x), AVG(x)")
    sides = _sides(statement, collector, builder, filters, outer.arguments)
    holders = (pair[0].party, pair[1].party)
    openings = collect.openings(collector, sides, holders, receivers)
    index = {one.terms: n for n, one in enumerate(openings)}
    outputs = tuple(Output(name, one.numbered(index, caps)) for name, one in sized)
    kernel = _kernel(collector, sides, openings)
    bits = max(_bits(o.bound) for o in openings) if kernel is None else kernel.modulus_bits
    minimum = max(e.min_cell for e in pair)
    disclosure = report.disclosure(statement, sides, openings, receivers, asker, mode, minimum)
    return Plan(
        sql=statement.canonical,
        sides=sides,
        products=tuple(collector.products),
        locals=tuple(collector.locals),
        openings=openings,
        outputs=outputs,
        minimum=minimum,
        reveal=mode,
        receivers=receivers,
        asker=asker,
        max_rows=max_rows,
        modulus_bits=bits,
        kernel=kernel,
        disclosure=disclosure,
    )


def _reveal(entries: tuple[DatasetEntry, DatasetEntry], wanted: str | None) -> str:
    if wanted is not None and wanted not in REVEALS:
        raise UsageError(
            f"there is no reveal mode {wanted[:20]!r}",
            code="usage",
            remedy=f"one of {', '.join(REVEALS)}",
            stage="plan",
        )
    if wanted in ("nothing", "size"):
        raise UsageError(
            f"a join that reveals {'nothing' if wanted == 'nothing' else 'only its size'} is not built yet",
            code="not_yet",
            remedy="if both owners allow matches, ask with --reveal matches",
            stage="plan",
        )
    for entry in entries:
        if entry.reveal != BUILT:
            raise PrivacyError(
                f"the owner of {entry.party}.{entry.name} lets the join reveal {entry.reveal!r} at most; "
                f"of the modes, {BUILT!r} is built",
                code="reveal_not_allowed",
                party=entry.party,
                stage="plan",
                remedy=f"{entry.party} runs `privcompute dataset edit {rules.shell(entry.name)} --reveal {BUILT}`",
            )
    return BUILT


def _where(
    source: Source, statement: Statement, builder: Builder
) -> tuple[list[Node], tuple[tuple[Condition, ...], tuple[Condition, ...]]]:
    base: tuple[list[Condition], list[Condition]] = ([], [])
    nodes = []
    for tree in statement.conditions:
        node = builder.boolean(tree)
        if len(node.sides) > 1:
            remedy = "WHERE is an AND of conditions over columns of one party each; "
            remedy += "an OR of both may stand in an aggregate's CASE"
            source.refuse.unsupported("this condition mixes columns of both parties", node.span, remedy)
        nodes.append(node)
        if node.op == "boolean" and node.text == "true":
            continue
        side = next(iter(node.sides), 0)
        condition = Condition(node)
        if condition not in base[side]:
            base[side].append(condition)
    return nodes, (tuple(base[0]), tuple(base[1]))


def _sides(
    statement: Statement, collector: Collector, builder: Builder, filters: list[Node], arguments: list[Node]
) -> tuple[Side, Side]:
    uses = uses_of(filters, arguments)
    made = []
    for n, table in enumerate(statement.tables):
        entry = table.entry
        keys = tuple(pair[n] for pair in statement.keys)
        types = dict(zip(entry.keys, entry.key_types, strict=True))
        own = tuple(sorted((column, use) for side, column, use in uses if side == n))
        made.append(
            Side(
                party=entry.party,
                dataset=entry.name,
                version=entry.version,
                keys=keys,
                key_types=tuple(types[k] for k in keys),
                distinct_keys=entry.distinct_keys,
                rows_per_key=entry.rows_per_key,
                columns=tuple(sorted({column for column, _ in own})),
                features=tuple(collector.features[n]),
                selections=tuple(collector.selections[n]),
                levels=tuple(collector.levels[n]),
                uses=own,
            )
        )
    return made[0], made[1]


def _bits(bound: int) -> int:
    # A signed integer of that size, and one bit so that its shares wrap at most once.
    return bound.bit_length() + 2


def _kernel(collector: Collector, sides: tuple[Side, Side], openings: tuple[Opening, ...]) -> Kernel | None:
    products = list(collector.products)
    if not products:
        return None
    if len(products) > MAX_PRODUCTS:
        raise UsageError(
            f"the query needs {len(products)} inner products; at most {MAX_PRODUCTS} are computed at once",
            code="too_many_products",
            stage="plan",
            remedy="ask for fewer aggregates at once, or for CASE with fewer branches",
        )
    first = tuple(sorted({i for i, _ in products}))
    second = tuple(sorted({j for _, j in products}))
    columns = (first, second)
    bounds = tuple(tuple(max(1, collect.per_key(sides[n], i)) for i in columns[n]) for n in (0, 1))
    entries = tuple((first.index(i), second.index(j)) for i, j in products)
    largest = max(collector.matches * bounds[0][i] * bounds[1][j] for i, j in entries)
    bits = max(_bits(largest), *(_bits(o.bound) for o in openings))
    owner = _key_owner(bounds, entries, collector.matches, bits)
    return Kernel(owner, columns, (bounds[0], bounds[1]), entries, collector.matches, bits)


def _key_owner(bounds: tuple[tuple[int, ...], ...], entries: tuple[tuple[int, int], ...], rows: int, bits: int) -> int:
    """The side whose key makes the run cheaper.

    Raises:
        UsageError: `too_wide` or `too_many_products` if no admissible parameters carry the products.
    """
    first = CrossShape(rows, bounds[0], bounds[1], entries, bits)
    return 0 if cross_cost(first).weight <= cross_cost(first.swapped()).weight else 1
