"""The Arrow types a delivered table may have, by name: flat ones, whose bytes say all there is."""

from __future__ import annotations

import re
from typing import Final

import pyarrow as pa

from privcompute.errors import UsageError

_FLAT: Final[tuple[pa.DataType, ...]] = (
    pa.bool_(),
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64()),
    *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    *(pa.float32(), pa.float64()),
    *(pa.string(), pa.binary(), pa.date32()),
    *(pa.time64("us"), pa.time64("ns")),
    *(pa.timestamp("s"), pa.timestamp("ms"), pa.timestamp("us"), pa.timestamp("ns")),
    *(pa.timestamp("s", "UTC"), pa.timestamp("ms", "UTC"), pa.timestamp("us", "UTC"), pa.timestamp("ns", "UTC")),
)
_PLAIN: Final = {str(one): one for one in _FLAT}
_DECIMAL: Final = re.compile(r"decimal128\(([1-9][0-9]?), ([0-9]{1,2})\)")


def type_of(text: str) -> pa.DataType | None:
    """The type of that name; None if it is none of those that are delivered."""
    decimal = _DECIMAL.fullmatch(text)
    if decimal is not None:
        digits, scale = int(decimal[1]), int(decimal[2])
        return pa.decimal128(digits, scale) if scale <= digits <= 38 else None
    return _PLAIN.get(text)


def carried_as(column: str, kind: pa.DataType) -> pa.DataType:
    """The type in which a column travels: text in any of Arrow's forms as string, the rest as it is.

    Raises:
        UsageError: `bad_type`: the type is nested, or of a kind that is not delivered.
    """
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    text = (pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    if any(one(value) for one in text):
        return pa.string()
    if pa.types.is_large_binary(value) or pa.types.is_binary_view(value):
        return pa.binary()
    if type_of(str(value)) is None:
        raise UsageError(
            f"column {column!r} has a type that is not delivered ({str(value)[:40]})",
            code="bad_type",
            remedy="leave the column out, or publish a view in which it is text or a number",
        )
    return value
