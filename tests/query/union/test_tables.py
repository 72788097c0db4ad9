"""OLS, TTEST, ANOVA, CHI2 and HISTOGRAM over several holders: published examples, DuckDB, small cells."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from support.query_tables import column
from support.union_world import POOLED, UnionWorld, local_sums, run, union_world, world_of
from support.worked_examples import LONGLEY, LONGLEY_CERTIFIED, NEIGHBOURHOODS, PLANTS, SLEEP

from privcompute.query.finish import Finished
from privcompute.query.union import finish_union, plan_union
from privcompute.tables import local_cells, open_source
from privcompute.tables.schema import Column, Kind

HOLDERS = ("ada", "bea", "cyd")
DOSE = Column("drug", Kind.TEXT, "VARCHAR", None, None, None, "declared", False, ("first", "second"))
GROUP = Column("plant", Kind.TEXT, "VARCHAR", None, None, None, "declared", False, ("ctrl", "trt1", "trt2"))
HOURS = column("hours", Kind.DECIMAL, "DECIMAL(5,1)", "-24", "24", scale=1, nullable=False)
WEIGHT = column("weight", Kind.REAL, "DOUBLE", "0", "50", nullable=False)


def spread_out(rows: Sequence[dict[str, Any]], columns: tuple[Column, ...], minimum: int = 1) -> UnionWorld:
    """The rows dealt to three holders, each row a person."""
    tables = {name: [{"id": n, **row} for n, row in enumerate(rows[i::3])] for i, name in enumerate(HOLDERS)}
    return world_of(tables, minimum=minimum, columns=columns)


def ask(here: UnionWorld, sql: str) -> Finished:
    plan = plan_union(sql, here.entries, asker="ada")
    return finish_union(plan, run(here, plan))


def within(found: Finished, column_name: str, row: int, published: str, digits: int) -> bool:
    value = found.rows[row][found.columns.index(column_name)]
    assert isinstance(value, float)
    return abs(Fraction(value) - Fraction(published)) <= Fraction(1, 2 * 10**digits) + found.error_bound[column_name]


def test_least_squares_of_longley_over_three_holders() -> None:
    names = ("employed", "deflator", "gnp", "unemployed", "forces", "population", "year")
    columns = tuple(
        column(name, Kind.DECIMAL, "DECIMAL(9,1)", "0", "1000000", scale=1, nullable=False) for name in names
    )
    here = spread_out([dict(zip(names, row, strict=True)) for row in LONGLEY], columns)
    found = ask(here, f"SELECT OLS({', '.join(names)}) FROM UNION(people)")
    assert found.columns == ("term", "estimate", "std_error", "t", "p")
    assert [row[0] for row in found.rows] == ["intercept", *names[1:]]
    for row, (estimate, error) in zip(found.rows, LONGLEY_CERTIFIED, strict=True):
        for mine, certified in ((row[1], estimate), (row[2], error)):
            assert isinstance(mine, float)
            assert abs(Fraction(mine) - Fraction(certified)) <= abs(Fraction(certified)) / 10**13


def test_welch_of_sleep() -> None:
    rows = [{"hours": h, "drug": d} for d, hours in zip(("first", "second"), SLEEP, strict=True) for h in hours]
    found = ask(spread_out(rows, (HOURS, DOSE)), "SELECT TTEST(hours, drug) FROM UNION(people)")
    assert found.rows[0][:2] == ("first", 10)
    assert found.rows[0][3:5] == ("second", 10)
    assert within(found, "t", 0, "-1.8608", 4)
    assert within(found, "df", 0, "17.776", 3)
    assert within(found, "p", 0, "0.07939", 5)
    assert within(found, "difference", 0, "-1.58", 10)
    assert set(found.error_bound) == set(found.columns) - {"level_1", "level_2"}


def test_anova_of_plants_carried_as_reals() -> None:
    labels = ("ctrl", "trt1", "trt2")
    rows = [{"weight": float(w), "plant": p} for p, column_ in zip(labels, PLANTS, strict=True) for w in column_]
    found = ask(spread_out(rows, (WEIGHT, GROUP)), "SELECT ANOVA(weight, plant) FROM UNION(people)")
    assert found.rows[0][1:3] == (2, 27)
    assert found.rows[0][4] == 30
    assert within(found, "f", 0, "4.8461", 4)
    assert within(found, "p", 0, "0.01591", 5)
    assert 0 < found.error_bound["f"] < Fraction(1, 10**6)


def test_chi_square_of_neighbourhoods_and_a_small_cell() -> None:
    area = Column("area", Kind.TEXT, "VARCHAR", None, None, None, "declared", False, ("a", "b", "c", "d"))
    work = Column("work", Kind.TEXT, "VARCHAR", None, None, None, "declared", False, ("blue", "none", "white"))
    rows = [
        {"work": w, "area": a}
        for w, counts in zip(("white", "blue", "none"), NEIGHBOURHOODS, strict=True)
        for a, count in zip("abcd", counts, strict=True)
        for _ in range(count)
    ]
    sql = "SELECT CHI2(work, area) FROM UNION(people)"
    found = ask(spread_out(rows, (area, work), minimum=20), sql)
    assert found.rows[0][1] == 6
    assert found.rows[0][3] == 650
    assert within(found, "chi2", 0, "24.5712", 4)
    assert within(found, "p", 0, "0.0004098", 7)
    # The smallest cell has 20 people: one more wanted, and nothing of the table is shown.
    few = ask(spread_out(rows, (area, work), minimum=21), sql)
    assert few.rows == ()
    assert few.suppressed_cells == 1


@pytest.fixture(scope="module")
def here() -> UnionWorld:
    return union_world(5, holders=4, rows=40, cap=2)


@pytest.mark.parametrize(
    ("x", "edges"),
    [
        ("n", "[-20, 0, 20]"),
        ("n", "[20, -20, 20, 0]"),
        ("n", "[60]"),
        ("d", "[-500.5, 0, 250.25]"),
        ("f", "[0, 25, 0.5, 100]"),
        ("f", "[-7.75, 119]"),
        ("day", "['2012-01-01', '2018-06-30']"),
    ],
)
def test_histogram_is_duckdbs(here: UnionWorld, x: str, edges: str) -> None:
    found = ask(here, f"SELECT HISTOGRAM({x}, {edges}) FROM UNION(people)")
    typed = edges.replace("'2", "DATE '2")
    theirs = here.connection.execute(f"SELECT histogram({x}, {typed}) FROM {POOLED}").fetchall()[0][0]
    # Its last bin, of what is above all edges, is there only with somebody in it, under the type's largest value.
    ordered = sorted(theirs.items())
    named = len({e.strip() for e in edges.strip("[]").split(",")})
    assert [row[1] for row in found.rows] == [count for _, count in ordered if count]
    assert [row[0] for row in found.rows if row[0] is not None] == [e for e, count in ordered[:named] if count]
    assert found.suppressed_cells == named + 1 - len(found.rows)
    assert found.columns == ("bin", "count")


def test_a_table_for_each_group(here: UnionWorld) -> None:
    for call, width in (
        ("OLS(d, n, f)", 3),
        ("TTEST(f, n > 0)", 1),
        ("ANOVA(d, region)", 1),
        ("CHI2(n > 0, flag)", 1),
    ):
        whole = ask(
            here,
            f"SELECT flag, {call} FROM UNION(people) WHERE flag IS NOT NULL GROUP BY flag".replace("flag)", "p > 5)"),
        )
        for value in (False, True):
            text = f"SELECT {call} FROM UNION(people) WHERE flag = {value}".replace("flag)", "p > 5)")
            one = ask(here, text)
            mine = [row[1:] for row in whole.rows if row[0] is value]
            assert len(mine) == width
            assert mine == list(one.rows)


def test_the_real_pass_over_a_table_gives_the_same_sums(here: UnionWorld, tmp_path: Path) -> None:
    """What DuckDB says of the features' definitions, `local_cells` says too."""
    questions = (
        "SELECT region, n >= 10, COUNT(*), SUM(d), AVG(f), CORR(f, g) FROM UNION(people) WHERE p > 2 GROUP BY 1, 2",
        "SELECT OLS(f, n, flag) FROM UNION(people)",
        "SELECT HISTOGRAM(g, [10, 50]) FROM UNION(people) WHERE day > DATE '2012-01-01'",
        "SELECT CASE WHEN n < 0 THEN 'low' END AS band, VAR_SAMP(big) FROM UNION(people) GROUP BY band",
        "SELECT EXTRACT(MONTH FROM day), COUNT(g) FROM UNION(people) GROUP BY 1",
        "SELECT day, COUNT(*) FROM UNION(people) WHERE day IN ('2015-05-15', '2011-01-11') GROUP BY day",
    )
    for party in here.parties:
        here.connection.execute(
            f"COPY (SELECT * EXCLUDE holder FROM pooled WHERE holder = '{party}') TO '{tmp_path / party}.parquet'"
        )
    for sql in questions:
        plan = plan_union(sql, here.entries, asker="ada")
        wanted = local_sums(here, plan)
        for member in plan.members:
            entry = here.entries[f"{member.party}.people"]
            found = local_cells(
                open_source(str(tmp_path / f"{member.party}.parquet")),
                entry.keys,
                plan.groupings,
                plan.features,
                plan.selections,
                columns=entry.columns,
                rows_per_key=entry.rows_per_key,
            )
            assert found.sums == wanted[member.party].sums, sql
            assert len(found.partitions) == len(plan.selections)
