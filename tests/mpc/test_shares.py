"""Shares: dealing, refreshing, revealing to some; each share alone is uniform; hostile shares are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privcompute.errors import PeerError, UsageError
from privcompute.mpc import Shared, deal, refresh, reveal_to
from privcompute.ring import Ring
from privcompute.session import Session
from privcompute.testing import Fault, FaultyChannel, simulate

PARTIES = ("alice", "bob", "carol")


def run(bits: int, values: list[int], receivers: tuple[str, ...]) -> Any:
    ring = Ring(bits)

    async def program(s: Session) -> Any:
        mine = ring.array(values) if s.me == "alice" else None
        x = await deal(s, "alice", mine, ring=ring, shape=(len(values),))
        held = x if s.me != "carol" else None
        if s.me == "alice":
            # Fold the third party's share in, so that alice and bob alone hold the value.
            held = x + Shared(ring, ring.unpack(await s.recv_bytes("carol", "mine", 1 << 20), x.shape))
        elif s.me == "carol":
            await s.send_bytes("alice", "mine", ring.pack(x.values))
        if held is not None:
            held = await refresh(s, held, ("alice", "bob"))
        opened = await reveal_to(s, held, receivers, ring=ring, shape=(len(values),), holders=("alice", "bob"))
        return None if opened is None else ring.signed(opened)

    return simulate(program, parties=PARTIES).results


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([2, 8, 64, 83, 96, 192]), st.data())
def test_only_receivers_learn_the_value(bits: int, data: Any) -> None:
    half = 1 << (bits - 1)
    values = data.draw(st.lists(st.integers(-half, half - 1), min_size=1, max_size=4))
    receivers = data.draw(st.sampled_from([("carol",), ("alice", "carol"), ("bob",)]))
    found = run(bits, values, receivers)
    assert found == {p: values if p in receivers else None for p in PARTIES}


def test_a_refreshed_share_is_uniform_and_fresh() -> None:
    ring = Ring(8)
    seen: list[int] = []

    async def program(s: Session) -> None:
        x = Shared(ring, ring.array([0] * 2048))
        fresh = await refresh(s, x, ("alice", "bob"))
        if s.me == "bob":
            seen.extend(int(v) for v in fresh.values)

    _ = simulate(program).results
    counts = np.bincount(seen, minlength=256)
    # Chi-squared with 255 degrees of freedom exceeds 400 with a chance below 1e-8.
    assert ((counts - 8) ** 2 / 8).sum() < 400


@pytest.mark.parametrize("label", ["share", "shift"])
def test_a_share_outside_the_ring_is_refused(label: str) -> None:
    ring = Ring(5)

    async def program(s: Session) -> None:
        x = await refresh(s, Shared(ring, ring.array([1, 2])), ("alice", "bob"))
        await reveal_to(s, x, ("bob",), ring=ring, shape=(2,), holders=("alice", "bob"))

    def raise_high_bits(data: bytes) -> bytes:
        return data[:-1] + bytes([data[-1] | 0x80])

    fault = Fault("replace", rf"/{label}\.", replace=raise_high_bits)
    out = simulate(program, wrap=lambda me, c: FaultyChannel(c, fault) if me == "alice" else c)
    error = out.outcomes["bob"].error
    assert isinstance(error, PeerError)
    assert error.code == "bad_share"
    assert error.party == "alice"


def test_a_holder_must_bring_a_share_and_nobody_else() -> None:
    ring = Ring(8)

    async def program(s: Session) -> None:
        await reveal_to(s, None, ("bob",), ring=ring, shape=(1,))

    with pytest.raises(UsageError):
        _ = simulate(program).results
