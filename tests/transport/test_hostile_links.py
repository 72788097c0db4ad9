"""A paired peer that sends garbage, vanishes, stalls or floods: its link ends with a name, and nothing else does."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from support.relay import Mischief, relay

from privcompute.errors import PeerError, PrivcomputeError, TransportError
from privcompute.transport.frames import first_header, more_header
from privcompute.transport.gate import LINK_UP, PARTY_KEY, SESSION_KEY, VERSION_KEY
from privcompute.transport.identity import Identity
from privcompute.transport.limits import CHUNK, MAX_FRAME, PROTOCOL_VERSION

from .conftest import QUICK, Pairing, Party, raw

LONG = replace(QUICK, keepalive=600.0, stall=60.0)


def raw_link(h: Party, insurer: Identity, frames: list[bytes], hold: float = 0.3) -> None:
    """Opens a link as the insurer would and sends these frames as they are, whatever they are."""
    with raw(h, insurer) as calls:
        up, _ = calls.up(frames)
        time.sleep(hold)
        calls.over.set()
        up.code()  # waits for the end


HOSTILE = {
    "unknown kind": [b"\x09\x00\x00\x00"],
    "empty": [b""],
    "truncated header": [first_header(b"x", 3)[:7]],
    "wrong offset": [first_header(b"x", 2 * CHUNK) + bytes(CHUNK), more_header(7) + bytes(CHUNK)],
    "crumbs": [first_header(b"x", 2 * CHUNK) + b"crumb"],
    "no beginning": [more_header(CHUNK) + b"x"],
    "replayed": [first_header(b"y", 1) + b"1", first_header(b"y", 1) + b"1"],
    "larger than the limit": [first_header(b"x", 1 << 40) + bytes(CHUNK)],
}


@pytest.mark.parametrize("frames", HOSTILE.values(), ids=HOSTILE.keys())
async def test_bad_frames_end_that_link_only(paired: Pairing, insurer: Identity, frames: list[bytes]) -> None:
    h, i = await paired(limits=LONG)
    good = await i.endpoint.open_link("hospital", b"good")
    answered = await h.came.get()
    attack = asyncio.create_task(asyncio.to_thread(raw_link, h, insurer, frames))
    bad = await asyncio.wait_for(h.came.get(), 5)
    with pytest.raises(PeerError) as caught:
        await bad.recv("x", 3 * CHUNK, 5)
    assert caught.value.code in {"bad_frame", "replayed", "oversize"}
    assert caught.value.party == "insurer"
    await attack
    await good.send("still", [b"here"])
    assert bytes(await answered.recv("still", 10, 5)) == b"here"
    (await i.endpoint.open_link("hospital", b"next")).signal("progress", b"")


async def test_a_large_message_that_comes_twice(paired: Pairing, insurer: Identity) -> None:
    """The first goes straight to who awaits it, and the second nowhere."""
    h, _ = await paired(limits=LONG)
    frames = [first_header(b"x", 2 * CHUNK) + bytes(CHUNK), more_header(CHUNK) + bytes(CHUNK)]
    attack = asyncio.create_task(asyncio.to_thread(raw_link, h, insurer, 2 * frames))
    bad = await asyncio.wait_for(h.came.get(), 5)
    assert len(await bad.recv("x", 2 * CHUNK, 5)) == 2 * CHUNK
    with pytest.raises(PeerError) as caught:
        await bad.recv("y", 2 * CHUNK, 5)
    assert (caught.value.code, caught.value.stage) == ("replayed", "x")
    await attack


async def test_oversized_frame(paired: Pairing, insurer: Identity) -> None:
    """gRPC refuses to receive it at all; our own client would not even send it."""
    h, _ = await paired()
    attack = asyncio.create_task(asyncio.to_thread(_send_oversized, h, insurer))
    bad = await asyncio.wait_for(h.came.get(), 5)
    with pytest.raises(TransportError) as caught:
        await bad.recv("x", MAX_FRAME * 2, 5)
    assert caught.value.party == "insurer"
    await attack


def _send_oversized(h: Party, insurer: Identity) -> None:
    credentials = grpc.ssl_channel_credentials(
        h.identity.certificate.encode(), insurer.key, insurer.certificate.encode()
    )
    options = [("grpc.ssl_target_name_override", "hospital.privcompute"), ("grpc.max_send_message_length", -1)]
    claims = ((PARTY_KEY, "insurer"), (VERSION_KEY, PROTOCOL_VERSION), (SESSION_KEY, b"raw"))
    with grpc.secure_channel(h.address, credentials, options=options) as channel:
        call = channel.stream_stream(LINK_UP)(
            iter([first_header(b"x", 9) + bytes(MAX_FRAME)]), metadata=claims, timeout=5
        )
        with pytest.raises(grpc.RpcError):
            for _ in call:
                pass


async def test_the_peer_is_told(paired: Pairing) -> None:
    """The other side's library sees why its link ended."""
    h, i = await paired()
    dialled = await i.endpoint.open_link("hospital", b"s")
    answered = await h.came.get()
    await dialled.send("y", [b"1"])
    await answered.recv("y", 1, 5)
    await dialled.send("y", [b"2"])
    with pytest.raises(PeerError) as caught:
        await dialled.recv("x", 1, 5)
    assert caught.value.code == "replayed"


async def test_links_of_one_peer_are_capped(paired: Pairing) -> None:
    h, i = await paired(limits=replace(QUICK, links_per_peer=2))
    links = [await i.endpoint.open_link("hospital", bytes([n])) for n in (1, 2)]
    with pytest.raises(PrivcomputeError) as caught:
        await i.endpoint.open_link("hospital", b"3")
    assert caught.value.code == "busy"
    await links[0].close()
    await asyncio.sleep(0.1)
    assert await i.endpoint.open_link("hospital", b"4")
    assert h.came.qsize() == 3


