"""Which parts of an aggregate's argument the owners' rules and ledgers take for a selection."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from support import small_query

from privcompute.query.plan import Side

JOIN = "FROM hospital.patients h JOIN insurer.members i ON h.id = i.id"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shapes")


def _side(place: Path, expression: str) -> Side:
    left = small_query.patients()
    left = left.append_column("age", pa.array([20 + n % 50 for n in range(len(left))], pa.int32()))
    return small_query.prepare(place, sql=f"SELECT {expression} {JOIN}", left=left).plan.sides[0]


def _filtered(side: Side) -> set[str]:
    return {column for column, use in side.uses if use == "filter"}


@pytest.mark.parametrize(
    "expression",
    [
        "SUM(h.visits)",
        "AVG(-h.visits * 2 + 3)",
        "SUM(h.visits / 4.0 - h.age)",
        "SUM(CAST(h.visits AS DOUBLE) * 2)",
        "SUM(CAST(h.visits AS DECIMAL(9,2)))",
        "SUM(h.visits * i.cost)",
        "SUM(-2 * h.visits * i.cost)",
        "SUM(COALESCE(h.visits, 0))",
        "SUM(COALESCE(h.visits, -1) + h.age)",
        "COUNT(h.smoker)",
    ],
)
def test_what_is_affine_is_no_selection(place: Path, expression: str) -> None:
    side = _side(place, expression)
    assert side.levels == ()
    assert _filtered(side) == set()


@pytest.mark.parametrize(
    ("expression", "filtered", "levels"),
    [
        ("SUM(ABS(h.visits))", {"visits"}, 2),
        ("SUM(LEAST(ABS(h.visits - 5), 1))", {"visits"}, 4),
        ("SUM(GREATEST(h.visits, h.age))", {"visits", "age"}, 3),
        ("SUM(FLOOR(h.visits / 3))", {"visits"}, 2),
        ("SUM(ROUND(h.visits / 3.0, 1))", {"visits"}, 2),
        ("SUM(h.visits % 7)", {"visits"}, 2),
        ("SUM(COALESCE(h.visits, h.age))", {"visits", "age"}, 3),
        ("SUM(h.age * COALESCE(h.visits, 1))", {"visits"}, 3),
        ("SUM(CAST(h.smoker AS INTEGER))", {"smoker"}, 1),
        ("SUM(CAST(h.visits / 7.0 AS INTEGER))", {"visits"}, 2),
        ("SUM(h.age * h.visits)", set(), 2),
        ("SUM(h.age * (h.visits - 1))", set(), 2),
        ("SUM((h.visits - 1) * i.cost)", set(), 1),
        ("SUM(h.age / (h.visits + 2000))", set(), 2),
    ],
)
def test_everything_else_is_looked_at(place: Path, expression: str, filtered: set[str], levels: int) -> None:
    side = _side(place, expression)
    assert len(side.levels) == levels
    assert _filtered(side) == filtered
    assert {one.selection for one in side.levels} == {0}


def test_a_level_stands_under_the_selection_of_its_branch(place: Path) -> None:
    side = _side(place, "SUM(CASE WHEN h.smoker THEN ABS(h.visits) ELSE h.age END)")
    (chosen,) = {one.selection for one in side.levels}
    assert side.selections[chosen] == '"smoker"'
