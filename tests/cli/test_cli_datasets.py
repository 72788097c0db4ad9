"""What an owner declares for a union on the command line, and where it shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from privcompute.cli.app import root
from privcompute.node.home import Home
from privcompute.node.setup import create_node

BODY = "id,ward,floor,age\n1,north,1,20\n2,south,2,30\n3,,1,40\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    create_node(Home(tmp_path / "h"), "hospital", None)
    (tmp_path / "t.csv").write_text(BODY)
    return tmp_path / "h"


def run(home: Path, *words: str, status: int = 0) -> str:
    result = CliRunner().invoke(root, ["--home", str(home), *words], prog_name="privcompute")
    assert result.exit_code == status, result.output
    return result.stdout


def listed(home: Path) -> tuple[int, dict[str, Any]]:
    entry = json.loads(run(home, "dataset", "list", "--json"))["datasets"][0]["entry"]
    return entry["min_holders"], {one["name"]: one["domain"] for one in entry["columns"]}


def test_domains_and_the_least_number_of_holders(home: Path) -> None:
    source = str(home.parent / "t.csv")
    run(
        home,
        "dataset",
        "add",
        "t",
        source,
        "--key",
        "id",
        "--domain",
        'ward=south,"east, new",north',
        "--domain",
        "floor=2,1",
    )
    domains = {"id": None, "ward": ["east, new", "north", "south"], "floor": [1, 2], "age": None}
    assert listed(home) == (3, domains)
    run(home, "dataset", "edit", "t", "--min-holders", "5")
    assert listed(home) == (5, domains)
    run(home, "dataset", "edit", "t", "--domain", "FLOOR=", "--domain", "ward=north,south,west,a,b,c")
    assert listed(home) == (5, domains | {"ward": ["a", "b", "c", "north", "south", "west"], "floor": None})
    shown = run(home, "dataset", "list")
    assert "in a union: at least 5 holders a cell" in shown
    assert "a, b, c, north, south, … (6)" in shown


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--domain", "ward=north"), "outside_domain"),
        (("--domain", "floor=1,3"), "outside_domain"),
        (("--domain", "ward"), "bad_domain"),
        (("--domain", "ward=a,,b"), "bad_domain"),
        (("--domain", "floor=1,two"), "bad_domain"),
        (("--domain", "wards=a"), "no_such_column"),
    ],
)
def test_what_does_not_hold_is_refused(home: Path, words: tuple[str, ...], code: str) -> None:
    said = run(home, "--json", "dataset", "add", "t", str(home.parent / "t.csv"), "--key", "id", *words, status=2)
    error = json.loads(said)["error"]
    assert error["code"] == code
    assert "south" not in said


def test_the_least_number_of_holders_has_limits(home: Path) -> None:
    for number in ("0", "1001", "x"):
        run(home, "dataset", "add", "t", str(home.parent / "t.csv"), "--key", "id", "--min-holders", number, status=2)
