"""Thousands of random queries: the opened integers give what DuckDB and exact fractions give."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from support import query_ideal
from support.query_grammar import JOIN, Aggregate, Cond, Grammar
from support.query_tables import World, world

from privcompute import query
from privcompute.errors import UsageError

WORLDS = 20
QUERIES = 100


def draw(grammar: Grammar) -> tuple[str, list[Aggregate], list[Cond]]:
    outputs = [grammar.aggregate() for _ in range(int(grammar.rng.integers(1, 4)))]
    filters = [grammar.condition(int(grammar.rng.integers(0, 2)), 2) for _ in range(int(grammar.rng.integers(0, 3)))]
    where = f" WHERE {' AND '.join(f.sql for f in filters)}" if filters else ""
    return f"SELECT {', '.join(o.sql for o in outputs)} {JOIN}{where}", outputs, filters


def check(here: World, sql: str, outputs: list[Aggregate], filters: list[Cond]) -> str:
    """Compare one query with both oracles; says how it ended."""
    try:
        plan = query.plan(sql, here.entries, "insurer")
    except UsageError as error:
        fair = error.code == "too_wide" or "constant for any data" in str(error) or "too many" in str(error)
        return error.code if fair else f"refused: {sql}: {error}"
    transcript = query_ideal.run(here.connection, plan)
    for opening in plan.openings:
        for values in transcript.opened.values():
            assert abs(values.get(opening.name, 0)) <= opening.bound, sql
    result = query.finish(plan, None if transcript.suppressed else transcript.opened["insurer"])
    if transcript.suppressed:
        assert result.rows == ()
        assert result.suppressed_cells == 1
        return "suppressed"
    pairs = [p for p in here.joined() if all(f.value(p) for f in filters)]
    oracle = here.connection.execute(sql)
    types = [str(d[1]) for d in oracle.description or ()]
    theirs = oracle.fetchall()[0]
    for n, output in enumerate(outputs):
        mine, bound, exact = result.rows[0][n], result.error_bound[result.columns[n]], output.value(pairs)
        assert isinstance(mine, int | float | Decimal), sql
        assert exact is not None, sql
        assert result.types[n] == types[n], (sql, result.types[n], types[n])
        assert abs(Fraction(mine) - exact) <= bound, (sql, mine, float(exact), float(bound))
        if output.real:
            assert isinstance(mine, float)
            assert math.isfinite(mine)
            assert abs(Fraction(theirs[n]) - Fraction(mine)) <= bound, (sql, mine, theirs[n], float(bound))
            # A bound that says nothing would pass everything: it stays far below what the numbers can be.
            assert bound <= Fraction(1, 10**9) * (1 + plan.max_rows * plan.outputs[n].expression.row_size), sql
        else:
            assert isinstance(mine, int | Decimal)
            assert bound == 0
            assert mine == theirs[n], sql
    return "equal"


@pytest.mark.parametrize("seed", range(WORLDS))
def test_random_plans_open_what_duckdb_computes(seed: int) -> None:
    here = world(seed, rows=30, cap=1 if seed % 3 == 0 else 3)
    grammar = Grammar(np.random.default_rng(1000 + seed))
    ends = [check(here, *draw(grammar)) for _ in range(QUERIES)]
    assert {e for e in ends if e not in ("equal", "suppressed", "too_wide", "unsupported_sql")} == set()
    assert ends.count("equal") > QUERIES // 3, {e: ends.count(e) for e in set(ends)}
