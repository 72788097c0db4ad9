"""Which SQL expressions may meet the rows: scalar, deterministic, over this table's columns alone.

An expression reaches us from the peer's SQL. The planner has taken it apart already; here DuckDB's own parser says
what it is before DuckDB runs it, so that no subquery, file function, setting or clock gets in whatever a planner
misses.
"""

# ruff: noqa: S608 - SQL is built here from quoted identifiers, our own literals and checked expressions

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import duckdb

from privcompute.errors import UsageError
from privcompute.tables import engine
from privcompute.tables.schema import Column, Kind

MAX_LENGTH = 1 << 16
"""Longest expression, in characters."""

_FUNCTIONS = """
    + - * / // % ** ^ || ~~ !~~ ~~* !~~* & | << >> xor
    abs sign round floor ceil ceiling trunc sqrt cbrt exp ln log log2 log10 pow power mod divide multiply add subtract
    greatest least isnan isinf isfinite nullif if ifnull
    lower upper lcase ucase length len strlen trim ltrim rtrim left right substring substr replace concat contains
    starts_with ends_with prefix suffix strpos position instr split_part reverse ascii
    like_escape ilike_escape not_like_escape not_ilike_escape regexp_matches regexp_full_match
    date_part datepart date_trunc datetrunc date_diff datediff date_sub datesub date_add make_date
    year month day hour minute second quarter week dayofweek dayofmonth dayofyear isodow weekday
    to_years to_months to_weeks to_days to_hours to_minutes to_seconds
"""
FUNCTIONS = frozenset(_FUNCTIONS.split())
"""Functions an expression may call: pure, and without a result that grows beyond its arguments.

`age` is not here: with one argument it reads the clock."""

_CLASSES = frozenset({"COLUMN_REF", "CONSTANT", "COMPARISON", "CONJUNCTION", "OPERATOR", "FUNCTION", "CASE", "CAST"})
_MORE_CLASSES = frozenset({"BETWEEN", "TYPE"})
_DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)")

_SIGNED = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
INTEGER_TYPES = frozenset(_SIGNED + tuple("U" + name for name in _SIGNED))
_KINDS = {
    **dict.fromkeys(INTEGER_TYPES, Kind.INTEGER),
    "FLOAT": Kind.REAL,
    "DOUBLE": Kind.REAL,
    "BOOLEAN": Kind.BOOLEAN,
    "VARCHAR": Kind.TEXT,
    "DATE": Kind.DATE,
    "TIMESTAMP": Kind.TIMESTAMP,
    "TIMESTAMP_S": Kind.TIMESTAMP,
    "TIMESTAMP_MS": Kind.TIMESTAMP,
    "TIMESTAMP_NS": Kind.TIMESTAMP,
    "TIMESTAMP WITH TIME ZONE": Kind.TIMESTAMP,
}


@dataclass(frozen=True)
class ExpressionType:
    """What DuckDB makes of an expression: its kind, its type and a DECIMAL's scale (0 for integers, else None)."""

    kind: Kind
    type: str
    scale: int | None


def type_of(text: str) -> ExpressionType:
    """Read DuckDB's text of a type; nested types give their bare word, for their text may hold data."""
    decimal = _DECIMAL.fullmatch(text)
    if decimal:
        return ExpressionType(Kind.DECIMAL, text, int(decimal[2]))
    if text in _KINDS:
        kind = _KINDS[text]
        return ExpressionType(kind, text, 0 if kind is Kind.INTEGER else None)
    bare = re.match(r"[A-Z][A-Z0-9_ ]{0,39}", text)
    word = "LIST" if text.endswith("]") else bare[0] if bare else "OTHER"
    return ExpressionType(Kind.OTHER, word, None)


def columns_of(sql: str) -> frozenset[str]:
    """Names of the columns an expression uses, as it spells them.

    Raises:
        UsageError: `bad_expression` if it is not one scalar expression of the kind described above.
    """
    return _parsed(sql)


