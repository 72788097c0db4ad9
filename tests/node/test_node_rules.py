"""What an owner writes: --allow and --range."""

from __future__ import annotations

from fractions import Fraction

import pytest

from privcompute.errors import UsageError
from privcompute.node.rules import (
    expand_allow,
    expand_domains,
    expand_ranges,
    parse_allow,
    parse_domains,
    parse_ranges,
)
from privcompute.tables.schema import Column, Kind


def column(name: str, kind: Kind = Kind.INTEGER, type_text: str = "BIGINT") -> Column:
    return Column(name, kind, type_text, None, None, None, "type", True)


COLUMNS = (
    column("national_id", Kind.TEXT, "VARCHAR"),
    column("age"),
    column("Region", Kind.TEXT, "VARCHAR"),
    column("bmi", Kind.REAL, "DOUBLE"),
)
KEYS = ("national_id",)


def allowed(*texts: str) -> dict[str, frozenset[str]]:
    return expand_allow(parse_allow(texts), COLUMNS, KEYS)


def test_the_star_covers_all_columns_but_the_keys() -> None:
    assert allowed("*=group,filter") == dict.fromkeys(("age", "Region", "bmi"), frozenset({"group", "filter"}))


def test_a_rule_that_names_a_column_replaces_the_star() -> None:
    found = allowed("*=aggregate,filter", "age=group", "REGION=")
    assert found == {"age": frozenset({"group"}), "bmi": frozenset({"aggregate", "filter"})}


def test_a_column_that_no_rule_names_may_not_be_used() -> None:
    assert allowed("age=aggregate") == {"age": frozenset({"aggregate"})}
    assert allowed() == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("age", "is not COL=USE"),
        ("=filter", "is not COL=USE"),
        ("age=agregate", "did you mean 'aggregate'?"),
        ("age=everything", "is no use"),
        ("national_id=group", "COUNT(DISTINCT key)"),
        ("agee=group", "no column 'agee'"),
    ],
)
def test_wrong_rules_are_named(text: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        allowed(text)
    assert said in error.value.message


def test_a_column_is_named_once() -> None:
    with pytest.raises(UsageError):
        allowed("age=group", "age=filter")
    with pytest.raises(UsageError):
        parse_ranges(["age=0:1", "age=0:2"])


def test_ranges_are_exact() -> None:
    found = expand_ranges(parse_ranges(["age=0:120", "bmi=-0.1:1e2"]), COLUMNS)
    assert found == {"age": (Fraction(0), Fraction(120)), "bmi": (Fraction(-1, 10), Fraction(100))}


@pytest.mark.parametrize("text", ["age", "age=1", "age=2:1", "age=a:b", "=0:1", "age=0:1:2", "age=0:inf", "age=nan:1"])
def test_wrong_ranges_are_named(text: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_ranges([text])
    assert error.value.code == "bad_range"


@pytest.mark.parametrize("text", ["Region=0:1", "national_id=0:1", "size=0:1"])
def test_ranges_are_for_numbers_that_are_there(text: str) -> None:
    with pytest.raises(UsageError):
        expand_ranges(parse_ranges([text]), COLUMNS)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("Region=North,South", ("North", "South")),
        ("Region= North , South ", ("North", "South")),
        ('Region="a,b", "say ""x""" ,c=d', ("a,b", 'say "x"', "c=d")),
        ('Region=""', ("",)),
        ('Region=" a "', (" a ",)),
        ("Region=a", ("a",)),
        ("Region=", ()),
    ],
)
def test_domains_are_read_as_written(text: str, values: tuple[str, ...]) -> None:
    assert parse_domains([text]) == {"Region": values}


@pytest.mark.parametrize(
    "text", ["Region", "=a", "Region=a,,b", "Region=a,", "Region=,", 'Region="a', 'Region="a"b', 'Region=a"b']
)
def test_wrong_domains_are_named(text: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_domains([text])
    assert error.value.code == "bad_domain"


def test_domains_are_of_the_columns_type() -> None:
    found = expand_domains(parse_domains(["age=10,9,-1,+7", "region=b,a", "bmi="]), COLUMNS)
    assert found == {"age": (-1, 7, 9, 10), "Region": ("a", "b")}
    for text in ("age=1,x", "age=1,1.0", "age=1,01", "Region=a,a", "bmi=1", "size=1", "size="):
        with pytest.raises(UsageError) as error:
            expand_domains(parse_domains([text]), COLUMNS)
        assert error.value.code == ("no_such_column" if "size" in text else "bad_domain")
    with pytest.raises(UsageError, match="more than 1000"):
        expand_domains(parse_domains(["age=" + ",".join(map(str, range(1001)))]), COLUMNS)
    with pytest.raises(UsageError, match="twice"):
        parse_domains(["age=1", "age=2"])
