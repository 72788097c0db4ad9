"""Values of a result: JSON and back, Arrow, pandas, polars."""

from __future__ import annotations

import json
import math
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privcompute.node import values
from privcompute.node.result import QueryRelease

KINDS: dict[str, st.SearchStrategy[Any]] = {
    "BIGINT": st.integers(-(2**63), 2**63 - 1),
    "HUGEINT": st.integers(-(10**37), 10**37),
    "DECIMAL(38,2)": st.integers(-(10**37), 10**37).map(lambda n: Decimal(n).scaleb(-2)),
    "DOUBLE": st.floats(allow_nan=False, allow_infinity=False),
    "DATE": st.dates(),
    "TIMESTAMP": st.datetimes(),
    "BOOLEAN": st.booleans(),
    "VARCHAR": st.text(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_json_and_back_is_exact(kind: str) -> None:
    @given(KINDS[kind] | st.none())
    def check(value: Any) -> None:
        text = json.dumps(values.to_json(value), allow_nan=False)
        back = values.from_json(json.loads(text), kind)
        assert back == value
        assert type(back) is type(value)

    check()


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (2**53, 2**53),
        (2**53 + 1, "9007199254740993"),
        (-(2**53) - 1, "-9007199254740993"),
        (Decimal("1E+3"), "1000"),
        (Decimal("0.10"), "0.10"),
        (math.nan, None),
        (math.inf, None),
        (True, True),
        (date(2024, 2, 29), "2024-02-29"),
        (datetime(2024, 2, 29, 1, 2, 3), "2024-02-29T01:02:03"),
    ],
)
def test_what_programs_may_count_on(value: Any, wanted: Any) -> None:
    assert values.to_json(value) == wanted


def test_what_is_no_value_is_not_guessed() -> None:
    with pytest.raises(TypeError):
        values.to_json(b"bytes")


@given(st.fractions())
def test_a_bound_is_never_rounded_down(bound: Fraction) -> None:
    assert Fraction(values.upwards(bound)) >= bound


def release() -> QueryRelease:
    body = {
        "sql": "SELECT …",
        "columns": ["n", "total", "mean", "big", "day", "who", "ok"],
        "types": ["BIGINT", "DECIMAL(38,2)", "DOUBLE", "HUGEINT", "DATE", "VARCHAR", "BOOLEAN"],
        "rows": [[3, "1.50", 0.5, "9007199254740993", "2024-02-29", "a", True], [None] * 7],
        "suppressed_cells": 0,
        "error_bound": {"mean": 1e-9},
        "learned": {"insurer": [{"what": "n", "why": "it is asked for"}]},
        "receivers": ["insurer"],
        "rounds": 7,
        "bytes_sent": 10,
        "bytes_received": 20,
        "seconds": 0.5,
        "reveal": "matches",
        "plan_digest": "d" * 64,
        "release": "r1",
    }
    return QueryRelease.from_json(json.loads(json.dumps(body)))


def test_a_release_becomes_arrow_pandas_and_polars() -> None:
    found = release()
    assert found.rows[0] == (3, Decimal("1.50"), 0.5, 9007199254740993, date(2024, 2, 29), "a", True)
    table = found.to_arrow()
    assert table.schema.types == [
        pa.int64(),
        pa.decimal128(38, 2),
        pa.float64(),
        pa.decimal128(38, 0),
        pa.date32(),
        pa.string(),
        pa.bool_(),
    ]
    assert table.to_pylist()[1] == dict.fromkeys(found.columns)
    assert found.to_pandas().shape == (2, 7)
    assert found.to_polars().shape == (2, 7)
    assert found.learned == {"insurer": ("n: it is asked for",)}
    assert found.error_bound == {"mean": 1e-9}


def test_a_release_shows_no_value_in_its_repr() -> None:
    assert "1.50" not in repr(release())
    assert "9007199254740993" not in repr(release())
