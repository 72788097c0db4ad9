"""What every `Channel` promises, tried on the loopback and on both ends of a gRPC link."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from privcompute.errors import IntegrityError, PeerError, PrivacyError, PrivcomputeError, TransportError
from privcompute.session import Channel

from .conftest import MakeEnds

MIB = 1 << 20
SECONDS = 10.0


async def pull(channel: Channel, label: str, limit: int = 1 << 30) -> bytes:
    return bytes(await channel.recv(label, limit, SECONDS))


async def test_labels_not_order(ends: MakeEnds) -> None:
    a, b = await ends()
    for name in "xyz":
        await a.send(name, [name.encode()])
    assert [await pull(b, name) for name in "zxy"] == [b"z", b"x", b"y"]


async def test_peer_is_named(ends: MakeEnds) -> None:
    a, b = await ends()
    assert {a.peer, b.peer} == {"hospital", "insurer"}


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, MIB - 1, MIB, MIB + 1, 5 * MIB + 3])
async def test_sizes(ends: MakeEnds, size: int) -> None:
    a, b = await ends()
    data = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)
    await asyncio.gather(a.send("x", [data]), b.send("x", [data]))
    assert await pull(b, "x") == data.tobytes() == await pull(a, "x")


async def test_parts_are_joined_and_may_be_any_buffer(ends: MakeEnds) -> None:
    a, b = await ends()
    array = np.arange(3 * MIB // 8 + 5, dtype="<u8")
    parts = [b"head", array, bytearray(b""), memoryview(b"middle"), array[:7], b"tail"]
    task = asyncio.create_task(a.send("x", parts))
    expected = b"head" + array.tobytes() + b"middle" + array[:7].tobytes() + b"tail"
    assert await pull(b, "x") == expected
    await task


async def test_buffers_may_change_after_send(ends: MakeEnds) -> None:
    a, b = await ends()
    for size in (10, 3 * MIB):
        array = np.ones(size, dtype=np.uint8)
        await a.send(f"x{size}", [array])
        array[:] = 2
        assert set(await pull(b, f"x{size}")) == {1}


async def test_what_arrives_is_read_only(ends: MakeEnds) -> None:
    a, b = await ends()
    await asyncio.gather(a.send("small", [b"1"]), a.send("big", [bytes(2 * MIB)]))
    for name in ("small", "big"):
        assert (await b.recv(name, 3 * MIB, SECONDS)).readonly


@pytest.mark.parametrize("size", [64, 70_000, MIB + 64, 2 * MIB])
async def test_what_arrives_is_aligned(ends: MakeEnds, size: int) -> None:
    """Numbers behind a session's header of 64 bytes can be used where they lie, whatever the label's length."""
    a, b = await ends()
    for label in ("x", "xy", "run/product.1/reveal.2/share.12"):
        await asyncio.gather(a.send(label, [bytes(size)]), pull_raw := asyncio.ensure_future(b.recv(label, size, 5)))
        assert np.frombuffer(pull_raw.result(), np.uint8).ctypes.data % 16 == 0


async def test_many_small_both_ways(ends: MakeEnds) -> None:
    a, b = await ends()

    async def talk(channel: Channel) -> list[bytes]:
        for n in range(500):
            await channel.send(f"n/{n}", [n.to_bytes(4, "big")])
        return [await pull(channel, f"n/{n}") for n in range(500)]

    expected = [n.to_bytes(4, "big") for n in range(500)]
    assert list(await asyncio.gather(talk(a), talk(b))) == [expected, expected]


async def test_concurrent_labels(ends: MakeEnds) -> None:
    a, b = await ends()
    sizes = {f"l{n}": (n * 331_777) % (3 * MIB) for n in range(12)}
    sends = [a.send(name, [bytes([len(name)]) * size]) for name, size in sizes.items()]
    sending = asyncio.gather(*sends)
    got = await asyncio.gather(*(pull(b, name) for name in reversed(sizes)))
    await sending
    assert [len(data) for data in got] == list(reversed(sizes.values()))


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("size", [11, 2 * MIB])
async def test_limit(ends: MakeEnds, when: str, size: int) -> None:
    a, b = await ends()
    receiving = None
    if when == "before":
        receiving = asyncio.create_task(b.recv("x", 10, SECONDS))
        await asyncio.sleep(0.05)
    await asyncio.wait({asyncio.create_task(a.send("x", [bytes(size)]))}, timeout=1)
    if receiving is None:
        await asyncio.sleep(0.05)
    with pytest.raises(PeerError, match="larger") as caught:
        await (receiving or b.recv("x", 10, SECONDS))
    assert (caught.value.code, caught.value.party, caught.value.stage) == ("oversize", b.peer, "x")


async def test_label_once(ends: MakeEnds) -> None:
    a, b = await ends()
    await a.send("x", [b"1"])
    await pull(b, "x")
    await a.send("x", [b"2"])
    with pytest.raises(PeerError) as caught:
        await b.recv("y", 10, SECONDS)
    assert caught.value.code == "replayed"


async def test_deadline_names_party_and_label(ends: MakeEnds) -> None:
    _, b = await ends()
    with pytest.raises(TransportError) as caught:
        await b.recv("run/mean.1/share", 10, 0.1)
    assert (caught.value.code, caught.value.party, caught.value.stage) == ("deadline", b.peer, "run/mean.1/share")


async def test_progress_is_a_sign_of_life(ends: MakeEnds) -> None:
    a, b = await ends()
    heard: list[tuple[str, bytes]] = []
    b.on_signal(lambda kind, body: heard.append((kind, body)))

    async def alive() -> None:
        for n in range(8):
            a.signal("progress", bytes([n]))
            await asyncio.sleep(0.25)
        await a.send("x", [b"done"])

    task = asyncio.create_task(alive())
    assert bytes(await b.recv("x", 10, 1.5)) == b"done"
    await task
    assert heard[-1] == ("progress", b"\x07")


async def test_early_frames_within_the_credit(ends: MakeEnds) -> None:
    a, b = await ends(credit=4 * MIB)
    for n in range(3):
        await a.send(f"early/{n}", [bytes([n]) * MIB])
    await a.send("awaited", [b"now"])
    assert await pull(b, "awaited") == b"now"
    assert [(await pull(b, f"early/{n}"))[0] for n in range(3)] == [0, 1, 2]


async def test_full_credit_is_named(ends: MakeEnds) -> None:
    a, b = await ends(credit=MIB)
    receiving = asyncio.create_task(b.recv("awaited", 10, SECONDS))
    await asyncio.sleep(0.05)
    sending = asyncio.create_task(a.send("early", [bytes(2 * MIB)]))
    with pytest.raises(PeerError) as caught:
        await receiving
    assert (caught.value.code, caught.value.stage) == ("credit", "awaited")
    await asyncio.wait({sending}, timeout=SECONDS)
    sending.exception()


async def test_full_credit_pauses_the_sender(ends: MakeEnds) -> None:
    a, b = await ends(credit=MIB)
    sending = asyncio.create_task(a.send("x", [bytes(40 * MIB)]))
    done, _ = await asyncio.wait({sending}, timeout=0.3)
    assert not done
    assert len(await pull(b, "x")) == 40 * MIB
    await sending


async def test_close_delivers_what_was_sent(ends: MakeEnds) -> None:
    a, b = await ends()
    data = bytes(3 * MIB)
    receiving = asyncio.create_task(pull(b, "x"))
    await a.send("x", [data])
    await a.send("y", [b"last"])
    await a.close()
    assert await receiving == data
    assert await pull(b, "y") == b"last"
    with pytest.raises(TransportError) as caught:
        await b.recv("z", 10, SECONDS)
    assert caught.value.code == "closed"
    with pytest.raises(TransportError):
        await a.send("z", [b""])
    await b.close()


async def test_unclaimed_is_reported(ends: MakeEnds) -> None:
    a, b = await ends()
    await a.send("nobody/asked", [b"x"])
    await a.send("awaited", [b"x"])
    await pull(b, "awaited")
    assert b.unclaimed() == ["nobody/asked"]


async def test_abort_travels(ends: MakeEnds) -> None:
    a, b = await ends()
    receiving = asyncio.create_task(b.recv("x", 10, SECONDS))
    await asyncio.sleep(0.05)
    error = PrivacyError("no", code="minimum", remedy="ask for less", party="insurer", stage="run/check")
    await a.abort(error)
    with pytest.raises(PrivacyError) as caught:
        await receiving
    assert caught.value.to_json() == error.to_json()
    with pytest.raises(PrivcomputeError):
        await b.send("y", [b""])
    with pytest.raises(TransportError):
        await a.recv("z", 10, SECONDS)


async def test_abort_in_the_middle_of_a_message(ends: MakeEnds) -> None:
    a, b = await ends(credit=MIB)
    sending = asyncio.create_task(a.send("big", [bytes(64 * MIB)]))
    await asyncio.sleep(0.1)
    await a.abort(IntegrityError("broken", code="digest"))
    with pytest.raises(PrivcomputeError):
        await b.recv("other", 10, SECONDS)
    await asyncio.wait({sending}, timeout=SECONDS)
    assert sending.done()
    sending.exception()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_order_any_sizes(data: st.DataObject) -> None:
    """On the loopback alone: the three kinds share the mailbox, and a fixture per example would be slow."""
    from privcompute.testing import loopback_pair

    sizes = data.draw(st.lists(st.integers(0, 3000), min_size=1, max_size=20))
    order = data.draw(st.permutations(range(len(sizes))))

    async def run() -> None:
        to_second, to_first = loopback_pair("first", "second", credit=1 << 20)
        for n, size in enumerate(sizes):
            await to_second.send(f"m{n}", [bytes([n]) * size])
        for n in order:
            assert bytes(await to_first.recv(f"m{n}", 3000, SECONDS)) == bytes([n]) * sizes[n]

    asyncio.run(run())
