"""DuckDB reaches nothing it was not opened for, and expressions are what they should be."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from privcompute.errors import UsageError
from privcompute.tables import Column, Kind, Limits, columns_of, expression_type
from privcompute.tables import engine as duck

COLUMNS = (
    Column("n", Kind.INTEGER, "INTEGER", None, None, None, "type", True),
    Column("m", Kind.DECIMAL, "DECIMAL(10,2)", 2, None, None, "type", True),
    Column("x", Kind.REAL, "FLOAT", None, None, None, "type", True),
    Column("b", Kind.BOOLEAN, "BOOLEAN", None, None, None, "type", True),
    Column("w", Kind.TEXT, "VARCHAR", None, None, None, "type", True),
    Column("d", Kind.DATE, "DATE", None, None, None, "type", True),
    Column("z", Kind.TIMESTAMP, "TIMESTAMP WITH TIME ZONE", None, None, None, "type", True),
    Column("s", Kind.OTHER, "STRUCT", None, None, None, "type", True),
)


def test_no_extension_is_downloaded_or_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with duck.connect() as connection:
        settings = dict(
            connection.execute(
                "SELECT name, value FROM duckdb_settings() WHERE name IN ('autoinstall_known_extensions',"
                " 'autoload_known_extensions', 'allow_community_extensions', 'allow_unsigned_extensions',"
                " 'allow_persistent_secrets', 'enable_external_access', 'python_enable_replacements')"
            ).fetchall()
        )
        assert len(settings) == 7
        assert set(settings.values()) == {"false"}
        for sql in (
            "INSTALL httpfs",
            "LOAD httpfs",
            "INSTALL spatial FROM community",
            "FORCE INSTALL sqlite_scanner FROM 'http://127.0.0.1:1/'",
            "SELECT * FROM read_csv('https://127.0.0.1:1/a.csv')",
            "SELECT * FROM sqlite_scan('a.sqlite', 't')",
            "SELECT * FROM postgres_scan('', 'public', 't')",
            "ATTACH 'a.sqlite' (TYPE sqlite)",
        ):
            with pytest.raises(duckdb.Error):
                connection.execute(sql)
    # DuckDB keeps what it downloads below the home directory.
    assert list(tmp_path.iterdir()) == []


def test_only_the_given_files_can_be_read_and_none_written(tmp_path: Path) -> None:
    for name in ("mine.csv", "other.csv"):
        (tmp_path / name).write_text("a\n1\n")
    with duck.connect(read=[tmp_path / "mine.csv"]) as connection:
        assert connection.execute(f"SELECT * FROM read_csv('{tmp_path / 'mine.csv'}')").fetchall() == [(1,)]
        for sql in (
            f"SELECT * FROM read_csv('{tmp_path / 'other.csv'}')",
            f"SELECT * FROM read_csv('{tmp_path}/*.csv')",
            f"SELECT * FROM '{tmp_path / 'other.csv'}'",
            "SELECT * FROM read_text('/etc/hostname')",
            "SELECT * FROM glob('/etc/*')",
            f"COPY (SELECT 1) TO '{tmp_path / 'out.csv'}'",
            f"EXPORT DATABASE '{tmp_path / 'out'}'",
            f"ATTACH '{tmp_path / 'new.duckdb'}'",
            "SET enable_external_access = true",
            "RESET enable_external_access",
            "SET allowed_paths = ['/etc/hostname']",
            "SET threads = 1",
            "PRAGMA memory_limit = '1GB'",
        ):
            with pytest.raises(duckdb.Error):
                connection.execute(sql)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.csv", "other.csv"]


def test_python_variables_are_not_tables() -> None:
    frame = {"a": [1]}
    with duck.connect() as connection, pytest.raises(duckdb.CatalogException):
        connection.execute("SELECT * FROM frame")
    assert frame


def test_memory_is_bounded_and_spilling_is_asked_for(tmp_path: Path) -> None:
    big = "SELECT count(DISTINCT md5(i::VARCHAR)) FROM range(2000000) t(i)"
    with (
        duck.connect(limits=Limits(memory=48 << 20, threads=1)) as connection,
        pytest.raises(UsageError) as caught,
        duck.named_errors("it"),
    ):
        connection.execute(big)
    assert caught.value.code == "out_of_memory"
    with duck.connect(limits=Limits(memory=96 << 20, threads=1, spill=tmp_path)) as connection:
        assert connection.execute(big).fetchone() == (2_000_000,)
    with pytest.raises(UsageError):
        Limits(memory=1)
    with pytest.raises(UsageError):
        Limits(threads=0)


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("n + 1 -- trailing", {"n"}),
        ('"n" IS NULL AND NOT b', {"n", "b"}),
        ("CASE WHEN d >= DATE '2020-01-01' THEN m END", {"d", "m"}),
        ("w LIKE 'x%' OR w IN ('a', 'b') OR w ~ 'x'", {"w"}),
        ("extract(year FROM d) + date_part('hour', z)", {"d", "z"}),
        ("d + INTERVAL 3 MONTHS > d", {"d"}),
        ("coalesce(TRY_CAST(w AS INTEGER), nullif(n, 0), greatest(1, 2))", {"w", "n"}),
        ("n BETWEEN 1 AND 2 AND b IS NOT TRUE AND n IS DISTINCT FROM 3", {"n", "b"}),
        ("+".join(["n"] * 150), {"n"}),
        (" OR ".join(f"n = {i}" for i in range(500)), {"n"}),
        ("true", set()),
    ],
)
def test_expressions_that_pass(sql: str, columns: set[str]) -> None:
    assert columns_of(sql) == columns


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "n, n",
        "n) , (n",
        "n) FROM t --",
        "n AS x",
        "n; SELECT 1",
        "(SELECT n)",
        "EXISTS (SELECT 1)",
        "n IN (SELECT 1)",
        "sum(n)",
        "count(*)",
        "row_number() OVER ()",
        "t.n",
        "*",
        "COLUMNS('n')",
        "?",
        "$1",
        "random()",
        "now()",
        "current_setting('threads')",
        "nextval('s')",
        "error('x')",
        "getvariable('x')",
        "read_text('/etc/hostname')",
        "repeat(w, 1000000000)",
        "list_transform([1], x -> x)",
        "main.lower(w)",
        "age(z)",
        "n IN (SELECT * FROM read_csv('/etc/passwd'))",
        "w" * 70_000,
        "(" * 5000 + "n" + ")" * 5000,
        "-" * 3 + "\x00",
    ],
)
def test_expressions_that_do_not(sql: str) -> None:
    with pytest.raises(UsageError) as caught:
        columns_of(sql)
    assert caught.value.code == "bad_expression"


def test_a_clock_that_looks_like_a_column_is_an_unknown_column() -> None:
    with pytest.raises(UsageError) as caught:
        expression_type(COLUMNS, "d < current_date")
    assert caught.value.code == "no_such_column"


@pytest.mark.parametrize(
    ("sql", "kind", "text", "scale"),
    [
        ("n", Kind.INTEGER, "INTEGER", 0),
        ("n * n", Kind.INTEGER, "INTEGER", 0),
        ("m * m", Kind.DECIMAL, "DECIMAL(18,4)", 4),
        ("m / 2", Kind.REAL, "DOUBLE", None),
        ("x", Kind.REAL, "FLOAT", None),
        ("n > m", Kind.BOOLEAN, "BOOLEAN", None),
        ("s IS NULL", Kind.BOOLEAN, "BOOLEAN", None),
        ("lower(w)", Kind.TEXT, "VARCHAR", None),
        ("d - d", Kind.INTEGER, "BIGINT", 0),
        ("z", Kind.TIMESTAMP, "TIMESTAMP WITH TIME ZONE", None),
        ("d + INTERVAL 1 DAY - d", Kind.OTHER, "INTERVAL", None),
    ],
)
def test_types_of_expressions_without_data(sql: str, kind: Kind, text: str, scale: int | None) -> None:
    found = expression_type(COLUMNS, sql)
    assert (found.kind, found.type, found.scale) == (kind, text, scale)


def test_an_expression_that_does_not_bind() -> None:
    for sql in ("lower(n, 3, w)", "d * d", "w + s"):
        with pytest.raises(UsageError) as caught:
            expression_type(COLUMNS, sql)
        assert caught.value.code == "bad_expression"
