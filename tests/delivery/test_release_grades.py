"""Grades and releases: which technique a policy gives a column, and what the rules say to that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.deliveries import ANONYMOUS, MASK, Deliveries

from privcompute.anonymize.mask.policy import OPERATORS as BUILT
from privcompute.errors import PrivacyError
from privcompute.grades import Technique, shipped
from privcompute.node.delivery.recipe import OPERATORS, Recipe

NAMES = ("id", "name", "age", "sex", "disease")


def ways(place: Path, policy: str) -> dict[str, str]:
    file = place / "p.toml"
    file.write_text(policy)
    return {one.column: one.technique.value for one in Recipe.load(file).carried(NAMES, {}, shipped("gbt43697"))}


def test_every_operator_has_a_technique() -> None:
    assert set(OPERATORS) == set(BUILT)
    assert OPERATORS["keep"] is Technique.PLAIN
    # Nothing that acts on one cell alone is as strong as a release of classes.
    assert max(OPERATORS.values()) < Technique.K_ANONYMOUS


def test_what_a_policy_gives_each_column(tmp_path: Path) -> None:
    assert ways(tmp_path, MASK) == {"id": "token", "name": "mask", "age": "mask"}
    others = MASK.replace('"drop"', '"keep"')
    assert ways(tmp_path, others) == {"id": "token", "name": "mask", "age": "mask", "sex": "plain", "disease": "plain"}
    anonymous = {"age": "k-anonymous", "sex": "k-anonymous", "disease": "k-anonymous"}
    assert ways(tmp_path, ANONYMOUS) == anonymous
    kept = ANONYMOUS.replace('others = "drop"', 'others = "keep"').replace('name = { role = "direct" }\n', "")
    assert ways(tmp_path, kept) == anonymous | {"name": "plain"}
    insensitive = ANONYMOUS.replace('sex = { role = "qi" }', 'sex = { role = "insensitive" }')
    assert ways(tmp_path, insensitive) == anonymous | {"sex": "plain"}
    token = 'transform = { op = "token", key = "k1", domain = "person" } }'
    mixed = ANONYMOUS.replace('id = { role = "direct" }', 'id = { role = "direct", ' + token)
    assert ways(tmp_path, mixed) == anonymous | {"id": "token"}


@pytest.mark.parametrize(
    ("transform", "technique"),
    [
        ('op = "redact"', "mask"),
        ('op = "redact", found = true', "plain"),
        ('op = "bucket", width = 2', "mask"),
        ('op = "bucket", width = 1', "plain"),
        ('op = "bucket", width = "1.0"', "plain"),
        ('op = "bucket", width = "0.001"', "plain"),
        ('op = "bucket", edges = [0, 1, 18, 65]', "mask"),
        ('op = "bucket", edges = [0, 1, 2, 3]', "plain"),
        ('op = "bucket", unit = "month"', "mask"),
        ('op = "noise", scale = 1', "mask"),
        ('op = "noise", scale = 1, step = "0.01"', "plain"),
        ('op = "noise", scale = 100, step = "0.01"', "mask"),
        ('op = "mask", keep = 6, keep_last = 4', "mask"),
        ('op = "mask", keep = 17', "plain"),
        ('op = "mask", keep = 3, keep_last = 14', "plain"),
        ('op = "mask", keep_from = "@"', "mask"),
        ('op = "mask", keep_from = "P"', "plain"),
        ('op = "mask", type = "bank_card"', "mask"),
    ],
)
def test_an_operator_that_changes_next_to_nothing_is_plain(tmp_path: Path, transform: str, technique: str) -> None:
    """Else a transform of one's own choice would carry what its grade keeps from leaving."""
    policy = f"version = 1\n[columns]\nid = {{ transform = {{ {transform} }} }}\n"
    assert ways(tmp_path, policy)["id"] == technique


def test_what_custom_leaves_visible_is_within_the_most() -> None:
    from privcompute.anonymize.mask import masking
    from privcompute.node.delivery.recipe import MOST_VISIBLE

    assert max(first + last for first, last in masking.VISIBLE.values()) == MOST_VISIBLE


