"""Who can reach whom: control streams, un-pairing, renewal, restarts. One of the two nodes is enough."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from unittest import mock

import pytest

from privcompute.errors import PeerError, PrivcomputeError, TransportError
from privcompute.session import Channel
from privcompute.transport import renewal
from privcompute.transport.book import Peer
from privcompute.transport.control import Standing
from privcompute.transport.gate import CONTROL, FINGERPRINT_KEY, PARTY_KEY, VERSION_KEY
from privcompute.transport.identity import Identity
from privcompute.transport.limits import PROTOCOL_VERSION
from privcompute.transport.tls import secure_channel

from .conftest import QUICK, Party, party

SESSION = b"session-1"


async def until(true: Callable[[], bool], what: str) -> None:
    for _ in range(250):
        if true():
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"not within five seconds: {what}")


async def speaks(a: Channel, b: Channel) -> None:
    await asyncio.gather(a.send("hello", [b"1"]), b.send("hello", [b"2"]))
    assert bytes(await a.recv("hello", 1, 5)) == b"2"
    assert bytes(await b.recv("hello", 1, 5)) == b"1"


async def standing(h: Party, fingerprint: str) -> None:
    """Waits until that party's control stream to the certificate of ``h`` stands, without asking it for anything."""

    def stands() -> bool:
        stream = h.endpoint.standing._streams.get(fingerprint)
        return stream is not None and stream.own == h.endpoint.identity.fingerprint

    await until(stands, "the control stream stands")


def known(one: Identity, *addresses: str) -> Peer:
    return Peer(one.name, (one.certificate,), addresses)


async def test_either_side_may_ask(hospital: Identity, insurer: Identity) -> None:
    """The insurer cannot be reached, and yet the hospital opens a link to it."""
    async with (
        party(hospital, known(insurer)) as h,
        party(insurer, known(hospital, h.address), listen=None, keep_control=True) as i,
    ):
        await standing(h, insurer.fingerprint)
        asked = await h.endpoint.open_link("insurer", SESSION)
        answered = await asyncio.wait_for(i.came.get(), 5)
        assert (asked.peer, answered.peer) == ("insurer", "hospital")
        await speaks(asked, answered)
        dialled = await i.endpoint.open_link("hospital", b"other")
        await speaks(dialled, await asyncio.wait_for(h.came.get(), 5))
        assert h.came.empty()


async def test_nobody_to_ask(hospital: Identity, insurer: Identity) -> None:
    async with party(hospital, known(insurer)) as h:
        with pytest.raises(TransportError) as caught:
            await h.endpoint.open_link("insurer", SESSION)
        assert (caught.value.code, caught.value.party) == ("unreachable", "insurer")
        with pytest.raises(TransportError) as caught:
            await h.endpoint.open_link("bank", SESSION)
        assert caught.value.code == "not_paired"


async def test_dead_addresses_are_passed_over(hospital: Identity, insurer: Identity) -> None:
    async with (
        party(hospital, known(insurer)) as h,
        party(insurer, known(hospital, "127.0.0.1:1", "[::1]:1", h.address), listen=None) as i,
    ):
        link = await i.endpoint.open_link("hospital", SESSION)
        await speaks(link, await h.came.get())
        i.book.replace(known(hospital, "127.0.0.1:1"))
        with pytest.raises(TransportError) as caught:
            await i.endpoint.open_link("hospital", b"2")
        assert (caught.value.code, caught.value.party) == ("unreachable", "hospital")


async def test_control_stream_comes_back_after_a_restart(hospital: Identity, insurer: Identity) -> None:
    async with party(hospital, known(insurer)) as first:
        address = first.address
        async with party(insurer, known(hospital, address), listen=None, keep_control=True) as i:
            await standing(first, insurer.fingerprint)
            await first.endpoint.stop()
            async with party(hospital, known(insurer), listen=address) as second:
                await standing(second, insurer.fingerprint)
                link = await second.endpoint.open_link("insurer", SESSION)
                await speaks(link, await asyncio.wait_for(i.came.get(), 5))


