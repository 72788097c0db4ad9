"""Hierarchies: what each builder makes, and faults with the line named."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import adult

from privcompute.anonymize.columns import quasi_identifier
from privcompute.anonymize.hierarchy import (
    Hierarchy,
    dates,
    divisions,
    flat,
    from_file,
    from_rows,
    functions,
    intervals,
    ordering,
    redaction,
)
from privcompute.anonymize.hierarchy.divisions import read_names
from privcompute.anonymize.identifiers.divisions import PROVINCES
from privcompute.errors import UsageError


def labels(made: Hierarchy, leaf: str) -> list[str | None]:
    """A value's label at each level."""
    place = made.leaves.index(leaf)
    return [level[place] for level in made.levels]


def test_intervals_of_whole_numbers() -> None:
    made = intervals([39, 17], [5, 10, 20], (0, 99))
    assert labels(made, "39") == ["39", "35-39", "30-39", "20-39", "*"]
    assert len(made.leaves) == 100
    assert made.share(1)["35-39"] == pytest.approx(0.05)
    assert made.share(4) == {"*": 1.0}


def test_intervals_at_the_borders() -> None:
    made = intervals([0, 4, 5, 12], [5], (0, 12))
    assert [labels(made, leaf)[1] for leaf in ("0", "4", "5", "12")] == ["0-4", "0-4", "5-9", "10-12"]
    real = intervals([0.0, 2.5, 4.9], [2.5], (0, 5))
    assert [labels(real, leaf)[1] for leaf in ("0.0", "2.5", "4.9")] == ["[0, 2.5)", "[2.5, 5)", "[2.5, 5)"]
    assert real.share(1) == {"[0, 2.5)": 0.5, "[2.5, 5)": 0.5}


def test_intervals_of_negative_and_decimal_numbers_are_exact() -> None:
    made = intervals([-0.3, 0.1, 0.2, 0.3], [0.1], (-0.3, 0.3))
    assert [labels(made, leaf)[1] for leaf in ("0.1", "0.2")] == ["[0.1, 0.2)", "[0.2, 0.3)"]


def test_dates() -> None:
    made = dates([dt.date(2024, 2, 29), dt.date(1999, 12, 31)], ["month", "quarter", "year", "10-years"])
    assert labels(made, "2024-02-29") == ["2024-02-29", "2024-02", "2024-Q1", "2024", "2020-2029", "*"]
    late = dates([dt.datetime(2024, 1, 1, 0, 30, tzinfo=dt.timezone(dt.timedelta(hours=8)))], ["day"])
    assert late.levels[1] == ("2024-01-01",)  # its own clock: not the day before in UTC


def test_redaction_hides_how_much_was_cut() -> None:
    made = redaction(["518000", "518053", "12"], [3, 2])
    assert labels(made, "518000") == ["518000", "518*", "51*", "*"]
    assert labels(made, "12") == ["12", "12*", "12*", "*"]


def test_ordering() -> None:
    made = ordering(["none", "primary", "secondary", "bachelor", "master"], [2, 4])
    assert labels(made, "secondary") == ["secondary", "secondary..bachelor", "none..bachelor", "*"]
    assert labels(made, "master") == ["master", "master", "master", "*"]


def test_functions() -> None:
    made = functions(["ab", "ac", "b"], [lambda text: text[0]])
    assert labels(made, "ac") == ["ac", "a", "*"]


def test_divisions_by_code_and_by_name() -> None:
    made = divisions(["440305", "110101"], ["city", "province"])
    assert labels(made, "440305") == ["440305", "4403", "广东省", "*"]
    named = divisions(["南山区"], ["city", "province"], {"440305": "南山区", "4403": "深圳市"})
    assert labels(named, "南山区") == ["南山区", "深圳市", "广东省", "*"]
    with pytest.raises(UsageError) as error:
        divisions(["鼓楼区"], ["city"], {"320106": "鼓楼区", "350102": "鼓楼区"})
    assert "1 distinct" in error.value.message
    assert "鼓楼区" not in str(error.value)


@adult.needed
def test_the_table_of_divisions(tmp_path: Path) -> None:
    folder = adult.DATA / "cn" / "divisions"
    names = read_names(folder / "areas.csv") | read_names(folder / "cities.csv")
    made = divisions(["110101"], ["county", "city", "province"], names)
    assert labels(made, "110101") == ["110101", "东城区", "市辖区", "北京市", "*"]
    provinces = read_names(folder / "provinces.csv")
    assert {PROVINCES[code][:2] for code in provinces} == {name[:2] for name in provinces.values()}


