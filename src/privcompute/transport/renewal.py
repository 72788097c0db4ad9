"""Certificate renewal with overlap: tell a peer which certificate this party presents next.

The message travels over an ordinary link under the certificate that is pinned now; the new key signs both
fingerprints and both names, so that nobody can announce a key he does not hold. The peer then accepts both
certificates; once it has seen the new one in use it forgets the old (`Peer.promoted`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError

from privcompute.errors import PeerError
from privcompute.randomness import token_bytes
from privcompute.transport.identity import Identity, check_certificate, check_signature, der_of, fingerprint_of
from privcompute.wire.control_pb2 import Renewal

if TYPE_CHECKING:
    from privcompute.session import Channel
    from privcompute.transport.book import PeerBook
    from privcompute.transport.endpoint import Endpoint

_SESSION: Final = b"privcompute renewal "
_CERTIFICATE: Final = "renewal/certificate.1"
_ACCEPTED: Final = "renewal/accepted.1"
_LIMIT: Final = 8192


def is_renewal(session_id: bytes) -> bool:
    """Whether a link of that session announces a certificate."""
    return session_id.startswith(_SESSION)


def _transcript(owner: str, reader: str, now: str, following: str) -> bytes:
    fields = [b"privcompute renewal", owner.encode(), reader.encode(), bytes.fromhex(now), bytes.fromhex(following)]
    return b"".join(len(one).to_bytes(4, "big") + one for one in fields)


async def tell(endpoint: Endpoint, peer: str, following: Identity) -> None:
    """Tells one peer which certificate this node will present next.

    Raises:
        TransportError: the peer cannot be reached now.
        PeerError: it did not accept the certificate.
    """
    me = endpoint.identity
    signature = following.sign(_transcript(me.name, peer, me.fingerprint, following.fingerprint))
    message = Renewal(certificate=der_of(following.certificate), signature=signature)
    # A fresh id each time: both sides may renew at once, and neither takes the other's link for its own.
    link = await endpoint.open_link(peer, _SESSION + token_bytes(16))
    try:
        await link.send(_CERTIFICATE, [message.SerializeToString()])
        await link.recv(_ACCEPTED, 0, endpoint.limits.join)
    finally:
        await link.close()


async def hear(book: PeerBook, identity: Identity, link: Channel, pinned: str, timeout: float) -> None:
    """Takes a peer's next certificate into the book.

    Args:
        book: Where the peers are kept.
        identity: This node's.
        link: The peer's link.
        pinned: The fingerprint it presented on that link.
        timeout: Seconds to wait for it.

    Raises:
        PeerError: ``bad_certificate``: not the peer's name, not our kind of certificate, or not signed by its key.
    """
    raw = await link.recv(_CERTIFICATE, _LIMIT, timeout)
    wrong = PeerError("the next certificate is not acceptable", code="bad_certificate", party=link.peer)
    try:
        message = Renewal.FromString(bytes(raw))
    except DecodeError:
        raise wrong from None
    certificate = check_certificate(message.certificate, link.peer)
    following = fingerprint_of(certificate)
    transcript = _transcript(link.peer, identity.name, pinned, following)
    peer = book.get(link.peer)
    taken = any(following in one.fingerprints for one in book.all() if one.name != link.peer)
    if peer is None or taken or not check_signature(certificate, transcript, message.signature):
        raise wrong
    if following not in peer.fingerprints:
        book.replace(peer.with_next(certificate))
    await link.send(_ACCEPTED, [b""])
