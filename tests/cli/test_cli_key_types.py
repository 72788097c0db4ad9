"""`dataset add --key-type`, and what is said of one row and one person."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support import small_query

from privcompute.cli.app import root
from privcompute.cli.render import plan_text
from privcompute.node.home import Home


def _add(home: Home, place: Path, *words: str) -> Result:
    line = ["--home", str(home.path), "--json", "dataset", "add", "visits", str(place), "--key", "id", *words]
    return CliRunner().invoke(root, line, prog_name="privcompute")


def test_the_keys_of_a_csv_file_are_given_a_type(home: Home, tmp_path: Path) -> None:
    place = tmp_path / "visits.csv"
    place.write_text("id,n\n7,1\n8,2\n")
    wrong = _add(home, place, "--key-type", "id=DATE")
    assert wrong.exit_code == 2
    assert json.loads(wrong.stdout)["error"]["code"] == "bad_key_value"
    made = _add(home, place, "--key-type", "id=bigint")
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["entry"]["key_types"] == ["BIGINT"]


@pytest.mark.parametrize(("minimum", "people"), [(1, "1 contributing person on"), (2, "2 contributing people on")])
def test_one_row_and_one_person_are_not_many(tmp_path: Path, minimum: int, people: str) -> None:
    once = small_query.patients().slice(0, 120)
    plan = small_query.prepare(tmp_path, left=once, minimum=minimum).plan
    learned = [one.what for one in plan.disclosure.parties[1][1]] + [one.what for one in plan.disclosure.parties[0][1]]
    said = " ".join(learned)
    assert "at most 1 row a key" in said
    assert "at most 2 rows a key" in said
    assert people in plan_text(_body(minimum))


def _body(minimum: int) -> dict[str, object]:
    from support.stub_node import PLAN

    return {**PLAN, "minimum": minimum}
