"""The form of an Arrow IPC stream that came from a peer, checked before Arrow reads it.

Walks the encapsulated messages and their flatbuffers: one schema, then record batches, nothing compressed (a few bytes
could become terabytes), no dictionaries, no body larger than stated. Only the metadata is read; what Arrow then reads
takes no more memory than one body.

Source: Apache Arrow, Columnar Format, "IPC Streaming Format"; Message.fbs; FlatBuffers internals.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO, Final

from privcompute.errors import PeerError

MOST_BODY: Final = 64 << 20
MOST_METADATA: Final = 4 << 20
_CONTINUED: Final = 0xFFFFFFFF
_SCHEMA, _BATCH = 1, 3
_HEADER_TYPE, _HEADER, _BODY_LENGTH = 1, 2, 3
_COMPRESSION = 3
"""Places of fields in the tables Message and RecordBatch."""


def check_frames(path: Path, party: str) -> None:
    """Check a spooled stream.

    Raises:
        PeerError: `bad_table`.
    """
    try:
        with path.open("rb") as file:
            _walk(file, os.fstat(file.fileno()).st_size)
    except (struct.error, _Malformed, OverflowError):
        raise bad_table(party) from None


def bad_table(party: str) -> PeerError:
    """The one error of a table whose bytes are not what its manifest says."""
    return PeerError(
        "the table that was delivered is not of the form that was announced",
        code="bad_table",
        party=party,
        stage="delivery",
        remedy="check that both nodes run the same version, then release again",
    )


class _Malformed(Exception):
    """The stream is not of the form above."""


def _walk(file: BinaryIO, size: int) -> None:
    wanted = _SCHEMA
    while True:
        continued, length = struct.unpack("<Ii", file.read(8))
        if continued != _CONTINUED or not 0 <= length <= MOST_METADATA or length % 8:
            raise _Malformed
        if length == 0:
            break
        metadata = file.read(length)
        if len(metadata) != length:
            raise _Malformed
        kind, body, compressed = _message(metadata)
        if kind != wanted or compressed or not 0 <= body <= MOST_BODY or body % 8:
            raise _Malformed
        if file.seek(body, os.SEEK_CUR) > size:
            raise _Malformed
        wanted = _BATCH
    if wanted is _SCHEMA or file.tell() != size:
        raise _Malformed


def _message(data: bytes) -> tuple[int, int, bool]:
    """Header type, length of the body, and whether a record batch is compressed."""
    root = _unsigned(data, 0)
    kind_at = _field(data, root, _HEADER_TYPE)
    body_at = _field(data, root, _BODY_LENGTH)
    header_at = _field(data, root, _HEADER)
    if kind_at is None or header_at is None:
        raise _Malformed
    kind = data[kind_at] if kind_at < len(data) else 0
    body = struct.unpack_from("<q", data, body_at)[0] if body_at is not None else 0
    header = header_at + _unsigned(data, header_at)
    return kind, body, kind == _BATCH and _field(data, header, _COMPRESSION) is not None


def _field(data: bytes, table: int, number: int) -> int | None:
    """Where a field of a table lies; None if it is not there."""
    (back,) = struct.unpack_from("<i", data, table)
    vtable = table - back
    if vtable < 0:
        raise _Malformed
    (size,) = struct.unpack_from("<H", data, vtable)
    slot = 4 + 2 * number
    if slot + 2 > size:
        return None
    (offset,) = struct.unpack_from("<H", data, vtable + slot)
    return table + offset if offset else None


def _unsigned(data: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", data, at)[0])
