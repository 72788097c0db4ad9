"""What a plan holds: the smallest set of products, the declared openings, the owners' rules, one digest for both."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import query_ideal
from support.query_grammar import JOIN, Grammar
from support.query_tables import World, column, world

from privcompute import query
from privcompute.errors import IntegrityError, PrivacyError, UsageError
from privcompute.query import Plan, ideal
from privcompute.tables.catalogue import DatasetEntry
from privcompute.tables.schema import Kind


@pytest.fixture(scope="module")
def here() -> World:
    return world(3, rows=40)


@pytest.fixture(scope="module")
def unique() -> World:
    return world(4, rows=40, cap=1)


def plan(here: World, outputs: str, where: str = "", **more: Any) -> Plan:
    return query.plan(f"SELECT {outputs} {JOIN}{' WHERE ' + where if where else ''}", here.entries, "insurer", **more)


def with_entry(here: World, name: str, **changes: Any) -> dict[str, DatasetEntry]:
    return {**here.entries, name: replace(here.entries[name], **changes)}


# -- the smallest set ------------------------------------------------------------------------------------------------


def test_unique_keys_and_no_filter_need_no_product(unique: World) -> None:
    made = plan(unique, "COUNT(*), SUM(h.d), SUM(i.d), AVG(i.d)")
    assert made.products == ()
    assert made.kernel is None
    # COUNT(*) is its own contributor count; each sum has its own, for a value may be 0.
    assert [o.phase for o in made.openings] == ["count"] * 3 + ["value"] * 2


def test_equal_pieces_are_kept_once(here: World) -> None:
    once = plan(here, "SUM(h.d * i.d)", "h.flag")
    often = plan(here, "SUM(h.d * i.d), SUM(2 * h.d * i.d) / 3, SUM(i.d * h.d), -SUM(h.d * i.d)", "h.flag AND h.flag")
    assert often.products == once.products
    assert [o.terms for o in often.openings] == [o.terms for o in once.openings]
    assert [s.features for s in often.sides] == [s.features for s in once.sides]


def test_a_filter_written_twice_or_in_another_order_is_one(here: World) -> None:
    one = plan(here, "COUNT(*)", "h.flag AND h.n > 3")
    two = plan(here, "COUNT(*)", "(h.n > 3 AND h.flag) AND h.n > 3")
    assert one.sides == two.sides
    assert one.openings == two.openings


def test_case_with_both_outcomes_equal_is_no_case(here: World) -> None:
    one, other = plan(here, "SUM(CASE WHEN h.flag THEN 1 ELSE 1 END) AS x"), plan(here, "COUNT(*) AS x")
    assert [o.terms for o in one.openings] == [o.terms for o in other.openings]
    assert [s.features for s in one.sides] == [s.features for s in other.sides]


def test_terms_that_cannot_hold_are_no_terms(here: World) -> None:
    with_else = plan(here, "SUM(CASE WHEN h.flag THEN i.n ELSE i.d END)", "h.flag")
    assert with_else.products == plan(here, "SUM(i.n)", "h.flag").products


def test_a_sum_of_cases_counts_no_combinations(here: World) -> None:
    cases = " + ".join(f"CASE WHEN h.n > {n} THEN {n} ELSE 0 END" for n in (1, 2, 3))
    made = plan(here, f"SUM({cases} - CASE WHEN h.flag THEN h.d ELSE 0 END)")
    assert set(made.sides[0].selections) == {'("n" > 1)', '("n" > 2)', '("n" > 3)', '"flag"'}


def test_a_sum_of_both_sides_opens_as_one_total(here: World) -> None:
    made = plan(here, "SUM(h.d + i.d)")
    values = [o for o in made.openings if o.phase == "value"]
    assert [len(o.terms) for o in values] == [2]


def test_constants_stay_out_of_the_features(here: World) -> None:
    made = plan(here, "SUM(h.d * 0.5 - i.n / 4 + CASE WHEN i.flag THEN h.n * 3 ELSE 0 END)")
    assert all(f.encoding in ("indicator", "integer") for side in made.sides for f in side.features)
    value = made.openings[-1]
    # d is in hundredths: a unit is the common step of 0.5 / 100, 1 / 4 and 3.
    assert made.outputs[0].expression.factor == Fraction(1, 200)
    assert {t.coef for t in value.terms} == {-50, 1, 600}


# -- determinism -----------------------------------------------------------------------------------------------------


def test_both_nodes_derive_the_same_digest(here: World) -> None:
    sql = f"SELECT COUNT(*), SUM(h.f * i.d), AVG(CASE WHEN h.flag THEN i.g END) {JOIN} WHERE h.n > 0"
    entries = {name: DatasetEntry.from_json(e.to_json()) for name, e in reversed(list(here.entries.items()))}
    assert query.plan(sql, entries, "insurer").digest() == query.plan(sql, here.entries, "insurer").digest()


@pytest.mark.parametrize(
    "change",
    [
        {"version": "c" * 64},
        {"rows_per_key": 5},
        {"distinct_keys": 41},
        {"min_cell": 11},
        {"columns": None},
    ],
    ids=lambda c: next(iter(c)),
)
def test_the_digest_covers_the_catalogue(here: World, change: dict[str, Any]) -> None:
    entry = here.entries["hospital.patients"]
    if change.get("columns", 0) is None:
        wide = column("d", Kind.DECIMAL, "DECIMAL(9,2)", "-2000", "1000", scale=2, nullable=False)
        change = {"columns": tuple(wide if c.name == "d" else c for c in entry.columns)}
    sql = f"SELECT SUM(h.d) {JOIN}"
    before = query.plan(sql, here.entries, "insurer").digest()
    assert query.plan(sql, with_entry(here, "hospital.patients", **change), "insurer").digest() != before


def test_the_digest_covers_asker_and_receivers(here: World) -> None:
    sql = f"SELECT COUNT(*) {JOIN}"
    made = {
        query.plan(sql, here.entries, asker, receivers).digest()
        for asker in ("insurer", "hospital")
        for receivers in (("insurer",), ("hospital",), ("auditor",), ("insurer", "auditor"))
    }
    assert len(made) == 8


def test_the_canonical_text_holds_no_floats(here: World) -> None:
    def floats(value: object) -> bool:
        if isinstance(value, dict):
            return any(map(floats, value.values()))
        return any(map(floats, value)) if isinstance(value, list) else isinstance(value, float)

    assert not floats(json.loads(plan(here, "SUM(h.f / i.p), AVG(h.g)").to_json()))


# -- what opens, and to whom -----------------------------------------------------------------------------------------


def random_plans(here: World, seed: int, number: int) -> list[Plan]:
    grammar = Grammar(np.random.default_rng(seed))
    found: list[Plan] = []
    while len(found) < number:
        receivers = (("insurer",), ("hospital", "insurer"), ("auditor",))[len(found) % 3]
        try:
            made = plan(here, f"{grammar.aggregate().sql}, {grammar.aggregate().sql}", grammar.condition(0, 1).sql)
        except UsageError:
            continue
        found.append(query.plan(made.sql, here.entries, "insurer", receivers))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_a_run_opens_exactly_what_is_declared(here: World, seed: int) -> None:
    for made in random_plans(here, seed, 20):
        transcript = query_ideal.run(here.connection, made)
        for party, values in transcript.opened.items():
            counts = {o.name for o in made.openings if o.phase == "count"}
            declared = made.disclosure.opened(party)
            assert set(values) == (declared & counts if transcript.suppressed else declared)
        holders = {s.party for s in made.sides}
        for opening in made.openings:
            expected = holders | set(made.receivers) if opening.phase == "count" else set(made.receivers)
            assert set(opening.receivers) == expected


def test_removing_any_declaration_makes_the_run_fail(here: World) -> None:
    for made in random_plans(here, 9, 6):
        for party, learned in made.disclosure.parties:
            for one in learned:
                if one.item == "opened":
                    less = replace(made, disclosure=made.disclosure.without(party, one.item, one.name))
                    with pytest.raises(IntegrityError) as caught:
                        query_ideal.run(here.connection, less)
                    assert caught.value.code == "undeclared"


def test_the_minimum_counts_people_not_rows(here: World) -> None:
    """Nothing but the counts opens if any of them is too small, however many rows there are."""
    made = plan(here, "COUNT(*)", "h.n > 40")
    people = query_ideal.run(here.connection, made).opened["insurer"]["count.0"]
    sql = f"SELECT COUNT(*), COUNT(DISTINCT (h.k1, h.k2)) {JOIN} WHERE h.n > 40"
    rows, distinct = here.connection.execute(sql).fetchall()[0]
    assert people == distinct < rows
    strict = replace(made, minimum=distinct + 1)
    transcript = query_ideal.run(here.connection, strict)
    assert transcript.suppressed
    assert all(set(v) == {"count.0"} for v in transcript.opened.values())
    result = query.finish(strict, transcript.opened["insurer"])
    assert (result.rows, result.suppressed_cells, result.error_bound) == ((), 1, {})


def test_the_larger_minimum_of_both_owners_holds(here: World) -> None:
    entries = with_entry(here, "hospital.patients", min_cell=7)
    assert query.plan(f"SELECT COUNT(*) {JOIN}", entries, "insurer").minimum == 7


def test_one_person_behind_a_case_is_counted_apart(here: World) -> None:
    made = plan(here, "COUNT(*), SUM(CASE WHEN h.n = 17 THEN 1 ELSE 0 END)")
    assert sum(o.phase == "count" for o in made.openings) == 2
    selections = made.sides[0].selections
    assert set(selections) == {"TRUE", '("n" = 17)'}


def test_nulls_of_the_aggregated_column_are_no_selection(here: World) -> None:
    assert plan(here, "AVG(h.f), COUNT(h.n)").sides[0].selections == ("TRUE",)
    assert plan(here, "AVG(h.f)", "h.flag").sides[0].selections == ('"flag"',)


@pytest.mark.parametrize(
    "counted",
    [
        "h.flag OR h.n = 17",
        "h.flag AND h.n = 17",
        "(CASE WHEN h.n = 17 THEN NULL ELSE 1 END) = 1",
        "NULLIF(h.n, 17) > 3",
    ],
)
def test_what_a_value_makes_null_is_a_selection(here: World, counted: str) -> None:
    """COUNT(x = 17 OR NULL) picks the rows of 17: the owner's ledger and its rule for filters have to see that."""
    side = plan(here, f"COUNT({counted})").sides[0]
    assert side.selections != ("TRUE",)
    assert ("n", "filter") in side.uses


