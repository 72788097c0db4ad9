"""Sums per cell of a union against plain Python integers, from every kind of source; broken promises are refused."""

from __future__ import annotations

import datetime as dt
import itertools
import math
import subprocess
import sys
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
from support import five_sources

from privcompute.errors import UsageError
from privcompute.tables import (
    Column,
    Feature,
    Grouping,
    Kind,
    LocalCells,
    Source,
    local_cells,
    local_features,
    open_source,
)
from privcompute.tables.cells import MAX_CELLS
from privcompute.tables.features import Level
from privcompute.tables.tally import MOST_ROWS, Tally

HUGE = 10**38 - 1
FIELDS: dict[str, pa.DataType] = {
    "id": pa.string(),
    "n": pa.int64(),
    "x": pa.float64(),
    "h": pa.decimal128(38, 0),
    "b": pa.bool_(),
    "g": pa.string(),
    "u": pa.uint64(),
    "d": pa.date32(),
}
SCHEMA = pa.schema(FIELDS)
Row = dict[str, Any]


def table(path: Path, rows: Sequence[Row]) -> Source:
    """The rows as a Parquet source; what a row does not name is NULL."""
    arrays = [pa.array([row.get(field.name) for row in rows], field.type) for field in SCHEMA]
    pq.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA), path / "t.parquet")
    return open_source(str(path / "t.parquet"))


def half_away(value: Fraction) -> int:
    size = math.floor(abs(value) + Fraction(1, 2))
    return -size if value < 0 else size


def toward_zero(value: int, modulus: int) -> int:
    """The remainder that has the sign of the value, as in SQL."""
    return abs(value) % modulus * (-1 if value < 0 else 1)


def either(one: bool | None, other: bool | None) -> bool | None:
    """OR of SQL."""
    return True if one or other else None if one is None or other is None else False


WHERES: list[tuple[str, Callable[[Row], bool | None]]] = [
    ("true", lambda r: True),
    ("b", lambda r: r["b"]),
    ("n > 0 OR b", lambda r: either(r["b"], None if r["n"] is None else r["n"] > 0)),
    ("x IS NULL", lambda r: r["x"] is None),
    ("false", lambda r: False),
]
VALUES: list[tuple[str, Any, Fraction, int, Callable[[Row], Any]]] = [
    ("1", "indicator", Fraction(1), 1, lambda r: 1),
    ("b", "indicator", Fraction(1), 1, lambda r: r["b"]),
    ("n", "integer", Fraction(1), 2**63, lambda r: r["n"]),
    ("n % 100", "integer", Fraction(1), 99, lambda r: None if r["n"] is None else toward_zero(r["n"], 100)),
    ("h", "integer", Fraction(1), HUGE, lambda r: r["h"]),
    ("CAST(n AS HUGEINT) * n", "integer", Fraction(1), 2**126, lambda r: None if r["n"] is None else r["n"] ** 2),
    ("x", "real", Fraction(1, 1 << 20), 1 << 40, lambda r: r["x"]),
    ("x * x", "real", Fraction(1, 1 << 40), 1 << 80, lambda r: None if r["x"] is None else Fraction(r["x"] * r["x"])),
]
GROUPS: list[tuple[Grouping, Callable[[Row], Any]]] = [
    (Grouping("g", "VARCHAR", ("", "north", "ü'"), False), lambda r: r["g"]),
    (Grouping("g", "VARCHAR", ("north", "", "ü'", None), False), lambda r: r["g"]),
    (Grouping("b", "BOOLEAN", (True, False, None), True), lambda r: r["b"]),
    (Grouping("n", "BIGINT", (0, -5, 2**63 - 1), False), lambda r: r["n"]),
    (Grouping("u", "BIGINT", (0, 2**64 - 1, None), False), lambda r: r["u"]),
    (
        Grouping("d", "DATE", ("2020-02-29", "1999-12-31", None), False),
        lambda r: None if r["d"] is None else str(r["d"]),
    ),
    (
        Grouping("CASE WHEN n < 0 THEN 'low' WHEN n > 0 THEN 'high' END", "VARCHAR", ("high", "low"), False),
        lambda r: None if not r["n"] else "low" if r["n"] < 0 else "high",
    ),
]


