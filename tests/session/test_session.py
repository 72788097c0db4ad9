"""Sessions over loopback: labels, headers, rounds, faults, credit."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import numpy as np
import pytest

from privcompute.errors import IntegrityError, PeerError, PrivcomputeError, TransportError, UsageError
from privcompute.mpc import Shared, deal, reveal
from privcompute.ring import Ring
from privcompute.session import Limits, Session
from privcompute.session.buffers import SMALLEST
from privcompute.session.hello import hello
from privcompute.session.mailbox import Mailbox
from privcompute.testing import Entry, Fault, FaultyChannel, RecordingChannel, simulate
from privcompute.testing.simulate import Wrap


async def swap(s: Session, mine: Any) -> Any:
    await s.send(s.peer, "value", np.asarray(mine, dtype=np.int64))
    return (await s.recv(s.peer, "value", np.int64, (3,))).tolist()


INPUTS = {"alice": [1, 2, 3], "bob": [4, 5, 6]}


def faulty(fault: Fault, at: str = "alice") -> Wrap:
    return lambda me, channel: FaultyChannel(channel, fault) if me == at else channel


def test_messages_meet_by_label() -> None:
    run = simulate(swap, inputs=INPUTS)
    assert run.results == {"alice": [4, 5, 6], "bob": [1, 2, 3]}
    assert run.rounds == 1
    assert run.bytes_sent == 2 * (64 + 24)


def test_order_does_not_matter() -> None:
    async def sender(s: Session) -> None:
        for name in ("a", "b", "c"):
            await s.send_bytes("bob", name, name.encode())

    async def receiver(s: Session) -> list[bytes]:
        return [await s.recv_bytes("alice", name, 10) for name in ("c", "a", "b")]

    assert simulate({"alice": sender, "bob": receiver}).results["bob"] == [b"c", b"a", b"b"]


def test_rounds_are_the_longest_chain() -> None:
    async def program(s: Session) -> None:
        for _ in range(3):
            if s.me == "alice":
                await s.send_bytes("bob", "ping", b"x")
                await s.recv_bytes("bob", "pong", 1)
            else:
                await s.recv_bytes("alice", "ping", 1)
                await s.send_bytes("alice", "pong", b"y")

    # The stream "ping" is one stream of one round, so name the turns.
    async def turns(s: Session) -> None:
        for turn in range(3):
            if s.me == "alice":
                await s.send_bytes("bob", f"ping{turn}", b"x")
                await s.recv_bytes("bob", f"pong{turn}", 1)
            else:
                await s.recv_bytes("alice", f"ping{turn}", 1)
                await s.send_bytes("alice", f"pong{turn}", b"y")

    assert simulate(turns).rounds == 6
    assert simulate(program).rounds == 2


@pytest.mark.parametrize(
    ("kind", "code"),
    [("truncate", "bad_frame"), ("oversize", "oversize"), ("replay", "replayed"), ("drop", "closed")],
)
def test_faults_are_named(kind: Any, code: str) -> None:
    run = simulate(swap, inputs=INPUTS, wrap=faulty(Fault(kind, "value")), limits=Limits(step_seconds=0.3))
    errors = [o.error for o in run.outcomes.values() if isinstance(o.error, PrivcomputeError)]
    assert code in {e.code for e in errors}
    assert all(e.party for e in errors if e.code == code)


def test_wrong_shape_and_type_are_refused() -> None:
    async def sender(s: Session) -> None:
        await s.send("bob", "value", np.zeros((2, 3), dtype=np.int64))

    for dtype, shape in ((np.int64, (3, 2)), (np.uint64, (2, 3)), (np.int64, (2, 2))):

        async def receiver(s: Session, dtype: Any = dtype, shape: Any = shape) -> None:
            await s.recv("alice", "value", dtype, shape)

        error = simulate({"alice": sender, "bob": receiver}).outcomes["bob"].error
        assert isinstance(error, PeerError)
        assert error.stage == "run/value.1"


def test_floats_are_never_sent() -> None:
    async def program(s: Session) -> None:
        await s.send(s.peer, "value", np.zeros(3))

    with pytest.raises(UsageError, match="integers only"):
        _ = simulate(program).results


def test_unclaimed_messages_end_in_an_error() -> None:
    async def program(s: Session) -> None:
        if s.me == "alice":
            await s.send_bytes("bob", "extra", b"x")
        else:
            await asyncio.sleep(0.01)

    error = simulate(program).outcomes["bob"].error
    assert isinstance(error, PeerError)
    assert error.code == "unclaimed"


def test_full_credit_is_an_error_not_a_hang() -> None:
    async def sender(s: Session) -> None:
        for i in range(10):
            await s.send_bytes("bob", f"early{i}", bytes(1000))
        await s.send_bytes("bob", "awaited", b"x")

    async def receiver(s: Session) -> None:
        await s.recv_bytes("alice", "awaited", 1)

    run = simulate({"alice": sender, "bob": receiver}, credit=4000)
    error = run.outcomes["bob"].error
    assert isinstance(error, PeerError)
    assert error.code == "credit"
    assert error.stage == "run/awaited.1"


def test_full_credit_without_a_receiver_pauses_the_sender() -> None:
    async def main() -> None:
        box = Mailbox("alice", credit=3000)
        sent = []

        async def feed() -> None:
            for i in range(5):
                await box.offer(f"m{i}", bytes(1000))
                sent.append(i)

        task = asyncio.create_task(feed())
        await asyncio.sleep(0.01)
        assert sent == [0, 1]
        for i in range(5):
            assert len(await box.take(f"m{i}", 1000, 1.0)) == 1000
        await task
        assert box.held == 0

    asyncio.run(main())


def test_a_message_is_freed_when_its_receiver_drops_it() -> None:
    """At once, not when Python next looks for cycles: its buffer is the next message's."""

    async def main() -> None:
        box = Mailbox("alice")
        waiting = asyncio.create_task(box.take("m", SMALLEST, 1.0))
        await asyncio.sleep(0)
        buffer = await box.begin("m", SMALLEST)
        lease = weakref.ref(buffer.obj)
        del buffer
        box.finish()
        assert len(await waiting) == SMALLEST
        assert lease() is not None
        del waiting
        await asyncio.sleep(0)  # the loop's call that woke us still holds the task
        assert lease() is None

    gc.disable()
    try:
        asyncio.run(main())
    finally:
        gc.enable()


