"""docs/anonymize.md: its policy and commands run, its figures are those of Adult, its tables name what there is."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from support import adult

from privcompute.anonymize import Policy
from privcompute.anonymize.frame import write
from privcompute.anonymize.hierarchy.dates import UNITS
from privcompute.anonymize.hierarchy.spec import _READERS as HIERARCHIES
from privcompute.anonymize.metrics import Metric
from privcompute.anonymize.models.spec import _READERS as MODELS
from privcompute.anonymize.policy import Algorithm
from privcompute.cli.app import root

TEXT = (Path(__file__).parents[2] / "docs" / "anonymize.md").read_text(encoding="utf-8")
SECTION = TEXT[TEXT.index("## A worked example") : TEXT.index("## What happens")]


def policy_text() -> str:
    (found,) = re.findall(r"```toml\n(.*?)```", SECTION, re.DOTALL)
    return str(found)


def run_section(folder: Path) -> str:
    (folder / "release.toml").write_text(policy_text(), encoding="utf-8")
    said = ""
    for line in re.findall(r"^    privcompute (.*)$", SECTION, re.MULTILINE):
        words = [str(folder / word) if re.search(r"\.(csv|toml|md)$", word) else word for word in line.split()]
        done = CliRunner().invoke(root, words)
        assert done.exit_code == 0, done.output
        said += done.stdout
    return said


def test_the_example_on_a_small_table_made_here(tmp_path: Path) -> None:
    """The same policy on 400 rows of made-up people, so that the example runs everywhere."""
    rng = np.random.default_rng(3)
    values = {
        "sex": ["Male", "Female"],
        "race": ["White", "Black"],
        "marital-status": ["Married", "Divorced", "Single"],
        "education": ["Masters", "Bachelors", "HS-grad"],
        "native-country": ["United-States", "China"],
        "workclass": ["Private", "State-gov"],
    }
    columns: dict[str, Any] = {name: rng.choice(some, 400).tolist() for name, some in values.items()}
    columns["age"] = rng.integers(17, 91, 400)
    columns["occupation"] = rng.choice(["Sales", "Tech", "Clerical", "Farming"], 400).tolist()
    columns["salary-class"] = rng.choice(["<=50K", ">50K"], 400).tolist()
    write(pa.table(columns), tmp_path / "adult.csv")
    for name, some in values.items():
        (tmp_path / f"{name}.csv").write_text("".join(f"{value};*\n" for value in some), encoding="utf-8")
    said = run_section(tmp_path)
    assert "holds" in said
    assert (tmp_path / "released.csv").exists()
    assert (tmp_path / "report.svg").exists()


@adult.needed
def test_the_example_on_adult_gives_the_figures_of_the_text(tmp_path: Path) -> None:
    for path in (adult.ADULT / "hierarchies").iterdir():
        shutil.copy(path, tmp_path)
    header, body = adult.rows()
    lines = [";".join(row) for row in (header, *body)]
    (tmp_path / "adult.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "release.toml").write_text(policy_text(), encoding="utf-8")
    found = Policy.load(tmp_path / "release.toml").apply(tmp_path / "adult.csv").report.body
    before, after = found["risk"]["before"], found["risk"]["after"]
    shown = [
        ("k", found["models"][0]["before"]["k"], found["models"][0]["after"]["k"]),
        ("distinct occupations in a class, at least", *(found["models"][1][when]["l"] for when in ("before", "after"))),
        ("classes", before["classes"], after["classes"]),
        ("unique rows", before["uniques"], after["uniques"]),
        ("highest risk", f"{before['prosecutor']:g}", after["prosecutor"]),
        ("suppressed rows", "", found["suppressed"]["rows"]),
        ("loss", "", f"{found['search']['cost']:.6f}"),
    ]
    for name, one, two in shown:
        assert f"| {name} | {one} | {two} |".replace("|  |", "| |") in SECTION
    assert found["search"]["nodes"] == "2160"
    assert found["search"]["state"] == "optimal"


@pytest.mark.parametrize("name", [*HIERARCHIES, *MODELS, *UNITS, *get_args(Metric), *get_args(Algorithm)])
def test_whatever_a_policy_may_say_is_named(name: str) -> None:
    assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", TEXT) or name.startswith("mondrian")
