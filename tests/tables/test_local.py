"""Features per key against plain Python integers; what leaves a public promise is refused, whatever the filter."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from privcompute.errors import UsageError
from privcompute.tables import (
    Column,
    Encoding,
    Feature,
    Kind,
    LocalFeatures,
    Source,
    local_features,
    open_source,
    selected,
)
from privcompute.tables.features import Level

INT64 = 2**63
HUGE = 10**38 - 1

FIELDS: dict[str, pa.DataType] = {
    "id": pa.string(),
    "n": pa.int64(),
    "x": pa.float64(),
    "m": pa.decimal128(10, 2),
    "h": pa.decimal128(38, 0),
    "f": pa.decimal128(38, 30),
    "b": pa.bool_(),
}
SCHEMA = pa.schema(FIELDS)
Row = tuple[Any, ...]


def table(path: Path, rows: Sequence[Row]) -> Source:
    """The rows as a Parquet source."""
    columns = list(zip(*rows, strict=True)) or [()] * len(SCHEMA)
    arrays = [pa.array(list(values), field.type) for values, field in zip(columns, SCHEMA, strict=True)]
    pq.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA), path / "t.parquet")
    return open_source(str(path / "t.parquet"))


def whole(columns: np.ndarray[Any, Any]) -> list[int]:
    """A result as Python integers, from either form."""
    if columns.ndim == 1:
        assert columns.dtype == np.int64
        return [int(value) for value in columns]
    assert columns.dtype == np.uint64
    unsigned = [int(low) + (int(high) << 64) for low, high in columns]
    return [value - (1 << 128) if value >> 127 else value for value in unsigned]


def half_away(value: Fraction) -> int:
    """The nearest integer, halves away from zero."""
    size = math.floor(abs(value) + Fraction(1, 2))
    return -size if value < 0 else size


# Each filter as SQL and as Python, each value as SQL, encoding, step, bound and Python: the model.
WHERES: list[tuple[str, Callable[[dict[str, Any]], bool | None]]] = [
    ("true", lambda r: True),
    ("b", lambda r: r["b"]),
    ("NOT b", lambda r: None if r["b"] is None else not r["b"]),
    ("n > 0", lambda r: None if r["n"] is None else r["n"] > 0),
    ("x IS NULL OR m >= 0", lambda r: True if r["x"] is None else None if r["m"] is None else r["m"] >= 0),
    ("CASE WHEN b THEN n > 5 ELSE x < 0 END -- or nothing", lambda r: _case(r)),
    ("false", lambda r: False),
]


def _case(row: dict[str, Any]) -> bool | None:
    if row["b"]:
        return None if row["n"] is None else row["n"] > 5
    return None if row["x"] is None else row["x"] < 0


Value = tuple[str, Encoding, Fraction, int, Callable[[dict[str, Any]], Fraction | int | None]]
VALUES: list[Value] = [
    ("1", "indicator", Fraction(1), 1, lambda r: 1),
    ("b", "indicator", Fraction(1), 1, lambda r: r["b"]),
    ("x IS NOT NULL", "indicator", Fraction(1), 1, lambda r: r["x"] is not None),
    ("n", "integer", Fraction(1), INT64, lambda r: r["n"]),
    (
        "n % 7",
        "integer",
        Fraction(1),
        6,
        lambda r: None if r["n"] is None else int(math.fmod(r["n"] % (7 if r["n"] >= 0 else -7), 7)),
    ),
    ("h", "integer", Fraction(1), HUGE, lambda r: r["h"]),
    ("-CAST(n AS HUGEINT) * n", "integer", Fraction(1), INT64**2, lambda r: None if r["n"] is None else -(r["n"] ** 2)),
    ("m", "decimal", Fraction(1, 100), 10**10, lambda r: r["m"]),
    ("m", "decimal", Fraction(1, 10**6), 10**14, lambda r: r["m"]),
    # DuckDB keeps the product of two DECIMALs of up to 18 digits within 18 digits, and refuses what leaves them.
    (
        "CAST(m AS DECIMAL(24, 2)) * m",
        "decimal",
        Fraction(1, 10**4),
        10**20,
        lambda r: None if r["m"] is None else r["m"] ** 2,
    ),
    (
        "m * 3.14159",
        "decimal",
        Fraction(1, 10**7),
        10**17,
        lambda r: None if r["m"] is None else r["m"] * Fraction("3.14159"),
    ),
    ("f", "decimal", Fraction(1, 10**30), HUGE, lambda r: r["f"]),
    ("n", "decimal", Fraction(1, 10), 10 * INT64, lambda r: r["n"]),
    ("x", "real", Fraction(1, 1 << 20), 1 << 40, lambda r: r["x"]),
    ("x", "real", Fraction(1 << 10), 1 << 20, lambda r: r["x"]),
    ("x * x", "real", Fraction(1, 8), 1 << 50, lambda r: None if r["x"] is None else Fraction(float(r["x"]) ** 2)),
]


def exact(value: Any) -> Any:
    """Numbers as Fractions, for the model."""
    return Fraction(value) if isinstance(value, float | Decimal) and not isinstance(value, bool) else value


def model(
    rows: Sequence[Row], feature: Feature, where: Callable[..., Any], value: Callable[..., Any]
) -> dict[str, int]:
    """What `local_features` must give, by key."""
    result: dict[str, int] = {row[0]: 0 for row in rows if row[0] is not None}
    for row in rows:
        named = {name: exact(v) for name, v in zip(SCHEMA.names, row, strict=True)}
        if row[0] is None or not where(named):
            continue
        found = value(named)
        encoded = 0 if found is None else half_away(Fraction(found) / feature.step)
        if feature.contributors:
            result[row[0]] = max(result[row[0]], int(encoded != 0))
        else:
            result[row[0]] += encoded
    return dict(sorted(result.items(), key=lambda item: item[0].encode()))


def thirty(digits: int) -> Decimal:
    """digits * 10^-30, whatever the precision of the decimal context."""
    return Decimal((int(digits < 0), tuple(map(int, str(abs(digits)))), -30))


INTEGERS = st.one_of(st.sampled_from([0, 1, -1, INT64 - 1, -INT64]), st.integers(-INT64, INT64 - 1), st.integers(-9, 9))
REALS = st.one_of(
    st.sampled_from(
        [0.0, -0.0, 0.5, -0.5, 2.0**-21, -(2.0**-21), 3 * 2.0**-21, 2.0**20, -(2.0**20), 5e-324, 512.0, -512.0]
    ),
    st.floats(-(2.0**20), 2.0**20),
)
ROWS = st.lists(
    st.tuples(
        st.sampled_from([None, "", "0", "00", "é", "z", "ü\U0001f600"]),
        st.none() | INTEGERS,
        st.none() | REALS,
        st.none() | st.integers(-(10**10) + 1, 10**10 - 1).map(lambda v: Decimal(v).scaleb(-2)),
        st.none() | st.integers(-HUGE, HUGE).map(Decimal),
        st.none() | st.integers(-HUGE, HUGE).map(thirty),
        st.none() | st.booleans(),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=ROWS,
    picks=st.lists(
        st.tuples(st.integers(0, len(VALUES) - 1), st.integers(0, len(WHERES) - 1), st.booleans()),
        min_size=1,
        max_size=8,
    ),
)
def test_features_against_python_integers(tmp_path: Path, rows: list[Row], picks: list[tuple[int, int, bool]]) -> None:
    source = table(tmp_path, rows)
    per_key = max([sum(row[0] == other[0] for other in rows) for row in rows if row[0] is not None], default=1)
    # Sums of a few full-width DECIMALs leave 127 bits: these are features of one row a key only.
    picks = [(v, w, c or VALUES[v][3] * per_key >= 1 << 127) for v, w, c in picks]
    features = [Feature(VALUES[v][0], WHERES[w][0], VALUES[v][1], VALUES[v][2], VALUES[v][3], c) for v, w, c in picks]
    found = local_features(source, ["id"], features, [where for where, _ in WHERES], columns=(), rows_per_key=per_key)
    keys = found.keys.column("id").to_pylist()
    for (v, w, _), feature, column in zip(picks, features, found.columns, strict=True):
        expected = model(rows, feature, WHERES[w][1], VALUES[v][4])
        assert keys == list(expected)
        assert (column.ndim == 2) == feature.wide(per_key)
        assert whole(column) == list(expected.values())
    for place, (_, where) in enumerate(WHERES):
        passing = {row[0] for row in rows if where({n: exact(v) for n, v in zip(SCHEMA.names, row, strict=True)})}
        assert found.selected[place].tolist() == [key in passing for key in keys]


def one(path: Path, sql: str, encoding: Encoding, step: Fraction, bound: int, rows: Sequence[Row]) -> list[int]:
    """One feature over all rows."""
    found = local_features(
        table(path, rows), ["id"], [Feature(sql, "true", encoding, step, bound)], columns=(), rows_per_key=1
    )
    return whole(found.columns[0])


def row(**values: Any) -> Row:
    """A row with the given values, the rest NULL."""
    return tuple(values.get(name) for name in SCHEMA.names)


def test_extreme_values_come_out_exactly(tmp_path: Path) -> None:
    low, high = Decimal(-HUGE), Decimal(HUGE)
    assert one(tmp_path, "n", "integer", Fraction(1), INT64, [row(id="a", n=-INT64), row(id="b", n=INT64 - 1)]) == [
        -INT64,
        INT64 - 1,
    ]
    assert one(tmp_path, "h", "integer", Fraction(1), HUGE, [row(id="a", h=low), row(id="b", h=high)]) == [-HUGE, HUGE]
    tiny = Fraction(1, 10**30)
    rows = [row(id="a", f=thirty(-HUGE)), row(id="b", f=thirty(-1)), row(id="c", f=thirty(HUGE))]
    assert one(tmp_path, "f", "decimal", tiny, HUGE, rows) == [-HUGE, -1, HUGE]
    assert one(
        tmp_path,
        "x",
        "real",
        Fraction(1),
        1,
        [row(id="a", x=-0.0), row(id="b", x=-0.5), row(id="c", x=0.49999999999999994)],
    ) == [0, -1, 0]
    assert one(tmp_path, "x", "real", Fraction(1, 1 << 40), 1 << 101, [row(id="a", x=2.0**60 + 2.0**8)]) == [
        2**100 + 2**48
    ]
    assert one(tmp_path, "n", "integer", Fraction(1), INT64, [row(id="a"), row(id="b", n=1)]) == [0, 1]


def test_an_empty_table_has_no_keys(tmp_path: Path) -> None:
    for rows in ([], [row(n=5)]):
        found = local_features(
            table(tmp_path, rows),
            ["id"],
            [Feature("n", "b", "integer", Fraction(1), INT64)],
            ["b"],
            columns=(),
            rows_per_key=1,
        )
        assert found.keys.num_rows == 0
        assert found.columns[0].shape == (0, 2)
        assert found.selected[0].shape == (0,)


def column(name: str, lo: Any, hi: Any, kind: Kind = Kind.INTEGER, kind_type: str = "BIGINT", **more: Any) -> Column:
    """A published column with a range."""
    fields: dict[str, Any] = {"scale": None, "nullable": True} | more
    return Column(name, kind, kind_type, fields["scale"], Fraction(lo), Fraction(hi), "declared", fields["nullable"])


RANGED = [
    (column("n", -5, 5), "n", [5, -5, None], [6, -6, INT64 - 1, -INT64]),
    (column("n", Fraction(-9, 2), Fraction(9, 2)), "n", [4, -4], [5, -5]),
    (column("n", -(10**60), 10**60), "n", [-INT64, INT64 - 1], []),
    (
        column("m", Fraction(-1, 100), Fraction("99999999.99"), Kind.DECIMAL, "DECIMAL(10,2)", scale=2),
        "m",
        ["-0.01", "99999999.99"],
        ["-0.02"],
    ),
    (column("m", 0, Fraction(1, 3), Kind.DECIMAL, "DECIMAL(10,2)", scale=2), "m", ["0.33"], ["0.34", "-0.01"]),
    (
        column("f", -1, 1, Kind.DECIMAL, "DECIMAL(38,30)", scale=30),
        "f",
        ["-1", "1"],
        ["1.000000000000000000000000000001"],
    ),
    (column("h", -HUGE, HUGE, Kind.DECIMAL, "DECIMAL(38,0)", scale=0), "h", [str(HUGE)], []),
    (
        column("x", 0, 1, Kind.REAL, "DOUBLE"),
        "x",
        [0.0, -0.0, 1.0],
        [-5e-324, 1.0000000000000002, math.nan, math.inf, -math.inf],
    ),
    (
        column("x", Fraction(1, 10), Fraction(1, 3), Kind.REAL, "DOUBLE"),
        "x",
        [0.1, 1 / 3],
        [0.09999999999999999, 0.33333333333333337],
    ),
    (
        column("x", -(Fraction(2) ** 2000), Fraction(2) ** 2000, Kind.REAL, "DOUBLE"),
        "x",
        [1.7976931348623157e308],
        [math.nan],
    ),
]


@pytest.mark.parametrize(("published", "name", "inside", "outside"), RANGED)
def test_every_row_is_held_to_the_range(
    tmp_path: Path, published: Column, name: str, inside: list[Any], outside: list[Any]
) -> None:
    def run(value: Any, key: str | None, where: str) -> None:
        made = Decimal(value) if isinstance(value, str) else value
        source = table(tmp_path, [row(id="a", **{name: made}), row(id=key, b=True, **{name: made})])
        # `IS NULL` uses the column without depending on its size.
        local_features(
            source,
            ["id"],
            [Feature(f"{name} IS NULL", where, "indicator", Fraction(1), 1)],
            columns=[published],
            rows_per_key=9,
        )

    for value in inside:
        run(value, "b", "true")
    for value in outside:
        # Neither the filter nor a NULL key hides a row from the check.
        for key, where in (("b", "true"), ("b", "false"), (None, "b"), ("b", "n IS NOT NULL AND false")):
            with pytest.raises(UsageError) as caught:
                run(value, key, where)
            assert caught.value.code == "range_exceeded"
            assert name in caught.value.message
            assert str(value) not in str(caught.value)
            assert caught.value.__cause__ is None
            assert "--range" in caught.value.remedy


def test_a_column_that_is_not_used_is_not_checked(tmp_path: Path) -> None:
    source = table(tmp_path, [row(id="a", n=100, x=1.0)])
    feature = Feature("x", "true", "real", Fraction(1), 1)
    assert whole(local_features(source, ["id"], [feature], columns=[column("n", 0, 1)], rows_per_key=1).columns[0]) == [
        1
    ]
    with pytest.raises(UsageError):
        local_features(source, ["id"], [feature], ["N = 5"], columns=[column("n", 0, 1)], rows_per_key=1)


def test_promised_digits_and_absent_nulls_are_checked(tmp_path: Path) -> None:
    real = column("x", 0, 10, Kind.REAL, "DOUBLE", scale=1)
    feature = Feature("x", "false", "decimal", Fraction(1, 10), 100)
    source = table(tmp_path, [row(id="a", x=0.3), row(id="b", x=9.9)])
    assert whole(
        local_features(
            source, ["id"], [Feature("x", "true", "decimal", Fraction(1, 10), 100)], columns=[real], rows_per_key=1
        ).columns[0]
    ) == [3, 99]
    for columns in ([real], []):
        with pytest.raises(UsageError) as caught:
            local_features(
                table(tmp_path, [row(id="a", x=0.30000000000000004)]),
                ["id"],
                [feature],
                columns=columns,
                rows_per_key=1,
            )
        assert caught.value.code == "not_decimal"
    with pytest.raises(UsageError) as caught:
        local_features(
            table(tmp_path, [row(id="a")]),
            ["id"],
            [Feature("n", "b", "integer", Fraction(1), 9)],
            columns=[column("n", 0, 9, nullable=False)],
            rows_per_key=1,
        )
    assert caught.value.code == "null_found"


@pytest.mark.parametrize(
    ("sql", "encoding", "step", "bound", "value"),
    [
        ("n", "integer", Fraction(1), 9, {"n": 10}),
        ("n", "integer", Fraction(1), 9, {"n": -INT64}),
        ("n", "indicator", Fraction(1), 1, {"n": 2}),
        ("n", "indicator", Fraction(1), 1, {"n": -1}),
        ("b", "indicator", Fraction(1), 0, {"b": True}),
        ("m", "decimal", Fraction(1, 1000), 99, {"m": Decimal("0.10")}),
        ("h", "decimal", Fraction(1, 10**20), 10**30, {"h": Decimal(HUGE)}),
        ("x", "real", Fraction(1, 4), 7, {"x": 1.875}),
        ("x", "real", Fraction(1, 4), 7, {"x": math.nan}),
        ("x", "real", Fraction(1, 4), 7, {"x": math.inf}),
        ("x", "real", Fraction(1, 4), 7, {"x": 1e308}),
        ("x", "real", Fraction(1, 4), (1 << 127) - 1, {"x": 2.0**126}),
        ("ln(x)", "real", Fraction(1, 4), 7, {"x": 0.0}),
        ("x", "decimal", Fraction(1, 10), 7, {"x": 0.8}),
    ],
)
@pytest.mark.parametrize("where", ["true", "false"])
def test_a_feature_beyond_its_bound_is_refused(
    tmp_path: Path, sql: str, encoding: Encoding, step: Fraction, bound: int, value: dict[str, Any], where: str
) -> None:
    source = table(tmp_path, [row(id="a"), row(id="b", **value)])
    with pytest.raises(UsageError) as caught:
        local_features(source, ["id"], [Feature(sql, where, encoding, step, bound)], columns=(), rows_per_key=1)
    assert caught.value.code == "range_exceeded"


def test_the_cap_on_rows_of_a_key(tmp_path: Path) -> None:
    source = table(tmp_path, [row(id="a", n=INT64 - 1)] * 3 + [row(n=1)] * 9)
    feature = Feature("n", "false", "integer", Fraction(1), INT64)
    for cap in (1, 2):
        with pytest.raises(UsageError, match=f"more than {cap} rows") as caught:
            local_features(source, ["id"], [feature], columns=(), rows_per_key=cap)
        assert caught.value.code == "rows_per_key_exceeded"
    assert whole(local_features(source, ["id"], [feature], columns=(), rows_per_key=3).columns[0]) == [0]
    with pytest.raises(UsageError) as caught:
        local_features(
            source, ["id"], [Feature("n", "true", "integer", Fraction(1), 1 << 126)], columns=(), rows_per_key=2
        )
    assert caught.value.code == "too_wide"


@pytest.mark.parametrize(
    ("sql", "where", "code"),
    [
        ("n * 4", "true", "arithmetic_overflow"),
        ("n * 4", "false", "arithmetic_overflow"),
        ("-n", "true", "arithmetic_overflow"),
        ("n % 0", "false", "division_by_zero"),
        ("n", "n // 0 = 1", "division_by_zero"),
        ("CAST(id AS BIGINT)", "true", "conversion_failed"),
        ("n", "CAST(id AS DATE) > DATE '2020-01-01'", "conversion_failed"),
        ("x", "true", "encoding_mismatch"),
        ("m", "true", "encoding_mismatch"),
        ("id", "true", "encoding_mismatch"),
        ("nn", "true", "no_such_column"),
        ("n", "n", "bad_expression"),
        ("sum(n)", "true", "bad_expression"),
        ("(SELECT 1)", "true", "bad_expression"),
        ("n) FROM opened --", "true", "bad_expression"),
        ("n", "random() < 0.5", "bad_expression"),
        ("n", "read_text('/etc/hostname') IS NULL", "bad_expression"),
    ],
)
def test_what_fails_is_named_and_quotes_no_value(tmp_path: Path, sql: str, where: str, code: str) -> None:
    source = table(tmp_path, [row(id="secret77", n=-INT64, x=0.5, m=Decimal("1.11"))])
    with pytest.raises(UsageError) as caught:
        local_features(
            source, ["id"], [Feature(sql, where, "integer", Fraction(1), 1 << 80)], columns=(), rows_per_key=1
        )
    assert caught.value.code == code
    assert "secret77" not in str(caught.value)
    assert "9223372036854775808" not in str(caught.value)
    # Nothing of DuckDB's own error, which quotes values, is shown with ours.
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_keys_of_several_columns_and_their_order(tmp_path: Path) -> None:
    rows = [
        row(id="b", n=2),
        row(id="b", n=10),
        row(id="a", n=3),
        row(id="a", n=-1),
        row(id="a"),
        row(n=1),
        row(id="a", n=3),
    ]
    source = table(tmp_path, rows)
    found = local_features(
        source, ["ID", "n"], [Feature("1", "true", "indicator", Fraction(1), 1)], ["n > 2"], columns=(), rows_per_key=2
    )
    assert found.keys.to_pylist() == [
        {"ID": "a", "n": -1},
        {"ID": "a", "n": 3},
        {"ID": "b", "n": 2},
        {"ID": "b", "n": 10},
    ]
    assert whole(found.columns[0]) == [1, 2, 1, 1]
    assert found.selected[0].tolist() == [False, True, False, True]
    assert selected(source, ["ID", "n"], "n > 2").tolist() == [False, True, False, True]
    for keys, code in ((["x"], "bad_key_type"), (["m"], "bad_key_type"), ([], "no_key"), (["id", "ID"], "no_key")):
        with pytest.raises(UsageError) as caught:
            selected(source, keys, "true")
        assert caught.value.code == code


def test_keys_do_not_depend_on_filters_or_features(tmp_path: Path) -> None:
    source = table(tmp_path, [row(id=str(i % 7), n=i) for i in range(30)])
    results: list[LocalFeatures] = []
    for where in ("true", "false", "n > 17", "n IS NULL", "b"):
        feature = Feature("n", where, "integer", Fraction(1), 64)
        results.append(local_features(source, ["id"], [feature], [where], columns=(), rows_per_key=5))
    assert len({tuple(result.keys.column(0).to_pylist()) for result in results}) == 1


def test_more_checks_than_one_mask_holds(tmp_path: Path) -> None:
    source = table(tmp_path, [row(id="a", n=1)])
    features = [Feature(f"n + {i}", "true", "integer", Fraction(1), 200) for i in range(130)]
    assert [whole(c)[0] for c in local_features(source, ["id"], features, columns=(), rows_per_key=1).columns] == [
        1 + i for i in range(130)
    ]
    for wrong in (0, 61, 62, 129):
        features[wrong] = Feature(f"n + {wrong}", "true", "integer", Fraction(1), wrong)
        with pytest.raises(UsageError) as caught:
            local_features(source, ["id"], features, columns=(), rows_per_key=1)
        assert caught.value.code == "range_exceeded"
        features[wrong] = Feature("n", "true", "integer", Fraction(1), 1)


def test_a_result_shows_sizes_only(tmp_path: Path) -> None:
    source = table(tmp_path, [row(id="secret77", n=123456789)])
    found = local_features(
        source, ["id"], [Feature("n", "true", "integer", Fraction(1), INT64)], columns=(), rows_per_key=1
    )
    assert repr(found) == "LocalFeatures(keys=1, columns=1, selected=0)"


@pytest.mark.parametrize(
    ("encoding", "step", "bound"),
    [
        ("indicator", Fraction(1), 2),
        ("integer", Fraction(1, 10), 5),
        ("decimal", Fraction(1, 20), 5),
        ("decimal", Fraction(10), 5),
        ("decimal", Fraction(1, 10**39), 5),
        ("real", Fraction(1, 10), 5),
        ("real", Fraction(3), 5),
        ("real", Fraction(0), 5),
        ("real", Fraction(-1, 2), 5),
        ("real", Fraction(1, 2**1023), 5),
        ("integer", Fraction(1), -1),
        ("integer", Fraction(1), 1 << 127),
        ("other", Fraction(1), 1),
    ],
)
def test_features_that_make_no_sense(encoding: Any, step: Fraction, bound: int) -> None:
    with pytest.raises(UsageError) as caught:
        Feature("n", "true", encoding, step, bound)
    assert caught.value.code == "bad_feature"


def test_a_level_has_the_least_and_greatest_hash_of_the_selected_rows(tmp_path: Path) -> None:
    """One value a key, two, NULL, none selected; the same expression under two selections."""
    rows = [
        row(id="a", n=1), row(id="a", n=1), row(id="b", n=1), row(id="b", n=2), row(id="c"), row(id="d"), row(id="d"),
        row(id="e", n=1), row(n=1),
    ]  # fmt: skip
    source = table(tmp_path, rows)
    levels = [Level("n * 2", 0, 0), Level("n * 2", 1, 0), Level("N > 0", 0, 1)]
    found = local_features(source, ["id"], [], ["true", "id <> 'e'"], levels, columns=(), rows_per_key=2)
    everywhere, filtered, truth = found.levels
    one_value = everywhere.low == everywhere.high
    assert one_value.tolist() == [True, False, True, True, True]
    assert everywhere.selected.tolist() == [True] * 5
    assert everywhere.low[0] == everywhere.low[4]
    assert everywhere.low[2] == everywhere.low[3] != everywhere.low[0]
    assert filtered.selected.tolist() == [True, True, True, True, False]
    assert filtered.low[:4].tolist() == everywhere.low[:4].tolist()
    assert (truth.low == truth.high).all()
    assert truth.low[1] == truth.low[0] != truth.low[2]
    with pytest.raises(UsageError) as caught:
        local_features(source, ["id"], [], ["true"], [Level("random()", 0, 0)], columns=(), rows_per_key=2)
    assert caught.value.code == "bad_expression"
