"""What an owner must know and decide before publishing a table: key counts, and a public range for every number.

A range is public, so it must not tell the data's extremes: the suggestion goes outwards to powers of two, symmetric
if there are negative values, and is marked as derived from data. Whoever knows better declares a range.
"""

# ruff: noqa: S608 - SQL is built here from quoted identifiers and our own literals

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from privcompute.errors import UsageError
from privcompute.tables.engine import Limits, identifier, named_errors
from privcompute.tables.keys import key_types
from privcompute.tables.schema import Column, Kind

if TYPE_CHECKING:
    from privcompute.tables.source import Scan, Source

MAX_DIGITS = 6
"""Most decimal digits a REAL column's values may have to be carried as exact decimals."""

_EXACT = 1 << 51
"""Scaled decimals up to here survive x * 10^d and back in a double, roundings included."""

_LEAST_EXPONENT = -40
"""No suggested range is narrower than 2^-40: tinier bounds would only describe the data more closely."""

_COLUMNS_A_QUERY = 40


@dataclass(frozen=True)
class ColumnProfile:
    """One column.

    Attributes:
        column: with the suggested range and, for a REAL of exact decimals, its digits.
        nulls: number of NULLs; private to the owner.
        finite: False if it holds NaN or an infinity: then it cannot be used, see `check_finite`.
    """

    column: Column
    nulls: int
    finite: bool = True


@dataclass(frozen=True, repr=False)
class Profile:
    """A table as its owner sees it. All figures but the suggested ranges are private until the owner publishes them.

    Attributes:
        rows: number of rows.
        null_keys: rows with a NULL in some key column; they never join.
        distinct_keys: number of distinct keys without NULL.
        rows_per_key: most rows of one key; at least 1.
        key_types: the types in which keys are compared.
        columns: one a column of the source, in order.
    """

    rows: int
    null_keys: int
    distinct_keys: int
    rows_per_key: int
    key_types: tuple[str, ...]
    columns: tuple[ColumnProfile, ...]

    @property
    def suggested(self) -> tuple[Column, ...]:
        """The columns with their suggested ranges."""
        return tuple(item.column for item in self.columns)


def profile(source: Source, keys: Sequence[str], *, limits: Limits | None = None) -> Profile:
    """Count keys and suggest ranges; DuckDB does the work.

    Args:
        source: the table.
        keys: its key columns, in order.
        limits: what DuckDB may use.

    Raises:
        UsageError: `no_such_column`, `bad_key_type`, `unreadable`.
    """
    types = key_types(source, keys)
    columns = source.schema()
    with source.scan([column.name for column in columns], limits=limits) as scan, named_errors(source.place):
        table = scan.table
        if not scan.again:
            table = "profiled"
            scan.connection.execute(f"CREATE TEMP TABLE {table} AS SELECT * FROM {scan.table}")
        rows, null_keys, distinct, most = _count_keys(scan, table, keys)
        found = []
        for start in range(0, len(columns), _COLUMNS_A_QUERY):
            some = columns[start : start + _COLUMNS_A_QUERY]
            measured = ", ".join(_measures(column) for column in some)
            row = scan.connection.execute(f"SELECT {measured} FROM {table}").fetchone() or ()
            found += [_read(column, row[5 * place : 5 * place + 5], rows) for place, column in enumerate(some)]
    return Profile(rows, null_keys, distinct, max(most, 1), types, tuple(found))


def _count_keys(scan: Scan, table: str, keys: Sequence[str]) -> tuple[int, int, int, int]:
    names = ", ".join(identifier(key) for key in keys)
    whole = " AND ".join(f"{identifier(key)} IS NOT NULL" for key in keys)
    row = scan.connection.execute(
        f"SELECT coalesce(sum(n), 0), coalesce(sum(n) FILTER (NOT whole), 0), count(*) FILTER (whole),"
        f" coalesce(max(n) FILTER (whole), 0)"
        f" FROM (SELECT count(*) AS n, {whole} AS whole FROM {table} GROUP BY {names})"
    ).fetchone()
    rows, null_keys, distinct, most = row or (0, 0, 0, 0)
    return int(rows), int(null_keys), int(distinct), int(most)