def test_a_wait_is_given_one_buffer_however_often_its_message_is_announced() -> None:
    async def main() -> None:
        box = Mailbox("alice")
        assert box.expect("m", 8) is None  # nobody waits
        waiting = asyncio.create_task(box.take("m", 8, 1.0))
        await asyncio.sleep(0)
        assert box.expect("m", 9) is None  # more than its receiver allows: `begin` says so
        buffer = box.expect("m", 8)
        assert buffer is not None
        assert box.expect("m", 8) is None
        buffer[:] = b"in place"
        box.land("m", buffer)
        assert bytes(await waiting) == b"in place"
        assert box.expect("m", 8) is None
        with pytest.raises(PeerError) as caught:
            await box.begin("m", 8)
        assert caught.value.code == "replayed"

    asyncio.run(main())


async def given_up() -> tuple[Mailbox, memoryview]:
    """A mailbox, and the buffer of a message "m" whose receiver gave up while it was on its way."""
    box = Mailbox("alice")
    waiting = asyncio.create_task(box.take("m", 8, 1.0))
    await asyncio.sleep(0)
    buffer = box.expect("m", 8)
    assert buffer is not None
    waiting.cancel()
    await asyncio.sleep(0)
    return box, buffer


def test_a_message_on_its_way_finds_a_receiver_that_came_back() -> None:
    async def main() -> None:
        box, first = await given_up()
        waiting = asyncio.create_task(box.take("m", 8, 1.0))
        await asyncio.sleep(0)
        second = box.expect("m", 8)
        assert second is not None
        box.land("m", first)
        assert len(await waiting) == 8
        with pytest.raises(PeerError) as caught:
            box.land("m", second)
        assert caught.value.code == "replayed"
        assert box.failure is caught.value

    asyncio.run(main())