def wrapped(sql: str) -> str:
    """The expression in brackets, safe against a comment at its end."""
    return f"(\n{sql}\n)"


@cache
def _parser() -> duckdb.DuckDBPyConnection:
    return engine.connect(limits=engine.Limits(memory=engine.MIN_MEMORY, threads=1))


def expression_type(columns: Sequence[Column], sql: str) -> ExpressionType:
    """What type an expression has over columns of these types; needs no data, so it serves for a peer's entry too.

    Args:
        columns: the columns it may use.
        sql: the expression.

    Raises:
        UsageError: `bad_expression`, `no_such_column`.
    """
    used = {name.casefold() for name in columns_of(sql)}
    known = [column for column in columns if column.name.casefold() in used]
    if len(known) < len(used):
        raise UsageError("an expression uses a column that is not published", code="no_such_column")
    nulls = ", ".join(f"CAST(NULL AS {_castable(column)}) AS {engine.identifier(column.name)}" for column in known)
    with engine.named_errors("an expression"), _parser().cursor() as cursor:
        # The empty table has the columns' types; binding computes the expression's.
        described = cursor.execute(
            f"DESCRIBE SELECT {wrapped(sql)} AS e FROM (SELECT {nulls or '1'}) LIMIT 0"
        ).fetchone()
    assert described is not None  # noqa: S101  # DESCRIBE of one column has one row
    return type_of(described[1])


def _castable(column: Column) -> str:
    return "BLOB" if column.kind is Kind.OTHER else column.type


@lru_cache(maxsize=1024)
def _parsed(sql: str) -> frozenset[str]:
    if len(sql) > MAX_LENGTH:
        raise UsageError("an expression is longer than 64 KiB", code="bad_expression")
    with engine.named_errors("an expression"), _parser().cursor() as cursor:
        row = cursor.execute("SELECT json_serialize_sql(?)", [f"SELECT {wrapped(sql)}"]).fetchone()
    try:
        tree = json.loads(row[0]) if row else {}
    except RecursionError:
        tree = {}
    node = _only_node(tree)
    names = set()
    for item in _walk(node):
        name = _checked(item)
        if name is not None:
            names.add(name)
    return frozenset(names)


def _only_node(tree: dict[str, Any]) -> dict[str, Any]:
    statements = tree.get("statements", [])
    node = statements[0].get("node", {}) if len(statements) == 1 and not tree.get("error") else {}
    plain = (
        node.get("type") == "SELECT_NODE"
        and node["from_table"]["type"] == "EMPTY"
        and len(node["select_list"]) == 1
        and not node["modifiers"]
        and not any(node[part] for part in ("where_clause", "having", "qualify", "sample", "group_expressions"))
        and not node["cte_map"]["map"]
    )
    if not plain:
        raise UsageError("a feature or filter is not one expression of DuckDB", code="bad_expression")
    expression: dict[str, Any] = node["select_list"][0]
    return expression


def _walk(root: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every expression in a parse tree; no recursion, so its depth costs nothing."""
    waiting: list[Any] = [root]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if "class" in item:
                yield item
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def _checked(item: dict[str, Any]) -> str | None:
    """Refuse what must not run; return the name of a column reference."""
    kind = item["class"]
    if kind not in _CLASSES and kind not in _MORE_CLASSES:
        raise UsageError(f"an expression may not hold {kind.lower()}", code="bad_expression")
    if kind == "FUNCTION":
        name = item["function_name"]
        qualified = item.get("schema") or item.get("catalog")
        if name.lower() not in FUNCTIONS or qualified or item.get("distinct") or item.get("filter"):
            raise UsageError(f"an expression may not call {name[:40]!r}", code="bad_expression")
    if kind == "COLUMN_REF":
        if len(item["column_names"]) != 1:
            raise UsageError("an expression names its columns without a table", code="bad_expression")
        return str(item["column_names"][0])
    return None
