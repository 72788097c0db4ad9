"""The frame codec against hostile bytes: every broken rule is `bad_frame`, nothing else ever comes out."""

from __future__ import annotations

import asyncio
import json
import struct

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from privcompute.errors import PeerError, PrivacyError, UsageError
from privcompute.session.channel import MAX_LABEL
from privcompute.transport.frames import (
    ABORT,
    CLOSE,
    FIRST,
    MAX_SIGNAL,
    MORE,
    SIGNAL,
    Abort,
    Chunk,
    Close,
    Reader,
    Signal,
    abort_frame,
    close_frame,
    first_header,
    label_bytes,
    more_header,
    signal_frame,
)
from privcompute.transport.limits import CHUNK, MAX_FRAME
from privcompute.transport.outbox import SMALL, Outbox

BIG = bytes(CHUNK)


def first(label: bytes = b"x", total: int = 3, data: bytes = b"abc") -> bytes:
    return first_header(label, total) + data


BEGUN = first(total=CHUNK + 5, data=BIG)


@pytest.mark.parametrize(
    "frames",
    [
        [b""],
        [b"\x00\x00\x00\x00"],
        [bytes([6, 0, 0, 0])],
        [bytes([FIRST])],
        [first()[:11]],
        [first(label=b"")],
        [first(label=b"a b")],
        [first(label="ä".encode())],
        [first(label=b"a\n")],
        [first(label=b"a" * (MAX_LABEL + 1))],
        [struct.pack("<BBHQ", FIRST, 0, 9, 3) + b"x"],
        [struct.pack("<BBHQ", FIRST, 1, 1, 3) + b"xabc"],
        [first(total=(1 << 48) + 1, data=BIG)],
        [first(total=3, data=b"ab")],
        [first(total=3, data=b"abcd")],
        [first(total=0, data=b"a")],
        [first(total=CHUNK + 1, data=b"crumb")],
        [first(total=CHUNK + 1, data=BIG + b"x")],
        [more_header(0) + b"x"],
        [more_header(CHUNK) + b"x"],
        [BEGUN, first()],
        [BEGUN, more_header(CHUNK - 1) + b"12345"],
        [BEGUN, more_header(CHUNK + 1) + b"1234"],
        [BEGUN, more_header(CHUNK) + b"1234"],
        [BEGUN, more_header(CHUNK) + b"123456"],
        [BEGUN, more_header(CHUNK) + b"12345", more_header(CHUNK) + b"12345"],
        [BEGUN, more_header(CHUNK)[:5]],
        [BEGUN, struct.pack("<BBHQ", MORE, 0, 1, CHUNK) + b"12345"],
        [bytes([SIGNAL])],
        [bytes([SIGNAL, 0, 0, 0])],
        [bytes([SIGNAL, 5, 0, 0]) + b"abc"],
        [bytes([SIGNAL, 33, 0, 0]) + b"a" * 33],
        [bytes([SIGNAL, 1, 0, 0]) + b"a" + bytes(MAX_SIGNAL + 1)],
        [bytes([CLOSE, 0, 0, 0, 0])],
        [bytes([CLOSE])],
        [bytes([ABORT, 0, 0, 0])],
        [bytes([ABORT, 0, 0, 0]) + b"null"],
        [bytes([ABORT, 0, 0, 0]) + b"[" * 5000],
        [bytes([ABORT, 0, 0, 0]) + b'{"type": "UsageError"}'],
        [bytes([ABORT, 0, 0, 0]) + b"\xff" * 10],
        [bytes([ABORT, 0, 0, 0]) + json.dumps({"type": "UsageError", "code": "x" * 9000}).encode()],
    ],
)
def test_bad_frames(frames: list[bytes]) -> None:
    reader, place = Reader("peer"), np.full(CHUNK + 5, 7, np.uint8)
    for frame in frames[:-1]:
        reader.read(frame)
    assert reader.place(frames[-1], place) < 0
    assert (place == 7).all()
    with pytest.raises(PeerError) as caught:
        reader.read(frames[-1])
    assert (caught.value.code, caught.value.party) == ("bad_frame", "peer")


@given(st.lists(st.binary(max_size=64) | st.binary(max_size=40).map(lambda b: bytes([b[0] % 7 if b else 1]) + b)))
@example([first(), first(), close_frame()])
def test_anything_is_a_frame_or_a_named_error(frames: list[bytes]) -> None:
    reader = Reader("peer")
    try:
        for frame in frames:
            assert isinstance(reader.read(frame), Chunk | Signal | Close | Abort)
    except PeerError as error:
        if error.code != "bad_frame":
            raise


def test_a_message_of_three_chunks() -> None:
    reader, total = Reader("peer"), 2 * CHUNK + 1
    pieces = [first(total=total, data=BIG), more_header(CHUNK) + BIG, more_header(2 * CHUNK) + b"!"]
    read = [reader.read(piece) for piece in pieces]
    assert [(c.label, c.total, c.offset, len(c.data)) for c in read if isinstance(c, Chunk)] == [
        ("x", total, 0, CHUNK),
        ("x", total, CHUNK, CHUNK),
        ("x", total, 2 * CHUNK, 1),
    ]
    assert isinstance(reader.read(first(label=b"y")), Chunk)