def test_databases_that_agree_on_what_is_declared_give_equal_openings(here: World) -> None:
    """The same people under other identifiers: every declared value is equal, and so is everything that opens."""
    rng = np.random.default_rng(5)
    for made in random_plans(here, 11, 12):
        sides = [query_ideal.holding(here.connection, s) for s in made.sides]
        names = sorted(set(sides[0].keys) | set(sides[1].keys), key=str)
        other = dict(zip(names, rng.permutation(len(names)), strict=True))
        renamed = []
        for side in sides:
            order = rng.permutation(len(side.keys))
            keys = [int(other[side.keys[n]]) for n in order]
            renamed.append(ideal.Holding(keys, [[c[n] for n in order] for c in side.columns]))
        before, after = ideal.run(made, (sides[0], sides[1])), ideal.run(made, (renamed[0], renamed[1]))
        assert before.opened == after.opened
        assert {p: list(v) for p, v in before.opened.items()} == {p: list(v) for p, v in after.opened.items()}
        assert before.suppressed == after.suppressed


def test_features_ask_nothing_of_the_filter_but_zeroes(here: World) -> None:
    """WHERE enters the features only: keys, sizes and alignment are those of the whole tables."""
    plain, filtered = plan(here, "COUNT(*)"), plan(here, "COUNT(*)", "h.flag AND i.n > 0")
    for a, b in zip(plain.sides, filtered.sides, strict=True):
        assert (a.keys, a.distinct_keys, a.rows_per_key) == (b.keys, b.distinct_keys, b.rows_per_key)
    keys = [query_ideal.holding(here.connection, p.sides[0]).keys for p in (plain, filtered)]
    assert sorted(map(str, keys[0])) == sorted(map(str, keys[1]))


