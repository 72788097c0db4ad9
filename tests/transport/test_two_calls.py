"""A link is two calls, one each way: the second finds the first by its ticket, and neither outlives the other."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest import mock

import grpc
import pytest
from support.relay import Mischief, relay

from privcompute.errors import PeerError, PrivcomputeError, TransportError
from privcompute.transport import gate, service
from privcompute.transport.frames import close_frame, first_header
from privcompute.transport.gate import FINGERPRINT_KEY, TICKET_KEY, Caller
from privcompute.transport.identity import Identity

from .conftest import QUICK, Pairing, Party, raw

CHECK = "/grpc.health.v1.Health/Check"


async def test_a_ticket_is_good_once(paired: Pairing, insurer: Identity) -> None:
    h, _ = await paired()

    def attack(link_came: threading.Event) -> bytes:
        with raw(h, insurer) as calls:
            _, ticket = calls.up()
            for wrong in ([], [b""], [b"0" * 16], [ticket[:-1]], [ticket + b"0"], [b"0" * 4000]):
                assert calls.refused(*wrong) == "bad_ticket"
            down = calls.down(ticket)
            link_came.wait(5)
            first = bytes(next(down))
            assert calls.refused(ticket) == "bad_ticket"
            return first

    came = threading.Event()
    attacking = asyncio.create_task(asyncio.to_thread(attack, came))
    link = await asyncio.wait_for(h.came.get(), 5)
    await link.send("x", [b"1"])
    came.set()
    assert await attacking == first_header(b"x", 1) + b"1"


async def test_a_ticket_is_good_for_its_owner_only(paired: Pairing, insurer: Identity) -> None:
    h, i = await paired()
    bank = Identity.create("bank")
    h.book.add(replace(i.as_peer(), name="bank", certificates=(bank.certificate,)))
    await h.endpoint.refresh()

    def attack() -> None:
        with raw(h, insurer) as mine, raw(h, bank) as others:
            _, ticket = mine.up()
            assert others.refused(ticket) == "bad_ticket"
            next(mine.down(ticket))

    attacking = asyncio.create_task(asyncio.to_thread(attack))
    link = await asyncio.wait_for(h.came.get(), 5)
    assert link.peer == "insurer"
    await link.send("x", [b"1"])
    await attacking


@pytest.mark.parametrize("which", ["up", "down"])
async def test_one_call_does_not_outlive_the_other(paired: Pairing, insurer: Identity, which: str) -> None:
    h, _ = await paired()

    def attack() -> list[grpc.StatusCode]:
        with raw(h, insurer) as calls:
            up, ticket = calls.up([first_header(b"x", 1) + b"1"])
            down = calls.down(ticket)
            next(down)
            (up if which == "up" else down).cancel()
            with contextlib.suppress(grpc.RpcError):
                for _ in down:
                    pass
            return [up.code(), down.code()]

    attacking = asyncio.create_task(asyncio.to_thread(attack))
    link = await asyncio.wait_for(h.came.get(), 5)
    await link.send("hello", [b"1"])
    assert bytes(await link.recv("x", 1, 5)) == b"1"
    with pytest.raises(TransportError) as caught:
        await link.recv("never", 1, 5)
    assert (caught.value.code, caught.value.party) == ("unreachable", "insurer")
    with pytest.raises(TransportError):
        await link.send("y", [b"1"])
    ends = await asyncio.wait_for(attacking, 5)
    assert grpc.StatusCode.CANCELLED in ends
    assert None not in ends


def served(h: Party) -> int:
    """Calls that gRPC serves now, each of which holds a thread."""
    assert h.endpoint._server is not None
    return len(h.endpoint._server._state.rpc_states)


async def all_over(h: Party) -> None:
    """Waits until no call is served and no link is kept."""
    for _ in range(100):
        if not (served(h) or h.endpoint._half or h.endpoint._links):
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"{served(h)} calls, {len(h.endpoint._links)} links are left")


@pytest.mark.parametrize("how", ["unpaired", "up", "down", "idle", "closed"])
async def test_a_call_that_nobody_reads_ends_with_the_link(paired: Pairing, insurer: Identity, how: str) -> None:
    """The sender's thread waits for gRPC, which waits for the peer to take something."""
    h, _ = await paired(limits=replace(QUICK, close=0.3, idle=0.5 if how == "idle" else 900.0))
    done = threading.Event()

    def attack(filled: threading.Event) -> None:
        def close() -> Iterator[bytes]:
            filled.wait(5)
            yield close_frame()
            calls.over.set()

        with raw(h, insurer) as calls:
            up, ticket = calls.up(close() if how == "closed" else ())
            down = calls.down(ticket)
            filled.wait(5)
            if how in {"up", "down"}:
                (up if how == "up" else down).cancel()
            done.wait(20)

    filled = threading.Event()
    attacking = asyncio.create_task(asyncio.to_thread(attack, filled))
    try:
        link = await asyncio.wait_for(h.came.get(), 5)
        sending = asyncio.create_task(link.send("large", [bytes(64 << 20)]))
        await asyncio.sleep(0.3)
        assert served(h) == 2
        filled.set()
        if how == "unpaired":
            h.book.remove("insurer")
        with pytest.raises(TransportError) as caught:
            await asyncio.wait_for(sending, 10)
        assert caught.value.code == {"up": "unreachable", "down": "unreachable"}.get(how, how)
        await all_over(h)
    finally:
        done.set()
        await attacking