def cell_of(groups: Sequence[tuple[Grouping, Callable[[Row], Any]]], row: Row) -> int | None:
    """The number of a row's cell, by listing all cells in order."""
    named = [value(row) for _, value in groups]
    for grouping, value in zip((one for one, _ in groups), named, strict=True):
        if value not in grouping.values:
            return None
    cells = list(itertools.product(*(grouping.values for grouping, _ in groups)))
    return cells.index(tuple(named))


INTEGERS = st.one_of(
    st.sampled_from([0, -5, 2**63 - 1, -(2**63)]), st.integers(-(2**63), 2**63 - 1), st.integers(-9, 9)
)
ROW = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["", "0", "00", "é", "z"]),
        "n": st.none() | INTEGERS,
        "x": st.none() | st.sampled_from([0.0, -0.0, 2.0**-21, -0.5, 2.0**20]) | st.floats(-(2.0**20), 2.0**20),
        "h": st.none() | st.integers(-HUGE, HUGE).map(Decimal),
        "b": st.none() | st.booleans(),
        "g": st.none() | st.sampled_from(["", "north", "ü'", "elsewhere"]),
        "u": st.none() | st.sampled_from([0, 1, 2**64 - 1]),
        "d": st.none() | st.sampled_from([dt.date(2020, 2, 29), dt.date(1999, 12, 31), dt.date(2020, 3, 1)]),
    }
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(ROW, max_size=14),
    groups=st.lists(st.sampled_from(GROUPS), max_size=3),
    picks=st.lists(st.tuples(st.sampled_from(VALUES), st.sampled_from(WHERES), st.booleans()), min_size=1, max_size=6),
)
def test_cells_against_python_integers(tmp_path: Path, rows: list[Row], groups: list[Any], picks: list[Any]) -> None:
    source = table(tmp_path, rows)
    features = [Feature(v[0], w[0], v[1], v[2], v[3], c) for v, w, c in picks]
    wheres = [where for where, _ in WHERES]
    found = local_cells(
        source, ["id"], [one for one, _ in groups], features, wheres, columns=(), rows_per_key=max(len(rows), 1)
    )
    number = math.prod(len(one.values) for one, _ in groups)
    cells = [cell_of(groups, row) for row in rows]
    for (value, (_, where), counts), sums in zip(picks, found.sums, strict=True):
        totals = [0] * number
        people: list[set[str]] = [set() for _ in range(number)]
        for row, cell in zip(rows, cells, strict=True):
            raw = value[4](row)
            encoded = 0 if raw is None else half_away(Fraction(raw) / value[2])
            if cell is not None and where(row):
                totals[cell] += encoded
                people[cell] |= {row["id"]} if encoded else set()
        assert sums == tuple(len(one) for one in people) if counts else sums == tuple(totals)
    keys = sorted({row["id"] for row in rows}, key=str.encode)
    assert found.distinct_keys == len(keys)
    for partition, (_, where) in zip(found.partitions, WHERES, strict=True):
        pairs = sorted(
            {(keys.index(r["id"]), c) for r, c in zip(rows, cells, strict=True) if c is not None and where(r)}
        )
        assert list(zip(partition.keys.tolist(), partition.cells.tolist(), strict=True)) == pairs
        assert partition.keys.dtype == np.int64
        assert partition.cells.dtype == np.int32


