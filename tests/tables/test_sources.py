"""The same rows in five kinds of source give the same answers; what cannot be read is refused by name."""

from __future__ import annotations

import datetime as dt
import gzip
import shutil
import sqlite3
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from support.five_sources import COLUMNS, duck, rows, write
from support.postgres import PASSWORD, USER, Server

from privcompute.errors import PrivcomputeError, UsageError
from privcompute.tables import Feature, Kind, Source, local_features, open_source, profile, selected

KEY = b"k" * 32

EXPRESSIONS = (
    "n IS NULL",
    "n IS NOT NULL AND x IS NULL",
    "n > 3000000000000005",
    "n BETWEEN -15000000000000000 AND 7",
    "n IN (5000000000000025, 1)",
    "x >= -0.125",
    "m = 0.35 OR m < -2.5",
    "d >= DATE '2021-03-01'",
    "d BETWEEN DATE '2020-02-07' AND DATE '2022-01-01'",
    "t < TIMESTAMP '2020-01-05 12:00:00'",
    "b",
    "NOT b",
    "b IS NOT TRUE",
    "CASE WHEN b THEN n > 0 ELSE m > 0 END",
    "n + 10 * 1000000000000000 > x",
    "m * 2 - 1 > n % 7",
    "w = '0012'",
    "w LIKE 'Ä%' OR upper(w) = 'B'",
    "length(w) = 3",
    "substring(id, 1, 3) = '000'",
    "id < '00010'",
    "year(d) = 2021 AND date_part('hour', t) > 5",
    "coalesce(n, 0) = 0",
)


@pytest.mark.parametrize("where", EXPRESSIONS)
def test_every_expression_gives_the_same_everywhere(same: Source, where: str) -> None:
    with duck() as oracle:
        expected = oracle.execute(
            f"SELECT bool_or(coalesce({where}, false)) FROM same WHERE id IS NOT NULL GROUP BY id ORDER BY id"
        ).fetchall()
    assert selected(same, ["id"], where).tolist() == [row[0] for row in expected]


def test_features_are_the_same_everywhere(same: Source) -> None:
    features = [
        Feature("n", "b", "integer", Fraction(1), 1 << 60),
        Feature("m", "d > DATE '2020-06-01'", "decimal", Fraction(1, 100), 2000),
        Feature("x", "true", "real", Fraction(1, 1 << 20), 1 << 24),
        Feature("x", "true", "decimal", Fraction(1, 1000), 4000),
        Feature("w = 'b'", "true", "indicator", Fraction(1), 1, contributors=True),
    ]
    # A CSV file has no DECIMAL for money: it is a double that is an exact decimal, and the result is the same.
    found = local_features(same, ["id"], features, columns=profile(same, ["id"]).suggested, rows_per_key=2)
    with duck() as oracle:
        expected = oracle.execute(
            "SELECT id, coalesce(sum(n) FILTER (b), 0)::BIGINT,"
            " (100 * coalesce(sum(m) FILTER (d > DATE '2020-06-01'), 0))::BIGINT,"
            " (1048576 * coalesce(sum(x), 0))::BIGINT, (1000 * coalesce(sum(x), 0))::BIGINT,"
            " max((w IS NOT DISTINCT FROM 'b')::INT) FROM same WHERE id IS NOT NULL GROUP BY id ORDER BY id"
        ).fetchall()
    assert found.keys.column("id").to_pylist() == [row[0] for row in expected]
    for place in range(len(features)):
        assert found.columns[place].tolist() == [row[place + 1] for row in expected]


def test_columns_arrive_as_they_are(same: Source) -> None:
    with same.relation(COLUMNS) as reader:
        table = reader.read_all()
    assert table.schema.names == list(COLUMNS)
    found = sorted((tuple(row.values()) for row in table.to_pylist()), key=repr)
    expected = [
        tuple(float(v) if same.place.endswith(".csv") and isinstance(v, Decimal) else v for v in row) for row in rows()
    ]
    assert found == sorted(expected, key=repr)