def test_a_table_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "h.csv"
    path.write_text('﻿Male;*\n"a;b";*', encoding="utf-8")
    assert from_file(path).levels == (("Male", "a;b"), ("*", "*"))


FAULTS: dict[str, tuple[list[list[str]], str]] = {
    "twice": ([["a", "*"], ["b", "*"], ["a", "*"]], "line 3 repeats the value of line 1"),
    "uneven": ([["a", "*"], ["b"]], "line 2 has 1 levels where the first has 2"),
    "parted": ([["a", "x", "1"], ["b", "x", "2"]], "line 2 parts at level 2 what level 1 had merged with line 1"),
    "empty": ([], "no line"),
}


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_names_its_line(fault: str) -> None:
    rows, message = FAULTS[fault]
    with pytest.raises(UsageError) as error:
        from_rows(rows, "the table")
    assert error.value.code == "bad_hierarchy"
    assert message in error.value.message


def test_a_file_that_is_not_utf8_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "h.csv"
    path.write_bytes(b"a;*\n\xff\xfe;*\n")
    with pytest.raises(UsageError) as error:
        from_file(path)
    assert "line 2" in error.value.message


@pytest.mark.parametrize(
    "make",
    [
        lambda: intervals([1], [5, 12], (0, 10)),
        lambda: intervals([1], [], (0, 10)),
        lambda: intervals([1], [-1], (0, 10)),
        lambda: intervals([11], [5], (0, 10)),
        lambda: dates([dt.date(2024, 1, 1)], ["year", "month"]),
        lambda: dates([dt.date(2024, 1, 1)], ["week"]),
        lambda: redaction(["a"], [1, 2]),
        lambda: redaction(["a"], [0]),
        lambda: ordering(["a", "b"], [2, 3]),
        lambda: ordering(["a", "a"], [2]),
        lambda: divisions(["440305"], ["province", "city"]),
        lambda: divisions(["x"], ["province"]),
        lambda: Hierarchy(()),
        lambda: Hierarchy((("a",), ("*", "*"))),
        lambda: from_file(Path("nowhere.csv")),
    ],
)
def test_what_does_not_nest_or_is_not_there_is_refused(make: Any) -> None:
    with pytest.raises(UsageError) as error:
        make()
    assert error.value.code in ("bad_hierarchy", "outside_range", "no_such_file")


def test_values_that_a_hierarchy_lacks_are_counted_and_not_told() -> None:
    with pytest.raises(UsageError) as error:
        quasi_identifier("city", [0, 1, 2], ["Paris", "Lyon", "Nice"], flat(["Paris"]))  # type: ignore[arg-type]  # a list will do
    assert error.value.code == "not_in_hierarchy"
    assert "2 of the 3" in error.value.message
    assert "Lyon" not in str(error.value)


def test_null_as_a_value_of_its_own_and_as_any_value() -> None:
    made = flat(["a", "b"])
    assert made.with_null(wildcard=False).levels == (("a", "b", None), ("*", "*", "*"))
    wild = intervals([1, 2], [2], (0, 3)).with_null(wildcard=True)
    assert labels(wild, None) == [None, "*", "*"]  # type: ignore[arg-type]  # NULL is a leaf
    assert wild.share(0)[None] == 1.0
    forest = Hierarchy((("a", "b"), ("x", "y")))
    assert forest.with_null(wildcard=False).levels[1] == ("x", "y", None)


@given(st.lists(st.integers(-50, 50), min_size=1, unique=True), st.sampled_from([[1], [2, 4], [5, 10, 30]]))
def test_intervals_hold_their_numbers_and_nest(values: list[int], widths: list[int]) -> None:
    made = intervals(values, widths, (-50, 50))
    for value in values:
        for level, label in enumerate(labels(made, str(value))[1:-1], 1):
            assert label is not None
            low, high = label, label
            if label != str(value):
                cut = label.index("-", 1) if "-" in label[1:] else None
                low, high = (label, label) if cut is None else (label[:cut], label[cut + 1 :])
            assert int(low) <= value <= int(high) <= int(low) + widths[level - 1] - 1
    assert all(sum(made.share(level).values()) == pytest.approx(1) for level in range(made.height + 1))
