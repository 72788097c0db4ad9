"""A catalogue entry reads back as it was written; a hostile one is refused, whatever is wrong with it."""

from __future__ import annotations

import copy
import json
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privcompute.errors import PeerError, UsageError
from privcompute.tables import Column, DatasetEntry, Kind
from privcompute.tables.catalogue import MAX_BYTES


def entry(**changes: Any) -> DatasetEntry:
    """A valid entry."""
    columns = (
        Column("national_id", Kind.TEXT, "VARCHAR", None, None, None, "type", False),
        Column("claim", Kind.DECIMAL, "DECIMAL(10,2)", 2, Fraction(0), Fraction(2**17), "data-derived", True),
        Column("bmi", Kind.REAL, "DOUBLE", 1, Fraction(-1, 3), Fraction(64), "declared", True),
        Column("Größe", Kind.INTEGER, "BIGINT", None, None, None, "type", True, (-5, 0, 2**64)),
        Column("region", Kind.TEXT, "VARCHAR", None, None, None, "type", True, ("", "Alt, 'x'", "Ärzte")),
    )
    fields: dict[str, Any] = {
        "party": "insurer",
        "name": "members",
        "version": "0f" * 32,
        "keys": ("national_id",),
        "key_types": ("VARCHAR",),
        "distinct_keys": 20_000,
        "rows_per_key": 3,
        "columns": columns,
        "allow": {"claim": frozenset({"aggregate", "product"}), "bmi": frozenset()},
        "reveal": "matches",
        "min_cell": 10,
        "consent": "auto",
        "min_holders": 4,
    }
    return DatasetEntry(**(fields | changes))


def test_an_entry_reads_back() -> None:
    made = entry()
    text = made.to_json()
    read = DatasetEntry.from_json(text, party="insurer")
    assert read == made
    assert hash(read) == hash(made)
    assert read.to_json() == text
    assert DatasetEntry.from_json(text.encode()) == made
    assert read.column("BMI") is read.columns[2] or read.column("BMI") == read.columns[2]
    assert read.column("none") is None
    with pytest.raises(TypeError):
        made.allow["bmi"] = frozenset({"group"})  # type: ignore[index]  # it is frozen


def test_equal_entries_give_equal_text() -> None:
    rules = {"claim": frozenset({"product", "aggregate"}), "bmi": frozenset()}
    assert entry(allow=dict(reversed(rules.items()))).to_json() == entry(allow=rules).to_json()


def test_an_entry_of_another_party_is_refused() -> None:
    with pytest.raises(PeerError, match="another party") as caught:
        DatasetEntry.from_json(entry().to_json(), party="hospital")
    assert caught.value.party == "hospital"


def _changed(path: tuple[Any, ...], value: Any) -> str:
    data = copy.deepcopy(entry().to_object())
    target: Any = data
    for step in path[:-1]:
        target = target[step]
    if value is ...:
        del target[path[-1]]
    else:
        target[path[-1]] = value
    return json.dumps(data)


