"""Selections hidden in values: pairs of questions that would give away a few people, and honest ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from support import small_query

from privcompute.errors import PrivacyError
from privcompute.node.ledger import Selection
from privcompute.node.levels import MOST_VALUES, hidden_sets, shared_values
from privcompute.node.store import Store
from privcompute.tables import open_source
from privcompute.tables.features import LevelValues
from privcompute.tables.local import local_features

PEOPLE = 200
MINIMUM = 10
JOIN = "FROM hospital.patients h JOIN insurer.members i ON h.id = i.id"


def _patients() -> pa.Table:
    """200 people, one row each; three of them are 57, have a rare flag, no gap value and a broken half-day stay."""
    numbers = range(PEOPLE)
    few = [n in (7, 70, 170) for n in numbers]
    columns: dict[str, list[int | None]] = {
        "age": [57 if f else 20 + n % 30 for n, f in zip(numbers, few, strict=True)],
        "bmi": [18 + n * 7 % 23 for n in numbers],
        "rare": [int(f) for f in few],
        "steps": [1 if f else n % 2 * 2 for n, f in zip(numbers, few, strict=True)],
        "half": [int(n % 2) for n in numbers],
        "gap": [None if f else n % 40 for n, f in zip(numbers, few, strict=True)],
        "zero": [0 if f else 1 + n % 40 for n, f in zip(numbers, few, strict=True)],
        "change": [-n if f else n for n, f in zip(numbers, few, strict=True)],
    }
    table = pa.table({"id": [f"p{n}" for n in numbers], **{k: pa.array(v, pa.int32()) for k, v in columns.items()}})
    return table.append_column("flag", pa.array(few, pa.bool_()))


def _members() -> pa.Table:
    return pa.table({"id": [f"p{n}" for n in range(PEOPLE)], "cost": pa.array(range(PEOPLE), pa.int32())})


class Owner:
    """The hospital's ledger over a table."""

    def __init__(self, place: Path, table: pa.Table | None = None) -> None:
        self._place = place
        self._table = _patients() if table is None else table
        self.store = Store(place / "state.db")

    def sets(self, expression: str, where: str = "") -> list[Selection]:
        sql = f"SELECT {expression} {JOIN} {where}"
        made = small_query.prepare(self._place, sql=sql, left=self._table, right=_members(), minimum=MINIMUM)
        side = made.plan.sides[0]
        source = open_source(str(self._place / "hospital.patients.parquet"))
        cap = side.rows_per_key
        found = local_features(
            source, side.keys, side.features, side.selections, side.levels, columns=(), rows_per_key=cap
        )
        return [*found.selected, *hidden_sets(side.levels, found.levels, MINIMUM)]

    def ask(self, expression: str, where: str = "") -> None:
        self.store.ledger.record(
            version="v", dataset="patients", peer="insurer", plan_digest="d",
            selections=self.sets(expression, where), minimum=MINIMUM, most_queries=100,
        )  # fmt: skip


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    made = Owner(tmp_path)
    yield made
    made.store.close()


HIDDEN = [
    "SUM(h.bmi * (2 - LEAST(ABS(h.age - 57), 1)))",
    "SUM(h.bmi * (2 - LEAST(ABS(h.age - 57) + ABS(h.bmi - 21), 1)))",
    "SUM(LEAST(ABS(h.age - 57), 1))",
    "SUM(LEAST(GREATEST(h.age - 56, 0), 1) + h.bmi)",
    "SUM(h.bmi * (1 + CAST(h.flag AS INTEGER)))",
    "SUM(CAST(COALESCE(h.flag, FALSE) AS INTEGER) + h.bmi)",
    "SUM(h.bmi * (2 - h.rare))",
    "SUM(h.bmi * (1 + h.rare * h.rare))",
    "SUM(h.bmi / (1.0 + h.rare * 0.5 + 1000))",
    "SUM(i.cost * (2 - h.rare))",
    "SUM(COALESCE(h.gap, h.bmi))",
    "SUM(h.bmi * COALESCE(h.gap * 0 + 1, 2))",
    "SUM(GREATEST(h.change, 0))",
    "SUM(ABS(h.change))",
    "SUM(h.bmi + FLOOR(h.age / 57.0))",
    "SUM(h.bmi * (1 + h.age % 57 - h.age))",
    "SUM(CASE WHEN h.half = 1 THEN h.bmi * (2 - h.rare) ELSE h.bmi END)",
]


