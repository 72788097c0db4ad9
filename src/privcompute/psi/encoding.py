"""Keys of any declared type as canonical bytes: equal bytes if and only if DuckDB calls the keys equal.

Layout of one component, all numbers little-endian::

    tag (1 byte) | length of the payload (4 bytes) | payload

and a composite key is its components one after the other, so no two different keys read alike: the text '1', the
number 1 and the text '01' give three different strings of bytes, and ('a', 'bc') differs from ('ab', 'c').

=========  ===========================================  =====================================================
family     DuckDB types                                 payload
=========  ===========================================  =====================================================
number     every integer type, DECIMAL of any scale     sign, decimal digits after the point, 128-bit magnitude;
                                                        without trailing zeros, so 1, 1.0 and 1.00 are one key
text       VARCHAR, ENUM                                the UTF-8 bytes, nothing normalised
date       DATE                                         days, 32 bits
timestamp  TIMESTAMP, _S, _MS, _NS                      seconds (64 bits) and nanoseconds (32 bits)
instant    TIMESTAMP WITH TIME ZONE                     as timestamp, in UTC
time       TIME                                         microseconds, 64 bits
boolean    BOOLEAN                                      one byte
uuid       UUID                                         16 bytes
bytes      BLOB                                         as they are
=========  ===========================================  =====================================================

Only columns of one family can be matched: where DuckDB would cast one side silently (text against a number, a date
against a timestamp), two data holders could each mean something else, so the plan is refused with a remedy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from privcompute.errors import UsageError

Bytes2D: TypeAlias = NDArray[np.uint8]
Column: TypeAlias = Any  # a pyarrow.Array; its stubs know neither decimals' nor extensions' methods
pc: Any = pyarrow.compute  # generated functions, of which the stubs describe only some overloads

BATCH_ROWS = 1 << 16
"""Rows encoded at a time: what bounds the memory beyond the result."""

MAX_COMPONENT = 1 << 20
"""Bytes of the longest text or BLOB component that may be a key."""

_TAGS = {
    "number": 1,
    "text": 2,
    "date": 3,
    "timestamp": 4,
    "instant": 5,
    "time": 6,
    "boolean": 7,
    "uuid": 8,
    "bytes": 9,
}
_FAMILIES = {
    **dict.fromkeys(("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"), "number"),
    **dict.fromkeys(("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"), "number"),
    "VARCHAR": "text",
    "DATE": "date",
    **dict.fromkeys(("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"), "timestamp"),
    "TIMESTAMP WITH TIME ZONE": "instant",
    "TIME": "time",
    "BOOLEAN": "boolean",
    "UUID": "uuid",
    "BLOB": "bytes",
}
_REALS = frozenset(("FLOAT", "DOUBLE", "REAL"))
_DECIMAL = re.compile(r"DECIMAL\(\d+, ?\d+\)")
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def key_family(key_type: str) -> str:
    """The family in which keys of this type are compared, such as ``"number"`` or ``"text"``.

    Args:
        key_type: A type as DuckDB prints it, such as ``"BIGINT"``, ``"DECIMAL(18,3)"`` or ``"VARCHAR"``.

    Raises:
        UsageError: ``real_key`` for FLOAT and DOUBLE, ``key_type`` for any other type that cannot be a key.
    """
    text = " ".join(key_type.upper().split())
    family = _FAMILIES.get(text)
    if family is not None:
        return family
    if _DECIMAL.fullmatch(text):
        return "number"
    if text.startswith("ENUM(") and text.endswith(")"):
        return "text"
    if text in _REALS:
        raise UsageError(
            "a column of floating-point numbers cannot be a key: rounding, -0.0 and NaN make equality unreliable",
            code="real_key",
            remedy="cast it, on both sides, to DECIMAL with a fixed scale, to BIGINT or to VARCHAR",
        )
    raise UsageError(
        f"a column of type {key_type[:60]} cannot be a key",
        code="key_type",
        remedy="use an integer, DECIMAL, VARCHAR, DATE, TIMESTAMP, TIME, BOOLEAN, UUID or BLOB column, or cast to one",
    )


def compatible(mine: str, theirs: str) -> bool:
    """True if keys of these two DuckDB types can be matched with each other.

    Raises:
        UsageError: one of the types cannot be a key at all.
    """
    return key_family(mine) == key_family(theirs)


def require_compatible(mine: Sequence[str], theirs: Sequence[str]) -> None:
    """Checks, before anything is sent, that two (composite) keys can be matched component by component.

    Raises:
        UsageError: ``key_count``, ``key_mismatch``, ``real_key`` or ``key_type``, with a remedy.
    """
    if len(mine) != len(theirs) or not mine:
        raise UsageError(
            f"the keys have {len(mine)} and {len(theirs)} columns",
            code="key_count",
            remedy="join on the same number of key columns, at least one, in the same order",
        )
    for place, (left, right) in enumerate(zip(mine, theirs, strict=True), start=1):
        if compatible(left, right):
            continue
        families = {key_family(left), key_family(right)}
        if families == {"text", "number"}:
            remedy = "let one owner cast: as VARCHAR on both sides if leading zeros count, else as BIGINT on both sides"
        elif families == {"date", "timestamp"}:
            remedy = "let one owner cast: as DATE on both sides if only the day counts, else as TIMESTAMP on both sides"
        else:
            remedy = "let one owner cast the column, so that both sides have the same type"
        raise UsageError(
            f"key column {place} is {left[:60]} on one side and {right[:60]} on the other; they cannot be matched",
            code="key_mismatch",
            remedy=remedy,
        )


def encode_keys(keys: pa.Table, key_types: Sequence[str]) -> pa.LargeBinaryArray:
    """Canonical bytes of every row of a table of keys, in the table's order.

    Args:
        keys: One column per component, no NULL. A DuckDB HUGEINT or UHUGEINT arrives as decimal128(38, 0).
        key_types: The DuckDB type of each column.

    Returns:
        A binary array of as many items as ``keys`` has rows. Memory beyond it: a batch of 65,536 rows.

    Raises:
        UsageError: a type cannot be a key, the table does not fit the types, a NULL or an over-long component.
    """
    families = [key_family(key_type) for key_type in key_types]
    if keys.num_columns != len(families) or not families:
        raise UsageError(f"{keys.num_columns} key columns, {len(families)} key types", code="key_count")
    if any(column.null_count for column in keys.columns):
        raise UsageError(
            "a key column holds NULL", code="null_key", remedy="a NULL never joins: leave such rows out of the key set"
        )
    pieces: list[Column] = []
    for batch in keys.to_batches(max_chunksize=BATCH_ROWS):
        if not batch.num_rows:
            continue
        parts = [
            _component(column, family, key_type)
            for column, family, key_type in zip(batch.columns, families, key_types, strict=True)
        ]
        joined = parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, pa.scalar(b"", pa.large_binary()))
        pieces.append(joined)
    if not pieces:
        pieces.append(pa.array([], pa.large_binary()))
    encoded: pa.LargeBinaryArray = pa.concat_arrays(pieces)
    return encoded


def _component(column: Column, family: str, key_type: str) -> Column:
    """One column of one batch as large_binary: tag, length, payload."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if family in ("text", "bytes"):
        return _variable(column, _TAGS[family])
    try:
        payload = _FIXED[family](column, key_type)
    except pa.ArrowInvalid as error:
        raise _unexpected(column, key_type) from error
    head = np.empty((len(payload), 5), np.uint8)
    head[:, 0] = _TAGS[family]
    head[:, 1:] = np.frombuffer(payload.shape[1].to_bytes(4, "little"), np.uint8)
    return _as_binary(np.concatenate([head, payload], axis=1))


