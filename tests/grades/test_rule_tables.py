"""The rule tables: every cell of the truth table, monotony, owners' tables, faults named."""

from __future__ import annotations

import tomllib
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest

from privcompute.errors import PrivacyError, UsageError
from privcompute.grades import (
    PROFILES,
    PURPOSES,
    RECIPIENTS,
    Carried,
    ColumnGrade,
    Technique,
    load,
    parse_grade,
    shipped,
)
from privcompute.grades.owned import owned
from privcompute.grades.read import document_of, whole_table

GB = shipped("gbt43697")
CELLS = [
    (profile, grade, purpose, recipient)
    for profile in PROFILES
    for grade in shipped(profile).names()
    for purpose, recipient in product(PURPOSES, RECIPIENTS)
]

# What the floors of the first profile have to be, stated a second time: purposes in their order, by first letter.
P, M, T, K, S, H, F = Technique
EXPECTED = {
    "general-1": {"own": [P] * 4, "peer": [P] * 4, "public": [P] * 4, "cross-border": [P] * 4},
    "general-2": {"own": [P] * 4, "peer": [P, P, P, M], "public": [K] * 4, "cross-border": [T, T, T, K]},
    "general-3": {"own": [P, P, P, M], "peer": [T, K, T, K], "public": [K, K, K, S], "cross-border": [K, K, K, S]},
    "general-4": {"own": [P, M, M, K], "peer": [K, K, K, S], "public": [S, S, F, F], "cross-border": [S, S, F, F]},
    "important": {"own": [M, K, M, S], "peer": [S, S, S, F], "public": [F] * 4, "cross-border": [F] * 4},
    "core": {"own": [S, S, S, F], "peer": [H, F, F, F], "public": [F] * 4, "cross-border": [F] * 4},
}


def test_the_order_of_techniques() -> None:
    assert [one.value for one in sorted(Technique)] == [
        "plain",
        "mask",
        "token",
        "k-anonymous",
        "sum",
        "hidden-join",
        "forbidden",
    ]
    assert all(a < b for a, b in pairwise(Technique))


@pytest.mark.parametrize("grade", EXPECTED)
def test_the_floors_are_those_that_were_meant(grade: str) -> None:
    for recipient, floors in EXPECTED[grade].items():
        assert [GB.floor(grade, purpose, recipient) for purpose in PURPOSES] == floors


def test_levels_of_the_second_profile_correspond_to_grades_of_the_first() -> None:
    second = shipped("jrt0197")
    for level, grade in zip(second.names(), GB.names(), strict=False):
        for purpose, recipient in product(PURPOSES, RECIPIENTS):
            assert second.floor(level, purpose, recipient) == GB.floor(grade, purpose, recipient)


@pytest.mark.parametrize(("profile", "grade", "purpose", "recipient"), CELLS)
def test_nothing_is_routed_below_its_floor(profile: str, grade: str, purpose: str, recipient: str) -> None:
    """The full truth table: profile x grade x purpose x recipient x technique."""
    table = shipped(profile)
    least = table.floor(grade, purpose, recipient)
    for technique in Technique:
        carried = Carried("x", technique, ColumnGrade(grade))
        passes = (
            least is not Technique.FORBIDDEN and least.strength <= technique.strength < Technique.FORBIDDEN.strength
        )
        assert (technique in table.permitted(grade, purpose, recipient)) == passes
        if passes:
            table.check(carried, purpose, recipient)
            continue
        with pytest.raises(PrivacyError) as caught:
            table.check(carried, purpose, recipient)
        assert caught.value.code == "grade"
        assert "x" in caught.value.message
        assert grade in caught.value.message
        assert caught.value.remedy


@pytest.mark.parametrize("profile", PROFILES)
def test_a_stricter_grade_never_asks_for_less(profile: str) -> None:
    table = shipped(profile)
    for (low, high), purpose, recipient in product(pairwise(table.names()), PURPOSES, RECIPIENTS):
        assert table.floor(low, purpose, recipient) <= table.floor(high, purpose, recipient)
        assert table.floor(low, purpose, "own") <= table.floor(low, purpose, recipient)


@pytest.mark.parametrize(("one", "other"), list(product(GB.names(), repeat=2)))
def test_what_is_derived_takes_the_stricter_grade(one: str, other: str) -> None:
    strictest = max(one, other, key=GB.names().index)
    for purpose, recipient in product(PURPOSES, RECIPIENTS):
        floor = GB.derived_floor([ColumnGrade(one), ColumnGrade(other)], purpose, recipient)
        assert floor == GB.floor(strictest, purpose, recipient)
        derived = Carried("age_shifted", Technique.TOKEN, ColumnGrade(one), (ColumnGrade(other),))
        if floor > Technique.TOKEN:
            with pytest.raises(PrivacyError, match=strictest if floor < Technique.FORBIDDEN else "forbids"):
                GB.check(derived, purpose, recipient)
        else:
            GB.check(derived, purpose, recipient)