def silence(release: threading.Event) -> Iterator[bytes]:
    release.wait(20)
    yield from ()


async def test_calls_without_a_request_pass_the_gate_first(paired: Pairing, insurer: Identity) -> None:
    """As many as one peer may have, over however many connections, and not as many as the node has threads."""
    h, i = await paired(limits=replace(QUICK, links_per_peer=1))
    release, most = threading.Event(), h.endpoint.limits.calls_per_peer
    with raw(h, insurer) as some, raw(h, insurer) as others:
        channels = [some.channel] * most + [others.channel] * most
        asked = [channel.stream_stream(CHECK)(silence(release), timeout=20) for channel in channels]
        refused: list[Any] = []
        for _ in range(100):
            refused = [call for call in asked if call.done()]
            if len(refused) >= most:
                break
            await asyncio.sleep(0.05)
        assert [call.code() for call in refused] == [grpc.StatusCode.RESOURCE_EXHAUSTED] * most
        assert served(h) == most
        release.set()
        await all_over(h)
        assert {call.code() for call in asked} == {
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            grpc.StatusCode.INVALID_ARGUMENT,
        }
    assert await i.endpoint.open_link("hospital", b"s")


async def test_a_request_has_to_come_in_time(paired: Pairing, insurer: Identity) -> None:
    h, _ = await paired()
    release = threading.Event()
    with mock.patch.object(gate, "_REQUEST", 0.3), raw(h, insurer) as calls:
        call = calls.channel.stream_stream(CHECK)(silence(release), timeout=20)
        assert await asyncio.wait_for(asyncio.to_thread(call.code), 5) is grpc.StatusCode.CANCELLED
        await all_over(h)
        release.set()


async def test_a_lost_connection_is_named_to_who_sends(paired: Pairing) -> None:
    h, i = await paired()
    host, port = h.address.split(":")
    data = bytes(512 << 20)
    for n in range(8):
        with relay((host, int(port))) as between:
            i.book.replace(h.as_peer(f"127.0.0.1:{between.port}"))
            dialled = await i.endpoint.open_link("hospital", b"%d" % n)
            answered = await h.came.get()
            both = (dialled, answered)
            sends = [end.send("x", [data]) for end in both]
            receives = [end.recv("x", len(data), 20) for end in both]
            asyncio.get_running_loop().call_later(0.05, between.arm, Mischief("cut", 0, "up"))
            for error in await asyncio.gather(*sends, *receives, return_exceptions=True):
                assert isinstance(error, TransportError)
                assert error.code == "unreachable"


async def test_a_second_call_that_never_comes(paired: Pairing, insurer: Identity) -> None:
    h, _ = await paired(limits=replace(QUICK, stall=0.5, close=0.3))

    def attack() -> grpc.StatusCode:
        with raw(h, insurer) as calls:
            up, _ = calls.up()
            return up.code()

    attacking = asyncio.create_task(asyncio.to_thread(attack))
    link = await asyncio.wait_for(h.came.get(), 5)
    with pytest.raises(TransportError) as caught:
        await link.send("large", [bytes(1 << 20)])
    assert caught.value.code == "deadline"
    assert await asyncio.wait_for(attacking, 5) is grpc.StatusCode.CANCELLED
    await all_over(h)


