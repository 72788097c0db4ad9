"""dh_psi against Python sets, and what it costs against what it declares."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import tracemalloc
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privcompute.errors import PrivacyError, UsageError
from privcompute.psi import PsiLimits, cost, curve, dh_psi, psi_cost, tag_bytes
from privcompute.psi import dh as dh_module
from privcompute.session import Progress, Session
from privcompute.testing import Entry, RecordingChannel, Simulation, simulate


def run(mine: list[bytes], theirs: list[bytes], **options: Any) -> Simulation:
    """Both parties' intersection in one process; alice holds ``mine``."""

    async def program(s: Session, items: list[bytes]) -> Any:
        other = theirs if s.me == "alice" else mine
        return await dh_psi(s, s.peer, items, peer_items=len(other), workers=1)

    return simulate(program, inputs={"alice": mine, "bob": theirs}, **options)


def matched(sim: Simulation, mine: list[bytes], theirs: list[bytes]) -> list[bytes]:
    """The common keys in alice's order, after checking that bob's order is the same."""
    a, b = sim.results["alice"], sim.results["bob"]
    assert a.dtype == b.dtype == np.int64
    found = [mine[i] for i in a]
    assert found == [theirs[i] for i in b]
    return found


def keys(*numbers: int) -> list[bytes]:
    return [b"key-%d" % n for n in numbers]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.binary(max_size=6), unique=True, max_size=40),
    st.lists(st.binary(max_size=6), unique=True, max_size=40),
    st.lists(st.binary(min_size=7, max_size=9), unique=True, max_size=20),
)
def test_equals_the_intersection_of_sets(left: list[bytes], right: list[bytes], common: list[bytes]) -> None:
    mine, theirs = left + common, common[::-1] + right
    found = matched(run(mine, theirs), mine, theirs)
    assert sorted(found) == sorted(set(mine) & set(theirs))


@pytest.mark.parametrize(
    ("mine", "theirs", "count"),
    [
        (keys(*range(50)), keys(*range(50, 90)), 0),
        (keys(*range(50)), keys(*range(49, -1, -1)), 50),
        (keys(3), keys(*range(700)), 1),
        (keys(*range(300)), keys(1000), 0),
        (keys(7), keys(7), 1),
    ],
    ids=["none", "all", "one-in-many", "many-against-one", "one-and-one"],
)
def test_extremes(mine: list[bytes], theirs: list[bytes], count: int) -> None:
    found = matched(run(mine, theirs), mine, theirs)
    assert len(found) == count
    assert set(found) == set(mine) & set(theirs)


@pytest.mark.parametrize(("mine", "theirs"), [([], []), ([], keys(1, 2)), (keys(1, 2), [])])
def test_an_empty_set_sends_nothing(mine: list[bytes], theirs: list[bytes]) -> None:
    sim = run(mine, theirs)
    assert all(result.shape == (0,) and result.dtype == np.int64 for result in sim.results.values())
    assert sim.bytes_sent == 0
    assert psi_cost(len(mine), len(theirs)).sent_by_x == 0


def test_accepts_arrow_and_lists_alike() -> None:
    mine, theirs = keys(*range(20)), keys(*range(10, 30))

    async def program(s: Session, items: Any) -> Any:
        return await dh_psi(s, s.peer, items, peer_items=20, workers=2)

    sim = simulate(program, inputs={"alice": pa.array(mine, pa.large_binary()), "bob": theirs})
    assert len(matched(sim, mine, theirs)) == 10


def test_order_says_nothing_about_the_own_list() -> None:
    """The order of the result follows the tags, so it differs from run to run."""
    mine = keys(*range(200))
    first, second = run(mine, mine).results["alice"], run(mine, mine).results["alice"]
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, np.sort(first))


@pytest.mark.parametrize(("nx", "ny"), [(1, 1), (10, 300), (130, 64)])
def test_costs_what_it_declares(nx: int, ny: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "CHUNK", 64)
    monkeypatch.setattr(dh_module, "CHUNK", 64)
    sim = run(keys(*range(nx)), keys(*range(5, 5 + ny)))
    declared = psi_cost(nx, ny)
    alice, bob = sim.outcomes["alice"].meter, sim.outcomes["bob"].meter
    assert sim.results is not None
    assert (alice.bytes_sent, bob.bytes_sent) == (declared.sent_by_x, declared.sent_by_y)
    assert (alice.messages_sent, bob.messages_sent) == (declared.messages_x, declared.messages_y)
    assert alice.rounds == bob.rounds == declared.rounds == dh_psi.card.rounds  # type: ignore[attr-defined]  # set by @protocol


def test_cost_of_a_million() -> None:
    declared = psi_cost(10**6, 10**6)
    assert declared.sent_by_x == declared.sent_by_y == 10**6 * (32 + 10) + 32 + 64 * (31 + 31 + 1)
    assert declared.ladders == 4 * 10**6


