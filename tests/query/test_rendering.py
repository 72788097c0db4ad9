"""Exact numbers as DuckDB SQL: every width and scale of DECIMAL, at the ends of the range."""

from __future__ import annotations

from fractions import Fraction

import duckdb
import pytest

from privcompute.query import expr
from privcompute.query.expr import Node
from privcompute.query.refuse import Span
from privcompute.query.render import decimal_text, fits, quoted, render, scaled, string
from privcompute.tables.schema import Column, Kind

SHAPES = [(4, 1), (9, 2), (9, 9), (12, 6), (18, 0), (18, 6), (18, 17), (19, 4), (28, 10), (38, 0), (38, 6)]


def decimal(width: int, scale: int, digits: int) -> Node:
    """A DECIMAL column whose range has that many digits in all."""
    most = Fraction(10**digits - 1, 10**scale)
    column = Column("c", Kind.DECIMAL, f"DECIMAL({width},{scale})", scale, -most, most, "declared", False)
    return expr.column(0, column, Span(0, 1))


def values(connection: duckdb.DuckDBPyConnection, sql: str) -> list[str]:
    return [str(row[0]) for row in connection.execute(f"SELECT {sql} FROM t ORDER BY c").fetchall()]


@pytest.mark.parametrize(("width", "scale"), SHAPES)
def test_decimals_become_integers_without_a_loss(width: int, scale: int) -> None:
    digits = min(width, 37)
    ends = [-(10**digits - 1), -1, 0, 1, 10**digits - 1]
    connection = duckdb.connect()
    connection.execute(f"CREATE TABLE t (c DECIMAL({width},{scale}))")
    for end in ends:
        connection.execute(f"INSERT INTO t VALUES ({decimal_text(Fraction(end, 10**scale), scale)})")
    node = decimal(width, scale, digits)
    assert fits(node)
    assert values(connection, scaled(node, scale)) == [str(e) for e in ends]
    wider = scale + max(0, 36 - digits - scale)
    assert values(connection, scaled(node, wider)) == [str(e * 10 ** (wider - scale)) for e in ends]
    half = expr.multiply(expr.negate(node), expr.number("0.5"))
    if fits(half):
        assert values(connection, scaled(half, scale + 1)) == [str(-e * 5) for e in ends]
        shown = [decimal_text(Fraction(-e * 5, 10 ** (scale + 1)), scale + 1) for e in ends]
        assert [Fraction(v) for v in values(connection, render(half))] == [Fraction(v) for v in shown]


def test_what_does_not_fit_is_told_beforehand() -> None:
    assert not fits(expr.multiply(decimal(38, 6, 38), decimal(38, 6, 38)))
    assert not fits(expr.multiply(decimal(30, 20, 30), decimal(30, 20, 30)))
    near = Column("c", Kind.INTEGER, "HUGEINT", None, Fraction(10**36 - 1), Fraction(10**36), "declared", False)
    x, fine = expr.column(0, near, Span(0, 1)), expr.number("0.0001")
    assert fits(expr.subtract(x, x))
    # The difference is small, its operands in ten-thousandths are not.
    assert not fits(expr.subtract(expr.subtract(x, x), expr.multiply(x, fine)))
    assert not fits(Node("<", (expr.add(x, x), fine)))


@pytest.mark.parametrize("text", ["plain", "it's", 'a "b"', "ümlaut", "--", "/* x", "\\'"])
def test_texts_and_names_are_quoted(text: str) -> None:
    found = duckdb.connect().execute(f"SELECT {string(text)} AS {quoted(text)}")
    assert [d[0] for d in found.description or ()] == [text]
    assert found.fetchall() == [(text,)]


def test_numbers_keep_their_type() -> None:
    for text, kind in (("3", "INTEGER"), ("3.50", "DECIMAL(3,2)"), ("-0.1", "DECIMAL(2,1)"), ("2e0", "DOUBLE")):
        rendered = render(expr.number(text))
        assert duckdb.connect().execute(f"SELECT typeof({rendered})").fetchall() == [(kind,)]
