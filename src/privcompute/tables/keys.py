"""In which types keys are compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from privcompute.errors import UsageError
from privcompute.tables.schema import Column, Kind

if TYPE_CHECKING:
    from privcompute.tables.source import Source

_COMPARED = {
    **dict.fromkeys(("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"), "BIGINT"),
    "UBIGINT": "UBIGINT",
    "TIMESTAMP": "TIMESTAMP",
    "TIMESTAMP_S": "TIMESTAMP",
    "TIMESTAMP_MS": "TIMESTAMP",
}


def key_type(column: Column) -> str:
    """The type a key column is compared in, one of `catalogue.KEY_TYPES`.

    Integers of up to 64 bits are equal by value, whatever their width. Reals are no identifiers; a type wider than
    64 bits or finer than microseconds cannot be carried without loss.

    Raises:
        UsageError: `bad_key_type`.
    """
    if column.kind in (Kind.TEXT, Kind.DATE, Kind.BOOLEAN):
        return {Kind.TEXT: "VARCHAR", Kind.DATE: "DATE"}.get(column.kind, "BOOLEAN")
    found = _COMPARED.get(column.type)
    if found is None:
        raise UsageError(
            f"column {column.name!r} of type {column.type} cannot be a key",
            code="bad_key_type",
            remedy="publish a view in which it is cast to VARCHAR or BIGINT",
        )
    return found


def key_types(source: Source, keys: Sequence[str]) -> tuple[str, ...]:
    """The types of a source's keys, in order.

    Raises:
        UsageError: `no_key`, `no_such_column`, `bad_key_type`.
    """
    if not keys or len({key.casefold() for key in keys}) < len(keys):
        raise UsageError("a dataset needs at least one key column, each named once", code="no_key")
    return tuple(key_type(column) for column in source.columns(keys))
