"""Columns of text as Arrow arrays: cells as text, rows of one length as matrices of bytes, and back.

All arrays here are `large_string`: a chunk of free text may pass two gigabytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from privcompute.errors import UsageError

TEXT: Final = pa.large_string()

Cells: TypeAlias = "pa.Array[Any]"
"""One chunk of a column."""

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]


def as_text(column: Cells, name: str) -> Cells:
    """The cells as text; NULLs stay.

    Raises:
        UsageError: `not_text` for floating point, whose text is not what was written, and for nested types.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return as_text(column.cast(kind.value_type), name)
    if kind == TEXT:
        return column
    exact = (pa.types.is_integer, pa.types.is_decimal, pa.types.is_boolean, pa.types.is_date, pa.types.is_timestamp)
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    if any(test(kind) for test in (*exact, *texts)):
        return column.cast(TEXT)
    raise UsageError(
        f"column {name!r} is of type {kind}, whose cells have no text of their own",
        code="not_text",
        remedy="an identifier is text: read it as text, or cast the column before",
    )


@dataclass(frozen=True, repr=False)
class Rows:
    """The rows of a column whose cells have one length in bytes.

    Attributes:
        places: (n,) their places in the column, ascending.
        signs: (n, length) their bytes.
    """

    places: Places
    signs: Bytes


def by_length(column: Cells) -> list[Rows]:
    """The cells that are not NULL, by length in bytes, the shortest first.

    Args:
        column: a `large_string` array.
    """
    _, offset_buffer, data_buffer = column.buffers()
    if len(column) == 0 or offset_buffer is None:
        return []
    offsets = np.frombuffer(memoryview(offset_buffer), dtype=np.int64)[column.offset : column.offset + len(column) + 1]
    data = (
        np.frombuffer(memoryview(data_buffer), dtype=np.uint8)
        if data_buffer is not None
        else np.zeros(0, dtype=np.uint8)
    )
    lengths = np.diff(offsets)
    present = np.asarray(column.is_valid())
    result = []
    for length in np.unique(lengths[present]):
        places = np.flatnonzero(present & (lengths == length))
        if len(places) == len(column):
            signs = data[offsets[0] : offsets[0] + length * len(column)].reshape(len(column), length)
        else:
            signs = data[offsets[places][:, None] + np.arange(length)]
        result.append(Rows(places, signs))
    return result


def from_rows(count: int, groups: Iterable[Rows]) -> Cells:
    """A `large_string` array of `count` cells from rows by place; the places that no group holds are NULL.

    Args:
        count: number of cells.
        groups: bytes that are valid UTF-8.
    """
    parts = [group for group in groups if len(group.places)]
    lengths = np.zeros(count, dtype=np.int64)
    present = np.zeros(count, dtype=np.bool_)
    for group in parts:
        lengths[group.places] = group.signs.shape[1]
        present[group.places] = True
    offsets = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    if len(parts) == 1 and len(parts[0].places) == count:
        data = np.ascontiguousarray(parts[0].signs).reshape(-1)
    else:
        data = np.empty(int(offsets[-1]), dtype=np.uint8)
        for group in parts:
            data[offsets[group.places][:, None] + np.arange(group.signs.shape[1])] = group.signs
    validity = None if present.all() else pa.py_buffer(np.packbits(present, bitorder="little").tobytes())
    buffers: list[Any] = [offsets, data]  # arrays are buffers, which the stubs do not know
    return pa.Array.from_buffers(TEXT, count, [validity, *map(pa.py_buffer, buffers)])


def each_distinct(column: Cells, change: Callable[[str], str | None]) -> Cells:
    """`change` of every cell, called once for each distinct value; NULLs stay.

    Args:
        column: a text array.
        change: a function of the value alone; None makes the cell NULL.
    """
    codes = column.cast(TEXT).dictionary_encode()
    changed = pa.array([change(str(value)) for value in codes.dictionary.to_pylist()], type=TEXT)
    return pc.take(changed, codes.indices)