async def test_a_second_call_that_is_never_accepted(paired: Pairing) -> None:
    """One deadline for both calls, and a name that says what happened."""
    h, i = await paired(limits=replace(QUICK, connect=1.0))
    release = threading.Event()

    def hang(*_: object) -> None:
        release.wait(10)

    with mock.patch.object(h.endpoint, "awaiting", hang):
        began = time.monotonic()
        with pytest.raises(TransportError) as caught:
            await i.endpoint.open_link("hospital", b"s")
        assert (caught.value.code, caught.value.party) == ("unreachable", "hospital")
        assert time.monotonic() - began < 5
        release.set()
    await all_over(h)


async def test_lost_while_its_reader_waits_for_room(paired: Pairing) -> None:
    """Both nodes' mailboxes are full when the connection goes: who sends is told why, and soon."""
    h, i = await paired(limits=replace(QUICK, credit=1 << 20, stall=20.0))
    host, port = h.address.split(":")
    with relay((host, int(port))) as between:
        i.book.replace(h.as_peer(f"127.0.0.1:{between.port}"))
        both = (await i.endpoint.open_link("hospital", b"s"), await h.came.get())
        sends = [asyncio.create_task(end.send("x", [bytes(64 << 20)])) for end in both]
        await asyncio.sleep(0.5)
    began = time.monotonic()
    for error in await asyncio.gather(*sends, return_exceptions=True):
        assert isinstance(error, TransportError)
        assert error.code == "unreachable"
    assert time.monotonic() - began < 10


async def test_as_many_links_as_allowed(paired: Pairing) -> None:
    """Those at the peer's wish and those at ours, all at once, each of two calls."""
    h, i = await paired(limits=replace(QUICK, links_per_peer=6))
    wished = [await i.endpoint.open_link("hospital", b"w%d" % n) for n in range(6)]
    expected = [asyncio.create_task(h.endpoint.accept_link("insurer", b"e%d" % n, 5)) for n in range(6)]
    await asyncio.sleep(0)
    wished += [await i.endpoint.open_link("hospital", b"e%d" % n) for n in range(6)]
    answered = [await h.came.get() for _ in range(6)] + [await one for one in expected]
    for here, there in zip(wished, answered, strict=True):
        await there.send("x", [b"1"])
        assert bytes(await here.recv("x", 1, 5)) == b"1"


async def test_a_second_call_that_is_refused(paired: Pairing) -> None:
    """The dialler is told why, and the other end learns that nobody is there."""
    h, i = await paired()
    with mock.patch.object(h.endpoint, "awaiting", return_value=None):
        with pytest.raises(PeerError) as caught:
            await i.endpoint.open_link("hospital", b"s")
        assert caught.value.code == "bad_ticket"
    link = await asyncio.wait_for(h.came.get(), 5)
    with pytest.raises(PrivcomputeError):
        await link.recv("x", 1, 5)
    assert await i.endpoint.open_link("hospital", b"next")


async def test_a_peer_that_ends_its_reading_early(paired: Pairing) -> None:
    """It ends the first call as if all were well, and says nothing over the other: sends fail, and do not wait."""
    release = threading.Event()

    def up(_self: object, _frames: Iterator[bytes], caller: Caller) -> Iterator[bytes]:
        caller.context.send_initial_metadata(((FINGERPRINT_KEY, hospital), (TICKET_KEY, b"t")))
        yield from ()

    def down(_self: object, _frames: Iterator[bytes], caller: Caller) -> Iterator[bytes]:
        caller.context.send_initial_metadata(((FINGERPRINT_KEY, hospital),))
        yield from silence(release)

    async def sends() -> None:
        while True:
            await dialled.send("x", [b"1"])
            await asyncio.sleep(0.05)

    with mock.patch.multiple(service._Services, link_up=up, link_down=down):
        h, i = await paired()
    hospital = h.identity.fingerprint
    dialled = await i.endpoint.open_link("hospital", b"s")
    try:
        with pytest.raises(TransportError) as caught:
            await asyncio.wait_for(sends(), 5)
        assert caught.value.code == "closed"
    finally:
        release.set()