def test_a_column_without_a_grade() -> None:
    strict = shipped("gbt43697", required=True)
    for purpose, recipient in product(PURPOSES, RECIPIENTS):
        assert GB.permitted(None, purpose, recipient) == tuple(Technique)[:-1]
        assert strict.permitted(None, purpose, recipient) == ()
        assert strict.derived_floor([ColumnGrade("general-1"), None], purpose, recipient) is Technique.FORBIDDEN
    with pytest.raises(PrivacyError, match="nobody graded it"):
        strict.check(Carried("x", Technique.SUM, None), "research", "peer")


def test_the_negative_list_forbids_abroad_and_only_there() -> None:
    assert GB.negative
    for listed, grade in product(GB.negative, GB.names()):
        marked = ColumnGrade(grade, listed.category)
        for purpose, recipient in product(PURPOSES, RECIPIENTS):
            expected = Technique.FORBIDDEN if recipient == "cross-border" else GB.floor(grade, purpose, recipient)
            assert GB.floor(marked, purpose, recipient) is expected
    with pytest.raises(PrivacyError, match="negative list of gbt43697 names human-genetic-resources"):
        GB.check(
            Carried("g", Technique.SUM, parse_grade("general-1/human-genetic-resources")), "research", "cross-border"
        )


def test_a_category_that_no_list_has_crosses_no_border() -> None:
    """A slip in a category, or one of another table: what it was meant to forbid stays forbidden."""
    slip = ColumnGrade("general-1", "human-genetic-resource")
    for purpose in PURPOSES:
        assert GB.floor(slip, purpose, "cross-border") is Technique.FORBIDDEN
        assert GB.floor(slip, purpose, "peer") is Technique.PLAIN
    with pytest.raises(PrivacyError, match="do not have the category human-genetic-resource, so"):
        GB.check(Carried("g", Technique.SUM, slip), "research", "cross-border")
    with pytest.raises(UsageError, match="there is no category") as caught:
        GB.check_category(slip)
    assert (caught.value.code, "did you mean human-genetic-resources?" in caught.value.remedy) == ("bad_category", True)
    for listed in GB.categories():
        GB.check_category(ColumnGrade("core", listed))


@pytest.mark.parametrize(
    "text",
    [
        "general-1/Human-Genetic-Resources",
        "general-1/ human-genetic-resources",
        "general-1/human-genetic-resources\u200b",
        "general-1/human-genetic\u2010resources",
        "general-1/hum\u0430n-genetic-resources",
        "general-1/human_genetic_resources",
        "general-1//human-genetic-resources",
        "ｃｏｒｅ",
        "core\n",
        "cor\u0435",
    ],
)
def test_a_word_that_only_looks_right_is_refused(text: str) -> None:
    """Neither case nor white space nor another alphabet makes a grade or category that the rules pass by."""
    try:
        grade = parse_grade(text)
    except UsageError as error:
        assert error.code == "bad_grade"  # noqa: PT017 - either this, or the same as the clean word below
    else:
        assert str(grade) == text.strip()
        GB.check_grade(grade)
        GB.check_category(grade)


def test_the_remedy_is_the_smallest_change() -> None:
    for grade, recipient, words in (
        ("general-2", "peer", 'op = "mask"'),
        ("general-3", "peer", "k >= 5"),
        ("important", "public", "leave x out"),
    ):
        with pytest.raises(PrivacyError) as caught:
            GB.check(Carried("x", Technique.PLAIN, ColumnGrade(grade)), "development", recipient)
        assert words in caught.value.remedy