def test_only_the_asked_columns_are_read(same: Source) -> None:
    with same.scan(["w", "N"]) as scan:
        assert [row[0] for row in scan.connection.execute(f"DESCRIBE {scan.table}").fetchall()] == ["w", "n"]


def test_profile_is_the_same_everywhere(same: Source) -> None:
    found = profile(same, ["id"])
    assert (found.rows, found.null_keys, found.distinct_keys, found.rows_per_key) == (40, 3, 29, 2)
    assert found.key_types == ("VARCHAR",)
    ranges = {c.name: (c.lo, c.hi, c.range_origin) for c in found.suggested}
    assert ranges["n"] == (-(Fraction(2) ** 55), Fraction(2) ** 55, "data-derived")
    assert ranges["x"] == (Fraction(-4), Fraction(4), "data-derived")
    assert ranges["m"] == (Fraction(-16), Fraction(16), "data-derived")
    assert ranges["b"] == (Fraction(0), Fraction(1), "type")
    assert ranges["w"] == ranges["d"] == (None, None, "type")
    scales = {c.name: c.scale for c in found.suggested}
    assert scales["x"] == 3
    assert scales["m"] == 2
    nulls = {item.column.name: item.nulls for item in found.columns}
    assert nulls == {name: sum(row[place] is None for row in rows()) for place, name in enumerate(COLUMNS)}


def test_an_unknown_column_is_named_with_the_nearest(same: Source) -> None:
    with pytest.raises(UsageError, match=r"no column 'idd'[\s\S]*did you mean 'id'") as caught:
        profile(same, ["idd"])
    assert caught.value.code == "no_such_column"


def test_the_version_is_stable_keyed_and_of_the_content(same: Source) -> None:
    version = same.fingerprint(KEY)
    assert len(version) == 64
    assert same.fingerprint(KEY) == version
    assert same.fingerprint(b"j" * 32) != version
    with pytest.raises(UsageError, match="16 to 64 bytes"):
        same.fingerprint(b"short")


@pytest.mark.parametrize("kind", ["csv", "parquet", "duckdb", "sqlite"])
def test_the_version_follows_the_content_not_the_file(tmp_path: Path, kind: str) -> None:
    place = write(kind, tmp_path)
    before = open_source(place).fingerprint(KEY)
    path = Path(place.partition("?")[0])
    copy = tmp_path / f"copy.{kind}"
    shutil.copy(path, copy)
    copied = place.replace(str(path), str(copy))
    assert open_source(copied).fingerprint(KEY) == before
    if kind == "csv":
        copy.write_text(copy.read_text().replace("00001", "00091"))
    elif kind == "sqlite":
        with sqlite3.connect(copy) as connection:
            connection.execute("UPDATE same SET id = '00091' WHERE id = '00001'")
        connection.close()
    elif kind == "duckdb":
        with duckdb.connect(copy) as ducked:
            ducked.execute("UPDATE same SET id = '00091' WHERE id = '00001'")
    else:
        with duckdb.connect() as ducked:
            ducked.execute(f"COPY (SELECT '00091' AS id) TO '{copy}' (FORMAT parquet)")
    assert open_source(copied).fingerprint(KEY) != before


def test_a_row_twice_a_null_and_a_moved_boundary_change_the_version(tmp_path: Path) -> None:
    def version(values: str) -> str:
        path = tmp_path / "v.duckdb"
        path.unlink(missing_ok=True)
        with duckdb.connect(path) as connection:
            connection.execute(f"CREATE TABLE t AS SELECT * FROM (VALUES {values}) v(a, b)")
        return open_source(str(path)).fingerprint(KEY)

    variants: tuple[str, ...] = (
        "('ab','c')",
        "('a','bc')",
        "('ab',NULL)",
        "('ab','N')",
        "('ab','c'),('ab','c')",
        "('c','ab')",
    )
    variants += ("('ab','c'),('x','y'),('x','y')", "('ab','c'),('z','y'),('z','y')")
    assert len({version(values) for values in variants}) == len(variants)
    assert version("('p','q'),('r','s')") == version("('r','s'),('p','q')")