def test_every_kind_of_source_gives_the_same_cells(keyed: Source) -> None:
    rows = [dict(zip(five_sources.COLUMNS, row, strict=True)) for row in five_sources.keyed_rows()]
    groups = [
        Grouping("w", "VARCHAR", ("0012", "Ärzte, 'x'", "a\\b", "b", None), True),
        Grouping("b", "BOOLEAN", (False, True, None), True),
    ]
    features = [
        Feature("n", "x > 0", "integer", Fraction(1), 10**18),
        Feature("m", "true", "decimal", Fraction(1, 100), 10**6),
        Feature("n IS NOT NULL", "x > 0", "indicator", Fraction(1), 1, contributors=True),
    ]
    found = local_cells(keyed, ["id"], groups, features, ["x > 0"], columns=(), rows_per_key=2)
    cells = list(itertools.product(*(one.values for one in groups)))
    keys = sorted({row["id"] for row in rows})
    sums = [[0] * 15, [0] * 15, [0] * 15]
    people: set[tuple[int, str]] = set()
    pairs: set[tuple[int, int]] = set()
    for row in rows:
        cell = cells.index((row["w"], row["b"]))
        sums[1][cell] += int((row["m"] or 0) * 100)
        if row["x"] is not None and row["x"] > 0:
            sums[0][cell] += row["n"] or 0
            pairs.add((keys.index(row["id"]), cell))
            people |= {(cell, row["id"])} if row["n"] is not None else set()
    for cell, _ in people:
        sums[2][cell] += 1
    assert [list(one) for one in found.sums] == sums
    only = found.partitions[0]
    assert list(zip(only.keys.tolist(), only.cells.tolist(), strict=True)) == sorted(pairs)
    assert found.distinct_keys == len(keys)


def test_a_null_key_is_refused_from_every_kind_of_source(same: Source) -> None:
    for where in ("true", "false", "id IS NOT NULL"):
        feature = Feature("1", where, "indicator", Fraction(1), 1)
        with pytest.raises(UsageError) as caught:
            local_cells(same, ["id"], [], [feature], [where], columns=(), rows_per_key=40)
        assert caught.value.code == "null_keys"


def ones(where: str = "true", *, contributors: bool = False) -> Feature:
    return Feature("1", where, "indicator", Fraction(1), 1, contributors)


def test_no_grouping_is_one_cell_and_no_rows_are_zeros(tmp_path: Path) -> None:
    source = table(tmp_path, [{"id": "a"}, {"id": "b"}, {"id": "a"}])
    found = local_cells(source, ["id"], [], [ones(), ones(contributors=True)], ["true"], columns=(), rows_per_key=2)
    assert found.sums == ((3,), (2,))
    assert found.partitions[0].keys.tolist() == [0, 1]
    source = table(tmp_path, [])
    grouping = Grouping("g", "VARCHAR", ("a", "b"), True)
    found = local_cells(source, ["id"], [grouping], [ones()], ["true"], columns=(), rows_per_key=1)
    assert (found.sums, found.distinct_keys, len(found.partitions[0].keys)) == (((0, 0),), 0, 0)
    assert local_cells(source, ["id"], [], [], columns=(), rows_per_key=1).sums == ()


def test_keys_are_numbered_as_the_join_numbers_them(tmp_path: Path) -> None:
    rows = [{"id": name, "n": n} for name in ("ü", "b", "", "Z", "a") for n in (3, -1, 20)]
    source = table(tmp_path, rows)
    joined = local_features(source, ["id", "n"], [], ["n > 0"], columns=(), rows_per_key=1)
    found = local_cells(source, ["id", "n"], [], [], ["n > 0"], columns=(), rows_per_key=1)
    assert found.partitions[0].keys.tolist() == np.flatnonzero(joined.selected[0]).tolist()
    assert found.distinct_keys == joined.keys.num_rows == 15


def test_more_flags_than_one_word_holds(tmp_path: Path) -> None:
    source = table(tmp_path, [{"id": str(n), "n": n} for n in range(200)])
    wheres = [f"n >= {n}" for n in range(150)]
    features = [ones(where, contributors=True) for where in wheres]
    found = local_cells(source, ["id"], [], features, wheres, columns=(), rows_per_key=1)
    assert [one[0] for one in found.sums] == [200 - n for n in range(150)]
    assert [len(one.keys) for one in found.partitions] == [200 - n for n in range(150)]