def test_a_message_on_its_way_is_too_large_for_a_receiver_that_came_back() -> None:
    async def main() -> None:
        box, buffer = await given_up()
        waiting = asyncio.create_task(box.take("m", 7, 1.0))
        await asyncio.sleep(0)
        assert box.expect("m", 8) is None
        with pytest.raises(PeerError):
            box.land("m", buffer)
        with pytest.raises(PeerError) as caught:
            await waiting
        assert caught.value.code == "oversize"

    asyncio.run(main())


def test_a_message_on_its_way_waits_for_a_receiver_that_gave_up() -> None:
    async def main() -> None:
        box, buffer = await given_up()
        box.land("m", buffer)
        assert box.held > 8
        assert len(await box.take("m", 8, 1.0)) == 8
        assert box.held == 0
        box.fail(TransportError("gone", code="closed"))
        box.land("n", buffer)
        assert box.unclaimed() == []

    asyncio.run(main())


def test_a_second_message_does_not_overtake_one_of_its_label() -> None:
    """The first came before anybody waited; the second finds the wait, while the loop has not finished the first."""

    async def main() -> None:
        box = Mailbox("alice")
        (await box.begin("m", 8))[:] = b"the 1st."
        waiting = asyncio.create_task(box.take("m", 8, 1.0))
        await asyncio.sleep(0)
        assert box.expect("m", 8) is None
        box.finish()
        assert bytes(await waiting) == b"the 1st."

    asyncio.run(main())


def test_a_whole_message_that_waited_for_room_is_not_delivered_after_its_double() -> None:
    async def main() -> None:
        box = Mailbox("alice", credit=1000)
        await box.offer("full", bytes(700))
        offering = asyncio.create_task(box.offer("m", bytes(700)))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(box.take("m", 700, 1.0))
        await asyncio.sleep(0)
        buffer = box.expect("m", 8)
        assert buffer is not None
        box.land("m", buffer)
        assert len(await waiting) == 8
        with pytest.raises(PeerError) as caught:
            await offering
        assert caught.value.code == "replayed"

    asyncio.run(main())


def test_a_message_that_comes_as_its_wait_is_given_up_is_kept() -> None:
    async def main() -> None:
        box = Mailbox("alice")
        waiting = asyncio.create_task(box.take("m", 8, 1.0))
        await asyncio.sleep(0)
        waiting.cancel()
        await box.offer("m", bytes(8))
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert box.unclaimed() == ["m"]
        assert len(await box.take("m", 8, 1.0)) == 8
        assert box.held == 0

    asyncio.run(main())


def test_a_wait_does_not_keep_a_message_that_was_on_its_way() -> None:
    async def main() -> None:
        box = Mailbox("alice")
        large = weakref.ref((await box.begin("a", 5 << 20)).obj)
        waiting = asyncio.create_task(box.take("b", 8, 1.0))
        await asyncio.sleep(0)
        box.finish()
        await box.take("a", 5 << 20, 1.0)
        assert large() is None
        await box.offer("b", b"x")
        await waiting

    asyncio.run(main())


@pytest.mark.parametrize("whole", [True, False])
def test_a_message_that_is_refused_is_not_kept_by_the_error(whole: bool) -> None:
    async def main() -> None:
        box = Mailbox("alice")
        large = weakref.ref((await box.begin("a", 5 << 20)).obj)
        if whole:
            box.finish()
        with pytest.raises(PeerError):
            await box.take("a", 8, 1.0)
        assert large() is None

    asyncio.run(main())