def _unexpected(column: Column, key_type: str) -> UsageError:
    return UsageError(f"a key column declared {key_type[:60]} holds Arrow type {column.type}", code="key_type")


def _as_binary(rows: Bytes2D) -> Column:
    """(n, w) bytes as n items of large_binary."""
    count, width = rows.shape
    offsets = np.arange(0, (count + 1) * width, width, dtype=np.int64) if width else np.zeros(count + 1, np.int64)
    buffers: list[Any] = [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(rows.tobytes())]
    return pa.Array.from_buffers(pa.large_binary(), count, buffers)


def _variable(column: Column, tag: int) -> Column:
    """Text or bytes with tag and length in front."""
    if not (
        pa.types.is_string(column.type)
        or pa.types.is_large_string(column.type)
        or pa.types.is_binary(column.type)
        or pa.types.is_large_binary(column.type)
        or pa.types.is_string_view(column.type)
        or pa.types.is_binary_view(column.type)
    ):
        raise _unexpected(column, "VARCHAR or BLOB")
    if pa.types.is_string_view(column.type) or pa.types.is_string(column.type):
        column = column.cast(pa.large_string())
    data = column.cast(pa.large_binary())
    lengths = pc.binary_length(data).to_numpy(zero_copy_only=False).astype(np.int64)
    if len(lengths) and int(lengths.max()) > MAX_COMPONENT:
        raise UsageError(f"a key component is longer than {MAX_COMPONENT} bytes", code="key_length")
    head = np.empty((len(lengths), 5), np.uint8)
    head[:, 0] = tag
    head[:, 1:] = _bytes_of(lengths.astype(np.uint32))
    return pc.binary_join_element_wise(_as_binary(head), data, pa.scalar(b"", pa.large_binary()))


