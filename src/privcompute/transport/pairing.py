"""The Join call: two nodes that share a one-time secret exchange certificates. Messages only, no network.

Inputs:   inviter: its identity, the pending invitation; joiner: its identity, the code, its own addresses.
Output:   each side holds the other's certificate, pinned; the invitation is used up.
Learned:  each side the other's certificate and addresses; nobody else anything.
Source:   key confirmation by HMAC over the transcript, as in TLS 1.3 (RFC 8446, section 4.4.4).
Steps:
  1. joiner: hello = version, both names, its certificate, its addresses, a fresh nonce
  2. inviter: counts a try, checks the hello; challenge = fresh nonce, HMAC(proof key, "inviter" | transcript)
  3. joiner: checks the proof; answer = HMAC(proof key, "joiner" | transcript), signature of the transcript
  4. inviter: checks both, uses up the invitation, stores the peer; welcome

The transcript holds version, names, both fingerprints, both nonces and the joiner's addresses, each with its length.
The inviter's fingerprint comes from the code on the one side and from the inviter's own identity on the other, so a
man in the middle with another certificate makes the proofs differ; TLS under the pinned certificate stops it before.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from privcompute.errors import PeerError
from privcompute.randomness import equal, token_bytes
from privcompute.transport.address import MAX_ADDRESSES, clean_addresses
from privcompute.transport.book import Peer, PeerBook, PendingInvitation
from privcompute.transport.identity import (
    Identity,
    check_certificate,
    check_signature,
    der_of,
    fingerprint_of,
    same_fingerprint,
)
from privcompute.transport.invitation import VERSION, Invitation
from privcompute.wire.pairing_pb2 import JoinAnswer, JoinChallenge, JoinHello

NONCE_BYTES = 32


def refused(why: str, code: str = "join_refused", *, party: str | None = None) -> PeerError:
    """The error of a Join call that one side ends."""
    return PeerError(
        f"the join was refused: {why}",
        code=code,
        party=party,
        remedy="ask for a new invitation: one code holds for one use, five tries and 24 hours",
    )


@dataclass(frozen=True, repr=False)
class _Transcript:
    """What both sides prove knowledge of."""

    inviter: str
    joiner: str
    inviter_fingerprint: str
    joiner_fingerprint: str
    addresses: tuple[str, ...]
    joiner_nonce: bytes
    inviter_nonce: bytes

    def encoded(self) -> bytes:
        fields = [
            b"privcompute join",
            str(VERSION).encode(),
            self.inviter.encode(),
            self.joiner.encode(),
            bytes.fromhex(self.inviter_fingerprint),
            bytes.fromhex(self.joiner_fingerprint),
            self.joiner_nonce,
            self.inviter_nonce,
            *(address.encode() for address in self.addresses),
        ]
        return b"".join(len(one).to_bytes(4, "big") + one for one in fields)

    def proof(self, key: bytes, role: str) -> bytes:
        return hmac.digest(key, role.encode() + b"|" + self.encoded(), "sha256")


class Joiner:
    """The invited side of one Join call.

    Args:
        identity: The joining party.
        invitation: The decoded code.
        addresses: Where the joiner may be reached; may be empty.

    Raises:
        PrivcomputeError: the code is for another party, or is this node's own.
    """

    def __init__(self, identity: Identity, invitation: Invitation, addresses: tuple[str, ...] = ()) -> None:
        if same_fingerprint(invitation.fingerprint, identity.fingerprint) or invitation.inviter == identity.name:
            raise refused("the code was made by this node itself", "own_identity")
        if invitation.joiner != identity.name:
            raise refused(
                f"the code is for a party called {invitation.joiner}, this node is {identity.name}", "wrong_name"
            )
        self._identity = identity
        self._invitation = invitation
        self._addresses = clean_addresses(addresses)
        self._nonce = token_bytes(NONCE_BYTES)

    def hello(self) -> JoinHello:
        """Step 1."""
        # 1.
        return JoinHello(
            version=VERSION,
            inviter=self._invitation.inviter,
            joiner=self._identity.name,
            certificate=der_of(self._identity.certificate),
            addresses=list(self._addresses),
            nonce=self._nonce,
        )

    def answer(self, challenge: JoinChallenge) -> JoinAnswer:
        """Step 3.

        Raises:
            PeerError: the other side does not know the secret.
        """
        # 3.
        transcript = _Transcript(
            self._invitation.inviter,
            self._identity.name,
            self._invitation.fingerprint,
            self._identity.fingerprint,
            self._addresses,
            self._nonce,
            challenge.nonce,
        )
        key = self._invitation.proof_key()
        if len(challenge.nonce) != NONCE_BYTES or not equal(challenge.proof, transcript.proof(key, "inviter")):
            raise refused("the other side does not know this invitation", "bad_proof", party=self._invitation.inviter)
        return JoinAnswer(proof=transcript.proof(key, "joiner"), signature=self._identity.sign(transcript.encoded()))

    def peer(self, certificate: str) -> Peer:
        """The inviter, once it has said welcome; its certificate is the one TLS presented and the code names."""
        checked = check_certificate(der_of(certificate), self._invitation.inviter)
        if not same_fingerprint(fingerprint_of(checked), self._invitation.fingerprint):
            raise refused("the certificate is not the one the code names", "wrong_certificate")
        return Peer(self._invitation.inviter, (checked,), self._invitation.addresses)


class Inviter:
    """The inviting side of one Join call.

    Args:
        identity: The inviting party.
        book: Its peers and invitations.
        invitation_id: Fingerprint of the temporary certificate that TLS saw.

    Raises:
        PeerError: the invitation is not usable. Otherwise a try is counted, whether or not a hello ever comes.
    """

    def __init__(self, identity: Identity, book: PeerBook, invitation_id: str) -> None:
        self._identity = identity
        self._book = book
        self._id = invitation_id
        self._transcript: _Transcript | None = None
        self._peer: Peer | None = None
        # 2.
        pending = book.begin_try(invitation_id)
        if pending is None:
            raise refused("the invitation is used up, expired, or was tried five times")
        self._pending: PendingInvitation = pending

    def challenge(self, hello: JoinHello) -> JoinChallenge:
        """Step 2.

        Raises:
            PeerError: the hello is no good.
        """
        pending = self._pending
        if hello.version != VERSION:
            raise refused("it speaks another version of this protocol", "version")
        if hello.inviter != self._identity.name or hello.joiner != pending.peer:
            raise refused("the invitation is for other names", "wrong_name")
        if len(hello.nonce) != NONCE_BYTES or len(hello.addresses) > MAX_ADDRESSES:
            raise refused("the hello is malformed", "bad_frame")
        certificate = check_certificate(hello.certificate, pending.peer)
        fingerprint = fingerprint_of(certificate)
        if same_fingerprint(fingerprint, self._identity.fingerprint):
            raise refused("the certificate is this node's own", "own_identity")
        if any(fingerprint in peer.fingerprints for peer in self._book.all()):
            raise refused("the certificate belongs to another party already", "bad_certificate")
        nonce = token_bytes(NONCE_BYTES)
        addresses = tuple(hello.addresses)
        self._peer = Peer(pending.peer, (certificate,), clean_addresses(addresses))
        self._transcript = _Transcript(
            self._identity.name, pending.peer, self._identity.fingerprint, fingerprint, addresses, hello.nonce, nonce
        )
        return JoinChallenge(nonce=nonce, proof=self._transcript.proof(pending.proof_key, "inviter"))

    def welcome(self, answer: JoinAnswer) -> Peer:
        """Step 4: the new peer, stored.

        Raises:
            PeerError: a proof is wrong, or the invitation was used meanwhile.
        """
        # 4.
        if self._transcript is None or self._peer is None:
            raise refused("its messages are out of order", "bad_frame")
        if not equal(answer.proof, self._transcript.proof(self._pending.proof_key, "joiner")):
            raise refused("the other side does not know this invitation", "bad_proof", party=self._peer.name)
        if not check_signature(self._peer.certificates[0], self._transcript.encoded(), answer.signature):
            raise refused("the other side does not hold the key of its certificate", "bad_proof", party=self._peer.name)
        if not self._book.consume(self._id, self._peer):
            raise refused("the invitation was used meanwhile")
        return self._peer
