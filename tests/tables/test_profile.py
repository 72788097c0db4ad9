"""Suggested ranges tell no extremes; counts, digits and what is not finite are found over the whole table."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privcompute.errors import UsageError
from privcompute.tables import Limits, Profile, open_source, profile
from privcompute.tables.profiling import check_finite, outward
from privcompute.tables.synthetic import DEMO_QUERIES, demo_tables


def of(path: Path, select: str, keys: tuple[str, ...] = ("id",)) -> Profile:
    """The profile of a query's result."""
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({select}) TO '{path / 't.parquet'}' (FORMAT parquet)")
    return profile(open_source(str(path / "t.parquet")), keys)


@given(
    least=st.fractions() | st.floats(allow_nan=False, allow_infinity=False).map(Fraction),
    spread=st.fractions(min_value=0),
    whole=st.booleans(),
)
def test_ranges_go_outwards_to_powers_of_two(least: Fraction, spread: Fraction, whole: bool) -> None:
    most = least + spread
    lo, hi = outward(least, most, whole=whole)
    assert lo <= least
    assert most <= hi
    assert lo == (-hi if least < 0 else 0)
    assert 1 in (hi.numerator, hi.denominator)
    power = hi.numerator * hi.denominator
    assert power & (power - 1) == 0
    assert hi >= (1 if whole else Fraction(1, 2**40))
    largest = max(abs(least), abs(most))
    # The next narrower range would not do, unless it is the narrowest there is.
    assert hi / 2 < largest or hi in (1, Fraction(1, 2**40))


@pytest.mark.parametrize(
    ("least", "most", "lo", "hi"),
    [(0, 0, 0, 1), (0, 128, 0, 128), (0, 129, 0, 256), (-128, 5, -128, 128), (-(2**63), 2**63 - 1, -(2**63), 2**63)],
)
def test_ranges_at_the_edges(least: int, most: int, lo: int, hi: int) -> None:
    assert outward(Fraction(least), Fraction(most), whole=True) == (Fraction(lo), Fraction(hi))


def test_decimal_digits(tmp_path: Path) -> None:
    found = of(
        tmp_path,
        "SELECT i::VARCHAR AS id, (i * 10)::DOUBLE AS d0, i / 10 AS d1, i / 100 AS d2, i / 1000000 AS d6,"
        " i / 10000000 AS d7, i / 3 AS third, NULL::DOUBLE AS nothing, i / 8 AS eighth,"
        " (i / 10)::FLOAT AS single, (i / 8)::FLOAT AS single8, 0.1 + 0.2::DOUBLE AS noisy, -0.0::DOUBLE AS zero,"
        " 1e300 AS huge, i / 100 AS money FROM range(1, 2000) t(i)",
    )
    scales = {column.name: column.scale for column in found.suggested}
    assert scales == {
        "id": None,
        "d0": 0,
        "d1": 1,
        "d2": 2,
        "d6": 6,
        "d7": None,
        "third": None,
        "nothing": None,
        "eighth": 3,
        "single": None,
        "single8": 3,
        "noisy": None,
        "zero": 0,
        "huge": None,
        "money": 2,
    }


@pytest.mark.parametrize("value", ["'nan'", "'inf'", "'-inf'"])
def test_what_is_not_finite_is_refused_where_it_may_be_used(tmp_path: Path, value: str) -> None:
    found = of(tmp_path, f"SELECT 'a' AS id, 1.5::DOUBLE AS bmi, 1 AS n UNION ALL SELECT 'b', {value}::DOUBLE, 2")
    assert [one.finite for one in found.columns] == [True, False, True]
    check_finite([found.columns[0], found.columns[2]])
    with pytest.raises(UsageError, match="column 'bmi' holds NaN or infinite") as caught:
        check_finite(found.columns)
    assert caught.value.code == "not_finite"
    assert "NULL" in caught.value.remedy