def _csv(path: Path, text: str, keys: tuple[str, ...] = ("id",)) -> dict[str, str]:
    path.write_text(text)
    return {column.name: column.type for column in open_source(str(path), keys=keys).schema()}


def test_csv_types(tmp_path: Path) -> None:
    lines = ["id,key2,zip,n,x,money,e,neg0,b,d,t,big,plus,nan,empty,mixed,q"]
    for i in range(300):
        zip_code = "00501" if i == 250 else str(10000 + i)
        mixed = "n/a" if i == 299 else str(i)
        fields = (
            *(i, i, zip_code, i - 5, f"{i}.5", f"12345678901234567.{i % 100:02d}", f"{i}e-3", "-0.0"),
            *("TRUE" if i % 2 else "false", f"2020-02-{i % 28 + 1:02d}", f"2020-01-01 10:00:{i % 60:02d}.25"),
            *(10**19 + i, "+1", "nan" if i == 7 else i, "", mixed, '""'),
        )
        lines.append(",".join(map(str, fields)))
    found = _csv(tmp_path / "a.csv", "\n".join(lines) + "\n", ("ID", "key2"))
    assert found == {
        "id": "VARCHAR",
        "key2": "VARCHAR",
        "zip": "VARCHAR",
        "n": "BIGINT",
        "x": "DOUBLE",
        "money": "DECIMAL(38,2)",
        "e": "DOUBLE",
        "neg0": "DOUBLE",
        "b": "BOOLEAN",
        "d": "DATE",
        "t": "TIMESTAMP",
        "big": "VARCHAR",
        "plus": "VARCHAR",
        "nan": "VARCHAR",
        "empty": "VARCHAR",
        "mixed": "VARCHAR",
        "q": "VARCHAR",
    }
    with open_source(str(tmp_path / "a.csv")).relation(["zip", "money"]) as reader:
        table = reader.read_all()
    assert "00501" in table.column("zip").to_pylist()
    assert Decimal("12345678901234567.99") in table.column("money").to_pylist()


@pytest.mark.parametrize("text", ["007", "-01", "00", "1_000", "0x10", "1e5x", "٣", " 1", "1 "])
def test_one_such_field_makes_a_csv_column_text(tmp_path: Path, text: str) -> None:
    assert _csv(tmp_path / "a.csv", f"id,n\na,1\nb,{text}\n")["n"] == "VARCHAR"


@pytest.mark.parametrize(
    ("first", "late", "kind"),
    [
        ("1", "2.5", "DOUBLE"),
        ("1", "2e5", "DOUBLE"),
        ("1", "12345678901234567.25", "DECIMAL(38,2)"),
        ("1", "9223372036854775808", "VARCHAR"),
        ("1", "-0", "VARCHAR"),
        ("1", "x", "VARCHAR"),
        ("1.5", "7", "DOUBLE"),
        ("1.5", "0.30000000000000004", "DOUBLE"),
        ("1.5", "0.300000000000000041", "DECIMAL(38,18)"),
        ("1.5", "007", "VARCHAR"),
        ("1.5", "inf", "VARCHAR"),
        ("1.5", "1e999", "VARCHAR"),
        ("", "2.5", "DOUBLE"),
        ("", "true", "BOOLEAN"),
        ("true", "1", "VARCHAR"),
        ("2020-01-01", "2020-01-02 10:00", "TIMESTAMP"),
        ("2020-01-01", "2020-02-30", "VARCHAR"),
        ("2020-01-01", "20200102", "VARCHAR"),
        ("2020-01-01 10:00", "2020-01-02T10:00:00.5", "TIMESTAMP"),
        ("x", "1", "VARCHAR"),
    ],
)
def test_a_late_line_decides_like_an_early_one(tmp_path: Path, first: str, late: str, kind: str) -> None:
    many = f"a,{first}\n" * 5000
    assert _csv(tmp_path / "a.csv", f"id,v\n{many}b,{late}\n")["v"] == kind
    assert _csv(tmp_path / "b.csv", f"id,v\nb,{late}\n{many}")["v"] == kind


