"""Grades at a node: confirmed by the owner, private, and published as floors for whoever takes part."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.union_nodes import UnionNodes, paired_homes

from privcompute.cli.app import root
from privcompute.errors import PrivacyError, UsageError
from privcompute.node.checkup import examine
from privcompute.node.config import Config, Grades, load, save
from privcompute.node.datasets import Declaration, add
from privcompute.node.grading import expand, published, recipient, rule_table
from privcompute.node.home import Home
from privcompute.node.rules import parse_allow, parse_grades
from privcompute.node.setup import create_node
from privcompute.node.store import Store
from privcompute.tables.synthetic import HOSPITALS, WARDS, union_tables

BODY = "id,ward,age,gene\n" + "".join(f"{i},north,{i},aa\n" for i in range(20))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("graded")
    create_node(Home(place / "h"), "hospital", None)
    (place / "t.csv").write_text(BODY)
    return place


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    import shutil

    shutil.copytree(made, tmp_path / "n")
    return tmp_path / "n" / "h"


def run(home: Path, *words: str, status: int = 0) -> dict[str, Any]:
    result = CliRunner().invoke(root, ["--home", str(home), "--json", *words], prog_name="privcompute")
    assert result.exit_code == status, result.output
    return dict(json.loads(result.stdout))


def dataset(home: Path, **grades: str) -> Any:
    store, config = Store(Home(home).database), load(home / "node.toml")
    found = add(
        store,
        config,
        "t",
        str(home.parent / "t.csv"),
        ["id"],
        Declaration({}, {}, grades=grades),
        credentials=None,
        accept=lambda derived, cap: True,
    )
    store.close()
    return found


def test_grades_are_given_changed_taken_back_and_shown(home: Path) -> None:
    words = ("--key", "id", "--grade", "*=general-2", "--grade", "AGE=important")
    body = run(home, "dataset", "add", "t", str(home.parent / "t.csv"), *words)
    assert body["grades"] == {"id": "general-2", "ward": "general-2", "age": "important", "gene": "general-2"}
    run(home, "dataset", "edit", "t", "--grade", "gene=general-4/human-genetic-resources", "--grade", "ward=")
    (listed,) = run(home, "dataset", "list")["datasets"]
    assert listed["grades"] == {
        "id": "general-2",
        "age": "important",
        "gene": "general-4/human-genetic-resources",
    }
    # What a peer sees holds no grade.
    assert "important" not in json.dumps(listed["entry"])
    shown = CliRunner().invoke(root, ["--home", str(home), "dataset", "list"], prog_name="privcompute").stdout
    assert "grade (private)" in shown
    assert "general-4/human-genetic-resources" in shown
    run(home, "dataset", "edit", "t", "--grade", "*=general-1")
    assert set(run(home, "dataset", "list")["datasets"][0]["grades"].values()) == {"general-1"}


def test_without_grades_the_list_looks_as_it_did(home: Path) -> None:
    run(home, "dataset", "add", "t", str(home.parent / "t.csv"), "--key", "id")
    shown = CliRunner().invoke(root, ["--home", str(home), "dataset", "list"], prog_name="privcompute").stdout
    assert "(private)" not in shown


@pytest.mark.parametrize(
    ("option", "code"),
    [
        ("age=secret", "bad_grade"),
        ("age=Core", "bad_grade"),
        ("age", "bad_grade"),
        ("weight=core", "no_such_column"),
        ("age=level-3", "bad_grade"),
    ],
)
def test_a_grade_that_will_not_do(home: Path, option: str, code: str) -> None:
    words = ("dataset", "add", "t", str(home.parent / "t.csv"), "--key", "id", "--grade", option)
    assert run(home, *words, status=2)["error"]["code"] == code


def test_one_column_one_grade() -> None:
    with pytest.raises(UsageError) as caught:
        parse_grades(["a=core", "a=important"])
    assert caught.value.code == "bad_grade"


def test_the_floors_that_a_peer_sees_depend_on_who_takes_part(home: Path) -> None:
    made = dataset(home, ward="general-3", age="important", gene="general-4/human-genetic-resources", id="core").dataset
    config = Config("hospital", grades=Grades(own=("lab",), abroad=("overseas",)))
    assert published(config, made, ["insurer"]).floors == {"age": "sum", "id": "hidden-join"}
    assert published(config, made, ["lab"]).floors == {"id": "sum"}
    # Nobody but this node, as when it explains to itself.
    assert published(config, made, ["hospital"]).floors == {"id": "sum"}
    abroad = {"age": "forbidden", "id": "forbidden", "gene": "forbidden"}
    assert published(config, made, ["overseas"]).floors == abroad
    # The strictest of all that take part.
    assert published(config, made, ["insurer", "lab", "overseas"]).floors == abroad
    assert published(config, made, ["insurer", "lab"]).floors == {"age": "sum", "id": "hidden-join"}


def test_a_node_may_require_grades(home: Path) -> None:
    config = load(home / "node.toml")
    save(home / "node.toml", replace(config, grades=Grades(required=True)))
    made = dataset(home, age="general-1")
    assert "no query and no release may use id, ward, gene" in made.notes[-1]
    floors = published(load(home / "node.toml"), made.dataset, ["insurer"]).floors
    assert floors == {"id": "forbidden", "ward": "forbidden", "gene": "forbidden"}


def test_grades_are_none_of_a_dataset_without_them(home: Path) -> None:
    made = dataset(home)
    assert published(load(home / "node.toml"), made.dataset, ["insurer"]) == made.entry
    assert made.entry.floors == {}


def test_the_profile_and_the_owners_rules_are_read_beside_the_configuration(home: Path) -> None:
    rules = 'version = 1\nname = "ours"\nstandard = "s"\nextends = "jrt0197"\n'
    rules += '[rules.level-5.peer]\nresearch = "forbidden"\n'
    (home / "rules.toml").write_text(rules)
    text = (home / "node.toml").read_text()
    text = text.replace('profile = "gbt43697"', 'profile = "jrt0197"').replace('rules = ""', 'rules = "rules.toml"')
    (home / "node.toml").write_text(text)
    config = load(home / "node.toml")
    table = rule_table(config)
    assert table.name == "ours"
    assert table.floor("level-5", "research", "peer").value == "forbidden"
    columns = dataset(home).entry.columns
    assert expand({"*": "level-2"}, columns, config) == dict.fromkeys(["id", "ward", "age", "gene"], "level-2")


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ('profile = "gdpr"', "grades.profile: must be one of"),
        ("rules = 7", "grades.rules: must be a file's path"),
        ('required = "yes"', "grades.required: must be true or false"),
        ('own = "lab"', "grades.own: must be a list"),
        ('own = ["Lab"]', "grades.own: must be a list"),
        ('own = ["lab"]\nabroad = ["lab"]', "grades.abroad: names lab"),
    ],
)
def test_a_configuration_with_a_fault(tmp_path: Path, line: str, named: str) -> None:
    (tmp_path / "node.toml").write_text(f'name = "hospital"\n[grades]\n{line}\n')
    with pytest.raises(UsageError) as caught:
        load(tmp_path / "node.toml")
    assert named in caught.value.message


def test_who_a_party_is(tmp_path: Path) -> None:
    config = Config("hospital", grades=Grades(own=("lab",), abroad=("overseas",)))
    kinds = {party: recipient(config, party) for party in ("hospital", "lab", "overseas", "insurer")}
    assert kinds == {"hospital": "own", "lab": "own", "overseas": "cross-border", "insurer": "peer"}
    save(tmp_path / "node.toml", config)
    assert load(tmp_path / "node.toml") == config


def test_grades_of_another_profile_let_nothing_pass_and_doctor_says_so(home: Path) -> None:
    made = dataset(home, age="general-1", ward="general-2").dataset
    text = (home / "node.toml").read_text().replace('profile = "gbt43697"', 'profile = "jrt0197"')
    (home / "node.toml").write_text(text)
    assert published(load(home / "node.toml"), made, ["insurer"]).floors == {"age": "forbidden", "ward": "forbidden"}
    findings = asyncio.run(examine(Home(home)))
    assert any("do not have the grades of age, ward" in one.text for one in findings)
    (home / "node.toml").write_text(text.replace('rules = ""', 'rules = "gone.toml"'))
    with pytest.raises(UsageError) as caught:
        published(load(home / "node.toml"), made, ["insurer"])
    assert (caught.value.code, "gone" in str(caught.value)) == ("grade_rules", False)
    assert any(one.about == "grades" and one.state == "fail" for one in asyncio.run(examine(Home(home))))


def test_the_grade_of_a_column_that_has_gone_can_be_taken_back(home: Path) -> None:
    dataset(home, gene="general-4")
    (home.parent / "t.csv").write_text("id,ward,age\n" + "".join(f"{i},north,{i}\n" for i in range(20)))
    assert run(home, "dataset", "edit", "t", status=2)["error"]["code"] == "no_such_column"
    assert run(home, "dataset", "edit", "t", "--grade", "gene=")["grades"] == {}


async def test_a_question_over_a_union_obeys_everybodys_grades(tmp_path: Path) -> None:
    tables = {name: union_tables(200)[name] for name in HOSPITALS[:3]}
    allow = parse_allow(["*=aggregate,group,filter,product"])
    ranges = {"age": (Fraction(0), Fraction(127))}
    paired_homes(tmp_path, tables, Declaration(allow, ranges, domains={"ward": tuple(WARDS)}), key="patient_id")
    world = UnionNodes(tmp_path, list(tables))
    graded, *_, asker = tables
    sql = "SELECT SUM(age) AS a FROM UNION(patients) WHERE ward <> 'heart'"
    for grade, sums, groups in (("general-4", True, True), ("important", True, False), ("core", False, False)):
        world.edit(graded, grades={"age": grade, "ward": grade})
        for question, passes in (
            (sql, sums),
            ("SELECT ward, COUNT(*) AS n FROM UNION(patients) GROUP BY ward", groups),
        ):
            if passes:
                assert (await world.call("query", question, asker=asker))["status"] == "done"
                continue
            with pytest.raises(PrivacyError) as caught:
                await world.call("query", question, asker=asker)
            assert (caught.value.code, caught.value.party) == ("grade", graded)
            # The asker is told the floor, never the grade.
            assert grade not in caught.value.message.replace("its grade", "")
    await world.close()


def test_groups_of_fewer_people_than_the_rules_k_are_plain_values(home: Path) -> None:
    """A minimum of 2 would show groups of two as if they were a k-anonymous release of k = 5."""
    grades = {"ward": "general-3", "age": "general-4", "gene": "general-1"}
    config = Config("hospital")
    for least, floors in ((5, {}), (4, {"ward": "sum", "age": "sum"}), (1, {"ward": "sum", "age": "sum"})):
        store = Store(Home(home).database)
        made = add(
            store,
            config,
            f"t{least}",
            str(home.parent / "t.csv"),
            ["id"],
            Declaration({}, {}, grades=grades, min_cell=least),
            credentials=None,
            accept=lambda derived, cap: True,
        )
        store.close()
        assert published(config, made.dataset, ["insurer"]).floors == floors
        assert any("a peer may not group by ward, age" in one for one in made.notes) == (least < 5)
        # What is plain to one's own organisation needs no group of five.
        assert published(config, made.dataset, ["hospital"]).floors == {}


def test_a_category_that_the_rules_do_not_have(home: Path) -> None:
    words = ("dataset", "add", "t", str(home.parent / "t.csv"), "--key", "id")
    error = run(home, *words, "--grade", "gene=general-1/human-genetic-resource", status=2)["error"]
    assert error["code"] == "bad_category"
    assert "did you mean human-genetic-resources?" in error["remedy"]
    run(home, *words, "--grade", "gene=general-1/human-genetic-resources")
    # Under rules whose list does not have it any more it still crosses no border, and doctor says so.
    (home / "rules.toml").write_text(_without_negative_list())
    text = (home / "node.toml").read_text().replace('rules = ""', 'rules = "rules.toml"')
    (home / "node.toml").write_text(text.replace("abroad = []", 'abroad = ["overseas"]'))
    store, config = Store(Home(home).database), load(home / "node.toml")
    assert published(config, store.datasets.get("t"), ["overseas"]).floors == {"gene": "forbidden"}
    store.close()
    findings = [one.text for one in asyncio.run(examine(Home(home)))]
    assert any("do not have the categories human-genetic-resources" in one for one in findings)
    assert any("grades.abroad names overseas, who is not a paired peer" in one for one in findings)


def _without_negative_list() -> str:
    from importlib import resources

    text = resources.files("privcompute.grades").joinpath("gbt43697.toml").read_text(encoding="utf-8")
    return text.partition("[[negative]]")[0].replace('name = "gbt43697"', 'name = "ours"\nreplaces = "gbt43697"', 1)