def test_chunks_go_to_their_place() -> None:
    total = 2 * CHUNK + 3
    whole = np.random.default_rng(1).integers(0, 256, total, dtype=np.uint8)
    reader, place = Reader("peer"), np.zeros(total, np.uint8)
    begin = reader.read(first(total=total, data=whole[:CHUNK].tobytes()))
    assert isinstance(begin, Chunk)
    place[:CHUNK] = np.frombuffer(begin.data, np.uint8)
    second, third = (more_header(at) + whole[at : at + CHUNK].tobytes() for at in (CHUNK, 2 * CHUNK))
    assert reader.place(third, place) < 0  # out of turn
    assert reader.place(second, place) == 3
    assert reader.place(second, place) < 0  # once more
    assert reader.place(signal_frame("progress", b"half"), place) < 0
    assert reader.place(third + b"x", place) < 0
    assert reader.place(third, place) == 0
    assert np.array_equal(place, whole)
    assert reader.place(third, place) < 0  # no message is under way


def test_words_between_chunks() -> None:
    reader = Reader("peer")
    reader.read(BEGUN)
    assert reader.read(signal_frame("progress", b"half")) == Signal("progress", b"half")
    assert isinstance(reader.read(more_header(CHUNK) + b"12345"), Chunk)
    assert reader.read(close_frame()) == Close()


def test_abort_round_trip_keeps_type_and_fields() -> None:
    error = PrivacyError("too few", code="minimum", remedy="ask less", party="insurer", stage="run/check.1")
    read = Reader("peer").read(abort_frame(error))
    assert isinstance(read, Abort)
    assert type(read.error) is PrivacyError
    assert read.error.to_json() == error.to_json()


def test_abort_of_a_hostile_peer_is_tamed() -> None:
    body = {
        "type": "SystemExit",
        "code": "a b\n",
        "message": "\x1b[2Jgone\nERROR forged line",
        "party": "../x",
        "stage": "s" * 10_000,
        "remedy": 7,
    }
    said = json.dumps(body | {"stage": "s" * 900}).encode()
    read = Reader("peer").read(bytes([ABORT, 0, 0, 0]) + said)
    assert isinstance(read, Abort)
    error = read.error
    assert isinstance(error, PeerError)
    assert (error.code, error.party, error.remedy) == ("aborted", "peer", "")
    assert error.message.isprintable()
    assert len(error.stage or "") == MAX_LABEL


def test_a_long_error_still_fits() -> None:
    frame = abort_frame(PrivacyError("ü" * 5000, code="minimum", remedy="ü" * 5000, stage="ü" * 5000))
    assert len(frame) < MAX_FRAME
    read = Reader("peer").read(frame)
    assert isinstance(read, Abort)
    assert read.error.code == "minimum"


@pytest.mark.parametrize("label", ["", "a b", "é", "a" * (MAX_LABEL + 1), "a\x00"])
def test_own_labels_are_checked(label: str) -> None:
    with pytest.raises(UsageError):
        label_bytes(label)


@pytest.mark.parametrize(("kind", "body"), [("", b""), ("w" * 33, b""), ("progress", bytes(MAX_SIGNAL + 1))])
def test_own_signals_are_checked(kind: str, body: bytes) -> None:
    with pytest.raises(ValueError, match="short word"):
        signal_frame(kind, body)


@pytest.mark.parametrize(
    "sizes",
    [
        [0],
        [1],
        [SMALL + 1],
        [CHUNK - 1],
        [CHUNK],
        [CHUNK + 1],
        [2 * CHUNK],
        [3 * CHUNK + 7],
        [64, CHUNK],
        [CHUNK, 64],
        [64, CHUNK - 64],
        [64, CHUNK - 64, 1],
        [CHUNK, CHUNK, 1],
        [5, 2 * CHUNK - 4, 9, 0, CHUNK + 1],
    ],
    ids=str,
)
async def test_what_the_outbox_cuts_the_reader_joins(sizes: list[int]) -> None:
    """Whatever the parts, in as few frames as there can be."""
    rng = np.random.default_rng(1)
    parts = [rng.integers(0, 256, size, dtype=np.uint8) for size in sizes]
    whole = b"".join(part.tobytes() for part in parts)
    outbox, reader = Outbox(asyncio.get_running_loop()), Reader("a")
    taken = outbox.put("x", parts)
    outbox.finish(close_frame())
    frames = list(outbox)
    assert frames.pop() == close_frame()
    assert len(frames) == max(1, -(-len(whole) // CHUNK))
    chunks = [reader.read(frame) for frame in frames]
    assert all(isinstance(chunk, Chunk) and chunk.total == len(whole) for chunk in chunks)
    assert b"".join(chunk.data for chunk in chunks if isinstance(chunk, Chunk)) == whole
    assert (taken is None) == (len(whole) <= SMALL)
    if taken is not None:
        await asyncio.wait_for(taken, 5)
