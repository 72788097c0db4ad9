"""The stream of a delivered table: nothing hidden goes out, nothing of another form comes in."""

from __future__ import annotations

import datetime as dt
import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from privcompute.errors import PeerError, UsageError
from privcompute.node.delivery import frames, spool
from privcompute.node.delivery.arrow_types import carried_as, type_of
from privcompute.node.delivery.frames import check_frames
from privcompute.node.delivery.manifest import Manifest

DAY = dt.date(2020, 2, 29)
EVERYTHING = pa.table(
    {
        "i": pa.array([1, None, 3]),
        "u8": pa.array([1, None, 255], pa.uint8()),
        "f": pa.array([1.5, None, float("nan")]),
        "b": pa.array([True, None, False]),
        "s": pa.array(["a", None, "北京"]),
        "large": pa.array(["a", None, ""], pa.large_string()),
        "view": pa.array(["a", None, "x" * 40], pa.string_view()),
        "word": pa.array(["a", None, "a"]).dictionary_encode(),
        "bin": pa.array([b"\0", None, b""]),
        "day": pa.array([DAY, None, DAY]),
        "at": pa.array([dt.datetime(2020, 1, 1), None, None], pa.timestamp("us")),
        "utc": pa.array([0, None, 1], pa.timestamp("ns", "UTC")),
        "time": pa.array([dt.time(1), None, None], pa.time64("us")),
        "money": pa.array([decimal.Decimal("1.50"), None, decimal.Decimal("-2.00")], pa.decimal128(10, 2)),
        "none": pa.nulls(3),
    }
)


def manifest(columns: Any, rows: int) -> Manifest:
    digest = "0" * 64
    return Manifest(
        "0" * 32, "hospital", "insurer", "patients", "research", "desensitized", digest, columns, rows, 1, digest, "{}"
    )


def written(place: Path, *tables: pa.Table) -> tuple[Path, Manifest]:
    path = place / "t.arrow"
    return path, manifest(*spool.write_stream(path, tables))


def read(path: Path, about: Manifest) -> pa.Table:
    return pa.Table.from_batches(list(spool.batches(path, about)), spool.schema_of(about))


def test_every_type_that_is_delivered_comes_back(tmp_path: Path) -> None:
    path, about = written(tmp_path, EVERYTHING, EVERYTHING.slice(1, 1), EVERYTHING.slice(2))
    spool.check_table(path, about)
    assert about.rows == 5
    expected = [repr(one) for one in EVERYTHING.to_pylist()]
    assert [repr(one) for one in read(path, about).to_pylist()] == [*expected, *expected[1:]]
    assert (path.stat().st_mode & 0o777) == 0o600
    assert not list(tmp_path.glob("*.part"))


def test_an_empty_table_is_a_table(tmp_path: Path) -> None:
    path, about = written(tmp_path, EVERYTHING.slice(0, 0))
    spool.check_table(path, about)
    assert read(path, about).num_rows == 0 == about.rows


def test_nothing_lies_behind_a_null_or_beside_a_slice(tmp_path: Path) -> None:
    """Arrow keeps what was there before a cell became NULL; a release must not."""
    valid = pa.py_buffer(b"\x05")
    numbers = pa.py_buffer(b"\7" + b"\0" * 7 + b"SECRETVL" + b"\x09" + b"\0" * 7)
    offsets = pa.py_buffer(np.array([0, 1, 9, 10], np.int32).tobytes())
    table = pa.table(
        {
            "n": pa.Array.from_buffers(pa.int64(), 3, [valid, numbers]),
            "s": pa.Array.from_buffers(pa.string(), 3, [valid, offsets, pa.py_buffer(b"aHIDDENXXb")]),
            "all": pa.Array.from_buffers(pa.int64(), 3, [pa.py_buffer(b"\0"), numbers]),
        }
    )
    wide = pa.table({name: pa.array([f"OUTSIDE{i}" for i in range(9)]) for name in ("a", "b")})
    path, about = written(tmp_path, table)
    stream = path.read_bytes()
    assert not [word for word in (b"SECRET", b"HIDDEN") if word in stream]
    assert read(path, about).to_pylist()[1] == {"n": None, "s": None, "all": None}
    path, _ = written(tmp_path, wide.slice(3, 2))
    assert b"OUTSIDE3" in path.read_bytes()
    assert not [i for i in (0, 1, 2, 5, 6, 7, 8) if b"OUTSIDE%d" % i in path.read_bytes()]


def test_metadata_of_a_frame_stays(tmp_path: Path) -> None:
    field = pa.field("i", pa.int64(), metadata={"origin": "the cellar"})
    table = pa.table([pa.array([1])], schema=pa.schema([field], metadata={"pandas": "index of names"}))
    path, _ = written(tmp_path, table)
    assert b"cellar" not in path.read_bytes()
    assert b"pandas" not in path.read_bytes()