@pytest.mark.parametrize("expression", HIDDEN)
def test_a_weight_that_singles_out_three_people_is_refused(owner: Owner, expression: str) -> None:
    with pytest.raises(PrivacyError) as error:
        owner.ask(expression)
    assert error.value.code == "differencing"


def test_two_weights_that_differ_for_three_people_are_refused(owner: Owner) -> None:
    """Each of them cuts the people in two halves, the three once in one and once in the other."""
    owner.ask("SUM(h.bmi * LEAST(h.steps, 1))")
    owner.ask("SUM(h.bmi * LEAST(h.steps, 1))")
    with pytest.raises(PrivacyError, match="earlier query"):
        owner.ask("SUM(h.bmi * GREATEST(h.steps - 1, 0))")


def test_a_weight_and_a_filter_that_differ_for_three_people_are_refused(owner: Owner) -> None:
    owner.ask("SUM(h.bmi)", "WHERE h.half = 1 OR h.rare = 1")
    with pytest.raises(PrivacyError, match="earlier query"):
        owner.ask("SUM(h.bmi * h.half)")


HONEST = [
    "AVG(h.zero)",
    "AVG(h.gap)",
    "AVG(h.rare + h.bmi)",
    "SUM(h.zero * 2 - h.gap)",
    "SUM(h.zero * i.cost)",
    "SUM(h.gap * i.cost)",
    "SUM(COALESCE(h.gap, 0))",
    "SUM(CAST(h.zero AS BIGINT))",
    "AVG(ROUND(h.bmi * 1.5, 1))",
    "SUM(LEAST(h.bmi, 30))",
    "SUM(h.bmi * h.half)",
    "SUM(h.bmi * h.bmi)",
    "SUM(h.bmi * h.age)",
    "SUM(h.bmi / (h.bmi + 2000))",
]


def test_honest_sums_pass_one_after_the_other(owner: Owner) -> None:
    """Three zeros and three NULLs block no average, and nothing that was asked blocks what comes later."""
    for expression in HONEST:
        owner.ask(expression)
        owner.ask(expression, "WHERE h.half = 1")


def test_a_person_with_several_rows_is_one_person(tmp_path: Path) -> None:
    """Of three people one row of two has the weight that nobody else has."""
    once = _patients()
    ordinary = once.set_column(once.column_names.index("rare"), "rare", pa.array([0] * PEOPLE, pa.int32()))
    twice = Owner(tmp_path, pa.concat_tables([ordinary, once]))
    try:
        with pytest.raises(PrivacyError, match=r"everybody|another set"):
            twice.ask("SUM(h.bmi * (2 - h.rare))")
        twice.ask("SUM(h.bmi * h.half)")
    finally:
        twice.store.close()


def test_the_first_question_may_not_leave_out_a_few(owner: Owner) -> None:
    with pytest.raises(PrivacyError, match="everybody in the dataset") as error:
        owner.ask("COUNT(*)", "WHERE h.rare = 0")
    assert "without that condition" in error.value.remedy
    owner.ask("COUNT(*)")
    owner.ask("COUNT(*)", "WHERE h.half = 0")


def test_only_values_that_enough_keys_share_are_sets() -> None:
    rng = np.random.default_rng(7)
    value = np.minimum(rng.integers(0, 30, 500), 11).astype(np.uint64)  # 11 is frequent, the others are not
    value[rng.random(500) < 0.4] = 3
    selected = rng.random(500) < 0.9
    mixed = rng.random(500) < 0.1
    level = LevelValues(value, np.where(mixed, value + np.uint64(100), value), selected)
    sets = shared_values(level, 30)
    groups = [selected & ~mixed & (value == v) for v in range(12)]
    fewest = max(30, sum(int(g.sum()) for g in groups) / MOST_VALUES)
    expected = sorted((g for g in groups if g.sum() >= fewest), key=lambda g: -int(g.sum()))[:MOST_VALUES]
    assert {g.tobytes() for g in expected} == {g.tobytes() for g in sets}
    assert len(sets) == 2
    assert shared_values(level, 501) == []
    assert repr(level) == "LevelValues(keys=500)"