def _number(column: Column, key_type: str) -> Bytes2D:
    """Sign, scale, 128-bit magnitude, trailing zeros removed: (n, 18)."""
    kind = column.type
    count = len(column)
    low, high = np.zeros(count, np.uint64), np.zeros(count, np.uint64)
    negative = np.zeros(count, np.bool_)
    scale = 0
    if pa.types.is_unsigned_integer(kind):
        low[:] = column.to_numpy(zero_copy_only=False)
    elif pa.types.is_integer(kind):
        signed = column.to_numpy(zero_copy_only=False).astype(np.int64)
        negative = signed < 0
        low = np.where(negative, -signed.view(np.uint64), signed.view(np.uint64))
    elif pa.types.is_decimal(kind):
        scale = kind.scale
        if not 0 <= scale <= 38:
            raise _unexpected(column, key_type)
        limbs = _decimal_limbs(column, key_type)
        low, high = limbs[:, 0].copy(), limbs[:, 1].copy()
        # DuckDB hands an UHUGEINT over as the same 128 bits in a signed decimal128.
        if key_type.upper() != "UHUGEINT":
            negative = (high >> np.uint64(63)).astype(np.bool_)
            borrow = (low != 0).astype(np.uint64)
            high = np.where(negative, ~high + (np.uint64(1) - borrow), high)
            low = np.where(negative, -low, low)
    else:
        raise _unexpected(column, key_type)
    digits = np.full(count, scale, np.uint8)
    _strip_zeros(low, high, digits)
    out = np.empty((count, 18), np.uint8)
    out[:, 0] = negative
    out[:, 1] = digits
    out[:, 2:10] = _bytes_of(low)
    out[:, 10:] = _bytes_of(high)
    return out


def _decimal_limbs(column: Column, key_type: str) -> NDArray[np.uint64]:
    """A decimal column's 128-bit two's complement: (n, 2), low limb first."""
    if column.type.byte_width != 16:
        if column.type.precision > 38:
            raise _unexpected(column, key_type)
        column = column.cast(pa.decimal128(column.type.precision, column.type.scale))
    limbs: NDArray[np.uint64] = np.frombuffer(column.buffers()[1], "<u8", len(column) * 2, column.offset * 16)
    return limbs.reshape(-1, 2)


