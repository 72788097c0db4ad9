"""What the columns of a CSV file are. DuckDB reads every field as text; the types are decided here.

The whole file decides, never a sample. A column is, by the first rule that all its fields which are not NULL obey:

1. a key column: VARCHAR, for an identifier is text and `007` is not `7`; or the type that its owner gives it, so that
   it joins with numbers or dates of the other party. Then every field must be one.
2. `true`/`false` in any case: BOOLEAN.
3. whole numbers without superfluous zeros that fit 64 bits: BIGINT.
   One field such as `007` makes the column VARCHAR, and so does a number of more than 64 bits: these are identifiers.
4. plain decimals without superfluous leading zeros: DOUBLE, as DuckDB reads them, if no field loses a digit by it
   (the profile notices columns that are exact decimals); else DECIMAL(38), if that is wide enough.
5. numbers with an exponent: DOUBLE.
6. `YYYY-MM-DD`: DATE; with a time: TIMESTAMP.
7. anything else, NaN and infinities among it: VARCHAR.

A column without any value is VARCHAR. The first line names the columns; an empty field is NULL.

The first lines only tell which rule is worth trying on the whole file: what is text in them is text.
"""

# ruff: noqa: S608 - SQL is built here from quoted identifiers, our own literals and checked expressions

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from privcompute.errors import UsageError
from privcompute.tables.engine import identifier, literal

if TYPE_CHECKING:
    import duckdb

_PLAIN = r"-?(0|[1-9][0-9]*)(\.[0-9]+)?"
_NUMBER = r"-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?"
_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_INSTANT = _DAY + r"[ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"

_EXACT_DIGITS = 15
_MOST_DIGITS = 38


_SAMPLE = 2_000
_COLUMNS_A_QUERY = 64
"""A few columns at a time: the counters of a wide table would not fit one query."""


@dataclass(frozen=True)
class _Found:
    """Of one column: how many fields there are and obey each rule, and most digits before and after the point.

    A rule that was not tried counts 0.
    """

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
        """The column's type by the rules above; DECIMAL for plain decimals that a double may not hold."""
        if not self.filled:
            return "VARCHAR"
        if self.boolean == self.filled:
            return "BOOLEAN"
        if self.whole == self.filled:
            return "BIGINT"
        if self.plain == self.filled:
            if not self.after:
                return "VARCHAR"
            return "DOUBLE" if self.before + self.after <= _EXACT_DIGITS else "DECIMAL"
        if self.number == self.filled:
            return "DOUBLE"
        if self.day == self.filled:
            return "DATE"
        return "TIMESTAMP" if self.instant == self.filled else "VARCHAR"


_NUMBERS = frozenset({"plain", "number", "before", "after"})
_RULES: dict[str, frozenset[str]] = {
    "BOOLEAN": frozenset({"boolean"}),
    "BIGINT": frozenset({"whole"}),
    "DOUBLE": _NUMBERS,
    "DECIMAL": _NUMBERS,
    "DATE": frozenset({"day", "instant"}),
    "TIMESTAMP": frozenset({"instant"}),
}
"""What the whole file must be asked of a column whose first lines have this type."""

_EVERYTHING = frozenset().union(*_RULES.values())


def _measures(name: str, rules: frozenset[str]) -> list[str]:
    x = identifier(name)
    tried = {
        "boolean": f"count(*) FILTER (lower({x}) IN ('true', 'false'))",
        # Only the canonical text of a 64-bit number or a day reads back as itself.
        "whole": f"count(*) FILTER (CAST(TRY_CAST({x} AS BIGINT) AS VARCHAR) = {x})",
        "plain": f"count(*) FILTER (regexp_full_match({x}, {literal(_PLAIN)}))",
        "number": (
            f"count(*) FILTER (isfinite(TRY_CAST({x} AS DOUBLE)) AND regexp_full_match({x}, {literal(_NUMBER)}))"
        ),
        "day": f"count(*) FILTER (CAST(TRY_CAST({x} AS DATE) AS VARCHAR) = {x} AND length({x}) = 10)",
        "instant": (
            f"count(*) FILTER (TRY_CAST({x} AS TIMESTAMP) IS NOT NULL"
            f" AND regexp_full_match({x}, {literal(_DAY + '|' + _INSTANT)}))"
        ),
        "before": f"coalesce(max(length(ltrim(split_part({x}, '.', 1), '-'))), 0)",
        "after": f"coalesce(max(length(split_part({x}, '.', 2))), 0)",
    }
    return [f"count({x})", *(sql if rule in rules else "0" for rule, sql in tried.items())]