@pytest.mark.parametrize("where", ["n = 1", "false"])
def test_an_abort_depends_on_no_filter(tmp_path: Path, where: str) -> None:
    ranged = Column("n", Kind.INTEGER, "BIGINT", None, Fraction(0), Fraction(9), "declared", True)
    filled = Column("x", Kind.REAL, "DOUBLE", None, None, None, "type", False)
    group = Grouping("g", "VARCHAR", ("a",), True)
    good = {"id": "a", "n": 1, "x": 1.0, "g": "a"}
    cases: list[tuple[Row, str, Any]] = [
        ({"id": "b", "n": 10, "x": 1.0, "g": "a"}, "range_exceeded", {}),
        ({"id": "b", "n": 1, "g": "a"}, "null_found", {}),
        ({"id": "b", "n": 1, "x": 1.0, "g": "secret77"}, "outside_domain", {}),
        ({"id": "b", "n": 1, "x": 1.0}, "outside_domain", {}),
        ({"id": "a", "n": 1, "x": 1.0, "g": "a"}, "rows_per_key_exceeded", {}),
        ({"n": 1, "x": 1.0, "g": "a"}, "null_keys", {}),
        ({"id": "b", "n": 2, "x": 1.0, "g": "a"}, "division_by_zero", {"sql": "n // (n - 2)"}),
        ({"id": "b", "n": 2, "x": 1e300, "g": "a"}, "conversion_failed", {"sql": "CAST(x AS BIGINT)"}),
        ({"id": "b", "n": 5, "x": 1.0, "g": "a"}, "range_exceeded", {"sql": "n", "bound": 4}),
    ]
    for bad, code, more in cases:
        feature = Feature(more.get("sql", "n"), where, "integer", Fraction(1), more.get("bound", 9))
        # Whatever the filter picks, and whether the bad row comes first or last.
        for rows in ([good, bad], [bad, good]):
            with pytest.raises(UsageError) as caught:
                local_cells(
                    table(tmp_path, rows),
                    ["id"],
                    [group],
                    [feature, ones("x > 0")],
                    columns=[ranged, filled],
                    rows_per_key=1,
                )
            assert caught.value.code == code
            assert "secret77" not in str(caught.value)
            assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_an_error_late_in_the_stream_is_named_and_quotes_nothing(tmp_path: Path) -> None:
    """It reaches Python through Arrow, not as DuckDB's own exception."""
    rows: list[Row] = [{"id": str(n), "n": 1, "g": "7"} for n in range(200_000)]
    rows[-1] = {"id": "x", "n": 2**63 - 1, "g": "secret77"}
    source = table(tmp_path, rows)
    for sql, code in (("n * 4", "arithmetic_overflow"), ("CAST(g AS INTEGER)", "conversion_failed")):
        with pytest.raises(UsageError) as caught:
            local_cells(
                source, ["id"], [], [Feature(sql, "true", "integer", Fraction(1), 2**70)], columns=(), rows_per_key=1
            )
        assert caught.value.code == code
        assert "secret77" not in str(caught.value)
        assert "9223372036854775807" not in str(caught.value)
        assert caught.value.__suppress_context__


def test_rows_outside_an_open_grouping_are_in_no_cell_but_have_people(tmp_path: Path) -> None:
    source = table(tmp_path, [{"id": "a", "g": "x"}, {"id": "b", "g": "y"}, {"id": "c"}, {"id": "b", "g": "x"}])
    grouping = Grouping("g", "VARCHAR", ("x",), False)
    found = local_cells(source, ["id"], [grouping], [ones()], ["true"], columns=(), rows_per_key=2)
    assert (found.sums, found.distinct_keys) == (((2,),), 3)
    assert found.partitions[0].keys.tolist() == [0, 1]
    with pytest.raises(UsageError, match="more than 1 rows"):
        local_cells(source, ["id"], [grouping], [ones()], columns=(), rows_per_key=1)


