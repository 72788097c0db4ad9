"""However a column is dressed in a question, the question is held to its grade: aliases, casts, CASE, NULL tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from support import query_tables, union_world

from privcompute.errors import PrivacyError, UsageError
from privcompute.query import check_rules, plan
from privcompute.query.union import check_union_rules, plan_union
from privcompute.tables.catalogue import DatasetEntry

FROM = "FROM hospital.patients p JOIN insurer.members m ON p.k1 = m.k1 AND p.k2 = m.k2"
JOINS = [
    "SELECT SUM(p.n) AS harmless {from_}",
    'SELECT SUM(p."n") {from_}',
    "SELECT SUM(P.N) {from_}",
    "SELECT SUM(hospital.patients.n) FROM hospital.patients JOIN insurer.members m USING (k1, k2)",
    "SELECT SUM(n) {from_}",
    "SELECT COUNT(p.n) {from_}",
    "SELECT COUNT(*) FILTER (WHERE p.n > 3) {from_}",
    "SELECT SUM(CAST(p.n AS DOUBLE)) {from_}",
    "SELECT SUM(p.n::DECIMAL(18, 2)) {from_}",
    "SELECT SUM((((p.n)))) {from_}",
    "SELECT SUM(-p.n) {from_}",
    "SELECT SUM(p.n * 0) {from_}",
    "SELECT SUM(p.n - p.n) {from_}",
    "SELECT SUM(ABS(p.n)) {from_}",
    "SELECT SUM(LEAST(p.n, 1)) {from_}",
    "SELECT SUM(m.g * p.n) {from_}",
    "SELECT SUM(CASE WHEN p.n > 3 THEN 1 ELSE 0 END) {from_}",
    "SELECT SUM(CASE WHEN p.n IS NULL THEN 1 ELSE 0 END) {from_}",
    "SELECT SUM(CASE WHEN FALSE THEN p.n ELSE 1 END) {from_}",
    "SELECT SUM(CASE WHEN m.g > 0 THEN p.n ELSE 0 END) {from_}",
    "SELECT SUM(CASE p.n WHEN 3 THEN 1 ELSE 0 END) {from_}",
    "SELECT SUM(COALESCE(p.n, 0)) {from_}",
    "SELECT SUM(NULLIF(p.n, 3)) {from_}",
    "SELECT COUNT(*) {from_} WHERE p.n > 3",
    "SELECT COUNT(*) {from_} WHERE NOT p.n > 3",
    "SELECT COUNT(*) {from_} WHERE p.n > 3 OR TRUE",
    "SELECT COUNT(*) {from_} WHERE p.n = p.n",
    "SELECT COUNT(*) {from_} WHERE p.n IS NOT NULL",
    "SELECT COUNT(*) {from_} WHERE p.n BETWEEN 1 AND 3",
    "SELECT COUNT(*) {from_} WHERE p.n IN (1, 2)",
    "SELECT COUNT(*) {from_} WHERE p.n + p.d > 3",
    "SELECT COUNT(*) {from_} WHERE EXISTS (SELECT 1 FROM hospital.patients q WHERE q.n > 3)",
    "SELECT COUNT(*) {from_} AND p.n > 3",
    "SELECT AVG(p.d) / SUM(p.n) {from_}",
    "SELECT SUM(p.d) {from_} HAVING SUM(p.n) > 3",
    "SELECT SUM(p.d) {from_} ORDER BY SUM(p.n)",
    "SELECT SUM(p.d) {from_} GROUP BY p.n",
    "SELECT SUM(p.d) {from_} GROUP BY p.n > 3",
    "SELECT SUM(p.d), MAX(p.n) {from_}",
    "SELECT SUM(p.d) OVER (ORDER BY p.n) {from_}",
    "SELECT COUNT(DISTINCT p.n) {from_}",
    "SELECT CORR(p.n, m.g), VAR_SAMP(p.d) {from_}",
    "SELECT OLS(m.g, p.n) {from_}",
    "SELECT * {from_}",
    "SELECT p.* {from_}",
    "SELECT SUM(x) FROM (SELECT p.n AS x {from_})",
    "WITH q AS (SELECT n AS x, k1 FROM hospital.patients) SELECT SUM(q.x) FROM q JOIN insurer.members m USING (k1)",
    "SELECT SUM(p.d) {from_} UNION ALL SELECT SUM(p.n) {from_}",
]
UNIONS = [
    "SELECT SUM({c}) AS harmless FROM UNION(people)",
    'SELECT SUM("{c}") FROM UNION(people)',
    "SELECT COUNT({c}) FROM UNION(people)",
    "SELECT SUM(CAST({c} AS DOUBLE)) FROM UNION(people)",
    "SELECT SUM({c} * {c}) FROM UNION(people)",
    "SELECT SUM({c} * 0) FROM UNION(people)",
    "SELECT VAR_SAMP({c}), STDDEV_POP({c}) FROM UNION(people)",
    "SELECT SUM(CASE WHEN {c} > 3 THEN 1 ELSE 0 END) FROM UNION(people)",
    "SELECT SUM(CASE WHEN FALSE THEN {c} ELSE 1 END) FROM UNION(people)",
    "SELECT COUNT(*) FROM UNION(people) WHERE {c} IS NULL",
    "SELECT COUNT(*) FROM UNION(people) WHERE {c} = {c}",
    "SELECT COUNT(*) FROM UNION(people) WHERE {c} > 3 OR TRUE",
    "SELECT COUNT(*) AS n FROM UNION(people) HAVING SUM({c}) > 3",
    "SELECT COUNT(*) AS n FROM UNION(people) ORDER BY SUM({c})",
    "SELECT HISTOGRAM({c}, 4) FROM UNION(people)",
    "SELECT HISTOGRAM({c}, [0, 1, 2]) FROM UNION(people)",
    "SELECT MIN({c}), MAX({c}) FROM UNION(people)",
    "SELECT MEDIAN({c}) FROM UNION(people)",
    "SELECT COUNT(*) FROM UNION(people) GROUP BY {c}",
    "SELECT COUNT(*) FROM UNION(people) GROUP BY {c} > 3",
    "SELECT {c}, COUNT(*) FROM UNION(people) GROUP BY 1",
    "SELECT SUM({c}) OVER () FROM UNION(people)",
    "SELECT * FROM UNION(people)",
]


@pytest.fixture(scope="module")
def entries() -> Mapping[str, DatasetEntry]:
    return query_tables.world(1, rows=12).entries


def graded(one: DatasetEntry, column: str) -> DatasetEntry:
    return replace(one, floors={column: "forbidden"})


@pytest.mark.parametrize("sql", JOINS)
def test_a_join_cannot_hide_a_column(entries: Mapping[str, DatasetEntry], sql: str) -> None:
    """Refused for its grade, or not a question at all: never planned and passed."""
    bound = {**entries, "hospital.patients": graded(entries["hospital.patients"], "n")}
    try:
        made = plan(sql.format(from_=FROM), bound, "insurer")
    except UsageError:
        return
    with pytest.raises(PrivacyError) as caught:
        check_rules(made, bound)
    assert caught.value.code == "grade"
    assert "column n " in caught.value.message


@pytest.mark.parametrize("sql", UNIONS)
def test_a_union_cannot_hide_a_column(sql: str) -> None:
    rows = [{"id": i} for i in range(5)]
    here = union_world.world_of({"a": rows, "b": rows, "c": rows})
    entry = next(iter(here.entries.values()))
    name = next(c.name for c in entry.columns if c.lo is not None and c.domain is None)
    # One holder's grade is enough.
    bound = {n: graded(one, name) if n.startswith("b.") else one for n, one in here.entries.items()}
    try:
        made = plan_union(sql.format(c=name), bound, asker="a")
    except UsageError:
        return
    with pytest.raises(PrivacyError) as caught:
        check_union_rules(made, bound)
    assert (caught.value.code, caught.value.party) == ("grade", "b")


def test_most_of_these_are_questions(entries: Mapping[str, DatasetEntry]) -> None:
    """Else the tests above would pass for want of a plan."""

    def planned(sql: str) -> bool:
        try:
            plan(sql.format(from_=FROM), entries, "insurer")
        except UsageError:
            return False
        return True

    assert sum(map(planned, JOINS)) > len(JOINS) // 2