async def test_what_was_asked_on_a_dying_stream_is_asked_again() -> None:
    """The old stream takes the word with it; whoever comes back hears it once more, until nobody wants it."""
    standing = Standing()
    with standing.wanting(("f",), SESSION) as asked:
        assert not asked  # no stream at all: the caller dials instead of waiting
    dying = standing.open("f", "own")
    with standing.wanting(("e", "f"), SESSION) as asked:
        assert asked
        other, again = standing.open("g", "own"), standing.open("f", "own")
        dying.end()
    last = standing.open("f", "own")
    for stream in (other, again, last):
        stream.end()
    assert [list(stream) for stream in (dying, other, again, last)] == [[SESSION], [], [SESSION], []]


async def test_who_was_asked_twice_comes_once(hospital: Identity, insurer: Identity) -> None:
    async with party(hospital, known(insurer)) as h, party(insurer, known(hospital, h.address), listen=None) as i:
        expected = asyncio.create_task(h.endpoint.accept_link("insurer", SESSION, 5))
        await asyncio.sleep(0.05)
        first = await i.endpoint.open_link("hospital", SESSION)
        with pytest.raises(PeerError) as refused:
            await i.endpoint.open_link("hospital", SESSION)
        assert refused.value.code == "late"
        await speaks(first, await expected)
        assert h.came.empty()


async def test_newest_control_stream_wins(hospital: Identity, insurer: Identity) -> None:
    """A stream left over from before a restart gets nothing."""
    async with party(hospital, known(insurer)) as h:
        with secure_channel(f"ipv4:{h.address}", insurer, "hospital", (hospital.certificate,), QUICK) as channel:
            stale = channel.stream_stream(CONTROL)(
                iter(()), metadata=((PARTY_KEY, "insurer"), (VERSION_KEY, PROTOCOL_VERSION)), timeout=10
            )
            accepted = dict(await asyncio.to_thread(stale.initial_metadata))
            assert accepted[FINGERPRINT_KEY] == hospital.fingerprint
            async with party(insurer, known(hospital, h.address), listen=None, keep_control=True) as i:
                await until(lambda: stale.done(), "the older stream ends")
                assert await asyncio.to_thread(lambda: list(stale)) == []
                link = await h.endpoint.open_link("insurer", SESSION)
                await speaks(link, await asyncio.wait_for(i.came.get(), 5))


async def test_unpairing_ends_everything(hospital: Identity, insurer: Identity) -> None:
    async with (
        party(hospital, known(insurer)) as h,
        party(insurer, known(hospital, h.address), listen=None, keep_control=True) as i,
    ):
        await standing(h, insurer.fingerprint)
        link = await i.endpoint.open_link("hospital", SESSION)
        answered = await h.came.get()
        assert h.book.remove("insurer")
        for end in (link, answered):
            with pytest.raises(TransportError) as caught:
                await end.recv("x", 1, 5)
            assert caught.value.code == "unpaired"
        await until(lambda: not h.endpoint.standing._streams, "the control stream ends")
        with pytest.raises(PrivcomputeError) as refused:
            await i.endpoint.open_link("hospital", b"2")
        assert refused.value.code == "not_paired"
        assert h.came.empty()


async def test_unpairing_on_the_dialling_side(hospital: Identity, insurer: Identity) -> None:
    async with (
        party(hospital, known(insurer)) as h,
        party(insurer, known(hospital, h.address), listen=None, keep_control=True) as i,
    ):
        await standing(h, insurer.fingerprint)
        link = await i.endpoint.open_link("hospital", SESSION)
        assert i.book.remove("hospital")
        with pytest.raises(TransportError) as caught:
            await link.recv("x", 1, 5)
        assert caught.value.code == "unpaired"
        await until(lambda: not h.endpoint.standing._streams, "the control stream ends")


@pytest.mark.parametrize("renewing", ["hospital", "insurer"])
async def test_renewal_with_overlap(hospital: Identity, insurer: Identity, renewing: str) -> None:
    """Told by either side, over whatever way there is; old and new stand together until the new is seen in use."""
    async with (
        party(hospital, known(insurer)) as h,
        party(insurer, known(hospital, h.address), listen=None, keep_control=True) as i,
    ):
        await standing(h, insurer.fingerprint)
        mine, theirs = (h, i) if renewing == "hospital" else (i, h)
        following = mine.identity.renew()
        old_link = await i.endpoint.open_link("hospital", SESSION)
        await h.came.get()
        await renewal.tell(mine.endpoint, theirs.name, following)
        peer = theirs.book.get(mine.name)
        assert peer is not None
        assert peer.fingerprints == (mine.identity.fingerprint, following.fingerprint)
        overlap = await i.endpoint.open_link("hospital", b"overlap")  # the old one is still in use
        await overlap.close()
        await h.came.get()
        mine.endpoint.identity = following
        with pytest.raises(TransportError):
            await old_link.recv("x", 1, 5)  # links of the old certificate end
        fresh = await i.endpoint.open_link("hospital", b"fresh")
        answered = await asyncio.wait_for(h.came.get(), 5)
        await speaks(fresh, answered)
        await until(
            lambda: (seen := theirs.book.get(mine.name)) is not None and seen.fingerprints == (following.fingerprint,),
            "the old certificate is forgotten",
        )
        await standing(h, i.endpoint.identity.fingerprint)
        back = await h.endpoint.open_link("insurer", b"back")
        await speaks(back, await asyncio.wait_for(i.came.get(), 5))