@pytest.mark.parametrize(
    ("kind", "values", "closed"),
    [
        ("VARCHAR", (), True),
        ("VARCHAR", ("a", "a"), True),
        ("VARCHAR", (None, "a"), True),
        ("VARCHAR", ("a", 1), True),
        ("BIGINT", (1, True), True),
        ("BIGINT", ("1",), True),
        ("BOOLEAN", (0, 1), True),
        ("DATE", ("2020-2-1",), True),
        ("DATE", ("20200201",), True),
        ("DATE", (1,), True),
        ("DOUBLE", (1,), True),
        ("VARCHAR", ("a",), 1),
    ],
)
def test_groupings_that_make_no_sense(kind: Any, values: Any, closed: Any) -> None:
    with pytest.raises(UsageError) as caught:
        Grouping("g", kind, values, closed)
    assert caught.value.code == "bad_grouping"


def test_what_cannot_be_grouped_is_refused(tmp_path: Path) -> None:
    source = table(tmp_path, [{"id": "a"}])
    for sql, kind, values, code in (
        ("n", "VARCHAR", ("1",), "encoding_mismatch"),
        ("x", "BIGINT", (1,), "encoding_mismatch"),
        ("no_such", "VARCHAR", ("1",), "no_such_column"),
        ("(SELECT 'a')", "VARCHAR", ("1",), "bad_expression"),
    ):
        grouping = Grouping(sql, kind, values, False)  # type: ignore[arg-type]  # a test's list of cases
        with pytest.raises(UsageError) as caught:
            local_cells(source, ["id"], [grouping], [ones()], columns=(), rows_per_key=1)
        assert caught.value.code == code
    wide = Grouping("n", "BIGINT", tuple(range(1025)), False)
    assert len(wide.values) ** 2 > MAX_CELLS
    with pytest.raises(UsageError) as caught:
        local_cells(source, ["id"], [wide, wide], [], columns=(), rows_per_key=1)
    assert caught.value.code == "too_many_cells"


@settings(max_examples=60)
@given(data=st.data(), bound=st.sampled_from([1, 2**36, 2**40, 2**61, 2**62, 2**126]))
def test_a_tally_is_exact(data: st.DataObject, bound: int) -> None:
    tally = Tally(3, bound)
    expected = [0, 0, 0]
    for _ in range(data.draw(st.integers(0, 4))):
        pairs = data.draw(st.lists(st.tuples(st.integers(0, 2), st.integers(-bound, bound)), max_size=9))
        cells = np.array([cell for cell, _ in pairs], dtype=np.int32)
        values = [value for _, value in pairs]
        if bound < 2**62:
            tally.add(cells, np.array(values, dtype=np.int64), None)
        else:
            low = np.array([value & (2**64 - 1) for value in values], dtype=np.uint64)
            tally.add(cells, low, np.array([value >> 64 for value in values], dtype=np.int64))
        for cell, value in pairs:
            expected[cell] += value
    assert tally.totals() == tuple(expected)


@pytest.mark.parametrize("bound", [2**37 - 1, 2**62 - 1])
def test_a_tally_of_full_batches_is_exact(bound: int) -> None:
    """The largest values that a batch may hold, more batches than int64 takes at once, and one cell for all."""
    tally = Tally(1, bound)
    cells = np.zeros(MOST_ROWS, dtype=np.int32)
    for sign in (1, 1, -1):
        values = np.full(MOST_ROWS, sign * bound, dtype=np.int64)
        for _ in range(300):
            tally.add(cells, values, None)
    assert tally.totals() == (300 * MOST_ROWS * bound,)


COUNT = 300_000


def many_rows(path: Path) -> Source:
    rng = np.random.default_rng(5)
    columns = {
        "id": pa.array(rng.permutation(COUNT)),
        "g": pa.array(rng.integers(0, 100, COUNT)),
        "n": pa.array(rng.integers(-1000, 1000, COUNT)),
    }
    pq.write_table(pa.table(columns), path / "big.parquet")
    return open_source(str(path / "big.parquet"))


def many_features(number: int) -> list[Feature]:
    return [Feature(f"n * {k}", "n > 0", "integer", Fraction(1), 1000 * k) for k in range(1, number + 1)]


HUNDRED = Grouping("g", "BIGINT", tuple(range(100)), True)