def test_the_report_names_every_value_and_size(here: World) -> None:
    made = plan(here, "SUM(h.d)", receivers=("auditor",))
    items = {party: [one.item for one in learned] for party, learned in made.disclosure.parties}
    assert set(items) == {"hospital", "insurer", "auditor"}
    for holder in ("hospital", "insurer"):
        assert {"query", "catalogue", "peer_keys", "own_matches", "match_count", "opened", "status"} <= set(
            items[holder]
        )
    assert "own_matches" not in items["auditor"]
    assert "match_count" not in items["auditor"]
    assert made.disclosure.opened("hospital") == {"count.0"}
    assert made.disclosure.opened("auditor") == {"count.0", "value.0"}
    assert made.disclosure.of("stranger") == ()
    assert "data" not in " ".join(made.disclosure.sentences()["hospital"])


# -- rules -----------------------------------------------------------------------------------------------------------


def allowed(here: World, **rules: str) -> dict[str, DatasetEntry]:
    allow = {name: frozenset(uses.split(",")) for name, uses in rules.items()}
    return with_entry(here, "hospital.patients", allow=allow)


@pytest.mark.parametrize(
    ("output", "where", "rules", "missing"),
    [
        ("COUNT(*)", "h.n > 3", {"n": "aggregate"}, "n=aggregate,filter"),
        ("SUM(h.n)", "", {"n": "filter"}, "n=aggregate,filter"),
        ("COUNT(h.n)", "", {"n": "product"}, "n=aggregate,product"),
        ("SUM(h.n * i.n)", "", {"n": "aggregate"}, "n=aggregate,product"),
        ("SUM(h.n / i.p)", "", {"n": "aggregate"}, "n=aggregate,product"),
        ("SUM(CASE WHEN h.flag THEN i.n END)", "", {"flag": "aggregate"}, "flag=aggregate,filter"),
        ("SUM(h.n)", "", {}, "n=aggregate"),
    ],
)
def test_a_use_without_a_rule_is_refused(here: World, output: str, where: str, rules: Any, missing: str) -> None:
    entries = allowed(here, **rules)
    made = plan(World(entries, here.rows, here.connection), output, where)
    with pytest.raises(PrivacyError) as caught:
        query.check_rules(made, entries)
    assert caught.value.code == "not_allowed"
    assert caught.value.party == "hospital"
    assert caught.value.remedy == f"hospital runs `privcompute dataset edit patients --allow {missing}`"
    query.check_rules(made, allowed(here, **{missing.partition("=")[0]: missing.partition("=")[2]}))


