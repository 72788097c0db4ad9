"""A collector that cheats: every list it can bend, every order it can ask in. The holder refuses and gives no more."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.masked_world import World
from support.union import COLLECTOR, KeyedIdentity, Sum

from privcompute.errors import PrivcomputeError
from privcompute.session import Session
from privcompute.testing import Entry, RecordingChannel
from privcompute.union import messages as m
from privcompute.union.collector import Collector
from privcompute.union.holder import Holder
from privcompute.union.keys import KeyPair, commitment
from privcompute.union.shamir import NO_SHARE

ME = 3


def _code(step: Callable[[], object]) -> str:
    with pytest.raises(PrivcomputeError) as caught:
        step()
    return caught.value.code


def _changed(world: World, i: int, body: bytes, *, by: int | None = None) -> dict[int, tuple[bytes, bytes]]:
    """The advert of one holder replaced, and signed again by the party ``by``."""
    text = m.advert_text(world.job, world.names[i], body)
    return {i: (KeyedIdentity(world.names[i if by is None else by]).sign(text), body)}


def test_the_list_of_those_who_came() -> None:
    world = World(Sum(7, quorum=5))
    listed = world.advertise()
    bodies = {i: body for i, (_, body) in world.signed.items()}

    def fresh() -> Holder:
        return World(Sum(7, quorum=5)).holders[ME]

    # Its own entry is missing, changed or somebody else's; entries of others are unsigned, signed by another, or few.
    without = m.write_signatures(
        {i: s for i, (s, _) in world.signed.items() if i != ME}, {i: b for i, b in bodies.items() if i != ME}
    )
    few = m.write_signatures({i: world.signed[i][0] for i in (1, ME, 5)}, bodies)
    own = world.holders[ME]
    assert _code(lambda: own.take_adverts(without)) == "bad_adverts"
    own._adverts.clear()
    assert _code(lambda: own.take_adverts(few)) == "bad_adverts"
    own._adverts.clear()
    assert _code(lambda: own.take_adverts(world.listed(_changed(world, ME, bodies[5][:64] + bodies[ME][64:])))) in (
        "bad_adverts",
        "bad_message",
    )
    other = World(Sum(7, quorum=5))
    other.advertise()
    swapped = world.listed({1: (world.signed[1][0], other.signed[1][1])})
    assert _code(lambda: fresh().take_adverts(swapped)) == "signature"
    assert (
        _code(lambda: fresh().take_adverts(world.listed(_changed(world, 1, other.signed[1][1], by=2)))) == "signature"
    )
    for raw in (listed[:-1], listed + b"\0", listed[164:] + listed[:164], listed + listed[-163:], b""):
        assert _code(lambda: fresh().take_adverts(raw)) in ("bad_message", "bad_adverts")  # noqa: B023 - used at once
    own._adverts.clear()
    own.take_adverts(listed)


SMALL = (0, 1, 325606250916557431795983626356110631294008115727848805560023387167927233504, 2**255 - 20)


@pytest.mark.parametrize("key", [*SMALL, 2**255 - 19, 2**255 - 18, 2**256 - 1, 2**255 + 9], ids=hex)
@pytest.mark.parametrize("place", [0, 32], ids=["channel", "masking"])
def test_keys_that_are_signed_but_unfit(key: int, place: int) -> None:
    world = World(Sum(4))
    world.advertise()
    body = bytearray(world.signed[1][1])
    body[place : place + 32] = key.to_bytes(32, "little")
    assert _code(lambda: world.holders[ME].take_adverts(world.listed(_changed(world, 1, bytes(body))))) == "bad_message"


@pytest.mark.parametrize(("place", "taken"), [(0, 0), (32, 32), (0, 32)])
def test_a_key_that_is_also_anothers(place: int, taken: int) -> None:
    world = World(Sum(4))
    world.advertise()
    body = bytearray(world.signed[1][1])
    body[place : place + 32] = world.signed[2][1][taken : taken + 32]
    assert _code(lambda: world.holders[ME].take_adverts(world.listed(_changed(world, 1, bytes(body))))) == "bad_message"


def test_the_list_of_dealers() -> None:
    world = World(Sum(7))
    world.deal()
    mine = world.holders[ME]
    good = world.deals_for(ME)
    assert _code(lambda: mine.take_deals(world.deals_for(ME, [i for i in world.all if i != ME]))) == "bad_dealers"
    assert _code(lambda: mine.take_deals(world.deals_for(ME, [1, 2, ME, 4]))) == "bad_dealers"
    for raw in (good[:-1], good + b"\0", good[:1], b"", b"\xff" + good[1:]):
        assert _code(lambda: mine.take_deals(raw)) in ("bad_message", "bad_dealers")  # noqa: B023 - used at once
    mine.take_deals(good)


def test_a_dealer_that_never_advertised() -> None:
    world = World(Sum(5))
    world.advertise()
    listed = m.write_signatures(
        {i: world.signed[i][0] for i in range(4)}, {i: world.signed[i][1] for i in range(4)}
    )  # fmt: skip
    mine = world.holders[ME]
    mine.take_adverts(listed)
    mine.deal()
    assert _code(lambda: mine.take_deals(m.write_set(range(5), 5) + bytes(4 * m.DEAL_BYTES))) == "bad_dealers"


def test_deals_of_another_view_of_who_came_do_not_open() -> None:
    """A collector that shows two lists splits the holders: shares dealt under one are of no use under the other."""
    world = World(Sum(7))
    world.advertise()
    signatures = {i: s for i, (s, _) in world.signed.items()}
    bodies = {i: b for i, (_, b) in world.signed.items()}
    short = m.write_signatures({i: signatures[i] for i in range(6)}, bodies)
    for i, holder in enumerate(world.holders):
        holder.take_adverts(short if i == ME else world.listed())
        others = [j for j in world.all if j != i and not (i == ME and j == 6)]
        for j, row in zip(others, holder.deal(), strict=True):
            world.sealed[i, j] = row.tobytes()
    world.holders[0].take_deals(world.deals_for(0))
    assert world.holders[0]._deals[ME] == (NO_SHARE,) * 3
    assert world.holders[0]._deals[1] != (NO_SHARE,) * 3


def test_the_list_of_survivors() -> None:
    world = World(Sum(7))
    world.submit()
    mine = world.holders[ME]
    assert _code(lambda: mine.take_survivors(world.set_of([0, 1, 2, 4, 5, 6]))) == "bad_survivors"
    assert _code(lambda: mine.take_survivors(world.set_of([0, 1, 2, ME]))) == "bad_survivors"
    for raw in (b"", b"\xff", bytes(2)):
        assert _code(lambda: mine.take_survivors(raw)) in ("bad_message", "bad_survivors")  # noqa: B023 - used at once
    mine.take_survivors(world.set_of([0, 1, 2, ME, 4]))
    assert _code(lambda: mine.take_survivors(world.set_of(world.all))) == "survivors_changed"


def test_the_quorum_binds_where_it_is_more_than_the_threshold() -> None:
    world = World(Sum(7, quorum=6))
    world.submit()
    assert _code(lambda: world.holders[ME].take_survivors(world.set_of([0, 1, 2, ME, 4]))) == "bad_survivors"


def test_the_signatures_of_the_others() -> None:
    world = World(Sum(7))
    world.submit()
    everyone = list(world.all)
    good = world.certify(everyone)
    mine = world.holders[ME]
    signatures = {i: s for i, (s, _) in m.read_signatures(good, 7).items()}
    other = World(Sum(7))
    other.submit()
    elsewhere = m.read_signatures(other.certify([0, 1, 2, 3, 4, 5]), 7)  # another set, and another run's view
    cases = {
        "certificate": [{i: signatures[i] for i in (0, 1, 2, 4)}, {}],
        "signature": [
            signatures | {1: elsewhere[1][0]},
            signatures | {1: signatures[2]},
            signatures | {1: bytes(32)},
        ],
    }
    for code, wrong in cases.items():
        for one in wrong:
            assert _code(lambda: mine.check_certificate(m.write_signatures(one))) == code  # noqa: B023 - used at once
    # The same signature twice is one.
    entry = m.write_signatures({1: signatures[1]})
    assert _code(lambda: mine.check_certificate(entry * 5)) == "bad_message"
    mine.check_certificate(m.write_signatures({i: signatures[i] for i in (0, 1, 2, 4, 6)}))


def test_a_signature_of_one_who_is_no_survivor_does_not_count() -> None:
    world = World(Sum(7))
    world.submit()
    survivors = [0, 1, 2, 3, 4, 5]
    world.certify(survivors)
    text = world.holders[ME]._text
    signed = {i: KeyedIdentity(world.names[i]).sign(text) for i in (0, 1, 2, 3, 6)}
    assert _code(lambda: world.holders[ME].check_certificate(m.write_signatures(signed))) == "certificate"


def _at_showing() -> World:
    world = World(Sum(7))
    world.submit()
    certificate = world.certify(list(world.all))
    for holder in world.holders:
        holder.check_certificate(certificate)
        holder.shares()
    return world


@pytest.mark.parametrize(
    ("shown", "gone", "code"),
    [
        ((0, 1), (6,), "shown_changed"),
        ((0,), (), "bad_gone"),  # fewer than before
        ((0,), (5,), "bad_gone"),  # another
        ((0,), (6, ME), "bad_gone"),  # this holder itself
        ((0,), (4, 5, 6), "bad_gone"),  # so many that fewer than t are left
    ],
)
def test_what_is_shown_stays_and_the_missing_only_grow(
    shown: tuple[int, ...], gone: tuple[int, ...], code: str
) -> None:
    world = _at_showing()
    mine = world.holders[ME]
    mine.take_shown(world.announce((0,), (6,)))
    assert _code(lambda: mine.take_shown(world.announce(shown, gone))) == code
    mine.take_shown(world.announce((0,), (5, 6)))


def test_one_who_is_no_survivor_cannot_go_missing() -> None:
    world = World(Sum(7))
    world.submit()
    world.certify([0, 1, 2, 3, 4, 5])
    assert _code(lambda: world.holders[ME].take_shown(world.announce((0,), (6,)))) == "bad_gone"


@pytest.mark.parametrize("raw", [b"\x01", b"\x01\x01", b"\x01\x09\x00", b"\x01\x01\x80", b"\x01\x01\x00\x00"])
def test_a_malformed_announcement(raw: bytes) -> None:
    world = _at_showing()  # three units and seven holders: one byte each
    assert _code(lambda: world.holders[ME].take_shown(raw)) == "bad_message"


def test_signatures_of_the_survivors_do_not_open_values() -> None:
    """Nothing of step 7 without an announcement that this holder signed, and once for each."""
    world = _at_showing()
    mine = world.holders[ME]
    survivors = m.SIGNED + m.write_signatures({i: h.sign() for i, h in enumerate(world.holders)})
    assert _code(lambda: mine.take_signed(survivors)) == "bad_message"
    assert mine.items() is None
    for holder in world.holders:
        holder.take_shown(world.announce((0,)))
    signed = m.SIGNED + m.write_signatures({i: h.sign() for i, h in enumerate(world.holders)})
    mine.take_signed(signed)
    assert mine.items() is not None
    assert mine.items() is None
    assert _code(lambda: mine.take_signed(signed)) == "bad_message"


def test_a_share_of_a_missing_holders_seed_is_given_once() -> None:
    world = _at_showing()
    mine = world.holders[ME]
    mine.take_shown(world.announce((0,), (6,)))
    assert mine.late_shares().shape == (1, 33)
    mine.take_shown(world.announce((0,), (5, 6)))
    assert mine.late_shares().shape == (1, 33)
    assert mine.late_shares().shape == (0, 33)


# -- over the network --------------------------------------------------------------------------------------------------


class _AsksTwice(Collector):
    """Has the shares, and asks again, under another set of survivors."""

    async def open_counts(self, certificate: bytes) -> tuple[int, ...]:
        counts = await super().open_counts(certificate)
        for party in self.stages.present:
            await self._s.send_bytes(party, "survivors", m.write_set(self._survivors[1:], len(self._names)))
            await self._s.send_bytes(party, "certificate", certificate)
        got = await self.stages.each("again", lambda party: self._s.recv_bytes(party, "shares", 1 << 16))
        assert not got
        return counts


def test_a_holder_that_is_asked_twice_gives_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("privcompute.union.masks.Collector", _AsksTwice)
    about, log = Sum(5), list[Entry]()
    run = about.run(wrap=lambda party, channel: RecordingChannel(channel, party, log))
    sent = [entry.label.rpartition("/")[2] for entry in log if entry.sender in about.holders]
    assert sent.count("shares.1") == 5
    assert "shares.2" not in sent
    assert not any(label.startswith(("survivors-signature.2", "items", "late")) for label in sent)
    assert run.outcomes[COLLECTOR].result is None


class _TwoLists(Collector):
    """Tells one holder of another set of survivors than the rest."""

    async def certify(self, name: str, announced: bytes, text: bytes) -> bytes | None:
        if name == "survivors":
            odd = self._names[0]
            await self._s.send_bytes(odd, name, m.write_set(self._survivors[:-1], len(self._names)))
            await self._s.recv_bytes(odd, f"{name}-signature", 255)
            self.stages.drop = lambda party, error: None  # type: ignore[method-assign]  # it would rather keep it
            rest = [party for party in self.stages.present if party != odd]
            signed: dict[int, bytes] = {}
            for party in rest:
                await self._s.send_bytes(party, name, announced)
                signed[self._number[party]] = await self._s.recv_bytes(party, f"{name}-signature", 255)
            del signed[self._survivors[-1]]
            return m.write_signatures(signed)
        return await super().certify(name, announced, text)


def test_one_that_is_told_of_other_survivors_gives_no_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("privcompute.union.masks.Collector", _TwoLists)
    about, log = Sum(7), list[Entry]()
    run = about.run(wrap=lambda party, channel: RecordingChannel(channel, party, log))
    assert getattr(run.outcomes["h00"].error, "code", None) == "signature"
    assert not any("/shares" in entry.label for entry in log if entry.sender == "h00")


def test_the_collectors_death_is_a_named_error() -> None:
    about = Sum(3)

    async def dies(s: Session) -> None:
        raise RuntimeError("the collector's machine went down")

    run = about.run(collector=dies)
    for holder in about.holders:
        assert isinstance(run.outcomes[holder].error, PrivcomputeError)


def test_commitments_bind_the_job_the_holder_and_the_kind() -> None:
    made = {
        commitment(job, holder, what, bytes(32))
        for job in (b"1" * 32, b"2" * 32)
        for holder in ("a", "b")
        for what in ("counts", "values")
    }
    assert len(made) == 8
    assert "hidden" in repr(KeyPair(bytes(range(32))))