def test_a_late_leading_zero_is_not_lost(tmp_path: Path) -> None:
    # Far beyond any sample a sniffer takes.
    body = "".join(f"{i},{i + 1}\n" for i in range(50_000))
    assert _csv(tmp_path / "a.csv", f"id,code\n{body}x,0042\n")["code"] == "VARCHAR"


def test_compressed_csv(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    with gzip.open(path, "wt") as file:
        file.write("id,n\n007,1\n")
    with open_source(str(path), keys=["id"]).relation(["id", "n"]) as reader:
        assert reader.read_all().to_pylist() == [{"id": "007", "n": 1}]


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.csv", b"", "unreadable"),
        ("a.csv", b"id,n\n1,2\n3,4,5,6\n7\n", "unreadable"),
        ("a.csv", b"id,n\n1,\xff\xfe\n", "unreadable"),
        ("a.parquet", b"PAR1 but not", "unreadable"),
        ("a.duckdb", b"not a database, however long" * 1000, "unreadable"),
        ("a.sqlite", b"not a database, however long" * 1000, "unreadable"),
        ("a[1].parquet", b"x", "unreadable"),
        ("a.xlsx", b"x", "bad_source"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, content: bytes, code: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError) as caught:
        open_source(str(tmp_path / name)).schema()
    assert caught.value.code == code
    assert caught.value.__cause__ is None


def test_missing_things_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file") as caught:
        open_source(str(tmp_path / "none.csv"))
    assert caught.value.code == "no_such_file"
    for kind in ("duckdb", "sqlite"):
        place = write(kind, tmp_path).replace("table=same", "table=sane")
        with pytest.raises(UsageError, match=r"no table 'sane'[\s\S]*'same'") as caught:
            open_source(place).schema()
        assert caught.value.code == "no_such_table"
        assert open_source(place.partition("?")[0]).schema()[0].name == "id"
    with duckdb.connect(tmp_path / "same.duckdb") as connection:
        connection.execute("CREATE TABLE other AS SELECT 1 AS x")
    with pytest.raises(UsageError) as caught:
        open_source(str(tmp_path / "same.duckdb")).schema()
    assert caught.value.code == "which_table"
    with pytest.raises(UsageError) as caught:
        open_source("mysql://host/db?table=t")
    assert caught.value.code == "bad_source"


def test_a_view_of_a_duckdb_file_reads_nothing_else(tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    with duckdb.connect(tmp_path / "v.duckdb") as connection:
        connection.execute(f"CREATE VIEW v AS SELECT * FROM read_csv('{secret}')")
    with pytest.raises(UsageError) as caught:
        open_source(str(tmp_path / "v.duckdb")).schema()
    assert caught.value.code == "not_allowed"


def test_enum_and_nested_types_do_not_tell_their_values(tmp_path: Path) -> None:
    with duckdb.connect(tmp_path / "t.duckdb") as connection:
        connection.execute(
            "CREATE TABLE t AS SELECT 'cancer'::ENUM('cancer', 'flu') AS e, {'cancer': 1} AS s, [1] AS l,"
            " uuid() AS u, 1::UHUGEINT AS h, INTERVAL 1 DAY AS i, 'x'::BLOB AS bl, TIME '10:00' AS ti"
        )
    source = open_source(str(tmp_path / "t.duckdb"))
    found = {column.name: (column.kind, column.type) for column in source.schema()}
    assert found["e"] == found["u"] == (Kind.TEXT, "VARCHAR")
    assert found["s"] == (Kind.OTHER, "STRUCT")
    assert found["l"] == (Kind.OTHER, "LIST")
    assert found["h"] == (Kind.INTEGER, "UHUGEINT")
    assert "cancer" not in repr(source.schema())
    with source.relation(["e", "s", "l"]) as reader:
        assert reader.read_all().to_pylist() == [{"e": "cancer", "s": {"cancer": 1}, "l": [1]}]
    assert len(source.fingerprint(KEY)) == 64


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        ("INTEGER", 1.5),
        ("INTEGER", "x"),
        ("REAL", "x"),
        ("BOOLEAN", 2),
        ("DECIMAL(10,2)", 0.125),
        ("DATE", "01/02/2020"),
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_sqlite_values_that_are_not_of_their_column(tmp_path: Path, declared: str, value: object, late: bool) -> None:
    connection = sqlite3.connect(tmp_path / "t.sqlite")
    connection.execute(f"CREATE TABLE t (id TEXT, v {declared})")
    # The driver looks at the first thousand rows only.
    connection.executemany("INSERT INTO t VALUES (?, NULL)", [("a",)] * (3000 if late else 0))
    connection.execute("INSERT INTO t VALUES ('b', ?)", (value,))
    connection.commit()
    connection.close()
    with pytest.raises(UsageError) as caught:
        profile(open_source(str(tmp_path / "t.sqlite")), ["id"])
    assert caught.value.code in ("unreadable", "conversion_failed")
    assert str(value) not in caught.value.message.replace(str(tmp_path), "")


def test_sqlite_types_by_value_where_none_is_declared(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "t.sqlite")
    connection.executescript(
        "CREATE TABLE t (id TEXT NOT NULL, n INT, big DECIMAL(38,2), odd);"
        "INSERT INTO t VALUES ('007', -9223372036854775808, '123456789012345678901234567890.12', NULL),"
        " ('008', 9223372036854775807, -5, 'x');"
        "CREATE VIEW v AS SELECT id, n AS a, n / 2.0 AS h, odd FROM t;"
    )
    connection.close()
    source = open_source(f"{tmp_path / 't.sqlite'}?table=t")
    assert [(c.name, c.type, c.nullable) for c in source.schema()] == [
        ("id", "VARCHAR", False),
        ("n", "BIGINT", True),
        ("big", "DECIMAL(38,2)", True),
        ("odd", "VARCHAR", True),
    ]
    with source.relation(["n", "id"]) as reader:
        assert reader.read_all().to_pylist() == [
            {"n": -(2**63), "id": "007"},
            {"n": 2**63 - 1, "id": "008"},
        ]
    view = open_source(f"{tmp_path / 't.sqlite'}?table=v")
    assert [c.type for c in view.schema()] == ["VARCHAR", "BIGINT", "DOUBLE", "VARCHAR"]


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("postgresql://me:word@host/db?table=t", "password_in_url"),
        ("postgresql://me:@host/db?table=t", "password_in_url"),
        ("postgresql://host/db?table=t&password=word", "password_in_url"),
        ("postgres://host/db?PassFile=/x&table=t", "password_in_url"),
        ("postgresql://host/db?table=t&options=-c%20x", "bad_source"),
        ("postgresql://host/db?table=t&table=u", "bad_source"),
        ("postgresql://[::1/db?table=t", "bad_source"),
    ],
)
def test_postgresql_urls_that_are_refused(url: str, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_source(url)
    assert caught.value.code == code
    assert "word" not in caught.value.message.replace("password", "")
    if code == "password_in_url":
        assert "PGPASSWORD" in caught.value.remedy
        assert "--credentials-file" in caught.value.remedy


def test_an_unreachable_server_and_exposed_credentials(tmp_path: Path) -> None:
    with pytest.raises(PrivcomputeError, match="no connection") as caught:
        open_source("postgresql://127.0.0.1:1/db?table=t&connect_timeout=2").schema()
    assert caught.value.code == "database_unreachable"
    words = tmp_path / "pgpass"
    words.write_text("*:*:*:*:x")
    words.chmod(0o644)
    with pytest.raises(UsageError, match="read by others"):
        open_source("postgresql://h/db?table=t", credentials=words)
    with pytest.raises(UsageError, match="no credentials file"):
        open_source("postgresql://h/db?table=t", credentials=tmp_path / "none")


@pytest.mark.postgres
def test_postgresql_types_and_credentials(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(server.admin, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute('CREATE SCHEMA "Odd"')
        cursor.execute(
            'CREATE TABLE "Odd"."My.T" (id char(3) NOT NULL, "Ünït" numeric, nan numeric, w numeric(12,3), f real,'
            " tz timestamptz, j jsonb, day date, u uuid)"
        )
        cursor.execute(
            'INSERT INTO "Odd"."My.T" VALUES'
            " ('007', -123456789012345678901.25, 1.5, 1.250, 0.5, '2020-01-01 00:00+02', '{\"a\": 1}', '2020-02-29',"
            " 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'), ('8', NULL, 'NaN', NULL, 'NaN', NULL, NULL, 'infinity', NULL)"
        )
    source = open_source(server.url("Odd.My.T"), credentials=server.password_file)
    assert {c.name: c.type for c in source.schema()} == {
        "id": "VARCHAR",
        "Ünït": "DECIMAL(38,2)",
        "nan": "DECIMAL(38,1)",
        "w": "DECIMAL(12,3)",
        "f": "FLOAT",
        "tz": "TIMESTAMP WITH TIME ZONE",
        "j": "VARCHAR",
        "day": "DATE",
        "u": "VARCHAR",
    }
    with source.relation(["ünït", "tz", "j", "u"]) as reader:
        row = reader.read_all().to_pylist()[0]
    assert row["Ünït"] == Decimal("-123456789012345678901.25")
    assert row["tz"].astimezone(dt.UTC) == dt.datetime(2019, 12, 31, 22, tzinfo=dt.UTC)
    assert (row["j"], row["u"]) == ('{"a": 1}', "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")
    for column in ("nan", "day"):
        # Neither NaN in a NUMERIC nor an infinite date has a counterpart: by name, not as some other value.
        with pytest.raises(UsageError) as caught, source.relation([column]) as reader:
            reader.read_all()
        assert caught.value.code in ("unreadable", "conversion_failed")
    with pytest.raises(PrivcomputeError, match="no connection"):
        open_source(server.url("Odd.My.T")).schema()
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    assert open_source(server.url("Odd.My.T")).schema() == source.schema()
    with pytest.raises(UsageError, match=r"no table 'Odd.T'[\s\S]*did you mean 'Odd.My.T'"):
        open_source(server.url("Odd.T")).schema()
    assert USER not in source.place


@pytest.mark.postgres
def test_postgresql_is_only_read(server: Server) -> None:
    from adbc_driver_manager import Error

    from privcompute.tables.postgresql import PostgresTable

    source = open_source(server.url("same"), credentials=server.password_file)
    assert isinstance(source, PostgresTable)
    with source._connection() as connection, connection.cursor() as cursor, pytest.raises(Error, match="read-only"):
        cursor.execute("CREATE TABLE public.mine (x int)")


def test_streams_of_a_database_are_read_once_and_bounded(tmp_path: Path) -> None:
    """A long SQLite table goes through in batches: DuckDB never holds it whole."""
    connection = sqlite3.connect(tmp_path / "t.sqlite")
    connection.execute("CREATE TABLE t (id TEXT, v INTEGER)")
    connection.executemany("INSERT INTO t VALUES (?, ?)", ((f"{i % 1000:04d}", i) for i in range(100_000)))
    connection.commit()
    connection.close()
    source = open_source(str(tmp_path / "t.sqlite"))
    features = [Feature("v", "v % 2 = 0", "integer", Fraction(1), 1 << 17)]
    found = local_features(source, ["id"], features, columns=(), rows_per_key=100)
    totals = np.zeros(1000, np.int64)
    for i in range(0, 100_000, 2):
        totals[i % 1000] += i
    assert np.array_equal(found.columns[0], totals)
    with source.relation(["v"]) as reader:
        assert isinstance(reader, pa.RecordBatchReader)
        assert max(batch.num_rows for batch in reader) <= 1 << 16