@pytest.mark.parametrize(
    ("output", "rules"),
    [
        ("SUM(h.n * i.n)", {"n": "product"}),
        ("SUM(h.n * h.d) + COUNT(h.f)", {"n": "aggregate", "d": "aggregate", "f": "aggregate"}),
        ("SUM(CASE WHEN h.flag THEN i.n ELSE 0 END)", {"flag": "filter"}),
        ("SUM(CASE WHEN i.flag THEN h.n ELSE 0 END)", {"n": "aggregate"}),
        ("COUNT(DISTINCT (h.k1, h.k2)), COUNT(*)", {}),
    ],
)
def test_what_the_rules_allow_passes(here: World, output: str, rules: Any) -> None:
    entries = allowed(here, **rules)
    query.check_rules(plan(World(entries, here.rows, here.connection), output), entries)


def test_rules_also_cap_reveal_and_minimum(here: World) -> None:
    made = plan(here, "COUNT(*)")
    for changes, code in (({"reveal": "size"}, "reveal_not_allowed"), ({"min_cell": 50}, "too_few")):
        with pytest.raises(PrivacyError) as caught:
            query.check_rules(made, with_entry(here, "hospital.patients", **changes))
        assert caught.value.code == code
    with pytest.raises(UsageError):
        query.check_rules(made, with_entry(here, "hospital.patients", version="c" * 64))


