"""The spool: tables on their way out and in, as Arrow IPC streams in owner-only files of the home."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import pyarrow as pa
import pyarrow.compute as pc

from privcompute.errors import PeerError, UsageError
from privcompute.node.delivery.arrow_types import carried_as, type_of
from privcompute.node.delivery.frames import MOST_BODY, bad_table, check_frames
from privcompute.node.delivery.manifest import PIECE, Manifest
from privcompute.node.home import Home

_BATCH_BYTES: Final = 8 << 20
_SLICE: Final = 1 << 16
"""Rows that are copied at a time: a whole table is not held twice, and no text of a slice outgrows Arrow's offsets."""


def out_file(home: Home, identifier: str) -> Path:
    """Where a table waits to be sent."""
    return _directory(home, "out") / f"{identifier}.arrow"


def in_file(home: Home, identifier: str) -> Path:
    """Where a table that came, or comes, in lies."""
    return _directory(home, "in") / f"{identifier}.arrow"


def _directory(home: Home, way: str) -> Path:
    place = home.spool / way
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(error) from None
    return place


def _unwritable(error: OSError) -> UsageError:
    return UsageError(
        f"cannot write the spool: {error.strerror or 'input or output error'}",
        code="no_room",
        remedy="make room on the disk of the node's home",
    )


def write_stream(path: Path, tables: Iterable[pa.Table]) -> tuple[tuple[tuple[str, str], ...], int]:
    """Write tables of one schema, one below the other, as a stream; it has its name only when it is whole.

    Names and types are all that is kept of a schema, and nothing lies behind a NULL.

    Returns:
        Names and types of the columns, and the number of rows.

    Raises:
        UsageError: `bad_type`, `no_column`, `cell_too_large`.
    """
    part = path.with_suffix(".part")
    rows, schema, writer = 0, None, None
    try:
        with _private(part) as file:
            for table in tables:
                for start in range(0, max(1, table.num_rows), _SLICE):
                    clean = _cleaned(table.slice(start, _SLICE))
                    if writer is None:
                        schema = clean.schema
                        writer = pa.ipc.new_stream(pa.PythonFile(cast(Any, file)), schema)
                    for batch in _pieces(clean):
                        writer.write_batch(batch)
                        rows += batch.num_rows
            if writer is None or schema is None or not schema.names:
                raise UsageError("the policy lets no column leave", code="no_column", remedy="keep at least one")
            writer.close()
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        keep_name(path)
    except pa.ArrowException as error:  # its text may quote a value
        raise UsageError(
            f"the policy's table cannot be written as a stream ({type(error).__name__})",
            code="bad_type",
            remedy="leave out columns whose cells are very long, or of which a part has another type than the rest",
        ) from None
    except OSError as error:
        raise _unwritable(error) from None
    finally:
        part.unlink(missing_ok=True)
    return tuple((one.name, str(one.type)) for one in schema), rows


@contextmanager
def _private(path: Path) -> Iterator[BinaryIO]:
    descriptor = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        yield file


def _cleaned(table: pa.Table) -> pa.Table:
    return pa.table({name: _clean(name, table.column(name)) for name in table.column_names})


def _clean(name: str, column: Any) -> Any:
    """The column in the type in which it travels; the bytes behind a NULL, which may be a hidden value, are wiped."""
    whole = column.cast(carried_as(name, column.type)).combine_chunks()
    array = pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole
    if not array.null_count:
        return array
    kind = array.type
    shown = array.drop_null()
    if not len(shown):
        return pa.nulls(len(array), kind)
    filled = pc.fill_null(array, shown[0])
    valid = pc.is_valid(array).buffers()[1]
    return pa.Array.from_buffers(kind, len(filled), [valid, *filled.buffers()[1:]], array.null_count)


def _pieces(table: pa.Table) -> Iterator[pa.RecordBatch]:
    rows = max(1, table.num_rows * _BATCH_BYTES // max(1, table.nbytes))
    for batch in table.to_batches(max_chunksize=rows):
        if batch.nbytes <= MOST_BODY // 2:
            yield batch
        elif batch.num_rows > 1:
            for row in range(batch.num_rows):
                yield from _pieces(pa.Table.from_batches([batch.slice(row, 1)]))
        else:
            raise UsageError(
                "a single row is larger than 32 MiB", code="cell_too_large", remedy="leave the column out of the policy"
            )


def keep_name(path: Path) -> None:
    """Put a file's entry in its directory on the disk, too: the file's own fsync does not."""
    handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def readable() -> Iterator[None]:
    """Names a spooled file that is gone or cannot be read.

    Raises:
        UsageError: `no_table`.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"the spooled table cannot be read: {error.strerror or 'input or output error'}",
            code="no_table",
            remedy="release it again",
        ) from None


def digest_of(path: Path, length: int | None = None) -> str:
    """SHA-256 of the first bytes of a file, or of all of it; hexadecimal."""
    state = hashlib.sha256()
    with path.open("rb") as file:
        left = os.fstat(file.fileno()).st_size if length is None else length
        while left and (data := file.read(min(left, PIECE))):
            state.update(data)
            left -= len(data)
    return state.hexdigest()


@contextmanager
def alone_with(path: Path, party: str) -> Iterator[None]:
    """Hold the spool file, so that of two links that deliver one table only one writes.

    Raises:
        PeerError: `busy`.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise PeerError(
                "this table is being delivered over another link already",
                code="busy",
                party=party,
                stage="delivery",
                remedy="wait for that to end, then release again: what arrived is kept",
            ) from None
        yield
    finally:
        os.close(handle)


def held_pieces(path: Path, manifest: Manifest) -> int:
    """How many whole pieces an earlier attempt left."""
    return min(path.stat().st_size // PIECE, max(0, manifest.pieces - 1)) if path.exists() else 0


def check_table(path: Path, manifest: Manifest) -> None:
    """Check that a whole spooled stream is the table that its manifest describes. Blocks; reads all of it.

    Raises:
        PeerError: `bad_table`.
    """
    party = manifest.sender
    check_frames(path, party)
    rows = 0
    try:
        for batch in batches(path, manifest):
            batch.validate(full=True)
            rows += batch.num_rows
    except (pa.ArrowException, OSError, ValueError, MemoryError):  # its text may quote a value
        raise bad_table(party) from None
    if rows != manifest.rows:
        raise bad_table(party)


def schema_of(manifest: Manifest) -> pa.Schema:
    """The columns of a manifest.

    Raises:
        PeerError: `bad_table`: a type is none that is delivered.
    """
    fields = []
    for name, text in manifest.columns:
        kind = type_of(text)
        if kind is None:
            raise bad_table(manifest.sender)
        fields.append(pa.field(name, kind))
    return pa.schema(fields)


def batches(path: Path, manifest: Manifest) -> Iterator[pa.RecordBatch]:
    """The rows of a spooled stream whose frames were checked, a batch at a time.

    Raises:
        PeerError: `bad_table`: other columns than the manifest's.
    """
    with pa.OSFile(str(path), "rb") as file, pa.ipc.open_stream(file) as reader:
        if not reader.schema.equals(schema_of(manifest), check_metadata=True):
            raise bad_table(manifest.sender)
        yield from reader
