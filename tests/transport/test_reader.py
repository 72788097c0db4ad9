"""The reader's thread of a link, fed by hand: what it does beside the loop, and what the loop finds afterwards."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from unittest import mock

import pytest

from privcompute.errors import IntegrityError, PrivcomputeError, TransportError
from privcompute.session.buffers import Buffers
from privcompute.session.mailbox import Mailbox
from privcompute.transport.calls import Calls
from privcompute.transport.frames import first_header, more_header
from privcompute.transport.limits import CHUNK
from privcompute.transport.link import GrpcLink

from .conftest import QUICK

Wire = queue.SimpleQueue[bytes | None]
LARGE = [first_header(b"x", 2 * CHUNK) + b"1" * CHUNK, more_header(CHUNK) + b"2" * CHUNK]


@asynccontextmanager
async def reading() -> AsyncIterator[tuple[GrpcLink, Wire]]:
    """A link and the frames that come to it."""
    wire: Wire = queue.SimpleQueue()

    def frames() -> Iterator[bytes]:
        while (frame := wire.get()) is not None:
            yield frame

    calls = Calls()
    calls.add(mock.Mock(cancel=lambda: wire.put(None)))
    link = GrpcLink("alice", b"s", ("", ""), QUICK, calls)
    gone = TransportError("the stream is over", code="unreachable", party="alice")
    reader = threading.Thread(target=link.read_from, args=(frames(), lambda _: gone))
    reader.start()
    try:
        yield link, wire
    finally:
        wire.put(None)
        with suppress(PrivcomputeError):
            await link.close()
        reader.join()


async def awaited(link: GrpcLink, label: str, timeout: float = 5.0) -> asyncio.Task[memoryview]:
    task = asyncio.create_task(link.recv(label, 2 * CHUNK, timeout))
    await asyncio.sleep(0)
    return task


def held_up_until_one_comes(link: GrpcLink, wire: Wire, frame: bytes) -> None:
    """Holds up the loop until a wait of one second is overdue, and a frame was read after that."""
    time.sleep(1.1)
    before = link.quiet_for
    wire.put(frame)
    while link.quiet_for >= before:
        time.sleep(0.001)


async def test_an_awaited_message_does_not_wait_for_the_loop() -> None:
    async with reading() as (link, wire):
        message = await awaited(link, "x")
        with mock.patch.object(Mailbox, "begin", side_effect=AssertionError("the loop was asked")):
            for frame in LARGE:
                wire.put(frame)
            assert bytes(await message) == b"1" * CHUNK + b"2" * CHUNK


async def test_a_message_nobody_awaits_yet_is_kept() -> None:
    async with reading() as (link, wire):
        for frame in LARGE:
            wire.put(frame)
        while not link.unclaimed():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
        assert bytes(await link.recv("x", 2 * CHUNK, 5.0)) == b"1" * CHUNK + b"2" * CHUNK


async def test_a_frame_is_a_sign_of_life_while_the_loop_is_held_up() -> None:
    async with reading() as (link, wire):
        message = await awaited(link, "y", 1.0)
        held_up_until_one_comes(link, wire, first_header(b"y", 1) + b"y")
        assert bytes(await message) == b"y"


async def test_who_sends_is_told_what_the_reader_is_about_to_say() -> None:
    """gRPC drops what is queued before the reader sees the end of its stream."""
    async with reading() as (link, wire):
        sending = asyncio.create_task(link.send("x", [bytes(1 << 20)]))
        await asyncio.sleep(0)
        link.outbox.kill()
        await asyncio.sleep(0.1)
        assert not sending.done()
        wire.put(None)
        with pytest.raises(TransportError) as caught:
            await sending
        assert caught.value.code == "unreachable"


async def test_want_of_memory_is_not_a_lost_connection() -> None:
    async with reading() as (link, wire):
        message = await awaited(link, "x")
        with mock.patch.object(Buffers, "take", side_effect=MemoryError):
            for frame in LARGE:
                wire.put(frame)
            with pytest.raises(IntegrityError) as caught:
                await message
        assert caught.value.code == "internal"


async def test_a_message_cut_off_by_the_end_is_not_delivered() -> None:
    async with reading() as (link, wire):
        message = await awaited(link, "x")
        wire.put(LARGE[0])
        wire.put(None)
        with pytest.raises(TransportError) as caught:
            await message
        assert caught.value.code == "unreachable"
