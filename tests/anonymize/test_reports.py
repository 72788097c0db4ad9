"""Risk figures, policies and their faults, reports, pictures, and the commands."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from support import adult

from privcompute.anonymize import Policy, measure
from privcompute.anonymize.classes import Classes
from privcompute.anonymize.frame import write
from privcompute.anonymize.hierarchy import flat
from privcompute.anonymize.risk import individual_risk, risk, uniques_in_population
from privcompute.anonymize.sweep import sweep, with_sweep
from privcompute.anonymize.uniqueness import digamma, population_uniqueness
from privcompute.cli.app import root
from privcompute.errors import UsageError

POLICY = """version = 1
locale = "zh-CN"
[columns]
age = { role = "qi", hierarchy = { type = "interval", widths = [10, 20], range = [0, 99] } }
sex = { role = "qi" }
illness = { role = "sensitive" }
[[models]]
type = "k-anonymity"
k = 3
[search]
suppression_limit = 0.1
"""


def table() -> pa.Table:
    rng = np.random.default_rng(2)
    columns: dict[str, Any] = {
        "age": rng.integers(20, 60, 120),
        "sex": rng.choice(["f", "m"], 120).tolist(),
        "illness": rng.choice(["flu", "none", "Krebs 癌"], 120).tolist(),
    }
    return pa.table(columns)


def run(*words: str) -> Result:
    return CliRunner().invoke(root, list(words))


def test_individual_risk_of_the_textbook_example() -> None:
    """f and F of the eight rows that sdcMicro ships as francdat; the risks were computed for this project."""
    size = np.array([2, 2, 2, 1, 1, 1, 1, 2])
    weight = np.array([110, 84.5, 84.5, 17, 541, 8, 5, 110])
    expected = [0.0171443, 0.0220423, 0.0220423, 0.1770758, 0.0116545, 0.2970631, 0.4023595, 0.0171443]
    assert individual_risk(size, weight) == pytest.approx(expected, abs=5e-8)
    assert individual_risk(np.array([4, 1, 2]), np.array([4.0, 1.0, 2.0])) == pytest.approx([0.25, 1.0, 0.5])


@adult.needed
def test_the_whole_francdat_file() -> None:
    import csv

    folder = adult.DATA / "sdc_small"
    wanted = json.loads((folder / "expected.json").read_text())
    with (folder / "francdat.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    keys = [tuple(row[f"Key{i}"] for i in range(1, 5)) for row in rows]
    size = np.array([keys.count(key) for key in keys])
    weight = np.array([sum(float(r["w"]) for r, k in zip(rows, keys, strict=True) if k == key) for key in keys])
    assert size.tolist() == wanted["fk"]
    assert weight.tolist() == wanted["Fk"]
    assert individual_risk(size, weight) == pytest.approx(wanted["risk"], rel=1e-9)


def test_the_three_attackers() -> None:
    about = risk(Classes(np.array([1, 4, 5]), np.array([10, 8, 5]), np.array([3]), {}, sampled=True))
    assert (about.prosecutor, about.marketer, about.journalist) == (1.0, 0.3, 0.2)
    assert about.journalist_average == pytest.approx((1 / 10 + 4 / 8 + 5 / 5) / 10)
    assert (about.at_risk, about.uniques, about.smallest) == (5, 1, (1, 4, 5))
    assert risk(Classes(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64))).prosecutor == 0


def test_smallest_classes_of_many_and_of_large_ones() -> None:
    small = np.repeat([3, 2, 7], [8, 5, 100])
    assert risk(Classes(small, small, small[:0])).smallest == (2, 2, 2, 2, 2, 3, 3, 3, 3, 3)
    large = np.arange(5000, 5020)
    assert risk(Classes(large, large, large[:0])).smallest == tuple(range(5000, 5010))


def test_estimators_of_population_uniques() -> None:
    size = np.repeat([1, 2, 3, 5, 9], [40, 15, 8, 4, 2])
    found = uniques_in_population(Classes(size, size, size[:0]), 5 * int(size.sum()))
    assert set(found) == {"dankar", "pitman", "zayatz", "snb"}
    assert all(value is None or 0 < value < 40 / size.sum() for value in found.values())
    assert None not in (found["dankar"], found["zayatz"], found["snb"])
    assert population_uniqueness(size, int(size.sum())) == 40 / size.sum()
    assert population_uniqueness(np.array([2, 3]), 100) == 0.0
    with pytest.raises(UsageError):
        population_uniqueness(size, 3)
    with pytest.raises(UsageError) as error:
        population_uniqueness(np.ones(5, np.int64), 100, "pitman")
    assert error.value.code == "not_converged"
    assert 0 < population_uniqueness(np.ones(5, np.int64), 100) <= 1  # the rule falls back


def test_estimates_are_near_the_truth_of_their_own_model() -> None:
    """A population of shifted negative binomial classes, sampled by rows: SNB finds its uniques."""
    rng = np.random.default_rng(8)
    classes = 1 + rng.negative_binomial(0.8, 0.25, 20_000)
    rows = np.repeat(np.arange(20_000), classes)
    truth = (classes == 1).sum() / len(rows)
    sample = np.bincount(rows[rng.random(len(rows)) < 0.6])
    found = population_uniqueness(sample[sample > 0], len(rows), "snb")
    assert found == pytest.approx(truth, rel=0.05)


@pytest.mark.parametrize(
    ("x", "value"), [(1.0, -0.5772156649015329), (0.5, -1.9635100260214235), (10.0, 2.251752589066721)]
)
def test_digamma(x: float, value: float) -> None:
    assert digamma(x) == pytest.approx(value, abs=1e-13)
    assert digamma(x + 1) - digamma(x) == pytest.approx(1 / x, rel=1e-12)


FAULTS = {
    "version = 1": ("version = 2", "version"),
    'role = "sensitive"': ('role = "secret"', "columns.illness.role"),
    "widths = [10, 20]": ("width = [10, 20]", "columns.age.hierarchy.width"),
    "range = [0, 99]": ("range = [99, 0]", "columns.age.hierarchy.range"),
    'type = "interval"': ('type = "intervall"', "did you mean 'interval'"),
    'type = "k-anonymity"': ('type = "k-anonimity"', "models[0].type"),
    "k = 3": ("k = 0", "models[0]"),
    "[[models]]": ("[[model]]", "models"),
    "[search]": ("[searching]", "searching"),
    "suppression_limit = 0.1": ("suppression_limit = 1.5", "search.suppression_limit"),
    'locale = "zh-CN"': ('locale = "fr"', "locale"),
    "[columns]": ("[column]", "columns"),
    'sex = { role = "qi" }': ('sex = { role = "qi", top = 1, bottom = 2 }', "columns.sex.bottom"),
    'illness = { role = "sensitive" }': ('illness = { role = "sensitive", microaggregate = true }', "microaggregate"),
}


@pytest.mark.parametrize("right", FAULTS)
def test_a_fault_in_a_policy_names_the_field(right: str) -> None:
    wrong, named = FAULTS[right]
    with pytest.raises(UsageError) as error:
        Policy.from_text(POLICY.replace(right, wrong))
    assert error.value.code == "policy"
    assert named in error.value.message


def test_a_policy_that_is_no_toml_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        Policy.from_text("= 1")
    with pytest.raises(UsageError) as error:
        Policy.load(tmp_path / "no.toml")
    assert error.value.code == "no_such_file"


MODELS = """
[[models]]
type = "alpha-k-anonymity"
alpha = 0.9
k = 2
[[models]]
type = "entropy-l-diversity"
l = 1.2
[[models]]
type = "recursive-cl-diversity"
c = 9
l = 2
[[models]]
type = "t-closeness"
t = 0.6
distance = "ordered"
[[models]]
type = "t-closeness"
t = 0.6
distance = "hierarchical"
[[models]]
type = "beta-likeness"
beta = 3
[[models]]
type = "beta-likeness"
beta = 3
enhanced = true
[[models]]
type = "delta-disclosure"
delta = 3
log = "2"
[[models]]
type = "average-risk"
threshold = 0.3
[[models]]
type = "population-uniqueness"
threshold = 0.1
population = 1000
"""


def test_all_models_of_a_policy_together_hold_in_the_second_look() -> None:
    order = '{ type = "order", order = ["Krebs 癌", "flu", "none"], sizes = [2] }'
    tree = f'illness = {{ role = "sensitive", hierarchy = {order} }}'
    text = POLICY.replace('illness = { role = "sensitive" }', tree).replace("[search]", MODELS + "[search]")
    body = Policy.from_text(text).apply(table()).report.body
    assert len(body["models"]) == 11
    assert body["models"][1]["after"]["alpha"] <= 0.9
    assert body["models"][9]["after"]["average"] <= 0.3


def test_reports_are_the_same_every_time_and_hold_no_value() -> None:
    policy = Policy.from_text(POLICY)
    one, two = (policy.apply(some).report for some in (table(), table().take(pa.array(range(119, -1, -1)))))
    assert one.to_json() == two.to_json()
    assert one.to_markdown() == two.to_markdown()
    for text in (one.to_json(), one.to_markdown(), one.to_markdown("en"), repr(policy.apply(table()))):
        assert "癌" not in text
    assert "重标识风险" in one.to_markdown()
    assert "Re-identification risk" in one.to_markdown("en")
    assert json.loads(one.to_json())["policy"] == policy.digest


def test_the_picture_shows_every_k_that_can_be_held() -> None:
    policy = Policy.from_text(POLICY)
    points = sweep(policy, table(), (2, 5, 1000))
    assert [(point.k, point.loss is None, point.chosen) for point in points] == [
        (2, False, False),
        (3, False, True),
        (5, False, False),
        (1000, True, False),
    ]
    losses = [point.loss for point in points if point.loss is not None]
    assert losses == sorted(losses)
    report = with_sweep(policy, table(), policy.apply(table()).report)
    for locale in ("en", "zh-CN"):
        drawn = ET.fromstring(report.to_svg(locale))  # noqa: S314 - our own text
        assert drawn.tag.endswith("svg")
        assert "1000" not in report.to_svg(locale)
    assert report.to_svg() == with_sweep(policy, table(), report).to_svg()


def test_a_picture_without_a_k() -> None:
    text = POLICY.replace('type = "k-anonymity"\nk = 3', 'type = "average-risk"\nthreshold = 0.5')
    assert not any(point.chosen for point in sweep(Policy.from_text(text), table(), (2, 5)))


def test_measure_counts_and_names() -> None:
    trees = {"illness": flat(["Krebs 癌", "flu", "none"])}
    measured = measure(table(), qi=["age", "sex"], sensitive=["illness"], hierarchies=trees, population_rows=1200)
    assert measured.rows == 120
    sizes = table().group_by(["age", "sex"]).aggregate([([], "count_all")])["count_all"]
    assert measured.models["k-anonymity"]["k"] == min(int(str(size)) for size in sizes.to_pylist())
    assert "t-closeness-hierarchical(illness)" in measured.models
    assert set(measured.population_uniqueness) == {"dankar", "pitman", "zayatz", "snb"}
    assert not any(isinstance(v, float) and math.isnan(v) for one in measured.models.values() for v in one.values())
    assert "癌" not in measured.to_markdown() + measured.to_json()
    empty = measure(table().slice(0, 0), qi=["age"], sensitive=["illness"])
    assert empty.models["k-anonymity"] == {"k": None}
    with pytest.raises(UsageError) as error:
        measure(table(), qi=["agee"])
    assert error.value.code == "no_such_column"


def test_measure_against_a_population() -> None:
    measured = measure(table().slice(0, 40), qi=["sex"], population=table())
    there = [str(sex) for sex in table()["sex"].to_pylist()]
    assert measured.models["k-map"]["k"] == min(there.count(sex) for sex in "fm")
    assert 0 < (measured.models["delta-presence"]["high"] or 0) < 1


class TestCommands:
    @pytest.fixture
    def files(self, tmp_path: Path) -> Path:
        write(table(), tmp_path / "in.csv")
        (tmp_path / "p.toml").write_text(POLICY, encoding="utf-8")
        return tmp_path

    def test_anonymize_writes_release_report_and_picture(self, files: Path) -> None:
        words = ("anonymize", f"{files}/in.csv", "--policy", f"{files}/p.toml", "-o", f"{files}/out.parquet")
        done = run(*words, "--report", f"{files}/r.md")
        assert done.exit_code == 0, done.output
        assert "数据发布报告" in done.stdout
        assert (files / "r.md").read_text(encoding="utf-8").endswith("![](r.svg)\n")
        assert (files / "r.svg").read_text(encoding="utf-8").startswith("<svg")
        body = json.loads(run(*words, "--json").stdout)
        assert body["models"][0]["after"]["k"] >= 3
        again = json.loads(run("measure", f"{files}/out.parquet", "--qi", "age", "--qi", "sex", "--json").stdout)
        assert again["models"]["k-anonymity"]["k"] == body["models"][0]["after"]["k"]
        assert run(*words, "--report", f"{files}/r.json").exit_code == 0
        assert json.loads((files / "r.json").read_text())["rows"] == 120

    def test_explain_writes_nothing(self, files: Path) -> None:
        words = ("anonymize", f"{files}/in.csv", "--policy", f"{files}/p.toml", "--explain")
        assert "8 nodes" in run(*words).stdout
        assert json.loads(run(*words, "--json").stdout)["nodes"] == "8"
        assert sorted(path.name for path in files.iterdir()) == ["in.csv", "p.toml"]

    def test_refusals_have_their_status(self, files: Path) -> None:
        words = ("anonymize", f"{files}/in.csv", "--policy", f"{files}/p.toml")
        assert run(*words).exit_code == 2
        assert run(*words, "-o", f"{files}/out.xlsx").exit_code == 2
        assert run(*words, "-o", f"{files}/in.csv").exit_code == 2
        (files / "p.toml").write_text(POLICY.replace("k = 3", "k = 1000"), encoding="utf-8")
        done = run(*words, "-o", f"{files}/out.csv", "--json")
        assert done.exit_code == 5
        assert json.loads(done.stdout)["error"]["code"] == "infeasible"
        assert not (files / "out.csv").exists()

    def test_measure_prints_every_risk(self, files: Path) -> None:
        (files / "h.csv").write_text("flu;*\nnone;*\nKrebs 癌;*\n", encoding="utf-8")
        words = ("measure", f"{files}/in.csv", "--qi", "age", "--sensitive", "illness")
        done = run(*words, "--hierarchy", f"illness={files}/h.csv", "--population-rows", "5000", "--locale", "zh-CN")
        assert done.exit_code == 0, done.output
        assert "t-closeness-hierarchical(illness)" in done.stdout
        assert "dankar" in done.stdout
        assert run(*words, "--hierarchy", "age=h.csv").exit_code == 2


def test_public_names_are_what_they_are_in_any_order() -> None:
    """No public function has the name of a module, which would take its place once the module is imported."""
    import subprocess
    import sys

    code = (
        "import privcompute.anonymize as a\n"
        "for names in (a.__all__, a.__all__[::-1]):\n"
        "    assert all(callable(getattr(a, name)) for name in names), names\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    here = Path(__file__).parents[2] / "src" / "privcompute" / "anonymize"
    import privcompute.anonymize

    assert not {path.stem for path in here.iterdir()} & set(privcompute.anonymize.__all__)
