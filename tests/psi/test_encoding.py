"""Canonical keys: equal bytes exactly where DuckDB says equal."""

from __future__ import annotations

import datetime as dt
import time
from decimal import Decimal
from itertools import combinations
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privcompute.errors import UsageError
from privcompute.psi import compatible, encode_keys, key_family, require_compatible
from privcompute.psi import encoding as module


def fetch(sql: str) -> pa.Table:
    with duckdb.connect() as connection:
        table: pa.Table = connection.sql(sql).to_arrow_table()
        return table


def encode(sql: str) -> bytes:
    """The key that a DuckDB expression gives, by the type DuckDB prints for it."""
    with duckdb.connect() as connection:
        relation = connection.sql(f"SELECT {sql} AS k")
        types = [str(kind) for kind in relation.types]
        item: bytes = encode_keys(relation.to_arrow_table(), types)[0].as_py()
        return item


ONE = ["1::TINYINT", "1::USMALLINT", "1::INTEGER", "1::BIGINT", "1::UBIGINT", "1::HUGEINT", "1::UHUGEINT",
       "1::DECIMAL(4,0)", "1.0::DECIMAL(9,1)", "1.000::DECIMAL(18,3)", "1::DECIMAL(38,20)"]  # fmt: skip
EQUAL = [
    ONE,
    ["0::INTEGER", "0::DECIMAL(18,6)", "-0.00::DECIMAL(5,2)", "0::UHUGEINT"],
    ["-1::TINYINT", "-1::HUGEINT", "-1.00::DECIMAL(5,2)"],
    ["10::INTEGER", "10.00::DECIMAL(8,2)", "10::DECIMAL(38,30)"],
    ["12.5::DECIMAL(4,1)", "12.50::DECIMAL(10,2)", "12.5::DECIMAL(38,30)"],
    ["9223372036854775807::BIGINT", "9223372036854775807::UBIGINT", "9223372036854775807::HUGEINT"],
    ["(-9223372036854775808)::BIGINT", "(-9223372036854775808)::HUGEINT", "(-9223372036854775808)::DECIMAL(38,5)"],
    ["18446744073709551615::UBIGINT", "18446744073709551615::DECIMAL(38,3)"],
    ["170141183460469231731687303715884105727::HUGEINT", "170141183460469231731687303715884105727::UHUGEINT"],
    ["340282366920938463463374607431768211455::UHUGEINT"],
    ["'1'", "'1'::VARCHAR", "'1'::ENUM('1', 'x')"],
    ["'01'"],
    ["' 1'"],
    ["'e\u0301'"],
    ["'\u00e9'"],
    ["''"],
    ["'1'::BLOB"],
    ["true"],
    ["false"],
    ["DATE '1970-01-02'"],
    [
        "TIMESTAMP '2020-01-01 10:00:00'",
        "TIMESTAMP_S '2020-01-01 10:00:00'",
        "TIMESTAMP_MS '2020-01-01 10:00:00'",
        "TIMESTAMP_NS '2020-01-01 10:00:00'",
    ],
    ["TIMESTAMP '1969-12-31 23:59:59.5'", "TIMESTAMP_MS '1969-12-31 23:59:59.5'"],
    ["TIMESTAMP '2020-01-01 10:00:00.000001'", "TIMESTAMP_NS '2020-01-01 10:00:00.000001'"],
    ["'infinity'::TIMESTAMP", "'infinity'::TIMESTAMP::TIMESTAMP_S", "'infinity'::TIMESTAMP_NS"],
    ["'-infinity'::TIMESTAMP", "'-infinity'::TIMESTAMP_NS"],
    ["TIME '10:00:00'"],
    ["'0b0e1e4e-8d3c-4c8e-9d7f-1f1f1f1f1f1f'::UUID", "'0B0E1E4E-8D3C-4C8E-9D7F-1F1F1F1F1F1F'::UUID"],
]


def test_equal_values_of_any_width_are_one_key_and_no_others() -> None:
    groups = [{encode(sql) for sql in group} for group in EQUAL]
    assert [len(group) for group in groups] == [1] * len(EQUAL)
    for one, two in combinations(range(len(groups)), 2):
        assert groups[one] != groups[two], (EQUAL[one], EQUAL[two])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.decimals(min_value=-(10**9), max_value=10**9, places=4), min_size=1, max_size=20))