WRONG: tuple[Any, ...] = ([], {}, "", True, -1, [[]], {"a": 1}, "\x1b[2J")
HOSTILE: list[tuple[tuple[Any, ...], Any]] = [
    *[((name,), ...) for name in entry().to_object()],
    *[((name,), None) for name in entry().to_object()],
    *[
        ((name,), wrong)
        for name in entry().to_object()
        for wrong in WRONG
        if (name, wrong) not in (("allow", {}), ("floors", {}))
    ],
    (("extra",), 1),
    (("party",), "a.b"),
    (("party",), 'x" OR "1'),
    (("name",), "n" * 64),
    (("version",), "0F" * 32),
    (("version",), "0f" * 31),
    (("keys",), ["national_id", "national_id"]),
    (("keys",), ["other"]),
    (("key_types",), ["DOUBLE"]),
    (("key_types",), ["VARCHAR", "VARCHAR"]),
    (("distinct_keys",), 2**41),
    (("distinct_keys",), 1.0),
    (("rows_per_key",), 0),
    (("min_cell",), 0),
    (("min_holders",), 0),
    (("min_holders",), 1001),
    (("min_holders",), 3.0),
    (("min_holders",), True),
    (("columns", 0, "domain"), ...),
    (("columns", 4, "domain"), []),
    (("columns", 4, "domain"), ["b", "a"]),
    (("columns", 4, "domain"), ["a", "a"]),
    (("columns", 4, "domain"), ["a", 1]),
    (("columns", 4, "domain"), ["a", None]),
    (("columns", 4, "domain"), ["a\u202eb"]),
    (("columns", 4, "domain"), ["\ud800"]),
    (("columns", 4, "domain"), ["a" * 129]),
    (("columns", 4, "domain"), "ab"),
    (("columns", 4, "domain"), {"a": 1}),
    (("columns", 4, "domain"), [str(n) for n in range(10**4, 10**4 + 1001)]),
    (("columns", 3, "domain"), ["1"]),
    (("columns", 3, "domain"), [1, True]),
    (("columns", 3, "domain"), [1.0]),
    (("columns", 3, "domain"), [2, 1]),
    (("columns", 3, "domain"), [2**127]),
    (("columns", 1, "domain"), [1]),
    (("columns", 2, "domain"), [1]),
    (("allow", "national_id"), ["aggregate"]),
    (("floors", "unknown"), "sum"),
    (("floors", "claim"), "Two words"),
    (("floors", "claim"), ["sum"]),
    (("allow", "unknown"), ["aggregate"]),
    (("allow", "claim"), ["everything"]),
    (("allow", "claim"), ["product", "aggregate"]),
    (("allow", "claim"), ["aggregate", "aggregate"]),
    (("allow", "claim"), "aggregate"),
    (("reveal",), "all"),
    (("consent",), "yes"),
    (("columns", 0), {}),
    (("columns", 1, "name"), "NATIONAL_ID"),
    (("columns", 1, "name"), "a\u202eb"),
    (("columns", 1, "name"), "\ud800"),
    (("columns", 1, "name"), "n" * 129),
    (("columns", 1, "kind"), "money"),
    (("columns", 1, "type"), "ENUM('flu')"),
    (("columns", 1, "type"), "decimal"),
    (("columns", 1, "scale"), None),
    (("columns", 1, "scale"), 39),
    (("columns", 1, "scale"), True),
    (("columns", 3, "scale"), 2),
    (("columns", 1, "lo"), None),
    (("columns", 1, "lo"), "2/4"),
    (("columns", 1, "lo"), "1/0"),
    (("columns", 1, "lo"), "+1"),
    (("columns", 1, "lo"), "1e5"),
    (("columns", 1, "lo"), "-0"),
    (("columns", 1, "lo"), "1/-2"),
    (("columns", 1, "lo"), "٣"),
    (("columns", 1, "lo"), 0),
    (("columns", 1, "lo"), "200000"),
    (("columns", 1, "hi"), "9" * 617),
    (("columns", 1, "hi"), "1" * 5000),
    (("columns", 1, "range_origin"), "guessed"),
    (("columns", 1, "nullable"), 1),
    (("columns", 0, "hi"), "1"),
    (("columns", 0, "extra"), "1"),
]


@pytest.mark.parametrize(("path", "value"), HOSTILE)
def test_hostile_fields_are_refused(path: tuple[Any, ...], value: Any) -> None:
    text = _changed(path, value)
    if text == json.dumps(entry().to_object()):
        pytest.fail("the change changed nothing")
    with pytest.raises(PeerError) as caught:
        DatasetEntry.from_json(text, party="insurer")
    assert caught.value.code == "bad_entry"
    assert caught.value.party == "insurer"
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{",
        "NaN",
        "[" * 100_000,
        '{"a":' * 100_000,
        "9" * 10_000,
        b"\xff\xfe",
        b'{"party": "\xff"}',
        " " * (MAX_BYTES + 1),
        entry().to_json().replace('"min_cell":10', '"min_cell":10,"min_cell":1'),
        entry().to_json().replace('"min_cell":10', '"min_cell":1e1'),
        entry().to_json().replace('"min_cell":10', '"min_cell":Infinity'),
        entry().to_json() + "{}",
    ],
)
def test_hostile_texts_are_refused(text: str | bytes) -> None:
    with pytest.raises(PeerError) as caught:
        DatasetEntry.from_json(text)
    assert caught.value.code == "bad_entry"
    assert len(caught.value.message) < 300


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), value=JSON)
def test_any_change_is_refused_or_reads_as_itself(data: st.DataObject, value: Any) -> None:
    changed = copy.deepcopy(entry().to_object())
    target: Any = changed
    for _ in range(data.draw(st.integers(0, 2))):
        inner = list(target) if isinstance(target, dict) else range(len(target)) if isinstance(target, list) else []
        steps = [step for step in inner if isinstance(target[step], dict | list) and target[step]]
        if steps:
            target = target[data.draw(st.sampled_from(steps))]
    step = data.draw(st.sampled_from(list(target) if isinstance(target, dict) else list(range(len(target)))))
    target[step] = value
    try:
        read = DatasetEntry.from_object(changed)
    except PeerError:
        return
    assert read.to_object() == changed


def test_the_owner_gets_usage_errors() -> None:
    with pytest.raises(UsageError, match="a rule names a key"):
        entry(allow={"national_id": frozenset({"aggregate"})})
    with pytest.raises(UsageError, match="unprintable"):
        Column("a\nb", Kind.TEXT, "VARCHAR", None, None, None, "type", True)