def test_counts_of_keys(tmp_path: Path) -> None:
    found = of(
        tmp_path,
        "SELECT * FROM (VALUES ('a', 1), ('a', 1), ('a', 2), (NULL, 1), ('b', NULL), (NULL, NULL), ('', 0)) v(id, n)",
        ("id", "n"),
    )
    assert (found.rows, found.null_keys, found.distinct_keys, found.rows_per_key) == (7, 3, 3, 2)
    assert found.key_types == ("VARCHAR", "BIGINT")
    empty = of(tmp_path, "SELECT 'a' AS id, 1 AS n WHERE false")
    assert (empty.rows, empty.distinct_keys, empty.rows_per_key) == (0, 0, 1)
    assert [(c.lo, c.hi) for c in empty.suggested] == [(None, None), (Fraction(0), Fraction(1))]


def test_a_wide_table(tmp_path: Path) -> None:
    columns = ", ".join(f"(i + {c}) % 100 AS c{c}" for c in range(130))
    found = of(tmp_path, f"SELECT i::VARCHAR AS id, {columns} FROM range(300) t(i)")
    assert {(c.lo, c.hi) for c in found.suggested[1:]} == {(Fraction(0), Fraction(128))}


def test_extremes_of_wide_types(tmp_path: Path) -> None:
    found = of(
        tmp_path,
        "SELECT 1 AS id, (-9223372036854775808)::BIGINT AS a, 18446744073709551615::UBIGINT AS u,"
        " (repeat('9', 38))::DECIMAL(38,0) AS d, ('-0.' || repeat('9', 38))::DECIMAL(38,38) AS e, 5e-324::DOUBLE AS f",
    )
    assert {c.name: (c.lo, c.hi) for c in found.suggested[1:]} == {
        "a": (-(Fraction(2) ** 63), Fraction(2) ** 63),
        "u": (Fraction(0), Fraction(2) ** 64),
        "d": (Fraction(0), Fraction(2) ** 127),
        "e": (Fraction(-1), Fraction(1)),
        "f": (Fraction(0), Fraction(1, 2**40)),
    }


def test_a_profile_stays_within_its_memory(tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT lpad((i % 150000)::VARCHAR, 9, '0') AS id, i % 97 AS n, i / 10 AS x FROM range(300000) t(i))"
            f" TO '{tmp_path / 'big.parquet'}' (FORMAT parquet)"
        )
    found = profile(open_source(str(tmp_path / "big.parquet")), ["id"], limits=Limits(memory=128 << 20, threads=2))
    assert (found.rows, found.distinct_keys, found.rows_per_key) == (300_000, 150_000, 2)
    assert found.suggested[2].scale == 1


def test_the_demo_tables_are_the_same_every_time_and_hold_what_is_planted() -> None:
    first, second = demo_tables(2000, 7), demo_tables(2000, 7)
    assert first["hospital"].equals(second["hospital"])
    assert first["insurer"].equals(second["insurer"])
    assert not demo_tables(2000, 8)["hospital"].equals(first["hospital"])
    tables = demo_tables()
    with duckdb.connect() as connection:
        for party, name in (("hospital", "patients"), ("insurer", "members")):
            connection.register("arrived", tables[party])
            connection.execute(f"CREATE SCHEMA {party}; CREATE TABLE {party}.{name} AS FROM arrived")
            rows, filled, distinct, zeros, lengths = connection.execute(
                "SELECT count(*), count(national_id), count(DISTINCT national_id),"
                f" count(*) FILTER (national_id LIKE '0%'), count(DISTINCT length(national_id)) FROM {party}.{name}"
            ).fetchall()[0]
            assert rows == 20_000
            assert 0 < rows - filled < 100
            assert 0 < filled - distinct < 2000
            assert zeros > 500
            assert lengths == 1
        both = "FROM hospital.patients h JOIN insurer.members i ON h.national_id = i.national_id"
        ((matched,),) = connection.execute(f"SELECT count(DISTINCT h.national_id) {both}").fetchall()
        assert 10_000 < matched < 17_000
        ((smokers, others, corr),) = connection.execute(
            f"SELECT avg(claim) FILTER (smoker), avg(claim) FILTER (NOT smoker), corr(bmi, claim) {both}"
        ).fetchall()
        assert smokers - others > 600
        assert corr > 0.2
        for sql in DEMO_QUERIES:
            values = connection.execute(sql).fetchall()[0]
            assert all(value is not None and math.isfinite(float(value)) for value in values)
    with pytest.raises(UsageError):
        demo_tables(5)
