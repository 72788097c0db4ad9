"""From a column to dictionary codes: each distinct value once, in an order that is the same on every machine.

Codes are places in the sorted list of values: numbers and days in their order, texts by code point, NULL last. NaN is
NULL.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from privcompute.anonymize.columns import AnyCodes, narrow
from privcompute.anonymize.hierarchy.tree import Label
from privcompute.errors import UsageError


@dataclass(frozen=True)
class Encoded:
    """A column as codes.

    Attributes:
        codes: (rows,), places in `values`.
        values: the distinct values, sorted; None, if there is a NULL, last.
        texts: the same as texts.
    """

    codes: AnyCodes = field(repr=False)
    values: tuple[Any, ...] = field(repr=False)
    texts: tuple[Label, ...] = field(repr=False)

    @property
    def nulls(self) -> int:
        """Rows without a value."""
        if not self.values or self.values[-1] is not None:
            return 0
        return int((self.codes == len(self.values) - 1).sum())


def tidy(column: pa.ChunkedArray[Any], *, trim: bool = False, null_markers: Sequence[str] = ()) -> pa.ChunkedArray[Any]:
    """A column with dictionaries decoded, NaN and the texts that stand for NULL replaced by NULL."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_floating(kind):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column)
        if not pa.types.is_float16(kind):
            zero: Any = pa.scalar(0.0, kind)
            column = pc.add(column, zero)  # -0.0 and 0.0 are one number
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or str(kind) == "string_view":
        column = column.cast(pa.large_string())
        if trim:
            column = pc.utf8_trim_whitespace(column)
        if null_markers:
            wanted = pa.array(list(null_markers), pa.large_string())
            column = pc.if_else(pc.is_in(column, value_set=wanted), pa.scalar(None, pa.large_string()), column)
    return column


def encode(name: str, column: pa.ChunkedArray[Any]) -> Encoded:
    """The codes of a tidied column.

    Raises:
        UsageError: `bad_column` for a type that has no values to compare, such as a list.
    """
    if not _has_order(column.type):
        raise _ungrouped(name)
    if pa.types.is_null(column.type):
        column = column.cast(pa.large_string())
    if pa.types.is_timestamp(column.type) or pa.types.is_time64(column.type):
        # To microseconds, which Python's times hold. What does not fit is refused: cut off, two times would be one.
        kind = pa.time64("us") if pa.types.is_time64(column.type) else pa.timestamp("us", column.type.tz)
        try:
            column = column.cast(kind)
        except pa.ArrowInvalid:  # its text quotes the value
            raise _ungrouped(name) from None
    coded: Any = column.dictionary_encode().combine_chunks()
    try:
        values = coded.dictionary.to_pylist() if len(coded) else []
    except (ValueError, OverflowError):
        # A day before year 1 or after 9999, or a time zone that is none. Without the text, which quotes it.
        raise _ungrouped(name) from None
    order = sorted(range(len(values)), key=values.__getitem__)
    texts = [text_of(values[i]) for i in order]
    place = np.empty(len(values) + 1, np.int64)
    place[order] = np.arange(len(values))
    place[-1] = len(values)
    if not len(coded):
        return Encoded(narrow(np.empty(0, np.int64), 1), (), ())
    indices = coded.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
    codes = place[indices]
    found: list[Any] = [values[i] for i in order]
    labels: list[Label] = list(texts)
    if coded.null_count:
        found.append(None)
        labels.append(None)
    return Encoded(narrow(codes, len(found)), tuple(found), tuple(labels))


def _has_order(kind: pa.DataType) -> bool:
    """Whether values of a type are numbers, texts, days, times or truth values, which can be sorted and written."""
    known = (
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_decimal,
        pa.types.is_boolean,
        pa.types.is_date,
        pa.types.is_time,
        pa.types.is_timestamp,
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_null,
    )
    return any(one(kind) for one in known)


def _ungrouped(name: str) -> UsageError:
    return UsageError(
        f"column {name!r} has a type or values that cannot be grouped", code="bad_column", remedy="cast it to text"
    )


def text_of(value: Any) -> str:
    """How a value is written.

    Raises:
        TypeError: for what has no one way to be written.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, str | int | Decimal):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    raise TypeError
