"""Floors of a catalogue entry against plans: nothing is carried by less than its grade asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from support import query_tables, union_world

from privcompute.errors import PrivacyError
from privcompute.query import check_rules, plan
from privcompute.query.union import check_union_rules, plan_union
from privcompute.tables.catalogue import DatasetEntry

FROM = "FROM hospital.patients p JOIN insurer.members m ON p.k1 = m.k1 AND p.k2 = m.k2"
WEAK = ("plain", "mask", "token", "k-anonymous")
JOINS = {
    "SUM(p.n)": "n",
    "SUM(p.n * m.g)": "n",
    "SUM(CASE WHEN p.n > 3 THEN 1 ELSE 0 END)": "n",
    "AVG(m.f), SUM(p.n + p.d)": "n",
}


@pytest.fixture(scope="module")
def entries() -> Mapping[str, DatasetEntry]:
    return query_tables.world(1, rows=12).entries


def checked(entries: Mapping[str, DatasetEntry], sql: str, floors: Mapping[str, str]) -> None:
    graded = {**entries, "hospital.patients": replace(entries["hospital.patients"], floors=floors)}
    check_rules(plan(sql, graded, "insurer"), graded)


@pytest.mark.parametrize("what", JOINS)
def test_a_join_carries_columns_by_sums(entries: Mapping[str, DatasetEntry], what: str) -> None:
    sql = f"SELECT {what} {FROM}"
    for floor in (*WEAK, "sum"):
        checked(entries, sql, {JOINS[what]: floor})
    for floor in ("hidden-join", "forbidden", "of-a-later-version"):
        with pytest.raises(PrivacyError) as caught:
            checked(entries, sql, {JOINS[what]: floor})
        assert caught.value.code == "grade"
        assert f"column {JOINS[what]} " in caught.value.message
        assert caught.value.party == "hospital"
    checked(entries, sql, {"region": "forbidden"})  # which the query does not use


def test_a_core_column_may_not_be_aggregated_under_matches(entries: Mapping[str, DatasetEntry]) -> None:
    with pytest.raises(PrivacyError) as caught:
        checked(entries, f"SELECT SUM(p.n) {FROM}", {"n": "hidden-join"})
    assert "asks for sums over a join that hides who matched" in caught.value.message
    assert "--reveal nothing" in caught.value.remedy


def test_a_filter_counts_as_a_use(entries: Mapping[str, DatasetEntry]) -> None:
    with pytest.raises(PrivacyError, match="column region"):
        checked(entries, f"SELECT COUNT(*) {FROM} WHERE p.region = 'north'", {"region": "hidden-join"})


def test_a_key_is_carried_by_the_join(entries: Mapping[str, DatasetEntry]) -> None:
    checked(entries, f"SELECT COUNT(*) {FROM}", {"k1": "sum"})
    with pytest.raises(PrivacyError, match="column k2"):
        checked(entries, f"SELECT COUNT(*) {FROM}", {"k2": "hidden-join"})


def test_the_floors_are_no_part_of_the_plan(entries: Mapping[str, DatasetEntry]) -> None:
    sql = f"SELECT SUM(p.n) {FROM}"
    graded = {name: replace(one, floors={"n": "sum"}) for name, one in entries.items()}
    assert plan(sql, graded, "insurer").digest() == plan(sql, entries, "insurer").digest()


@pytest.mark.parametrize(
    ("sql", "column"),
    [
        ("SELECT SUM({0}) FROM UNION(people)", "value"),
        ("SELECT COUNT(*) FROM UNION(people) WHERE {0} > 3", "value"),
        ("SELECT {0}, COUNT(*) FROM UNION(people) GROUP BY {0}", "group"),
    ],
)
def test_a_union_shows_groups_and_adds_the_rest(sql: str, column: str) -> None:
    rows = [{"id": i} for i in range(5)]
    here = union_world.world_of({"a": rows, "b": rows, "c": rows})
    entry = next(iter(here.entries.values()))
    grouped = column == "group"
    name = next(c.name for c in entry.columns if (c.domain is not None) == grouped and (grouped or c.lo is not None))
    made = plan_union(sql.format(name), here.entries, asker="a")
    for floor in (*WEAK, "sum", "hidden-join", "forbidden"):
        graded = {n: replace(one, floors={name: floor}) for n, one in here.entries.items()}
        if floor in WEAK or (floor == "sum" and not grouped):
            check_union_rules(made, graded)
            continue
        with pytest.raises(PrivacyError) as caught:
            check_union_rules(made, graded)
        assert caught.value.code == "grade"
        assert name in caught.value.message