def _measures(column: Column) -> str:
    """Five figures: values that are not NULL, smallest, largest, not finite ones, exact decimal digits."""
    x = identifier(column.name)
    if column.kind in (Kind.INTEGER, Kind.DECIMAL):
        return f"count({x}), min({x}), max({x}), 0, NULL"
    if column.kind is Kind.REAL:
        d = f"CAST({x} AS DOUBLE)"
        # NaN and infinities are counted apart: they would hide the finite extremes and the digits.
        finite = f"CASE WHEN isfinite({d}) THEN {d} END"
        digits = "".join(f" WHEN {exact_decimal(d, digits)} THEN {digits}" for digits in range(MAX_DIGITS + 1))
        wrong = f"count(*) FILTER (NOT isfinite({d}))"
        return (
            f"count({x}), min({finite}), max({finite}), {wrong}, max(CASE WHEN {x} IS NULL THEN 0{digits} ELSE 99 END)"
        )
    return f"count({x}), NULL, NULL, 0, NULL"


def exact_decimal(x: str, digits: int) -> str:
    """SQL: is the DOUBLE `x` the one nearest to a decimal of that many digits?

    Both operands of the division are exact, so the quotient is the double nearest to the decimal.
    """
    scaled = f"round({x} * 1e{digits})"
    return f"(abs({scaled}) <= {_EXACT} AND {scaled} / 1e{digits} = {x})"


def _read(column: Column, figures: Sequence[Any], rows: int) -> ColumnProfile:
    filled, least, most, wrong, digits = figures
    nulls = rows - int(filled)
    if column.kind is Kind.BOOLEAN:
        return ColumnProfile(replace(column, lo=Fraction(0), hi=Fraction(1)), nulls)
    if column.kind not in (Kind.INTEGER, Kind.DECIMAL, Kind.REAL):
        return ColumnProfile(column, nulls)
    lo, hi = outward(_fraction(least), _fraction(most), whole=column.kind is Kind.INTEGER)
    scale = column.scale
    if column.kind is Kind.REAL and filled and digits is not None and digits <= MAX_DIGITS:
        scale = int(digits)
    return ColumnProfile(replace(column, scale=scale, lo=lo, hi=hi, range_origin="data-derived"), nulls, not wrong)


def check_finite(columns: Sequence[ColumnProfile]) -> None:
    """Refuse columns that peers may use though they hold NaN or an infinity.

    Raises:
        UsageError: `not_finite`.
    """
    for one in columns:
        if not one.finite:
            raise UsageError(
                f"column {one.column.name!r} holds NaN or infinite values, and a rule allows its use",
                code="not_finite",
                remedy="store NULL instead, publish a view that does (CASE WHEN isfinite(x) THEN x END), or let no rule"
                " name the column",
            )


def _fraction(value: int | float | Decimal | None) -> Fraction:
    return Fraction(0) if value is None else Fraction(value)


def outward(least: Fraction, most: Fraction, *, whole: bool = False) -> tuple[Fraction, Fraction]:
    """The range [0, 2^k], or [-2^k, 2^k] if there are negative values, that holds `least` and `most`.

    Args:
        least: smallest value.
        most: largest value.
        whole: the values are integers; then k is at least 0.
    """
    largest = max(abs(least), abs(most))
    exponent = 0 if whole or not largest else _LEAST_EXPONENT
    if largest:
        # 2^(bits - 1) <= floor(largest * 2^40) gives the exponent but for one step, which the loop takes.
        guess = (largest.numerator << -_LEAST_EXPONENT) // largest.denominator
        exponent = max(exponent, guess.bit_length() - 1 + _LEAST_EXPONENT)
        while _power(exponent) < largest:
            exponent += 1
    edge = _power(exponent)
    return (-edge if least < 0 else Fraction(0)), edge


def _power(exponent: int) -> Fraction:
    return Fraction(2) ** exponent
