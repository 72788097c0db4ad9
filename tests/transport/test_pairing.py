"""Invitations and the Join call: over the real port, and with each message bent."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from dataclasses import replace

import grpc
import pytest

from privcompute.errors import PeerError, PrivcomputeError, TransportError, UsageError
from privcompute.transport.book import MAX_TRIES, MemoryBook, Peer
from privcompute.transport.gate import CONTROL, LINK_UP
from privcompute.transport.identity import Identity, fingerprint_of
from privcompute.transport.invitation import Invitation, invite
from privcompute.transport.join import join
from privcompute.transport.limits import MAX_FRAME
from privcompute.transport.pairing import Inviter, Joiner
from privcompute.wire.pairing_pb2 import JoinAnswer, JoinChallenge, JoinHello

from .conftest import QUICK, Party, party, raw_call

ADDRESS = ("127.0.0.1:7443",)


def invited(identity: Identity, joiner: str = "insurer") -> tuple[Invitation, MemoryBook]:
    invitation = invite(identity, joiner, ADDRESS)
    book = MemoryBook()
    book.invite(invitation.pending())
    return invitation, book


async def joined(h: Party, identity: Identity, invitation: Invitation, *addresses: str) -> Peer:
    return await asyncio.to_thread(join, identity, invitation.encode(), addresses, QUICK)


def offer(h: Party, joiner: str = "insurer") -> Invitation:
    invitation = invite(h.identity, joiner, (h.address,))
    h.book.invite(invitation.pending())
    return invitation


# -- codes ------------------------------------------------------------------------------------------------------------


def test_code_round_trip(hospital: Identity) -> None:
    made = invite(hospital, "insurer", ("[::1]:7443", "node.example:7443"))
    code = made.encode()
    assert Invitation.decode(code) == made
    assert Invitation.decode(f"  {code[:40]}\n{code[40:]} ") == made
    assert code.isascii()
    assert made.secret.hex() not in repr(made)


def test_both_sides_derive_the_same(hospital: Identity) -> None:
    made = invite(hospital, "insurer", ADDRESS)
    again = Invitation.decode(made.encode())
    assert made.temporary().certificate == again.temporary().certificate
    assert made.proof_key() == again.proof_key()
    pending = made.pending()
    assert pending.id == fingerprint_of(again.temporary().certificate)
    other = invite(hospital, "insurer", ADDRESS)
    assert other.pending().id != pending.id
    assert made.proof_key().hex() not in repr(pending)
    assert made.secret not in pending.proof_key


def test_damaged_codes(hospital: Identity) -> None:
    code = invite(hospital, "insurer", ADDRESS).encode()
    bent = [code[:-1], code[1:], code + "A", code.replace("pc1-", "pc9-"), "", "pc1-", "pc1-" + "A" * 5000]
    bent += [code[:n] + ("A" if code[n] != "A" else "B") + code[n + 1 :] for n in range(4, len(code) - 1, 7)]
    bent.append("pc1-" + base64.urlsafe_b64encode(b"[" * 900).decode())
    for one in bent:
        with pytest.raises(UsageError) as caught:
            Invitation.decode(one)
        assert caught.value.code == "bad_invitation"


def test_expired_code(hospital: Identity) -> None:
    made = replace(invite(hospital, "insurer", ADDRESS), expires=int(time.time()) - 1)
    with pytest.raises(UsageError) as caught:
        Invitation.decode(made.encode())
    assert caught.value.code == "invitation_expired"


@pytest.mark.parametrize("expires", ["Infinity", "NaN", "1e400", "1.5", "true", "null", "-1e9", "9" * 40, '"soon"'])
def test_odd_expiries(hospital: Identity, expires: str) -> None:
    """With a right check sum, too: whoever makes codes is not trusted yet."""
    made = invite(hospital, "insurer", ADDRESS)
    raw = base64.urlsafe_b64decode(made.encode()[4:] + "==")[:-4]
    assert b"%d" % made.expires in raw
    body = raw.replace(b"%d" % made.expires, expires.encode())
    code = base64.urlsafe_b64encode(body + hashlib.sha256(body).digest()[:4]).rstrip(b"=").decode()
    with pytest.raises(UsageError) as caught:
        Invitation.decode("pc1-" + code)
    assert caught.value.code in {"bad_invitation", "invitation_expired"}


def test_who_may_be_invited(hospital: Identity) -> None:
    for name, addresses, code in [
        ("hospital", ADDRESS, "own_identity"),
        ("Insurer!", ADDRESS, "bad_name"),
        ("insurer", (), "no_address"),
        ("insurer", ("nonsense",), "bad_address"),
    ]:
        with pytest.raises(UsageError) as caught:
            invite(hospital, name, addresses)
        assert caught.value.code == code


# -- over the port ----------------------------------------------------------------------------------------------------


async def test_join(hospital: Identity, insurer: Identity) -> None:
    async with party(hospital) as h:
        invitation = offer(h)
        peer = await joined(h, insurer, invitation, "10.0.0.9:7443", "[::]:7443")
        assert peer == Peer("hospital", (hospital.certificate,), (h.address,))
        assert h.book.get("insurer") == Peer("insurer", (insurer.certificate,), ("10.0.0.9:7443",))
        assert h.book.invitations() == ()
        async with party(insurer, peer, listen=None) as i:
            link = await i.endpoint.open_link("hospital", b"s")
            await link.close()


async def test_single_use(hospital: Identity, insurer: Identity) -> None:
    async with party(hospital) as h:
        invitation = offer(h)
        await joined(h, insurer, invitation)
        with pytest.raises(PeerError):
            await joined(h, insurer, invitation)


async def test_two_at_once_one_wins(hospital: Identity) -> None:
    async with party(hospital) as h:
        invitation = offer(h)
        tries = [joined(h, Identity.create("insurer"), invitation) for _ in range(3)]
        outcomes = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(isinstance(one, Peer) for one in outcomes) == 1
        assert all(isinstance(one, Peer | PrivcomputeError) for one in outcomes)


async def test_without_the_secret(hospital: Identity, insurer: Identity) -> None:
    """The fingerprint, the names and the address alone open nothing."""
    async with party(hospital) as h:
        guessed = replace(offer(h), secret=bytes(16))
        with pytest.raises(PrivcomputeError):
            await joined(h, insurer, guessed)
        assert h.book.get("insurer") is None
        assert h.book.invitations()[0].tries == 0


async def test_another_node_answers(hospital: Identity, insurer: Identity) -> None:
    other = Identity.create("hospital")
    async with party(other) as h:
        stranger = replace(offer(h), fingerprint=hospital.fingerprint)
        with pytest.raises(TransportError) as caught:
            await joined(h, insurer, stranger)
        assert caught.value.code == "wrong_certificate"
        assert h.book.invitations()[0].tries == 0


async def test_the_temporary_key_opens_nothing_else(hospital: Identity) -> None:
    async with party(hospital) as h:
        temporary = offer(h).temporary()
        for method in (LINK_UP, CONTROL):
            answer = await asyncio.to_thread(raw_call, temporary, h.as_peer(h.address), h.address, method)
            assert answer == (grpc.StatusCode.PERMISSION_DENIED, "not_paired")
        assert h.came.empty()


async def test_five_failures_end_an_invitation(hospital: Identity, insurer: Identity) -> None:
    """Right secret, but a certificate whose key the joiner does not hold."""
    thief = Identity("insurer", Identity.create("insurer").key, insurer.certificate)
    async with party(hospital) as h:
        invitation = offer(h)
        for _ in range(MAX_TRIES):
            with pytest.raises(PrivcomputeError):
                await joined(h, thief, invitation)
        assert h.book.invitations() == ()
        with pytest.raises(PrivcomputeError):
            await joined(h, insurer, invitation)
        assert h.book.get("insurer") is None


async def test_an_unusable_code_is_refused_before_the_network(insurer: Identity, hospital: Identity) -> None:
    for invitation, code in [
        (invite(hospital, "bank", ADDRESS), "wrong_name"),
        (invite(insurer, "bank", ADDRESS), "own_identity"),
    ]:
        with pytest.raises(PeerError) as caught:
            await asyncio.to_thread(join, insurer, invitation.encode())
        assert caught.value.code == code


async def test_nobody_answers(hospital: Identity, insurer: Identity) -> None:
    invitation = invite(hospital, "insurer", ("127.0.0.1:1",))
    with pytest.raises(TransportError) as caught:
        await asyncio.to_thread(join, insurer, invitation.encode(), (), QUICK)
    assert (caught.value.code, caught.value.party is None or caught.value.party == "hospital") == ("unreachable", True)


# -- each message bent ------------------------------------------------------------------------------------------------


def converse(
    hospital: Identity, insurer: Identity
) -> tuple[MemoryBook, Inviter, Joiner, JoinHello, JoinChallenge, JoinAnswer]:
    invitation, book = invited(hospital)
    inviter, joiner = Inviter(hospital, book, invitation.pending().id), Joiner(insurer, invitation)
    hello = joiner.hello()
    challenge = inviter.challenge(hello)
    return book, inviter, joiner, hello, challenge, joiner.answer(challenge)


def test_conversation(hospital: Identity, insurer: Identity) -> None:
    book, inviter, _, hello, challenge, answer = converse(hospital, insurer)
    assert inviter.welcome(answer).fingerprints == (insurer.fingerprint,)
    assert len({hello.nonce, challenge.nonce}) == 2
    assert book.get("insurer") is not None
    with pytest.raises(PeerError):
        inviter.welcome(answer)


@pytest.mark.parametrize("field", ["proof", "signature"])
def test_bent_answer(hospital: Identity, insurer: Identity, field: str) -> None:
    book, inviter, _, _, _, answer = converse(hospital, insurer)
    right = getattr(answer, field)
    setattr(answer, field, bytes([right[0] ^ 1]) + right[1:])
    with pytest.raises(PeerError) as caught:
        inviter.welcome(answer)
    assert caught.value.code == "bad_proof"
    assert book.get("insurer") is None


def test_bent_challenge(hospital: Identity, insurer: Identity) -> None:
    _, _, joiner, _, challenge, _ = converse(hospital, insurer)
    for nonce, proof in [(challenge.nonce, bytes(32)), (bytes(32), challenge.proof), (b"", challenge.proof)]:
        with pytest.raises(PeerError) as caught:
            joiner.answer(JoinChallenge(nonce=nonce, proof=proof))
        assert caught.value.code == "bad_proof"


def test_a_proof_is_not_reflected(hospital: Identity, insurer: Identity) -> None:
    _, inviter, _, _, challenge, answer = converse(hospital, insurer)
    with pytest.raises(PeerError):
        inviter.welcome(JoinAnswer(proof=challenge.proof, signature=answer.signature))


def test_an_answer_belongs_to_its_challenge(hospital: Identity, insurer: Identity) -> None:
    invitation, book = invited(hospital)
    joiner = Joiner(insurer, invitation)
    first, second = (Inviter(hospital, book, invitation.pending().id) for _ in range(2))
    hello = joiner.hello()
    answer = joiner.answer(first.challenge(hello))
    second.challenge(hello)
    with pytest.raises(PeerError):
        second.welcome(answer)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"version": 2}, "version"),
        ({"inviter": "bank"}, "wrong_name"),
        ({"joiner": "bank"}, "wrong_name"),
        ({"nonce": b"short"}, "bad_frame"),
        ({"certificate": b""}, "bad_certificate"),
        ({"certificate": bytes(MAX_FRAME)}, "bad_certificate"),
        ({"addresses": ["h:1"] * 17}, "bad_frame"),
    ],
)
def test_bent_hello_burns_a_try(hospital: Identity, insurer: Identity, change: dict[str, object], code: str) -> None:
    invitation, book = invited(hospital)
    hello = Joiner(insurer, invitation).hello()
    for field, value in change.items():
        if field == "addresses":
            hello.addresses.extend(["h:1"] * 17)
        else:
            setattr(hello, field, value)
    with pytest.raises(PeerError) as caught:
        Inviter(hospital, book, invitation.pending().id).challenge(hello)
    assert caught.value.code == code
    assert book.invitations()[0].tries == 1


def test_answer_before_hello(hospital: Identity, insurer: Identity) -> None:
    invitation, book = invited(hospital)
    with pytest.raises(PeerError) as caught:
        Inviter(hospital, book, invitation.pending().id).welcome(JoinAnswer(proof=b"", signature=b""))
    assert caught.value.code == "bad_frame"


def test_a_certificate_of_another_peer_is_not_taken_twice(hospital: Identity, insurer: Identity) -> None:
    """Else two names would answer to one fingerprint."""
    invitation, book = invited(hospital)
    book.add(Peer("bank", (insurer.certificate,)))
    with pytest.raises(PeerError) as caught:
        Inviter(hospital, book, invitation.pending().id).challenge(Joiner(insurer, invitation).hello())
    assert caught.value.code == "bad_certificate"


def test_book_rules(hospital: Identity, insurer: Identity) -> None:
    first, book = invited(hospital)
    second = invite(hospital, "insurer", ADDRESS)
    book.invite(second.pending())  # the newer one voids the older
    assert [one.id for one in book.invitations()] == [second.pending().id]
    assert book.begin_try(first.pending().id) is None
    book.invite(replace(second.pending(), expires=time.time() - 1))
    assert book.invitations() == ()
    assert book.begin_try(second.pending().id) is None
    book.add(Peer("insurer", (insurer.certificate,)))
    with pytest.raises(UsageError, match="already paired"):
        book.add(Peer("insurer", (insurer.certificate,)))
    with pytest.raises(UsageError, match="already paired"):
        book.invite(second.pending())
    assert book.remove("insurer")
    assert not book.remove("insurer")