def test_a_hundred_cells_of_many_rows(tmp_path: Path) -> None:
    source = many_rows(tmp_path)
    people, group, n = (pq.read_table(tmp_path / "big.parquet").column(name).to_numpy() for name in ("id", "g", "n"))
    found = local_cells(source, ["id"], [HUNDRED], [*many_features(3), ones()], ["n > 0"], columns=(), rows_per_key=1)
    for k, sums in enumerate(found.sums[:3], 1):
        assert sums == tuple(int(v) * k for v in np.bincount(group, np.where(n > 0, n, 0), 100))
    assert found.sums[3] == tuple(np.bincount(group, minlength=100).tolist())
    picked = np.flatnonzero(n > 0)
    order = picked[np.argsort(people[picked])]
    assert np.array_equal(found.partitions[0].keys, people[order])
    assert np.array_equal(found.partitions[0].cells, group[order])


def peak(source: Path, features: int) -> int:
    """Bytes that a process needs at most for so many features."""
    program = (
        "import resource, sys; from fractions import Fraction; from privcompute.tables import *;"
        "g = Grouping('g', 'BIGINT', tuple(range(100)), True);"
        "f = [Feature(f'n * {k}', 'n > 0', 'integer', Fraction(1), 1000 * k) for k in range(1, int(sys.argv[2]) + 1)];"
        "local_cells(open_source(sys.argv[1]), ['id'], [g], f, ['n > 0'], columns=(), rows_per_key=1);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(source), str(features)], check=True, capture_output=True, text=True
    )
    return int(done.stdout.split()[-1])


def test_memory_does_not_grow_with_rows_times_features(tmp_path: Path) -> None:
    many_rows(tmp_path)
    more = peak(tmp_path / "big.parquet", 80) - peak(tmp_path / "big.parquet", 2)
    assert more < 78 * 8 * COUNT // 2


def test_results_show_sizes_only(tmp_path: Path) -> None:
    source = table(tmp_path, [{"id": "secret77", "n": 123456789}])
    feature = Feature("n", "true", "integer", Fraction(1), 2**40)
    found = local_cells(source, ["id"], [], [feature], ["true"], columns=(), rows_per_key=1)
    assert isinstance(found, LocalCells)
    assert repr(found) == "LocalCells(features=1, cells=1, partitions=1)"
    assert repr(found.partitions[0]) == "Partition()"


def test_levels_tell_the_values_of_each_key_in_each_cell(tmp_path: Path) -> None:
    rows: list[Row] = [
        {"id": "a", "g": "x", "n": 1, "b": True},
        {"id": "a", "g": "x", "n": 1, "b": True},
        {"id": "a", "g": "x", "n": 2, "b": False},
        {"id": "a", "g": "y", "n": 2, "b": True},
        {"id": "b", "g": "x", "n": 2, "b": True},
        {"id": "c", "g": "x", "b": True},
        {"id": "d", "g": "x", "n": 5, "b": True},
        {"id": "d", "g": "x", "n": 1, "b": True},
        {"id": "e", "g": "z", "n": 1, "b": True},
        {"id": "f", "g": "x", "n": 1},
    ]
    grouping = Grouping("g", "VARCHAR", ("x", "y"), False)
    levels = [Level("n", 1, 0), Level("LEAST(n, 2)", 0, 0)]
    found = local_cells(
        table(tmp_path, rows), ["id"], [grouping], [ones()], ["true", "b"], levels, columns=(), rows_per_key=4
    )
    first, second = found.levels
    assert list(zip(first.keys.tolist(), first.cells.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 0), (2, 0), (3, 0)]
    assert (first.low == first.high).tolist() == [True, True, True, True, False]
    one, two, also_two, nothing = first.low[:4].tolist()
    assert two == also_two
    assert len({one, two, nothing}) == 3
    # Without the filter the first key has two values in the cell, and the sixth is there.
    assert second.keys.tolist() == [0, 0, 1, 2, 3, 5]
    assert (second.low == second.high).tolist() == [False, True, True, True, False, True]
    assert repr(first) == "LevelCells()"
