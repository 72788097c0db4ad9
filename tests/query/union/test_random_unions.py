"""Random questions over random holders: what opens and is finished equals DuckDB and exact fractions on all rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, getcontext
from fractions import Fraction

import duckdb
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.query_grammar import Cond, Expr, Grammar
from support.query_tables import Row
from support.union_world import POOLED, UnionWorld, run, union_world

from privcompute.errors import UsageError
from privcompute.query.finish import Value
from privcompute.query.union import UnionPlan, check_union_rules, finish_union, plan_union
from privcompute.tables.expressions import columns_of

FROM = "FROM UNION(people) h"
WORLDS = [
    union_world(seed, holders=3 + seed % 4, cap=1 + seed % 2, minimum=1 + seed % 3, min_holders=1 + seed % 2)
    for seed in range(6)
]
GROUPS: dict[str, Callable[[Row], Value]] = {
    "h.region": lambda r: r["region"],
    "h.flag": lambda r: r["flag"],
    "h.n >= 10": lambda r: None if r["n"] is None else r["n"] >= 10,
    "CASE WHEN h.n < 0 THEN 'low' WHEN h.n < 25 THEN 'mid' END": lambda r: (
        None if r["n"] is None or r["n"] >= 25 else "low" if r["n"] < 0 else "mid"
    ),
    "EXTRACT(MONTH FROM h.day)": lambda r: None if r["day"] is None else int(r["day"][5:7]),
}


@dataclass(frozen=True)
class Wanted:
    """An output: SQL, the exact value over the rows (its square for a root), and how it is compared."""

    sql: str
    value: Callable[[list[Row]], Fraction | None]
    how: str  # "duckdb": bound holds for DuckDB's too; "exact": for the exact value; "root": for the root of it


def plain(grammar: Grammar) -> Wanted:
    """COUNT, SUM or AVG."""
    kind = grammar.pick("count*", "count", "sum", "sum", "avg")
    if kind == "count*":
        return Wanted("COUNT(*)", lambda rows: Fraction(len(rows)), "duckdb")
    x = grammar.number(0, int(grammar.rng.integers(0, 3)))

    def known(rows: list[Row]) -> list[Fraction]:
        return [v for row in rows if (v := x.value((row, row))) is not None]

    if kind == "count":
        return Wanted(f"COUNT({x.sql})", lambda rows: Fraction(len(known(rows))), "duckdb")
    if kind == "sum":
        return Wanted(f"SUM({x.sql})", lambda rows: sum(known(rows), Fraction(0)) if known(rows) else None, "duckdb")
    return Wanted(f"AVG({x.sql})", lambda rows: mean(known(rows)), "duckdb")


def mean(values: Sequence[Fraction]) -> Fraction | None:
    return sum(values, Fraction(0)) / len(values) if values else None


def centred(xs: Sequence[Fraction], ys: Sequence[Fraction]) -> Fraction:
    a, b = mean(xs) or Fraction(0), mean(ys) or Fraction(0)
    return sum(((x - a) * (y - b) for x, y in zip(xs, ys, strict=True)), Fraction(0))


def over(top: Fraction, bottom: Fraction | int) -> Fraction | None:
    return top / bottom if bottom else None


def spread(grammar: Grammar) -> Wanted:
    """A statistic of one or two numbers."""
    y, x = number(grammar), number(grammar)

    def pairs(rows: list[Row]) -> tuple[list[Fraction], list[Fraction]]:
        both = [(a, b) for r in rows if (a := y.value((r, r))) is not None and (b := x.value((r, r))) is not None]
        return [a for a, _ in both], [b for _, b in both]

    def one(freedom: int) -> Callable[[list[Row]], Fraction | None]:
        def value(rows: list[Row]) -> Fraction | None:
            ys = [v for r in rows if (v := y.value((r, r))) is not None]
            return over(centred(ys, ys), max(0, len(ys) - freedom))

        return value

    def two(f: Callable[[list[Fraction], list[Fraction]], Fraction | None]) -> Callable[[list[Row]], Fraction | None]:
        return lambda rows: f(*pairs(rows))

    def slope(a: list[Fraction], b: list[Fraction]) -> Fraction | None:
        return over(centred(a, b), centred(b, b))

    def line(a: list[Fraction], b: list[Fraction]) -> Fraction | None:
        s = slope(a, b)
        return None if s is None else (mean(a) or 0) - s * (mean(b) or 0)

    def squared(a: list[Fraction], b: list[Fraction]) -> Fraction | None:
        if not centred(b, b):
            return None
        return over(centred(a, b) ** 2, centred(a, a) * centred(b, b)) if centred(a, a) else Fraction(1)

    options = {
        "VAR_SAMP": ("exact", one(1)),
        "VARIANCE": ("exact", one(1)),
        "VAR_POP": ("exact", one(0)),
        "STDDEV": ("root", one(1)),
        "STDDEV_SAMP": ("root", one(1)),
        "STDDEV_POP": ("root", one(0)),
        "COVAR_SAMP": ("exact", two(lambda a, b: over(centred(a, b), max(0, len(a) - 1)))),
        "COVAR_POP": ("exact", two(lambda a, b: over(centred(a, b), len(a)))),
        "CORR": ("signed root", two(lambda a, b: signed(a, b))),
        "REGR_COUNT": ("duckdb", two(lambda a, b: Fraction(len(a)))),
        "REGR_AVGX": ("exact", two(lambda a, b: mean(b))),
        "REGR_AVGY": ("exact", two(lambda a, b: mean(a))),
        "REGR_SXX": ("exact", two(lambda a, b: centred(b, b))),
        "REGR_SYY": ("exact", two(lambda a, b: centred(a, a))),
        "REGR_SXY": ("exact", two(lambda a, b: centred(a, b))),
        "REGR_SLOPE": ("exact", two(slope)),
        "REGR_INTERCEPT": ("exact", two(line)),
        "REGR_R2": ("exact", two(squared)),
    }
    name = grammar.pick(*options)
    how, value = options[name]
    arguments = y.sql if "VAR_" in name[:4] or name[:3] in ("VAR", "STD") else f"{y.sql}, {x.sql}"
    return Wanted(f"{name}({arguments})", value, how)


def signed(a: list[Fraction], b: list[Fraction]) -> Fraction | None:
    """The square of the correlation with its sign."""
    bottom = centred(a, a) * centred(b, b)
    top = centred(a, b)
    return over(top * abs(top), bottom)


def number(grammar: Grammar) -> Expr:
    """A number, now and then of some shape."""
    return grammar.number(0, int(grammar.rng.integers(0, 2)))


def root(square: Fraction) -> Fraction:
    """The root to 60 digits, with the sign of the square."""
    getcontext().prec = 60
    size = abs(square)
    found = (Decimal(size.numerator) / Decimal(size.denominator)).sqrt()
    return Fraction(found) * (1 if square >= 0 else -1)


def compare(wanted: Wanted, mine: Value, theirs: object, bound: Fraction, rows: list[Row]) -> None:
    exact = wanted.value(rows)
    if exact is None or mine is None:
        assert exact is None, wanted.sql
        assert mine is None, wanted.sql
        return
    assert isinstance(mine, int | float | Decimal), wanted.sql
    if "root" in wanted.how:
        exact = root(exact)
        bound += Fraction(1, 10**50)
    assert abs(Fraction(mine) - exact) <= bound, (wanted.sql, mine, float(exact), float(bound))
    # A bound that says nothing would pass everything. A year alone has a range of millions, and 40 bits over it; so has
    # `big` one of billions, of which the sum may be next to nothing.
    wide = any(word in wanted.sql for word in ("REGR", "CORR", "EXTRACT", ".big"))
    assert wide or bound <= Fraction(1, 10**5) * (1 + abs(exact)), (wanted.sql, float(bound))
    assert isinstance(theirs, int | float | Decimal), wanted.sql
    if wanted.how == "duckdb":
        if isinstance(mine, float):
            assert abs(Fraction(theirs) - Fraction(mine)) <= bound, (wanted.sql, mine, theirs, float(bound))
        else:
            assert bound == 0, wanted.sql
            assert mine == theirs, wanted.sql
    elif math.isfinite(float(theirs)) and abs(exact) > Fraction(1, 10**6):
        assert math.isclose(float(mine), float(theirs), rel_tol=1e-4, abs_tol=1e-4), (wanted.sql, mine, theirs)


def check(here: UnionWorld, rng: np.random.Generator, outputs: list[Wanted], filters: list[Cond]) -> str:
    groups = [list(GROUPS)[n] for n in rng.permutation(len(GROUPS))[: int(rng.integers(0, 3))]]
    where = f" WHERE {' AND '.join(f.sql for f in filters)}" if filters else ""
    tail = f"{where} GROUP BY {', '.join(groups)}" if groups else where
    items = [*groups, *(o.sql for o in outputs)]
    names = ", ".join(f"{text} AS c{n}" for n, text in enumerate(items))
    sql = f"SELECT {names} {FROM}{tail}"
    try:
        plan: UnionPlan = plan_union(sql, here.entries, asker="ada")
    except UsageError as error:
        fair = error.code == "too_wide" or any(t in str(error) for t in ("constant for any data", "too many"))
        return error.code if fair else f"refused: {sql}: {error}"
    check_union_rules(plan, here.entries)
    pieces = [f.sql for f in plan.features] + [f.where for f in plan.features] + [g.sql for g in plan.groupings]
    named = set().union(
        *(columns_of(text) for text in (*pieces, *plan.selections, *(level.sql for level in plan.levels)))
    )
    assert all(named <= set(member.columns) for member in plan.members), sql
    totals = run(here, plan)
    try:
        result = finish_union(plan, totals)
    except UsageError as error:
        return error.code if error.code == "ill_conditioned" else f"not finished: {sql}: {error}"
    assert len(result.rows) + result.suppressed_cells == plan.units
    try:
        pooled = here.connection.execute(sql.replace("UNION(people)", POOLED)).fetchall()
    except duckdb.OutOfRangeException:
        return "too_wide"  # a product of whole numbers beyond 64 bits, which we add up
    theirs = {tuple(row[: len(groups)]): row for row in pooled}
    selected = [row for row in here.pooled() if all(f.value((row, row)) for f in filters)]
    for row in result.rows:
        key = row[: len(groups)]
        rows = [r for r in selected if tuple(GROUPS[g](r) for g in groups) == key]
        for n, wanted in enumerate(outputs, start=len(groups)):
            compare(wanted, row[n], theirs[key][n], result.error_bound.get(f"c{n}", Fraction(0)), rows)
    return "equal" if result.rows else "suppressed"


ENDS: list[str] = []


@given(seed=st.integers(0, 2**31))
@settings(max_examples=80)
def test_random_questions_over_a_union(seed: int) -> None:
    rng = np.random.default_rng(seed)
    grammar = Grammar(rng)
    outputs = [plain(grammar) if rng.random() < 0.5 else spread(grammar) for _ in range(int(rng.integers(1, 4)))]
    filters = [grammar.condition(0, 2) for _ in range(int(rng.integers(0, 2)))]
    end = check(WORLDS[seed % len(WORLDS)], rng, outputs, filters)
    assert end in ("equal", "suppressed", "too_wide", "unsupported_sql", "ill_conditioned"), end
    ENDS.append(end)


def test_most_of_these_questions_were_answered() -> None:
    assert ENDS.count("equal") > len(ENDS) // 3, {end: ENDS.count(end) for end in set(ENDS)}
