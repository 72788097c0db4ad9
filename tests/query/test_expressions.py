"""Each supported function, operator and output form against DuckDB on the pooled tables, types included."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from support import query_ideal
from support.query_grammar import JOIN
from support.query_tables import World, world

from privcompute import query
from privcompute.errors import UsageError

NUMBERS = (
    "h.n",
    "h.n % 7",
    "MOD(h.big, 1000)",
    "ROUND(h.d)",
    "ROUND(h.d, 1)",
    "ROUND(h.f, 2)",
    "ROUND(h.n)",
    "ROUND(h.n / h.p, 1)",
    "FLOOR(h.d)",
    "CEIL(h.d)",
    "FLOOR(h.f)",
    "CEIL(h.n)",
    "ABS(h.d - 3.25)",
    "ABS(h.g - 50)",
    "h.d * h.d - h.d * 1.005",
    "GREATEST(h.n, h.d, 0)",
    "LEAST(h.f, h.n)",
    "GREATEST(h.d, h.p)",
    "NULLIF(h.n, 3)",
    "COALESCE(h.n, h.d, 0)",
    "COALESCE(h.f, -1)",
    "EXTRACT(MONTH FROM h.day) + EXTRACT(DOW FROM h.day)",
    "h.day - DATE '2010-01-01'",
    "(DATE '2024-12-31' - h.day) / 365.25",
    "LENGTH(h.region)",
    "CAST(h.f AS INTEGER)",
    "CAST(h.f AS DECIMAL(10,1))",
    "CAST(h.d AS BIGINT)",
    "CAST(h.flag AS INTEGER) * i.n",
    "CAST(h.n AS DOUBLE) / 3",
    "h.big * i.big",
    "h.n * i.d + i.n * h.d",
    "h.f * i.f - h.g * i.g",
    "h.n * (i.n + h.n)",
    "(h.n + i.n) * (h.n - i.n)",
    "(h.f - i.g) / (2 * i.p)",
    "-(h.n * i.n)",
    "CAST(h.n + i.n AS DOUBLE)",
    "CASE h.region WHEN 'north' THEN i.n WHEN 'south' THEN -i.d END",
    "CASE WHEN h.flag AND i.flag THEN h.n * i.n WHEN i.flag OR h.n > 3 THEN 1 ELSE i.d END",
    "CASE WHEN h.n > 0 THEN CASE WHEN i.n > 0 THEN i.d ELSE h.d END END",
    "ABS(CASE WHEN h.flag THEN h.n ELSE h.d END) * 2",
    "1.5",
    "2e0 * h.n",
)
CONDITIONS = (
    "h.n BETWEEN -10 AND 20",
    "h.n NOT BETWEEN -10 AND 20",
    "h.n NOT IN (1, 2, 3)",
    "h.n IS DISTINCT FROM 3",
    "h.n IS NOT DISTINCT FROM 3",
    "h.flag IS TRUE",
    "h.flag IS NOT TRUE",
    "h.flag IS NOT FALSE",
    "h.n IS NULL",
    "NOT (h.n IS NULL OR h.flag)",
    "h.region ILIKE 'N%'",
    "h.region NOT LIKE '%th'",
    "LOWER(UPPER(h.region)) || 'x' = 'northx'",
    "SUBSTRING(h.region, 1, 2) = 'it' OR LEFT(h.region, 1) = 'e' OR RIGHT(h.region, 2) = 'th'",
    "TRIM(h.region) <> 'south'",
    "h.day < '2016-03-01'",
    "h.day >= DATE '2012-01-01' AND h.day <= TIMESTAMP '2020-05-05 10:00:00'",
    "h.d * 3 + h.n >= 10.5",
    "h.d = 1.5 OR h.d < h.n",
    "h.n / 3 > 1.5",
    "h.f > h.d",
    "CASE WHEN h.flag THEN h.n > 0 ELSE h.d > 0 END",
    "COALESCE(h.flag, FALSE)",
    "LENGTH(h.region) = 5",
    "ABS(h.n) > 10 AND TRUE",
    "GREATEST(h.n, h.d) > 5",
)
OUTPUTS = (
    "SUM(h.n) / COUNT(*)",
    "SUM(h.n) * 100.0 / NULLIF(COUNT(h.n), 0)",
    "SUM(h.d) + COUNT(*) * 2",
    "SUM(h.d) * 1.25 - SUM(i.d)",
    "AVG(h.n) - AVG(i.n)",
    "ROUND(AVG(h.d), 2)",
    "ROUND(SUM(h.d), 1)",
    "ROUND(SUM(h.d))",
    "ABS(SUM(h.n) - SUM(i.n))",
    "-SUM(h.n * i.n)",
    "COALESCE(SUM(h.n) / NULLIF(COUNT(*) - COUNT(*), 0), -1)",
    "CAST(SUM(h.n) AS DOUBLE)",
    "COUNT(*) / (COUNT(*) - COUNT(*) + 2)",
    "SUM(h.flag)",
    "COUNT(DISTINCT (h.k1, h.k2)) * 3",
    "COUNT(h.region)",
    "COUNT(1)",
    "AVG(h.g)",
    "100 * SUM(CASE WHEN h.flag AND i.flag THEN 1 ELSE 0 END) / COUNT(*)",
)


@pytest.fixture(scope="module")
def here() -> World:
    return world(77, rows=150)


def check(here: World, sql: str) -> None:
    plan = query.plan(sql, here.entries, "hospital")
    transcript = query_ideal.run(here.connection, plan)
    result = query.finish(plan, transcript.opened["hospital"])
    oracle = here.connection.execute(sql)
    types = [str(d[1]) for d in oracle.description or ()]
    theirs = oracle.fetchall()[0]
    assert list(result.types) == types
    for name, mine, other in zip(result.columns, result.rows[0], theirs, strict=True):
        assert isinstance(mine, int | float | Decimal)
        assert abs(Fraction(mine) - Fraction(other)) <= result.error_bound[name], (mine, other)
        if isinstance(mine, int | Decimal):
            assert result.error_bound[name] == 0 or "CAST(h.f AS" in sql
            assert mine == other


@pytest.mark.parametrize("expression", NUMBERS)
def test_numbers(here: World, expression: str) -> None:
    check(here, f"SELECT SUM({expression}) AS s, AVG({expression}) AS a, COUNT({expression}) AS c {JOIN}")


@pytest.mark.parametrize("condition", CONDITIONS)
def test_conditions(here: World, condition: str) -> None:
    check(here, f"SELECT COUNT(*) AS n, SUM(i.n) AS s {JOIN} WHERE ({condition}) AND i.n > -40")
    check(here, f"SELECT SUM(CASE WHEN {condition} THEN i.n ELSE 1 END) AS s {JOIN}")


@pytest.mark.parametrize("output", OUTPUTS)
def test_outputs(here: World, output: str) -> None:
    check(here, f"SELECT {output} AS x {JOIN}")


def test_using_and_unqualified_names(here: World) -> None:
    sql = "SELECT COUNT(*) AS n FROM hospital.patients JOIN insurer.members USING (k1, k2) WHERE patients.n > 0"
    check(here, sql)
    check(here, sql.replace("patients.n", "hospital.patients.n"))


def test_a_key_that_using_merges_needs_no_qualifier(here: World) -> None:
    sql = "SELECT COUNT(DISTINCT (k1, k2)) AS n FROM hospital.patients h JOIN insurer.members i USING (k1, k2)"
    check(here, sql)
    check(here, sql.replace("(k1, k2)) AS", "(K2, h.k1)) AS"))
    with pytest.raises(UsageError, match="both tables have this column"):
        query.plan(f"SELECT COUNT(DISTINCT (k1, k2)) AS n {JOIN}", here.entries, "hospital")
    with pytest.raises(UsageError, match="both tables have this column"):
        query.plan(f"{sql} WHERE n > 3", here.entries, "hospital")


def test_the_days_between_dates_of_both_parties(here: World) -> None:
    with pytest.raises(UsageError, match="dates of both parties cannot be subtracted") as error:
        query.plan(f"SELECT SUM(h.day - i.day) AS x {JOIN}", here.entries, "hospital")
    written = error.value.remedy.split(": ", 1)[1].replace(".d ", ".day ")
    check(here, f"SELECT SUM({written}) AS x {JOIN}")


def test_an_unnamed_output_is_called_as_it_is_written(here: World) -> None:
    texts = ("-SUM(h.n)", "(SUM(h.n) + 1) / (COUNT(*) + 1)", "CAST(SUM(h.n) AS DOUBLE)", "COALESCE(SUM(h.n),  0)")
    plan = query.plan(f"SELECT {', '.join(texts)}, COUNT(*) AS n, COUNT(*) {JOIN}", here.entries, "hospital")
    assert [one.name for one in plan.outputs] == [*(" ".join(t.split()) for t in texts), "n", "COUNT(*)"]