def test_batches_stay_small(tmp_path: Path) -> None:
    rows = 20_000
    table = pa.table({"s": ["x" * 2000] * rows})
    path, about = written(tmp_path, table)
    sizes = [batch.nbytes for batch in spool.batches(path, about)]
    assert len(sizes) > 3
    assert max(sizes) <= 9 << 20
    assert about.rows == rows


def test_types_that_are_not_delivered() -> None:
    for kind in (pa.list_(pa.int64()), pa.struct([("a", pa.int64())]), pa.duration("s"), pa.decimal256(50, 2)):
        with pytest.raises(UsageError) as caught:
            carried_as("x", kind)
        assert caught.value.code == "bad_type"
    assert type_of("decimal128(38, 38)") == pa.decimal128(38, 38)
    for text in (
        "list<item: int64>",
        "decimal128(39, 2)",
        "decimal128(2, 3)",
        "extension<x>",
        "timestamp[us, tz=+01:00]",
    ):
        assert type_of(text) is None


def test_a_policy_that_lets_nothing_leave(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        spool.write_stream(tmp_path / "t.arrow", [pa.table({})])
    assert caught.value.code == "no_column"
    assert not list(tmp_path.iterdir())


def _ipc(place: Path, table: pa.Table, **options: Any) -> Path:
    path = place / "hostile.arrow"
    with pa.ipc.new_stream(str(path), table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return path


def refused(path: Path, about: Manifest) -> None:
    with pytest.raises(PeerError) as caught:
        spool.check_table(path, about)
    assert caught.value.code == "bad_table"
    assert caught.value.party == "hospital"


def test_streams_of_another_form_are_refused(tmp_path: Path) -> None:
    table = pa.table({"s": ["a" * 1000] * 1000})
    about = manifest((("s", "string"),), 1000)
    spool.check_table(_ipc(tmp_path, table), about)
    refused(_ipc(tmp_path, table, compression="zstd"), about)
    refused(_ipc(tmp_path, table, compression="lz4"), about)
    refused(_ipc(tmp_path, table.set_column(0, "s", table["s"].dictionary_encode())), about)
    refused(_ipc(tmp_path, table), manifest((("s", "string"),), 999))
    refused(_ipc(tmp_path, table), manifest((("t", "string"),), 1000))
    refused(_ipc(tmp_path, table), manifest((("s", "binary"),), 1000))
    refused(_ipc(tmp_path, table), manifest((("s", "list<item: int64>"),), 1000))
    refused(_ipc(tmp_path, table.replace_schema_metadata({"a": "b"})), about)
    refused(_ipc(tmp_path, pa.table({"s": [["a"]]})), manifest((("s", "string"),), 1))
    path = _ipc(tmp_path, table)
    whole = path.read_bytes()
    for other in (whole + b"\0", whole[:-8], whole[:-1], b"", whole * 2, b"ARROW1\0\0" + whole):
        path.write_bytes(other)
        refused(path, about)


def test_text_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    path = _ipc(tmp_path, pa.table({"s": ["abcdefgh"]}))
    path.write_bytes(path.read_bytes().replace(b"abcdefgh", b"\xff\xfe\xff\xfeabcd"))
    refused(path, manifest((("s", "string"),), 1))


def test_a_body_over_the_limit_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _ipc(tmp_path, pa.table({"s": ["a" * 1000] * 1000}))
    monkeypatch.setattr(frames, "MOST_BODY", 100_000)
    with pytest.raises(PeerError):
        check_frames(path, "hospital")


def test_no_changed_bit_is_worse_than_refused(tmp_path: Path) -> None:
    """Every bit of the metadata, and some of the rest: refused by name, or a table of the announced form."""
    path, about = written(tmp_path, pa.table({"s": ["a", None, "b"], "i": [1, 2, None]}))
    whole = path.read_bytes()
    rng = np.random.default_rng(7)
    places = [*range(len(whole) * 8)] if len(whole) < 1000 else rng.choice(len(whole) * 8, 1500, replace=False).tolist()
    outcomes = set()
    for place in places:
        data = bytearray(whole)
        data[place // 8] ^= 1 << place % 8
        path.write_bytes(data)
        try:
            spool.check_table(path, about)
            outcomes.add("read")
        except PeerError as error:
            outcomes.add(error.code)
    assert outcomes == {"read", "bad_table"}


def test_random_bytes_are_no_table(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    path = tmp_path / "t.arrow"
    for size in (1, 7, 8, 9, 64, 1000):
        for _ in range(50):
            head = b"\xff\xff\xff\xff" + int(rng.integers(0, 64)).to_bytes(4, "little") if rng.integers(2) else b""
            path.write_bytes(head + rng.bytes(size))
            refused(path, manifest((("s", "string"),), 1))


def test_two_links_do_not_write_one_file(tmp_path: Path) -> None:
    with spool.alone_with(tmp_path / "t.arrow", "insurer"):
        with pytest.raises(PeerError) as caught, spool.alone_with(tmp_path / "t.arrow", "insurer"):
            pass
        assert caught.value.code == "busy"
    with spool.alone_with(tmp_path / "t.arrow", "insurer"):
        pass