def test_a_peer_that_aborts_is_named() -> None:
    async def fails(s: Session) -> None:
        raise IntegrityError("the check failed", code="bad_tag", party=s.me, stage=s.path)

    async def waits(s: Session) -> None:
        await s.recv_bytes("alice", "never", 10)

    error = simulate({"alice": fails, "bob": waits}).outcomes["bob"].error
    assert isinstance(error, IntegrityError)
    assert error.code == "bad_tag"
    assert error.party == "alice"


def test_an_unexpected_exception_tells_the_peer_nothing_of_its_text() -> None:
    async def fails(s: Session) -> None:
        raise ValueError("patient 4711")

    async def waits(s: Session) -> None:
        await s.recv_bytes("alice", "never", 10)

    error = simulate({"alice": fails, "bob": waits}).outcomes["bob"].error
    assert isinstance(error, PeerError)
    assert "4711" not in str(error)


def test_hello_compares_digests() -> None:
    async def program(s: Session, digest: bytes) -> None:
        await hello(s, digest)

    simulate(program, inputs={"alice": b"x" * 32, "bob": b"x" * 32}).results.clear()
    with pytest.raises(IntegrityError):
        _ = simulate(program, inputs={"alice": b"x" * 32, "bob": b"y" * 32}).results


def test_delay_and_bandwidth_are_felt() -> None:
    run = simulate(swap, inputs=INPUTS, rtt="60ms")
    assert run.results["alice"] == [4, 5, 6]
    assert run.seconds >= 0.03


@pytest.mark.parametrize("bits", [1, 13, 64, 96, 128])
def test_deal_and_reveal(bits: int) -> None:
    ring = Ring(bits)
    values = [0, 1, -1, ring.modulus - 1, ring.modulus // 2, 12345]

    async def program(s: Session) -> Any:
        mine = np.array([v % ring.modulus for v in values], dtype=object) if s.me == "alice" else None
        x = await deal(s, "alice", None if mine is None else ring.array(mine), ring=ring, shape=(6,))
        opened = await reveal(s, x * 3 + x)
        return [int(v) for v in opened]

    expected = [4 * v % ring.modulus for v in values]
    assert simulate(program, parties=3).results == dict.fromkeys(("alice", "bob", "carol"), expected)


def test_shares_hide_and_refuse() -> None:
    ring = Ring(64)
    share = Shared(ring, ring.array([424242]))
    assert "424242" not in repr(share)
    with pytest.raises(TypeError):
        _ = share == share
    with pytest.raises(TypeError):
        bool(share)
    with pytest.raises(TypeError):
        _ = share * share  # type: ignore[operator]
    with pytest.raises(UsageError):
        _ = share + Shared(Ring(32), Ring(32).array([1]))


def test_wire_trace_is_fixed_by_the_seed() -> None:
    def trace() -> list[Entry]:
        log: list[Entry] = []

        async def program(s: Session) -> None:
            ring = Ring(64)
            values = ring.array([1, 2, 3]) if s.me == "alice" else None
            await reveal(s, await deal(s, "alice", values, ring=ring, shape=(3,)))

        _ = simulate(program, seed=b"fixed", wrap=lambda me, c: RecordingChannel(c, me, log)).results
        return log

    assert trace() == trace()
    assert [e.label for e in trace()] == [
        "run/deal.1/share.1",
        "run/reveal.1/share.1",
        "run/reveal.1/share.1",
    ]


def test_a_vanished_peer_is_a_named_error() -> None:
    async def leaves(s: Session) -> None:
        return None

    async def waits(s: Session) -> None:
        await s.recv_bytes("alice", "never", 10)

    error = simulate({"alice": leaves, "bob": waits}).outcomes["bob"].error
    assert isinstance(error, TransportError)
    assert error.party == "alice"