@pytest.mark.parametrize("text", ["", "Core", "core/", "core/A", "a b", "core/x/y", "-core", "x" * 41])
def test_what_is_no_grade(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_grade(text)
    assert caught.value.code == "bad_grade"


def test_words_that_the_table_does_not_have() -> None:
    for call, code in (
        (("secret", "research", "peer"), "bad_grade"),
        (("core", "fun", "peer"), "bad_purpose"),
        (("core", "research", "everybody"), "bad_recipient"),
    ):
        with pytest.raises(UsageError) as caught:
            GB.floor(*call)
        assert caught.value.code == code
    with pytest.raises(UsageError) as caught:
        shipped("gdpr")
    assert caught.value.code == "bad_profile"


OWN = """
version = 1
name = "ours"
standard = "house rule 7"
extends = "gbt43697"
least_k = 10
[rules.general-2.peer]
research = "sum"
[rules.general-4.peer]
research = "sum"
[rules.general-3.peer]
research = "sum"
[[negative]]
category = "house-list"
en = "what we keep at home"
zh = "留在本地"
clause = "house rule 7.1"
"""


def test_an_owners_table_is_stricter(tmp_path: Path) -> None:
    place = tmp_path / "rules.toml"
    place.write_text(OWN)
    table = load("gbt43697", place)
    assert table.floor("general-2", "research", "peer") is Technique.SUM
    assert table.floor("general-2", "operations", "peer") is GB.floor("general-2", "operations", "peer")
    assert table.floor(ColumnGrade("general-1", "house-list"), "research", "cross-border") is Technique.FORBIDDEN
    assert table.floor(ColumnGrade("core", "human-genetic-resources"), "research", "own") is Technique.SUM
    assert table.least_k == 10
    for cell, floor in GB.floors.items():
        assert floor <= table.floors[cell]
    assert table.digest != GB.digest


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('research = "sum"', 'research = "plain"', "rules.general-3.peer.research is weaker than k-anonymous"),
        (
            "[rules.general-4.peer]\nresearch",
            "[rules.general-4.public]\nresearch",
            "general-4.peer.research asks for less",
        ),
        ("least_k = 10", "least_k = 4", "least_k must be a whole number from 5"),
        ('extends = "gbt43697"', 'extends = "jrt0197"', "must name gbt43697"),
        ('extends = "gbt43697"', 'extends = "gbt43697"\nreplaces = "gbt43697"', "one of them"),
        ('extends = "gbt43697"', "", "must name gbt43697"),
        ('"sum"', '"magic"', "must be one of plain"),
        ("version = 1", "version = 2", "version must be 1"),
        ("version = 1", "version = true", "version must be 1"),
        ("research", "fun", "is not a field"),
        ("general-4", "general-9", "is not a field"),
        ("peer", "friend", "is not a field"),
        ('category = "house-list"', 'category = "House List"', "negative[0].category"),
        ('clause = "house rule 7.1"', "clause = 7", "negative[0].clause"),
        ('zh = "留在本地"', 'zh = "留在本地"\nchecked = "yes"', "negative[0].checked"),
        ('name = "ours"', "name = 7", "name must be a short text"),
        ('standard = "house rule 7"', "", "standard must be a short text"),
        ("least_k", "most_k", "most_k is not a field"),
    ],
)
def test_an_owners_table_with_a_fault(old: str, new: str, named: str) -> None:
    assert old in OWN
    place = OWN.rindex(old)
    text = OWN[:place] + new + OWN[place + len(old) :]
    with pytest.raises(UsageError) as caught:
        owned(tomllib.loads(text), "gbt43697", "rules.toml")
    assert caught.value.code == "grade_rules"
    assert named in caught.value.message


def test_a_table_may_replace_the_shipped_one_explicitly() -> None:
    document = document_of("gbt43697")
    weaker = {**document, "name": "ours", "replaces": "gbt43697"}
    weaker["grades"] = [
        {**grade, "cross-border": dict.fromkeys(PURPOSES, "forbidden"), "own": dict.fromkeys(PURPOSES, "plain")}
        for grade in document["grades"]
    ]
    table = owned(weaker, "gbt43697", "ours")
    assert table.floor("core", "research", "own") is Technique.PLAIN
    assert table.floor("general-1", "research", "cross-border") is Technique.FORBIDDEN


def _without_a_rule(document: dict[str, Any]) -> None:
    del document["grades"][2]["peer"]["research"]


def _upside_down(document: dict[str, Any]) -> None:
    document["grades"].reverse()


def _twice(document: dict[str, Any]) -> None:
    document["grades"][1]["name"] = document["grades"][0]["name"]


def _own_stricter(document: dict[str, Any]) -> None:
    document["grades"][5]["own"]["joint-statistics"] = "forbidden"


def _without_recipient(document: dict[str, Any]) -> None:
    del document["grades"][0]["public"]


def _empty(document: dict[str, Any]) -> None:
    document["grades"] = []


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (_without_a_rule, "general-3.peer.research is missing"),
        (_without_recipient, "general-1.public.joint-statistics is missing"),
        (_upside_down, "asks for less than"),
        (_twice, "names a grade twice"),
        (_own_stricter, "core.own.joint-statistics asks for more"),
        (_empty, "1 to 32"),
    ],
)
def test_a_whole_table_with_a_fault(spoil: Any, named: str) -> None:
    document = document_of("gbt43697")
    spoil(document)
    with pytest.raises(UsageError) as caught:
        whole_table(document, "t", required=False)
    assert named in caught.value.message


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load("gbt43697", tmp_path / "none.toml")
    assert caught.value.code == "no_such_file"
    (tmp_path / "bad.toml").write_bytes(b"\xff")
    with pytest.raises(UsageError) as caught:
        load("gbt43697", tmp_path / "bad.toml")
    assert caught.value.code == "grade_rules"


def test_every_grade_says_where_it_comes_from() -> None:
    for table in map(shipped, PROFILES):
        assert all(one.clause and one.en and one.zh for one in table.grades)
        assert all(one.clause and one.en and one.zh for one in table.negative)