KEY_TYPES = ("VARCHAR", "BIGINT", "UBIGINT", "DATE", "TIMESTAMP", "BOOLEAN")
"""What a key column can be said to be."""

_KEY_FIELDS = {
    "BIGINT": r"[-+]?[0-9]+",
    "UBIGINT": r"\+?[0-9]+",
    "DATE": _DAY,
    "TIMESTAMP": _DAY + "|" + _INSTANT,
    "BOOLEAN": "(?i)true|false",
}


def checked(keys: Sequence[str], types: Mapping[str, str]) -> dict[str, str]:
    """The types given to key columns, names in lower case, types in upper case.

    Raises:
        UsageError: `bad_key_type` if one is no key column, or no type that a key can have.
    """
    names = {key.casefold() for key in keys}
    found = {}
    for name, kind in types.items():
        if name.casefold() not in names:
            raise UsageError(
                f"{name!r} is given a key's type and is no key", code="bad_key_type", remedy=f"add --key {name}"
            )
        if kind.upper() not in KEY_TYPES:
            raise UsageError(
                f"a key cannot be {kind[:20]!r}", code="bad_key_type", remedy=f"one of {', '.join(KEY_TYPES)}"
            )
        found[name.casefold()] = kind.upper()
    return found


def check_keys(connection: duckdb.DuckDBPyConnection, table: str, types: Mapping[str, str]) -> None:
    """Every field of a key column is of the type it was given.

    Raises:
        UsageError: `bad_key_value`; it holds no field.
    """
    for name, kind in types.items():
        x = identifier(name)
        if kind == "VARCHAR":
            continue
        wrong = f"TRY_CAST({x} AS {kind}) IS NULL OR NOT regexp_full_match({x}, {literal(_KEY_FIELDS[kind])})"
        (count,) = _one(connection, f"SELECT count(*) FILTER ({wrong}) FROM {table} WHERE {x} IS NOT NULL")
        if count:
            raise UsageError(
                f"the key column {name!r} holds fields that are no {kind}",
                code="bad_key_value",
                remedy="correct them, or leave --key-type out: as text every field is an identifier",
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
    asked = {name: _EVERYTHING for name in names if name.casefold() not in identifiers}
    first = _measure(connection, f"(SELECT * FROM {table} LIMIT {_SAMPLE})", asked)
    # Without a value among the first lines every rule is open; text among them settles the column.
    rules = {name: _RULES.get(found.type()) if found.filled else _EVERYTHING for name, found in first.items()}
    whole = _measure(connection, table, {name: tried for name, tried in rules.items() if tried})
    # Whole numbers at first, others later: asked again, since few columns are so and the questions cost time.
    mixed = [name for name, found in whole.items() if rules[name] == _RULES["BIGINT"] and found.type() == "VARCHAR"]
    whole |= _measure(connection, table, dict.fromkeys(mixed, _NUMBERS))
    types = {name: found.type() for name, found in whole.items()}
    wide = {name: whole[name] for name, text in types.items() if text == "DECIMAL"}
    types |= _lossless(connection, table, wide)
    return [types.get(name, "VARCHAR") for name in names]


def _measure(
    connection: duckdb.DuckDBPyConnection, table: str, rules: Mapping[str, frozenset[str]]
) -> dict[str, _Found]:
    result: dict[str, _Found] = {}
    names = list(rules)
    for start in range(0, len(names), _COLUMNS_A_QUERY):
        some = names[start : start + _COLUMNS_A_QUERY]
        listed = [_measures(name, rules[name]) for name in some]
        row = _one(connection, f"SELECT {', '.join(sql for measures in listed for sql in measures)} FROM {table}")
        width = len(listed[0])
        result |= {name: _Found(*row[place * width : (place + 1) * width]) for place, name in enumerate(some)}
    return result


def _lossless(connection: duckdb.DuckDBPyConnection, table: str, columns: Mapping[str, _Found]) -> dict[str, str]:
    """DOUBLE where the shortest text of the double is the field's number again, else a DECIMAL, else VARCHAR."""
    types = {}
    for name, found in columns.items():
        if found.before + found.after > _MOST_DIGITS:
            types[name] = "VARCHAR"
            continue
        x, exact = identifier(name), f"DECIMAL({_MOST_DIGITS},{found.after})"
        again = f"TRY_CAST(CAST(CAST({x} AS DOUBLE) AS VARCHAR) AS {exact}) = CAST({x} AS {exact})"
        (same,) = _one(connection, f"SELECT count(*) FILTER ({again}) FROM {table}")
        types[name] = "DOUBLE" if same == found.filled else exact
    return types


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[int, ...]:
    row: tuple[int, ...] | None = connection.execute(query).fetchone()
    return row or ()