@pytest.mark.parametrize(
    ("nx", "ny", "width"), [(1, 1, 5), (2, 1, 6), (1 << 20, 1 << 20, 10), (10**5, 10**5, 10), (10**7, 10**7, 11)]
)
def test_tags_hold_forty_bits_and_the_pairs(nx: int, ny: int, width: int) -> None:
    assert tag_bytes(nx, ny) == width
    assert 2 ** (8 * width) >= 2**40 * nx * ny


def test_memory_stays_below_what_is_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both parties' peak in one process, numpy's memory included; small chunks, so that the sets weigh most."""
    monkeypatch.setattr(cost, "CHUNK", 1024)
    monkeypatch.setattr(dh_module, "CHUNK", 1024)
    mine, theirs = keys(*range(40_000)), keys(*range(20_000, 60_000))
    run(mine[:10], theirs[:10])
    tracemalloc.start()
    try:
        sim = run(mine, theirs)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(sim.results["alice"]) == 20_000
    declared = psi_cost(len(mine), len(theirs))
    assert declared.memory_x / 3 < peak < declared.memory_x + declared.memory_y


def recorded(mine: list[bytes], theirs: list[bytes], monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, int]]:
    log: list[Entry] = []
    run(mine, theirs, wrap=lambda me, channel: RecordingChannel(channel, me, log)).results  # noqa: B018  # raises errors
    return sorted((entry.sender, entry.label, entry.size) for entry in log)


def test_traffic_depends_on_sizes_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Same sizes, other keys, other matches, other key lengths: the same labels and sizes."""
    monkeypatch.setattr(dh_module, "CHUNK", 32)
    short, long = keys(*range(100)), [b"x" * 500 + b"%d" % n for n in range(100)]
    one = recorded(short, keys(*range(70)), monkeypatch)
    assert one == recorded(short, keys(*range(1000, 1070)), monkeypatch)
    assert one == recorded(long, long[:70], monkeypatch)
    assert one[0][1] == "run/dh_psi.1/digest-1.1"


def test_duplicate_keys_are_refused_before_sending() -> None:
    sim = run(keys(1, 2, 1), keys(1, 2, 3))
    error = sim.outcomes["alice"].error
    assert isinstance(error, UsageError)
    assert error.code == "duplicate_keys"
    assert sim.outcomes["alice"].meter.bytes_sent == 0


def test_caps_are_checked_before_anything_is_sent() -> None:
    limits = PsiLimits(max_items=100, max_ratio=10, free_items=20)
    limits.check(100, 10)
    limits.check(20, 1)
    for sizes, code in (
        ((101, 50), "psi_size"),
        ((50, 101), "psi_size"),
        ((21, 2), "psi_ratio"),
        ((2, 21), "psi_ratio"),
    ):
        with pytest.raises(PrivacyError) as caught:
            limits.check(*sizes)
        assert caught.value.code == code
        assert caught.value.remedy

    async def program(s: Session) -> Any:
        return await dh_psi(s, s.peer, keys(*range(30)), peer_items=1, limits=limits)

    sim = simulate(program)
    assert isinstance(sim.outcomes["alice"].error, PrivacyError)
    assert sim.bytes_sent == 0


def test_slow_link_gives_the_same_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten chunks each way, so that the window of chunks under way fills."""
    monkeypatch.setattr(dh_module, "CHUNK", 20)
    mine, theirs = keys(*range(200)), keys(*range(100, 300))
    sim = run(mine, theirs, rtt="4ms", bandwidth="10Mbit")
    assert sorted(matched(sim, mine, theirs)) == sorted(set(mine) & set(theirs))


def test_early_chunks_never_exceed_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """A credit of a few chunks is enough for any size: nobody runs ahead of the answers."""
    monkeypatch.setattr(dh_module, "CHUNK", 32)
    mine, theirs = keys(*range(2000)), keys(*range(1000, 2400))
    credit = (dh_module.WINDOW + 1) * 2 * (32 * 32 + 64 + 256)
    assert len(matched(run(mine, theirs, credit=credit), mine, theirs)) == 1000


def test_masking_is_told_to_both_and_a_cancelled_run_stops_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """News of the masking reach both observers; after a cancellation no further piece is computed."""
    news: list[tuple[str, Progress]] = []
    mine = keys(*range(1000))
    run(mine, mine, observer=lambda me, told: news.append((me, told)))
    told = {(me, item.party, item.stage) for me, item in news}
    assert {("alice", "alice", "masking keys"), ("bob", "alice", "masking keys")} <= told
    assert ("bob", "bob", "matching keys") in told
    assert {item.total for _, item in news} == {1000}

    monkeypatch.setattr(curve, "PIECE", 64)
    pieces, first = [0], threading.Event()
    real = curve.uniform_bytes

    def slow(items: Any, dst: bytes) -> Any:
        pieces[0] += 1
        first.set()
        time.sleep(0.02)
        return real(items, dst)

    monkeypatch.setattr(curve, "uniform_bytes", slow)

    async def cancelled(s: Session) -> Any:
        task = asyncio.ensure_future(dh_psi(s, s.peer, mine, peer_items=5, workers=1))
        await asyncio.to_thread(first.wait)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    simulate(cancelled).results  # noqa: B018  # raises errors; returns after the threads have ended
    assert 0 < pieces[0] <= 6