async def test_idle_link_ends(paired: Pairing) -> None:
    h, i = await paired(limits=replace(QUICK, idle=0.3))
    link = await i.endpoint.open_link("hospital", b"s")
    answered = await h.came.get()
    for end in (link, answered):
        with pytest.raises(TransportError) as caught:
            await end.recv("x", 1, 5)
        assert caught.value.code == "idle"


async def test_a_cancelled_send_ends_the_link(paired: Pairing) -> None:
    h, i = await paired(limits=replace(QUICK, credit=CHUNK))
    link = await i.endpoint.open_link("hospital", b"s")
    await h.came.get()
    sending = asyncio.create_task(link.send("x", [bytes(30 * CHUNK)]))
    await asyncio.sleep(0.2)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    with pytest.raises(TransportError) as caught:
        await link.recv("y", 1, 5)
    assert caught.value.code == "cancelled"


async def test_a_stalled_send_names_peer_and_label(paired: Pairing) -> None:
    h, i = await paired(limits=replace(QUICK, credit=CHUNK, stall=0.4))
    link = await i.endpoint.open_link("hospital", b"s")
    await h.came.get()
    with pytest.raises(TransportError) as caught:
        await link.send("run/big", [bytes(30 * CHUNK)])
    assert (caught.value.code, caught.value.party, caught.value.stage) == ("deadline", "hospital", "run/big")


@pytest.mark.parametrize("kind", ["cut", "stall"])
async def test_network_that_goes_away(paired: Pairing, kind: str) -> None:
    """A reset shows at once, a network that swallows everything by the keepalive; at both ends."""
    h, i = await paired()
    host, port = h.address.split(":")
    with relay((host, int(port))) as between:
        i.book.replace(h.as_peer(f"127.0.0.1:{between.port}"))
        link = await i.endpoint.open_link("hospital", b"s")
        answered = await h.came.get()
        await link.send("a", [b"x"])
        await answered.recv("a", 1, 5)
        between.arm(Mischief("cut" if kind == "cut" else "stall", 0, "up"))
        began = time.monotonic()
        await link.send("b", [b"x"])
        for end in (link, answered):
            with pytest.raises(TransportError) as caught:
                await end.recv("c", 1, 30)
            assert caught.value.code == "unreachable"
            assert caught.value.party == end.peer
        assert time.monotonic() - began < 10


CHILD = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from privcompute.transport.book import MemoryBook, Peer
    from privcompute.transport.endpoint import Endpoint
    from privcompute.transport.identity import Identity

    async def main():
        home, address = Path(sys.argv[1]), sys.argv[2]
        server = (home / "server.pem").read_text()
        book = MemoryBook(Peer("hospital", (server,), (address,)))

        async def nothing(peer, session, channel):
            raise AssertionError("nobody opens a link to this process")

        endpoint = Endpoint(Identity.load(home), book, listen=None, on_link=nothing)
        await endpoint.start()
        link = await endpoint.open_link("hospital", b"s")
        await link.recv("go", 10, 60)
        def peak():
            status = Path("/proc/self/status").read_text()
            return int(status.split("VmHWM:")[1].split()[0]) << 10
        block = bytearray(b"x") * (256 << 20)
        before = peak()
        for n in range(4):
            await link.send(f"block.{n}", [block])
        await link.send("cost", [str(peak() - before).encode()])
        await link.close()
        await endpoint.stop()

    asyncio.run(main())
""")


async def test_sigkill_is_noticed_at_once(paired: Pairing, insurer: Identity, tmp_path: Path) -> None:
    h, _ = await paired(limits=LONG)
    child = _child(h, insurer, tmp_path)
    link = await asyncio.wait_for(h.came.get(), 20)
    os.kill(child.pid, signal.SIGKILL)
    began = time.monotonic()
    with pytest.raises(TransportError) as caught:
        await link.recv("never", 10, 60)
    assert time.monotonic() - began < 2
    assert (caught.value.code, caught.value.party) == ("unreachable", "insurer")
    child.wait()


async def test_a_slow_reader_of_a_gigabyte_costs_the_sender_little(
    paired: Pairing, insurer: Identity, tmp_path: Path
) -> None:
    """The sender's peak beyond its own 256 MiB block, four times sent, stays below 64 MB."""
    h, _ = await paired(limits=LONG)
    child = _child(h, insurer, tmp_path)
    link = await asyncio.wait_for(h.came.get(), 20)
    await link.send("go", [b"go"])
    await asyncio.sleep(1.0)  # nobody reads: the sender runs into the credit and stays there
    for n in range(4):
        await asyncio.sleep(0.1)
        assert len(await link.recv(f"block.{n}", 256 << 20, 60)) == 256 << 20
    cost = int(bytes(await link.recv("cost", 20, 60)))
    assert cost < 64_000_000, f"{cost / 1e6:.0f} MB"
    h.release.set()
    assert await asyncio.to_thread(child.wait, 20) == 0


def _child(h: Party, insurer: Identity, home: Path) -> subprocess.Popen[bytes]:
    insurer.save(home)
    (home / "server.pem").write_text(h.identity.certificate)
    return subprocess.Popen([sys.executable, "-c", CHILD, str(home), h.address])


async def test_close_twice_and_late_close(paired: Pairing) -> None:
    h, i = await paired()
    link = await i.endpoint.open_link("hospital", b"s")
    answered = await h.came.get()
    await asyncio.gather(link.close(), answered.close(), link.close())
    await answered.close()
    for end in (link, answered):
        with pytest.raises(TransportError) as caught:
            await end.send("x", [b""])
        assert caught.value.code == "closed"