def test_a_model_that_states_no_class_size_is_no_k_anonymous_release(tmp_path: Path) -> None:
    """Of k-map the k is one of the population: the classes of the release may hold one row."""
    from dataclasses import replace

    from privcompute.anonymize import Policy
    from privcompute.anonymize.models.alpha_k import AlphaKAnonymity
    from privcompute.anonymize.models.average_risk import AverageRisk
    from privcompute.anonymize.models.distinct_l import DistinctLDiversity
    from privcompute.anonymize.models.estimated_k_map import EstimatedKMap
    from privcompute.anonymize.models.k_map import KMap

    (tmp_path / "p.toml").write_text(ANONYMOUS)
    recipe, table = Recipe.load(tmp_path / "p.toml"), shipped("gbt43697")
    assert isinstance(recipe.policy, Policy)
    for models, technique in (
        ((AlphaKAnonymity("disease", 0.9, 5),), "k-anonymous"),
        ((AlphaKAnonymity("disease", 0.9, 4),), "plain"),
        ((KMap(50),), "plain"),
        ((EstimatedKMap(50, 10_000, 0.01, "zero-truncated-poisson"),), "plain"),
        ((DistinctLDiversity("disease", 9),), "plain"),
        ((AverageRisk(0.001),), "plain"),
        ((), "plain"),
    ):
        made = replace(recipe, policy=replace(recipe.policy, models=models))
        assert {one.technique.value for one in made.carried(NAMES, {}, table)} == {technique}


def test_a_small_k_is_no_k_anonymous_release(tmp_path: Path) -> None:
    assert set(ways(tmp_path, ANONYMOUS.replace("k = 5", "k = 4")).values()) == {"plain"}
    other = ANONYMOUS.replace('type = "k-anonymity"\nk = 5', 'type = "distinct-l-diversity"\nl = 2')
    assert set(ways(tmp_path, other).values()) == {"plain"}


def test_a_column_that_is_made_from_another_takes_its_grade(tmp_path: Path) -> None:
    policy = 'version = 1\n[columns]\nage = { transform = { op = "date_shift", key = "k1", subject = "id" } }\n'
    (tmp_path / "p.toml").write_text(policy)
    table = shipped("gbt43697")
    found = Recipe.load(tmp_path / "p.toml").carried(NAMES, {"id": "important", "age": "general-1"}, table)
    shifted = next(one for one in found if one.column == "age")
    assert [str(one) for one in shifted.derived_from] == ["important"]
    with pytest.raises(PrivacyError, match="important x research x peer"):
        table.check(shifted, "research", "peer")


def grade(world: Deliveries, **grades: str) -> None:
    world.nodes["hospital"].store.database.run("UPDATE datasets SET grades = ?", (json.dumps(grades),))


async def test_a_release_obeys_the_grades(world: Deliveries) -> None:
    grade(world, id="general-2", name="general-2", age="general-3", sex="general-3", disease="general-4")
    with pytest.raises(PrivacyError) as caught:
        await world.release(MASK)  # age is only masked
    assert caught.value.code == "grade"
    assert "column age would leave as masked values" in caught.value.message
    assert "general-3 x research x peer asks for a k-anonymous release" in caught.value.message
    assert world.events("hospital").count("table_sending") == 0
    assert world.events("hospital")[-1] == "release_refused"
    body = await world.release(ANONYMOUS)
    assert {one["column"]: one["least"] for one in body["rules"]} == dict.fromkeys(
        ("age", "sex", "disease"), "k-anonymous"
    )
    assert [one["grade"] for one in body["rules"]] == ["general-3", "general-3", "general-4"]


async def test_an_important_column_is_in_no_table(world: Deliveries) -> None:
    grade(world, disease="important")
    with pytest.raises(PrivacyError) as caught:
        await world.release(ANONYMOUS)
    assert "sums on shares" in caught.value.message
    assert "ask a query over it instead" in caught.value.remedy
    without = ANONYMOUS.replace('disease = { role = "sensitive" }\n', "")
    await world.release(without)
    assert world.received().column_names == ["age", "sex"]


async def test_the_purpose_decides_too(world: Deliveries) -> None:
    grade(world, age="general-3", name="general-2", id="general-2")
    tokens = MASK.replace('{ op = "bucket", width = 10 }', '{ op = "token", key = "k1", domain = "age" }')
    with pytest.raises(PrivacyError):
        await world.release(tokens, purpose="research")
    await world.release(tokens, purpose="operations")
    assert world.shown[-1]["delivery"]["purpose"] == "operations"


async def test_grades_that_are_required(world: Deliveries) -> None:
    from dataclasses import replace

    node = world.nodes["hospital"]
    node.config = replace(node.config, grades=replace(node.config.grades, required=True))
    with pytest.raises(PrivacyError, match="nobody graded it"):
        await world.release(MASK)