def test_decimals_equal_by_value(values: list[Decimal]) -> None:
    """The same numbers at scale 4, 7 and 20 encode alike, and apart exactly when they differ."""
    columns = [encode_keys(pa.table({"k": pa.array(values, pa.decimal128(38, scale))}), [f"DECIMAL(38,{scale})"])
               for scale in (4, 7, 20)]  # fmt: skip
    assert columns[0].to_pylist() == columns[1].to_pylist() == columns[2].to_pylist()
    assert len(set(columns[0].to_pylist())) == len({value + 0 for value in values})


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.text(max_size=4), st.text(max_size=4), st.integers(-3, 3)), unique=True, min_size=1, max_size=30
    )
)
def test_composite_keys_are_unambiguous(rows: list[tuple[str, str, int]]) -> None:
    table = pa.table(
        {
            "a": pa.array([row[0] for row in rows], pa.string()),
            "b": pa.array([row[1] for row in rows], pa.large_string()),
            "c": pa.array([row[2] for row in rows], pa.int16()),
        }
    )
    keys = encode_keys(table, ["VARCHAR", "VARCHAR", "SMALLINT"]).to_pylist()
    assert len(set(keys)) == len(rows)
    single = [
        encode_keys(table.select([place]), [kind]).to_pylist()
        for place, kind in enumerate(("VARCHAR", "VARCHAR", "SMALLINT"))
    ]
    assert keys == [a + b + c for a, b, c in zip(*single, strict=True)]


def test_known_bytes() -> None:
    """The format is a contract between versions: these bytes do not change."""
    assert encode("'ab'").hex() == "02020000006162"
    assert encode("-120::INTEGER").hex() == "0112000000010078" + "00" * 15
    assert encode("1.50::DECIMAL(5,2)").hex() == "011200000000010f" + "00" * 15
    assert encode("DATE '1970-01-02'").hex() == "030400000001000000"
    assert encode("TIMESTAMP '1970-01-01 00:00:01.5'").hex() == "040c00000001000000000000000065cd1d"
    assert encode("true").hex() == "070100000001"


def test_slices_chunks_and_dictionaries() -> None:
    numbers = pa.chunked_array([pa.array([5, 6, 7]), pa.array([8, 9])])
    texts = pa.chunked_array([pa.array(["a", "b", "a"]).dictionary_encode(), pa.array(["c", "a"]).dictionary_encode()])
    decimals = pa.array([Decimal(n) for n in (5, 6, 7, 8, 9)], pa.decimal128(20, 2))
    columns: dict[str, Any] = {"n": numbers, "t": texts, "d": decimals}
    table = pa.table(columns)
    types = ["BIGINT", "ENUM('a', 'b', 'c')", "DECIMAL(20,2)"]
    whole = encode_keys(table, types).to_pylist()
    plain = pa.table({"n": [5, 6, 7, 8, 9], "t": ["a", "b", "a", "c", "a"], "d": [5, 6, 7, 8, 9]})
    assert whole == encode_keys(plain, ["BIGINT", "VARCHAR", "BIGINT"]).to_pylist()
    assert encode_keys(table.slice(2, 2), types).to_pylist() == whole[2:4]
    assert encode_keys(table.slice(0, 0), types).to_pylist() == []
    assert encode_keys(pa.table({"n": pa.array([], pa.decimal128(5, 1))}), ["DECIMAL(5,1)"]).type == pa.large_binary()


def test_batches_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table({"n": pa.array(np.arange(1000) * 10), "t": [f"x{i}" for i in range(1000)]})
    whole = encode_keys(table, ["BIGINT", "VARCHAR"])
    monkeypatch.setattr(module, "BATCH_ROWS", 37)
    assert encode_keys(table, ["BIGINT", "VARCHAR"]).equals(whole)


FAMILIES = {
    "number": ["TINYINT", "UHUGEINT", "BIGINT", "DECIMAL(18,3)", "DECIMAL(4, 1)", "integer"],
    "text": ["VARCHAR", "ENUM('a', 'b')"],
    "date": ["DATE"],
    "timestamp": ["TIMESTAMP", "TIMESTAMP_NS"],
    "instant": ["TIMESTAMP WITH TIME ZONE"],
    "time": ["TIME"],
    "boolean": ["BOOLEAN"],
    "uuid": ["UUID"],
    "bytes": ["BLOB"],
}