# -- finishing -------------------------------------------------------------------------------------------------------


def test_finish_takes_nothing_but_what_was_declared(here: World) -> None:
    made = plan(here, "SUM(h.d)")
    opened = dict(query_ideal.run(here.connection, made).opened["insurer"])
    with pytest.raises(IntegrityError) as caught:
        query.finish(made, {"count.0": opened["count.0"]})
    assert caught.value.code == "missing_opening"
    with pytest.raises(IntegrityError) as caught:
        query.finish(made, {**opened, "value.0": made.openings[1].bound + 1})
    assert caught.value.code == "out_of_bounds"


def test_a_divisor_within_its_own_error_of_zero_gives_no_number(here: World) -> None:
    made = plan(here, "COUNT(*) / SUM(h.f * i.p) AS x")
    opened = {o.name: 20 for o in made.openings}
    opened[made.openings[made.outputs[0].expression.args[1].opening or 0].name] = 1
    with pytest.raises(UsageError) as caught:
        query.finish(made, opened)
    assert caught.value.code == "ill_conditioned"


def test_division_by_an_exact_zero_is_null(here: World) -> None:
    made = plan(here, "COUNT(*) / (COUNT(h.n) - COUNT(h.n)) AS x, COUNT(*) AS n")
    result = query.finish(made, query_ideal.run(here.connection, made).opened["insurer"])
    assert result.rows[0][0] is None
    assert result.error_bound["x"] == 0


def test_wide_decimals_keep_every_digit(here: World) -> None:
    made = plan(here, "SUM(h.big * i.big * 1.000001) AS x")
    opened = {o.name: min(o.bound, 10**30 + 7) for o in made.openings}
    value = query.finish(made, opened).rows[0][0]
    outer = made.outputs[0].expression
    assert isinstance(value, int | float | Decimal)
    assert Fraction(value) == outer.factor * opened[made.openings[outer.opening or 0].name]


# -- with the tables' own code ---------------------------------------------------------------------------------------


def test_the_tables_compute_the_same_features(here: World, tmp_path: Path) -> None:
    from privcompute.tables.local import local_features
    from privcompute.tables.open import open_source

    path = tmp_path / "patients.parquet"
    here.connection.execute(f"COPY hospital.patients TO '{path}' (FORMAT parquet)")
    source = open_source(str(path))
    for made in random_plans(here, 21, 10):
        side = made.sides[0]
        entry = here.entries["hospital.patients"]
        columns = [c for c in entry.columns if c.name in side.columns]
        found = local_features(
            source, side.keys, side.features, side.selections, columns=columns, rows_per_key=side.rows_per_key
        )
        expected = query_ideal.holding(here.connection, side)
        keys = list(zip(*(found.keys.column(n).to_pylist() for n in range(len(side.keys))), strict=True))
        order = [list(expected.keys).index(key) for key in keys]
        for values, column_ in zip(found.columns, expected.columns, strict=True):
            assert [_integer(v) for v in values] == [column_[n] for n in order]
        assert len(found.selected) == len(side.selections)


def _integer(value: Any) -> int:
    if np.ndim(value) == 0:
        return int(value)
    low, high = (int(v) for v in value)
    wide = low | high << 64
    return wide - (1 << 128) if wide >> 127 else wide
