"""The joining side's call: dial the addresses of a code, check the certificate against it, pair."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import grpc

from privcompute.errors import PeerError, PrivcomputeError, TransportError
from privcompute.transport import dial
from privcompute.transport.address import Address
from privcompute.transport.book import Peer
from privcompute.transport.gate import JOIN
from privcompute.transport.identity import Identity, fingerprint_of, same_fingerprint
from privcompute.transport.invitation import Invitation
from privcompute.transport.limits import TransportLimits
from privcompute.transport.pairing import Joiner, refused
from privcompute.transport.probe import presented_certificate
from privcompute.transport.tls import secure_channel
from privcompute.wire.pairing_pb2 import JoinDown, JoinUp


def join(identity: Identity, code: str, addresses: tuple[str, ...] = (), limits: TransportLimits | None = None) -> Peer:
    """Pairs with the node that made the code; blocks. The caller stores the peer.

    Args:
        identity: This node's.
        code: As `invite` printed it.
        addresses: Where the inviter may reach this node; may be empty.
        limits: Times.

    Raises:
        UsageError: the code is damaged or has expired.
        PeerError: the inviter refused, or does not know the secret.
        TransportError: none of its addresses answers.
    """
    limits = limits or TransportLimits()
    invitation = Invitation.decode(code)
    joiner = Joiner(identity, invitation, addresses)
    failure: PrivcomputeError = TransportError(
        "the code holds no address",
        code="unreachable",
        party=invitation.inviter,
        remedy="ask for a code made with --address HOST:PORT",
    )
    for address in invitation.addresses:
        try:
            return _join_at(address, invitation, joiner, limits)
        except TransportError as error:
            failure = error
    raise failure


def _join_at(address: str, invitation: Invitation, joiner: Joiner, limits: TransportLimits) -> Peer:
    certificate = presented_certificate(address, limits.connect)
    if not same_fingerprint(fingerprint_of(certificate), invitation.fingerprint):
        raise TransportError(
            f"another node than the one that made the code answers at {address}",
            code="wrong_certificate",
            party=invitation.inviter,
            remedy="check the address; if it is right, ask for a new code",
        )
    temporary = invitation.temporary()
    outgoing: queue.Queue[JoinUp | None] = queue.Queue()
    with secure_channel(
        Address.parse(address).target, temporary, invitation.inviter, (certificate,), limits
    ) as channel:
        call = channel.stream_stream(
            JOIN, request_serializer=JoinUp.SerializeToString, response_deserializer=JoinDown.FromString
        )(iter(outgoing.get, None), metadata=dial.metadata(temporary), timeout=limits.join)
        try:
            outgoing.put(JoinUp(hello=joiner.hello()))
            outgoing.put(JoinUp(answer=joiner.answer(_step(call, "challenge"))))
            _step(call, "welcome")
        except grpc.RpcError as error:
            named = dial.named(error, invitation.inviter, address)
            if isinstance(named, PeerError):
                raise refused("the other node said no", named.code, party=invitation.inviter) from None
            raise refused("the other node does not admit this code (any more)", party=invitation.inviter) from None
        finally:
            outgoing.put(None)
            call.cancel()
    return joiner.peer(certificate)


def _step(call: Iterator[JoinDown], wanted: str) -> Any:
    message = next(call, None)
    if message is None or message.WhichOneof("step") != wanted:
        raise PeerError("the join's messages are out of order", code="bad_frame")
    return getattr(message, wanted)