def test_families_match_within_and_never_across() -> None:
    for (one, first), (two, second) in combinations(FAMILIES.items(), 2):
        assert all(key_family(kind) == one for kind in first)
        assert all(key_family(kind) == two for kind in second)
        assert not any(compatible(a, b) for a in first for b in second)
    assert all(compatible(a, b) for kinds in FAMILIES.values() for a in kinds for b in kinds)


@pytest.mark.parametrize("kind", ["FLOAT", "DOUBLE", "REAL"])
def test_real_keys_are_refused_with_a_remedy(kind: str) -> None:
    with pytest.raises(UsageError) as caught:
        key_family(kind)
    assert caught.value.code == "real_key"
    assert "DECIMAL" in caught.value.remedy
    with pytest.raises(UsageError):
        encode_keys(pa.table({"k": [0.5]}), [kind])


@pytest.mark.parametrize(
    "kind",
    ["INTERVAL", "INTEGER[]", "STRUCT(a INTEGER)", "BIGNUM", "JSON", "BIT", "", "DECIMAL(5,2)[]", "MAP(INT, INT)"],
)
def test_other_types_are_refused_with_a_remedy(kind: str) -> None:
    with pytest.raises(UsageError) as caught:
        key_family(kind)
    assert caught.value.code == "key_type"
    assert caught.value.remedy


def test_text_against_number_is_refused_at_plan_time() -> None:
    require_compatible(["VARCHAR", "BIGINT"], ["ENUM('x')", "DECIMAL(9,2)"])
    with pytest.raises(UsageError) as caught:
        require_compatible(["DATE", "VARCHAR"], ["DATE", "BIGINT"])
    assert caught.value.code == "key_mismatch"
    assert "column 2" in caught.value.message
    assert "VARCHAR" in caught.value.remedy
    with pytest.raises(UsageError, match="DATE"):
        require_compatible(["DATE"], ["TIMESTAMP"])
    for mine, theirs in ((["BIGINT"], ["BIGINT", "DATE"]), ([], [])):
        with pytest.raises(UsageError) as caught:
            require_compatible(mine, theirs)
        assert caught.value.code == "key_count"


@pytest.mark.parametrize(
    ("column", "kind", "code"),
    [
        (pa.array([1, None]), "BIGINT", "null_key"),
        (pa.array(["1"]), "BIGINT", "key_type"),
        (pa.array([1]), "VARCHAR", "key_type"),
        (pa.array([1]), "DATE", "key_type"),
        (pa.array([1.5]), "BIGINT", "key_type"),
        (pa.array([dt.datetime(2020, 1, 1)]), "DATE", "key_type"),  # DuckDB's TIMESTAMP has no zone
        (pa.array(["not-a-uuid"]), "UUID", "key_type"),
        (pa.array(["x" * ((1 << 20) + 1)]), "VARCHAR", "key_length"),
    ],
)
def test_what_does_not_fit_its_type(column: Any, kind: str, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        encode_keys(pa.table({"k": column}), [kind])
    assert caught.value.code == code
    with pytest.raises(UsageError) as caught:
        encode_keys(pa.table({"k": column, "l": column}), [kind])
    assert caught.value.code == "key_count"


def test_joins_as_duckdb_joins() -> None:
    """A join of two tables with different number types: the common canonical keys are DuckDB's matches."""
    left = fetch("SELECT (i / 4)::DECIMAL(12,3) AS k FROM range(-200, 200) t(i)")
    right = fetch("SELECT i::SMALLINT AS k FROM range(-60, 60) t(i)")
    common = set(encode_keys(left, ["DECIMAL(12,3)"]).to_pylist()) & set(encode_keys(right, ["SMALLINT"]).to_pylist())
    with duckdb.connect() as connection:
        connection.register("l", left)
        connection.register("r", right)
        row = connection.sql("SELECT count(DISTINCT l.k) FROM l JOIN r USING (k)").to_arrow_table().to_pylist()[0]
    assert len(common) == next(iter(row.values())) == 100


def test_a_hundred_thousand_keys_take_less_than_a_second() -> None:
    table = fetch(
        "SELECT (10 * i)::DECIMAL(18,3) a, 'x' || i AS b, DATE '2020-01-01' + i::INT AS c FROM range(100000) t(i)"
    )
    begin = time.perf_counter()
    keys = encode_keys(table, ["DECIMAL(18,3)", "VARCHAR", "DATE"])
    assert time.perf_counter() - begin < 1
    assert len(keys) == 100000
