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
from privcompute.transport.frames import first_header
from privcompute.transport.gate import CODE_KEY, LINK_DOWN, LINK_UP, PARTY_KEY, SESSION_KEY, TICKET_KEY, VERSION_KEY
from privcompute.transport.identity import Identity
from privcompute.transport.limits import PROTOCOL_VERSION
from privcompute.transport.tls import secure_channel

from .conftest import QUICK, Pairing, Party


class Raw:
    """Both calls, made by hand as that party."""

    def __init__(self, h: Party, identity: Identity) -> None:
        self.identity = identity
        self.over = threading.Event()
        self.channel = secure_channel(f"ipv4:{h.address}", identity, h.name, (h.identity.certificate,), QUICK)

    def _said(self, *more: tuple[str, bytes]) -> tuple[tuple[str, str | bytes], ...]:
        return ((PARTY_KEY, self.identity.name), (VERSION_KEY, PROTOCOL_VERSION), *more)

    def up(self, frames: list[bytes] | None = None, session_id: bytes = b"raw") -> tuple[Any, bytes]:
        """The first call, and the ticket it is given."""

        def send() -> Iterator[bytes]:
            yield from frames or ()
            self.over.wait()

        call = self.channel.stream_stream(LINK_UP)(send(), metadata=self._said((SESSION_KEY, session_id)), timeout=20)
        return call, dict(call.initial_metadata()).get(TICKET_KEY, b"")

    def down(self, *tickets: bytes) -> Any:
        """The second call, with that ticket."""
        said = self._said(*((TICKET_KEY, ticket) for ticket in tickets))
        return self.channel.stream_stream(LINK_DOWN)(iter(()), metadata=said, timeout=20)

    def refused(self, *tickets: bytes) -> str:
        """The code by which the second call is refused."""
        call = self.down(*tickets)
        with pytest.raises(grpc.RpcError):
            next(call)
        return str(dict(call.trailing_metadata())[CODE_KEY])


@contextlib.contextmanager
def raw(h: Party, identity: Identity) -> Iterator[Raw]:
    calls = Raw(h, identity)
    try:
        yield calls
    finally:
        calls.over.set()
        calls.channel.close()


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


async def ends(h: Party) -> None:
    """Waits until no call is served and no link is kept."""
    for _ in range(100):
        if not (served(h) or h.endpoint._half or h.endpoint._links):
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"{served(h)} calls, {len(h.endpoint._links)} links are left")


@pytest.mark.parametrize("how", ["unpaired", "up", "down", "idle"])
async def test_a_call_that_nobody_reads_ends_with_the_link(paired: Pairing, insurer: Identity, how: str) -> None:
    """The sender's thread waits for gRPC, which waits for the peer to take something."""
    h, _ = await paired(limits=replace(QUICK, close=0.3, idle=0.5 if how == "idle" else 900.0))
    done = threading.Event()

    def attack(filled: threading.Event) -> None:
        with raw(h, insurer) as calls:
            up, ticket = calls.up()
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
        assert caught.value.code == {"unpaired": "unpaired", "idle": "idle"}.get(how, "unreachable")
        await ends(h)
    finally:
        done.set()
        await attacking


async def test_calls_without_a_request_pass_the_gate_first(paired: Pairing, insurer: Identity) -> None:
    """As many as one peer may have, and not as many as the node has threads."""
    h, i = await paired(limits=replace(QUICK, links_per_peer=1))
    release = threading.Event()

    def silence() -> Iterator[bytes]:
        release.wait(20)
        yield from ()

    with raw(h, insurer) as calls:
        for _ in range(40):
            calls.channel.stream_stream("/grpc.health.v1.Health/Check")(silence(), timeout=20)
        await asyncio.sleep(0.5)
        assert served(h) <= h.endpoint.limits.calls_per_peer
        release.set()
        await ends(h)
    assert await i.endpoint.open_link("hospital", b"s")


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
    await ends(h)


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
    await ends(h)


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
    """The listening node ends the first call as if all were well: the dialler's sends fail, and do not wait."""
    h, i = await paired()
    dialled = await i.endpoint.open_link("hospital", b"s")
    answered = await h.came.get()
    answered.peer_done.set()  # type: ignore[attr-defined]  # so its handler returns

    async def sends() -> None:
        while True:
            await dialled.send("x", [b"1"])
            await asyncio.sleep(0.05)

    with pytest.raises(TransportError) as caught:
        await asyncio.wait_for(sends(), 5)
    assert caught.value.code in {"closed", "unreachable"}  # as far as the other end still tells what it saw