async def test_our_renewal_ends_control_streams_to_the_old_certificate(hospital: Identity, insurer: Identity) -> None:
    """At the next look at the book, without any dial; the peer's keeper comes back and meets the new certificate."""
    async with (
        party(hospital, known(insurer)) as h,
        party(insurer, known(hospital, h.address), listen=None, keep_control=True) as i,
    ):
        await standing(h, insurer.fingerprint)
        before = h.endpoint.standing._streams[insurer.fingerprint]
        following = hospital.renew()
        await renewal.tell(h.endpoint, "insurer", following)
        # What the renewal changed in the insurer's book already gave it a new stream, still to the old certificate.
        await until(lambda: h.endpoint.standing._streams.get(insurer.fingerprint) not in (None, before), "a new stream")
        old = h.endpoint.standing._streams[insurer.fingerprint]
        await h.endpoint.refresh()
        assert h.endpoint.standing._streams[insurer.fingerprint] is old
        h.endpoint.identity = following
        await h.endpoint.refresh()
        assert h.endpoint.standing._streams.get(insurer.fingerprint) is not old
        await standing(h, insurer.fingerprint)
        assert h.endpoint.standing._streams[insurer.fingerprint].own == following.fingerprint
        link = await h.endpoint.open_link("insurer", SESSION)
        await speaks(link, await asyncio.wait_for(i.came.get(), 5))


async def test_a_forgotten_certificate_is_refused(hospital: Identity, insurer: Identity) -> None:
    following = insurer.renew()
    async with party(hospital, Peer("insurer", (insurer.certificate, following.certificate))) as h:
        async with party(following, known(hospital, h.address), listen=None) as new:
            await (await new.endpoint.open_link("hospital", SESSION)).close()
        async with party(insurer, known(hospital, h.address), listen=None) as old:
            with pytest.raises(PrivcomputeError) as caught:
                await old.endpoint.open_link("hospital", b"2")
            assert caught.value.code == "not_paired"


async def test_renewal_needs_the_new_key_and_the_own_name(hospital: Identity, insurer: Identity) -> None:
    thief = Identity("insurer", Identity.create("insurer").key, Identity.create("insurer").certificate)
    async with (
        party(hospital, known(insurer)) as h,
        party(insurer, known(hospital, h.address), listen=None) as i,
    ):
        for bad in (thief, Identity.create("bank"), replace(hospital, name="insurer")):
            with pytest.raises(PeerError) as caught:
                await renewal.tell(i.endpoint, "hospital", bad)
            assert caught.value.code == "bad_certificate"
        assert h.book.get("insurer") == known(insurer)


async def test_stop_ends_links_and_control_streams(hospital: Identity, insurer: Identity) -> None:
    async with party(insurer, known(hospital), listen=None) as i:
        async with party(hospital, known(insurer)) as h:
            i.book.replace(known(hospital, h.address))
            link = await i.endpoint.open_link("hospital", SESSION)
            await h.came.get()
        with pytest.raises(PrivcomputeError):
            await link.recv("x", 1, 5)


async def test_a_peer_that_claims_another_fingerprint(hospital: Identity, insurer: Identity) -> None:
    """A node that says it presented a certificate that is not pinned is not believed."""
    async with (
        party(hospital, known(insurer)) as h,
        party(insurer, known(hospital, h.address), listen=None) as i,
    ):
        with (
            mock.patch("privcompute.transport.dial.accepted_by", return_value=insurer.fingerprint),
            pytest.raises(PrivcomputeError) as caught,
        ):
            await i.endpoint.open_link("hospital", SESSION)
        assert caught.value.code == "wrong_certificate"
