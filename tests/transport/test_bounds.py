"""What a paired peer, a failing book or an impatient user can cost this node: little, and with a name."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import cast
from unittest import mock

import grpc
import pytest

from privcompute.errors import PeerError, PrivcomputeError, TransportError
from privcompute.session import Channel
from privcompute.transport import renewal
from privcompute.transport.address import Address, cannot_listen
from privcompute.transport.book import MAX_TRIES, MemoryBook, Peer
from privcompute.transport.endpoint import Endpoint
from privcompute.transport.gate import JOIN, LINK_UP, PARTY_KEY, SESSION_KEY, VERSION_KEY
from privcompute.transport.identity import Identity
from privcompute.transport.invitation import invite
from privcompute.transport.limits import PROTOCOL_VERSION, TransportLimits
from privcompute.transport.outbox import SMALL_QUEUED, Outbox
from privcompute.transport.probe import _context as certificate_context
from privcompute.transport.tls import secure_channel

from .conftest import QUICK, Pairing, Party, party


def limits(**changed: float) -> TransportLimits:
    return TransportLimits(**{**vars(QUICK), **changed})


async def test_a_link_nobody_takes_ends(paired: Pairing) -> None:
    h, i = await paired(limits=limits(claim=0.3))
    idle, used = [await i.endpoint.open_link("hospital", name) for name in (b"idle", b"used")]
    await used.send("x", [b"1"])
    for _ in range(2):
        came = await h.came.get()
        if getattr(came, "session_id", b"") == b"used":
            await came.recv("x", 1, 5)
    with pytest.raises(TransportError) as caught:
        await idle.recv("x", 1, 5)
    assert caught.value.code == "unclaimed"
    await used.send("y", [b"still here"])


async def test_a_link_that_comes_too_late_is_refused(paired: Pairing) -> None:
    h, i = await paired()
    with pytest.raises(TransportError) as missed:
        await h.endpoint.accept_link("insurer", b"late", 0.05)
    assert (missed.value.code, missed.value.party) == ("unreachable", "insurer")
    waiting = asyncio.create_task(h.endpoint.accept_link("insurer", b"given up", 5))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    for session in (b"late", b"given up"):
        with pytest.raises(PeerError) as caught:
            await i.endpoint.open_link("hospital", session)
        assert caught.value.code == "late"
    assert h.came.empty()


async def test_expected_links_are_no_wishes(paired: Pairing) -> None:
    """The cap binds what a peer wants of us, not what we asked it for."""
    h, i = await paired(limits=limits(links_per_peer=1))
    await i.endpoint.open_link("hospital", b"its own wish")
    awaited = asyncio.create_task(h.endpoint.accept_link("insurer", b"ours", 5))
    await asyncio.sleep(0)
    await i.endpoint.open_link("hospital", b"ours")
    assert (await awaited).peer == "insurer"
    with pytest.raises(PeerError, match="refused"):
        await i.endpoint.open_link("hospital", b"another wish")


async def test_wishes_over_a_control_stream_are_capped(hospital: Identity, insurer: Identity) -> None:
    """A peer that asks for a hundred sessions makes this node dial no more than it may have open."""
    cap = limits(links_per_peer=2)
    async with (
        party(hospital, Peer("insurer", (insurer.certificate,)), limits=limits(links_per_peer=50)) as h,
        party(insurer, h.as_peer(h.address), listen=None, limits=cap, keep_control=True) as i,
    ):
        with contextlib.ExitStack() as all_wanted:

            def want(session_id: bytes) -> bool:
                return all_wanted.enter_context(h.endpoint.standing.wanting((insurer.fingerprint,), session_id))

            for _ in range(100):
                if want(b"first"):
                    break
                await asyncio.sleep(0.05)
            for n in range(60):
                want(b"%d" % n)
        await asyncio.sleep(1.0)
        assert h.came.qsize() == 2
        assert i.came.qsize() == 2


async def test_faults_of_a_handler_tell_the_peer_nothing(
    paired: Pairing, caplog: pytest.LogCaptureFixture, insurer: Identity
) -> None:
    h, i = await paired()
    secret = "/home/hospital/patients.db is locked"

    def call() -> grpc.RpcError:
        with secure_channel(f"ipv4:{h.address}", insurer, "hospital", (h.identity.certificate,), QUICK) as channel:
            claims = ((PARTY_KEY, "insurer"), (VERSION_KEY, PROTOCOL_VERSION), (SESSION_KEY, b"s"))
            stream = channel.stream_stream(LINK_UP)(iter([]), metadata=claims, timeout=5)
            with pytest.raises(grpc.RpcError) as caught:
                list(stream)
        return caught.value

    with mock.patch.object(h.book, "all", side_effect=RuntimeError(secret)), caplog.at_level(logging.CRITICAL):
        # TLS itself asks the book, so the handshake fails; with the connection made before, the call does.
        error = await asyncio.to_thread(call)
    assert secret not in str(error)
    with mock.patch.object(h.endpoint, "incoming", side_effect=RuntimeError(secret)), caplog.at_level(logging.CRITICAL):
        error = await asyncio.to_thread(call)
    assert isinstance(error, grpc.Call)
    assert error.code() is grpc.StatusCode.INTERNAL
    assert error.details() == "the node met a fault of its own"
    assert await i.endpoint.open_link("hospital", b"next")


async def test_faults_of_an_answer_tell_the_peer_nothing(
    hospital: Identity, insurer: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    async def fault(_peer: str, _session: bytes, _channel: Channel) -> None:
        raise RuntimeError("a row of the table")

    endpoint = Endpoint(
        hospital, MemoryBook(Peer("insurer", (insurer.certificate,))), listen="127.0.0.1:0", on_link=fault, limits=QUICK
    )
    await endpoint.start()
    server = Peer("hospital", (hospital.certificate,), endpoint.addresses)
    async with party(insurer, server, listen=None) as i:
        with caplog.at_level(logging.CRITICAL):
            link = await i.endpoint.open_link("hospital", b"s")
            with pytest.raises(PeerError) as caught:
                await link.recv("x", 10, 5)
        assert caught.value.code == "internal"
        assert "row" not in str(caught.value)
    await endpoint.stop()


async def test_unpairing_is_seen_after_the_book_was_ill(paired: Pairing, caplog: pytest.LogCaptureFixture) -> None:
    h, i = await paired()
    link = await i.endpoint.open_link("hospital", b"s")
    with caplog.at_level(logging.CRITICAL), mock.patch.object(h.book, "all", side_effect=OSError("disk")):
        await asyncio.sleep(0.3)
    h.book.remove("insurer")
    with pytest.raises(TransportError) as caught:
        await link.recv("x", 1, 5)
    assert caught.value.code == "unpaired"


async def test_a_silent_join_burns_a_try(hospital: Identity) -> None:
    async with party(hospital) as h:
        invitation = invite(hospital, "insurer", h.endpoint.addresses)
        h.book.invite(invitation.pending())
        release = threading.Event()

        def silence() -> Iterator[bytes]:
            release.wait(5)
            yield from ()

        def call() -> None:
            temporary = invitation.temporary()
            with secure_channel(f"ipv4:{h.address}", temporary, "hospital", (hospital.certificate,), QUICK) as channel:
                stream = channel.stream_stream(JOIN)(silence(), timeout=0.3)
                with pytest.raises(grpc.RpcError):
                    list(stream)

        for used in range(MAX_TRIES):
            assert h.book.invitations()[0].tries == used
            await asyncio.to_thread(call)
        assert h.book.invitations() == ()
        release.set()


async def test_a_dial_given_up_ends_at_once(insurer: Identity, hospital: Identity) -> None:
    """Ctrl-C while a peer does not answer: the address accepts connections and then says nothing."""
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        server = Peer("hospital", (hospital.certificate,), (address,))
        async with party(insurer, server, listen=None, limits=limits(connect=60.0)) as i:
            opening = asyncio.create_task(i.endpoint.open_link("hospital", b"s"))
            await asyncio.sleep(0.2)
            opening.cancel()
            began = time.monotonic()
            await asyncio.wait({opening})
        assert time.monotonic() - began < 2  # the thread that dialled included: `stop` waits for it


async def test_stop_leaves_no_thread_and_no_task(hospital: Identity, insurer: Identity) -> None:
    before, tasks = set(threading.enumerate()), asyncio.all_tasks()
    async with (
        party(hospital, Peer("insurer", (insurer.certificate,))) as h,
        party(insurer, h.as_peer(h.address), listen=None, keep_control=True) as i,
    ):
        links = [await i.endpoint.open_link("hospital", bytes([n])) for n in range(3)]
        await links[0].send("x", [bytes(3 << 20)])
        await links[1].close()
        assert len(threading.enumerate()) > len(before) + 3
    await asyncio.sleep(0.1)  # gRPC's own thread that watches the connections needs a moment
    assert [one.name for one in set(threading.enumerate()) - before if not one.name.startswith("asyncio_")] == []
    assert asyncio.all_tasks() == tasks


async def test_strangers_hold_few_connections_and_none_for_long(paired: Pairing) -> None:
    """Whoever connects and shows no certificate is cut off: beyond the cap at once, else when the handshake is due."""
    h, i = await paired(limits=limits(connections=4, handshake=1.0))
    port = int(h.address.split(":")[1])

    def cut_off(count: int) -> list[float]:
        began = time.monotonic()
        ends: list[float] = []
        with selectors.DefaultSelector() as open_ones:
            for _ in range(count):
                open_ones.register(socket.create_connection(("127.0.0.1", port), 5), selectors.EVENT_READ)
            while open_ones.get_map() and time.monotonic() < began + 10:
                for key, _ in open_ones.select(1):
                    one = cast(socket.socket, key.fileobj)
                    if not one.recv(1000):
                        open_ones.unregister(one)
                        one.close()
                        ends.append(time.monotonic() - began)
        return ends

    ends = await asyncio.to_thread(cut_off, 7)
    assert len(ends) == 7
    assert ends[2] < 0.5 < ends[3], ends  # three too many
    assert ends[-1] < 3
    assert await i.endpoint.open_link("hospital", b"s")


async def test_a_connection_without_a_call_is_closed(paired: Pairing, insurer: Identity) -> None:
    h, _ = await paired(limits=limits(unused=0.3))
    host, port = h.address.split(":")

    def hold() -> float:
        with (
            certificate_context(insurer) as context,
            socket.create_connection((host, int(port)), 5) as raw,
            context.wrap_socket(raw) as tls,
        ):
            tls.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5))
            began = time.monotonic()
            while tls.recv(1000):
                pass
            return time.monotonic() - began

    assert await asyncio.to_thread(hold) < 4


async def test_a_stopping_node_takes_no_link(paired: Pairing) -> None:
    h, i = await paired()
    h.endpoint._stopping = True  # as `stop` sets it first: between that and the end of the port
    with pytest.raises(PrivcomputeError) as caught:
        await i.endpoint.open_link("hospital", b"s")
    assert caught.value.code == "stopping"
    h.endpoint._stopping = False


async def test_even_empty_messages_fill_the_queue() -> None:
    outbox = Outbox(asyncio.get_running_loop())
    count = 0
    while outbox.put(f"m{count}", [b""]) is None:
        count += 1
        assert count <= SMALL_QUEUED
    assert count > 1000
    outbox.kill()


def test_why_a_node_cannot_listen() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        assert cannot_listen(Address("127.0.0.1", other.getsockname()[1])).code == "port_taken"
    for host in ("192.0.2.1", "2001:db8::1", "no.such.name.invalid"):
        error = cannot_listen(Address(host, 0))
        assert (error.code, host in error.message) == ("cannot_listen", True)


async def test_renewals_that_cross_each_other(hospital: Identity, insurer: Identity) -> None:
    """Both announce their next certificates at the same time, one of them over the other's control stream."""
    async with (
        party(hospital, Peer("insurer", (insurer.certificate,))) as h,
        party(insurer, h.as_peer(h.address), listen=None, keep_control=True) as i,
    ):
        await _control_stands(h, insurer)
        nexts = hospital.renew(), insurer.renew()
        await asyncio.wait_for(
            asyncio.gather(
                renewal.tell(h.endpoint, "insurer", nexts[0]), renewal.tell(i.endpoint, "hospital", nexts[1])
            ),
            10,
        )
        for book, name, following in ((i.book, "hospital", nexts[0]), (h.book, "insurer", nexts[1])):
            known = book.get(name)
            assert known is not None
            assert following.fingerprint in known.fingerprints


async def _control_stands(h: Party, insurer: Identity) -> None:
    for _ in range(100):
        if insurer.fingerprint in h.endpoint.standing._streams:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("no control stream")