def _strip_zeros(low: NDArray[np.uint64], high: NDArray[np.uint64], digits: NDArray[np.uint8]) -> None:
    """Divides by ten, in place, while decimal digits are left and the value ends in 0; a zero loses them all."""
    mask32, ten, shift = np.uint64(0xFFFFFFFF), np.uint64(10), np.uint64(32)
    rows = np.flatnonzero(digits)
    while len(rows):
        rest = np.zeros(len(rows), np.uint64)
        quotients = []
        for limb in (high[rows] >> shift, high[rows] & mask32, low[rows] >> shift, low[rows] & mask32):
            part = (rest << shift) | limb
            quotient = part // ten
            rest = part - quotient * ten
            quotients.append(quotient)
        even = rest == 0
        rows = rows[even]
        high[rows] = ((quotients[0] << shift) | quotients[1])[even]
        low[rows] = ((quotients[2] << shift) | quotients[3])[even]
        digits[rows] -= 1
        rows = rows[digits[rows] > 0]


def _timestamp(column: Column, key_type: str) -> Bytes2D:
    """Seconds and nanoseconds, whatever the unit; DuckDB's two infinities stay what they are: (n, 12)."""
    if not pa.types.is_timestamp(column.type):
        raise _unexpected(column, key_type)
    ticks = _int64(column)
    seconds, rest = np.divmod(ticks, _PER_SECOND[column.type.unit])
    endless = (ticks == np.iinfo(np.int64).max) | (ticks == -np.iinfo(np.int64).max)
    seconds = np.where(endless, ticks, seconds)
    nanos = np.where(endless, 0, rest * (10**9 // _PER_SECOND[column.type.unit]))
    out = np.empty((len(ticks), 12), np.uint8)
    out[:, :8] = _bytes_of(seconds)
    out[:, 8:] = _bytes_of(nanos.astype(np.uint32))
    return out


def _date(column: Column, key_type: str) -> Bytes2D:
    if not pa.types.is_date32(column.type):
        raise _unexpected(column, key_type)
    days = column.cast(pa.int32()).to_numpy(zero_copy_only=False)
    return _bytes_of(days.astype(np.int32))


def _time(column: Column, key_type: str) -> Bytes2D:
    if not pa.types.is_time64(column.type) or column.type.unit != "us":
        raise _unexpected(column, key_type)
    return _bytes_of(_int64(column))


def _boolean(column: Column, key_type: str) -> Bytes2D:
    if not pa.types.is_boolean(column.type):
        raise _unexpected(column, key_type)
    return _bytes_of(column.to_numpy(zero_copy_only=False).astype(np.uint8))


def _uuid(column: Column, key_type: str) -> Bytes2D:
    """16 bytes, from DuckDB's text form or from Arrow's fixed-size form: (n, 16)."""
    if pa.types.is_fixed_size_binary(column.type) and column.type.byte_width == 16:
        return np.frombuffer(b"".join(column.to_pylist()), np.uint8).reshape(-1, 16)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise _unexpected(column, key_type)
    plain = pc.replace_substring(pc.utf8_lower(column), "-", "").to_pylist()
    try:
        raw = bytes.fromhex("".join(plain))
    except ValueError:
        raw = b""
    if len(raw) != 16 * len(plain) or any(len(text) != 32 for text in plain):
        raise UsageError("a UUID key is not in UUID form", code="key_type")
    return np.frombuffer(raw, np.uint8).reshape(-1, 16)


def _bytes_of(values: NDArray[Any]) -> Bytes2D:
    """(n,) integers as (n, width) little-endian bytes."""
    narrow = values.astype(values.dtype.newbyteorder("<"))
    return narrow.view(np.uint8).reshape(-1, values.dtype.itemsize)


def _int64(column: Column) -> NDArray[np.int64]:
    values: NDArray[np.int64] = column.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return values


_FIXED: dict[str, Callable[[Column, str], Bytes2D]] = {
    "number": _number,
    "date": _date,
    "timestamp": _timestamp,
    "instant": _timestamp,
    "time": _time,
    "boolean": _boolean,
    "uuid": _uuid,
}
