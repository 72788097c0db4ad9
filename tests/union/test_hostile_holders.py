"""Holders that cheat: they cost the run a holder or end it with a name, and never a wrong sum that looks right."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from support.union import COLLECTOR, KeyedIdentity, Sum

from privcompute.errors import IntegrityError, PrivcomputeError
from privcompute.session import Channel, Session
from privcompute.session.session import HEADER
from privcompute.testing import Fault, FaultyChannel, Simulation
from privcompute.union import SumShape
from privcompute.union import messages as m
from privcompute.union.holder import Holder, Rows
from privcompute.union.shamir import SHARE_BYTES

BAD = "h02"


def _with(about: Sum, fault: Fault, *others: str) -> Simulation:
    hit: list[FaultyChannel] = []

    def wrap(party: str, channel: Channel) -> Channel:
        if party not in (BAD, *others):
            return channel
        hit.append(FaultyChannel(channel, fault))
        return hit[-1]

    run = about.run(wrap=wrap)
    assert all(channel.hit for channel in hit)
    return run


def _body(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Changes what follows the header, whose length stays."""
    return lambda raw: raw[: HEADER.size] + change(raw[HEADER.size :])


def _flip(raw: bytes) -> bytes:
    return bytes(byte ^ 0x55 for byte in raw)


BEFORE = ("advert", "deal", "ready", "counts", "values")
AFTER = ("survivors-signature", "shares", "turn-1-signature", "items", "late-shares")


@pytest.mark.parametrize("kind", ["truncate", "oversize", "drop"])
@pytest.mark.parametrize("name", [*BEFORE, *AFTER])
def test_messages_of_a_wrong_size_cost_the_run_their_sender(name: str, kind: str) -> None:
    about = Sum(4)
    run = _with(about, Fault(kind, re.escape(f"/{name}.1")))  # type: ignore[arg-type]  # one of the kinds
    survivors = [h for h in about.holders if h != BAD or name in AFTER]
    totals = about.check(run, survivors=survivors)
    assert set(totals.dropped) == {BAD}


@pytest.mark.parametrize("name", ["advert", "survivors-signature", "turn-1-signature"])
def test_a_wrong_signature_costs_the_run_its_sender(name: str) -> None:
    about = Sum(4)
    run = _with(about, Fault("replace", f"/{name}\\.", replace=_body(lambda raw: raw[:-32] + bytes(32))))
    survivors = [h for h in about.holders if h != BAD or name in AFTER]
    totals = about.check(run, survivors=survivors)
    assert totals.dropped == {BAD: "signature"}


def test_a_key_of_small_order_costs_the_run_its_sender() -> None:
    about = Sum(4)

    class Weak(KeyedIdentity):
        pass

    async def program(s: Session) -> None:
        inner = s.child("masked_sum")
        body = bytes(31) + b"\0" + bytes(range(32, 64)) + bytes(64)
        text = m.advert_text(about.job, BAD, body)
        await inner.send_bytes(s.peer, "advert", body + Weak(BAD).sign(text))
        await inner.recv_bytes(s.peer, "adverts", 1 << 16)

    totals = about.check(about.run({BAD: program}), survivors=["h00", "h01", "h03"])
    assert totals.dropped == {BAD: "bad_message"}


def test_garbage_shares_of_one_holder_are_found_by_leaving_one_out() -> None:
    """Shares that are field elements, but wrong, of the one whose point comes first."""
    about = Sum(5)

    def wrap(party: str, channel: Channel) -> Channel:
        low = _body(lambda raw: b"".join(b"\x07" * (SHARE_BYTES - 1) + b"\0" for _ in range(5)))
        return FaultyChannel(channel, Fault("replace", "/shares", replace=low)) if party == "h00" else channel

    totals = about.check(about.run(wrap=wrap), survivors=about.holders)
    assert totals.dropped == {"h00": "bad_share"}


@pytest.mark.parametrize("garbage", [b"\xff" * SHARE_BYTES, b"\0" * SHARE_BYTES], ids=["no number", "zero"])
def test_garbage_shares_of_two_holders(garbage: bytes) -> None:
    """What is no field element is as if it were missing; of two that lie in good form neither is found."""
    about = Sum(7)

    def wrap(party: str, channel: Channel) -> Channel:
        fault = Fault("replace", "/shares", replace=_body(lambda raw: garbage * 7))
        return FaultyChannel(channel, fault) if party in ("h00", "h04") else channel

    run = about.run(wrap=wrap)
    if garbage[0]:
        about.check(run, survivors=about.holders)
        return
    error = run.outcomes[COLLECTOR].error
    assert isinstance(error, IntegrityError)
    assert error.code == "bad_shares"


class _BadDealer(Holder):
    """Deals shares of nothing."""

    def deal(self) -> Rows:
        return _flipped(super().deal())


def _flipped(rows: Rows) -> Rows:
    return rows ^ np.uint8(0x55)


def test_a_dealer_of_garbage_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can open what it sealed: the error names it, so that the next attempt goes without."""

    def kind(s: Session, *rest: object) -> Holder:
        return (_BadDealer if s.me == BAD else Holder)(s, *rest)  # type: ignore[arg-type]  # as it came

    monkeypatch.setattr("privcompute.union.masks.Holder", kind)
    run = Sum(5).run()
    error = run.outcomes[COLLECTOR].error
    assert isinstance(error, IntegrityError)
    assert (error.code, error.party) == ("bad_shares", BAD)


def test_a_holder_that_sends_everything_at_once_is_dropped() -> None:
    about = Sum(4, SumShape(1, (1,), 64))

    async def eager(s: Session) -> None:
        inner = s.child("masked_sum")
        for name, size in (("advert", 160), ("deal", 345), ("counts", 8), ("values", 8), ("shares", 132)):
            await inner.send_bytes(s.peer, name, bytes(size))
        await inner.recv_bytes(s.peer, "adverts", 1 << 16)

    totals = about.check(about.run({BAD: eager}), survivors=["h00", "h01", "h03"])
    assert set(totals.dropped) == {BAD}


def test_a_holder_that_replays_a_message_is_dropped() -> None:
    for name in (*BEFORE, *AFTER[:-1]):
        about = Sum(4)
        run = _with(about, Fault("replay", f"/{name}\\."))
        totals = about.check(run, survivors=[h for h in about.holders if h != BAD or name in AFTER])
        assert set(totals.dropped) == {BAD}


def test_items_that_are_wrong_spoil_only_what_is_added() -> None:
    """Nobody can check a holder's own numbers, nor its masks: the sum is off, and no other holder's numbers show."""
    about = Sum(4)
    run = _with(about, Fault("replace", "/items", replace=_body(_flip)))
    totals = run.outcomes[COLLECTOR].result
    assert totals.counts == about.plain_counts(about.holders)
    assert totals.values != about.plain_values(about.holders, (0, 1, 2))


def test_nothing_a_holder_sends_first_breaks_the_collector() -> None:
    """Fuzz: bytes of any length in the place of each message."""
    rng = np.random.default_rng(8)
    for turn in range(30):
        about = Sum(4, seed=turn)
        name = (*BEFORE, *AFTER)[turn % 10]
        change = _body(lambda raw: rng.bytes(len(raw)))
        run = _with(about, Fault("replace", f"/{name}\\.", replace=change))
        error = run.outcomes[COLLECTOR].error
        assert error is None or (isinstance(error, PrivcomputeError) and error.code == "bad_shares")
