"""What the columns of a CSV file are. DuckDB reads every field as text; the types are decided here.

The whole file decides, never a sample. A column is, by the first rule that all its fields which are not NULL obey:

1. a key column: VARCHAR, always: an identifier is text.
2. `true`/`false` in any case: BOOLEAN.
3. whole numbers without superfluous zeros that fit 64 bits: BIGINT.
   One field such as `007` makes the column VARCHAR, and so does a number of more than 64 bits: these are identifiers.
4. plain decimals without superfluous leading zeros, with at most 15 significant digits: DOUBLE, as DuckDB reads them
   (the profile notices that they are exact decimals); with more digits, at most 38: DECIMAL, so that none is lost.
5. numbers with an exponent: DOUBLE.
6. `YYYY-MM-DD`: DATE; with a time: TIMESTAMP.
7. anything else, NaN and infinities among it: VARCHAR.

A column without any value is VARCHAR. The first line names the columns; an empty field is NULL.
"""

# ruff: noqa: S608 - SQL is built here from quoted identifiers, our own literals and checked expressions

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from privcompute.tables.engine import identifier, literal

if TYPE_CHECKING:
    import duckdb

_WHOLE = r"-?(0|[1-9][0-9]*)"
_PLAIN = r"-?(0|[1-9][0-9]*)(\.[0-9]+)?"
_NUMBER = r"-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?"
_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_INSTANT = _DAY + r"[ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"

_EXACT_DIGITS = 15
_MOST_DIGITS = 38


@dataclass(frozen=True)
class _Findings:
    """Of one column: how many fields there are and how many obey each rule, and digits before and after the point."""

    filled: int
    boolean: int
    whole: int
    plain: int
    number: int
    day: int
    instant: int
    before: int
    after: int

    def type(self) -> str:
        """The column's type by the rules above."""
        if not self.filled:
            return "VARCHAR"
        if self.boolean == self.filled:
            return "BOOLEAN"
        if self.whole == self.filled:
            return "BIGINT"
        if self.plain == self.filled and self.after:
            digits = self.before + self.after
            if digits > _EXACT_DIGITS:
                return f"DECIMAL({_MOST_DIGITS},{self.after})" if digits <= _MOST_DIGITS else "VARCHAR"
            return "DOUBLE"
        if self.number == self.filled and self.plain < self.filled:
            return "DOUBLE"
        if self.day == self.filled:
            return "DATE"
        return "TIMESTAMP" if self.instant == self.filled else "VARCHAR"


_WIDTH = 9


def _measures(name: str) -> str:
    x = identifier(name)

    def obeying(pattern: str, also: str = "true") -> str:
        return f"count(*) FILTER (regexp_full_match({x}, {literal(pattern)}) AND {also})"

    return ", ".join(
        (
            f"count({x})",
            f"count(*) FILTER (lower({x}) IN ('true', 'false'))",
            obeying(_WHOLE, f"TRY_CAST({x} AS BIGINT) IS NOT NULL"),
            obeying(_PLAIN),
            obeying(_NUMBER, f"isfinite(TRY_CAST({x} AS DOUBLE))"),
            obeying(_DAY, f"TRY_CAST({x} AS DATE) IS NOT NULL"),
            obeying(_DAY + "|" + _INSTANT, f"TRY_CAST({x} AS TIMESTAMP) IS NOT NULL"),
            f"coalesce(max(length(ltrim(split_part({x}, '.', 1), '-'))), 0)",
            f"coalesce(max(length(split_part({x}, '.', 2))), 0)",
        )
    )


def infer(connection: duckdb.DuckDBPyConnection, table: str, names: Sequence[str], keys: Sequence[str]) -> list[str]:
    """The type of each column of a table whose columns are all text.

    Args:
        connection: where the table is.
        table: SQL that stands for the table.
        names: its columns.
        keys: those of them that are keys, in any case.

    Returns:
        DuckDB's text of a type for each name.
    """
    identifiers = {key.casefold() for key in keys}
    open_names = [name for name in names if name.casefold() not in identifiers]
    types = {}
    # A few columns at a time: the counters of a wide table would not fit one query.
    for start in range(0, len(open_names), 64):
        some = open_names[start : start + 64]
        row = connection.execute(f"SELECT {', '.join(map(_measures, some))} FROM {table}").fetchone()
        for place, name in enumerate(some):
            figures = row[place * _WIDTH : (place + 1) * _WIDTH] if row else (0,) * _WIDTH
            types[name] = _Findings(*figures).type()
    return [types.get(name, "VARCHAR") for name in names]
