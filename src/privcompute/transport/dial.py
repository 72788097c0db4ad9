"""Calls to another node: a link's two for one session, the Control stream, with gRPC's errors given names."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import grpc

from privcompute.errors import PeerError, PrivcomputeError, TransportError
from privcompute.transport.address import Address
from privcompute.transport.book import Peer
from privcompute.transport.calls import Calls, cancelled_after
from privcompute.transport.gate import (
    CODE_KEY,
    FINGERPRINT_KEY,
    LINK_DOWN,
    LINK_UP,
    PARTY_KEY,
    SESSION_KEY,
    TICKET_KEY,
    VERSION_KEY,
)
from privcompute.transport.identity import Identity
from privcompute.transport.limits import PROTOCOL_VERSION, TransportLimits
from privcompute.transport.link import GrpcLink
from privcompute.transport.probe import probe
from privcompute.transport.tls import secure_channel

_PROBE_SECONDS = 3.0
_REMEDIES = {
    "not_paired": "the other node does not know this one (any more): pair again",
    "busy": "ask again later: the other node has as many links open as it allows",
    "wrong_certificate": "check the address; if the other node was set up anew, unpair it and pair again",
    "bad_ticket": "ask again: the link ended while it was being opened",
    "version": "bring both nodes to the same release of privcompute",
}


def metadata(identity: Identity, *more: tuple[str, str | bytes]) -> tuple[tuple[str, str | bytes], ...]:
    """What every call of ours says of itself."""
    return ((PARTY_KEY, identity.name), (VERSION_KEY, PROTOCOL_VERSION), *more)


_ENDED = "check the network between the two nodes, then ask again; the peer's log says how the run ended there"


def named(error: grpc.RpcError | None, party: str, address: str) -> PrivcomputeError:
    """The named error of a call that ended by ``error``."""
    if error is None:
        return TransportError("the peer's stream ended without a word", code="closed", party=party, remedy=_ENDED)
    code = _code(error)
    status = error.code() if isinstance(error, grpc.Call) else grpc.StatusCode.UNKNOWN
    if code:
        return PeerError("the peer refused the call", code=code, party=party, remedy=_REMEDIES.get(code, ""))
    if status is grpc.StatusCode.CANCELLED:
        return TransportError("the link was cancelled", code="closed", party=party, remedy=_ENDED)
    if status is grpc.StatusCode.DEADLINE_EXCEEDED:
        return TransportError("the link reached its longest life", code="deadline", party=party, remedy=_ENDED)
    return TransportError(
        f"the connection to {party} at {address} failed or was lost",
        code="unreachable",
        party=party,
        remedy=f"check that {party} runs `privcompute serve`; `privcompute doctor` shows what answers there",
    )


@dataclass
class Dialled:
    """The two calls of a link, both accepted by the peer."""

    party: str
    address: str
    fingerprint: str
    channel: Any
    up: Any
    down: Any

    def read(self, link: GrpcLink) -> None:
        """Reads to the end; runs in a thread."""
        self.up.add_done_callback(lambda _: self._unheard(link))
        try:
            link.read_from(self.down, self._reason)
        finally:
            self.channel.close()

    def _unheard(self, link: GrpcLink) -> None:
        """The peer takes nothing any more. If it read to our end all is well, and its own end is on the way."""
        if _failed(self.up):
            self.down.cancel()
            link.lost(self._reason(None))
        else:
            link.outbox.kill()

    def _reason(self, error: Exception | None) -> PrivcomputeError:
        """By the call that the peer ended by a word of its own, else by the first one that failed."""
        ends = [end for end in (self.up if _failed(self.up) else None, error) if isinstance(end, grpc.RpcError)]
        told = [end for end in ends if _code(end)]
        return named(next(iter(told + ends), None), self.party, self.address)


def _failed(call: Any) -> bool:
    return bool(call.done()) and call.code() is not grpc.StatusCode.OK


def _code(error: grpc.RpcError | None) -> str:
    """The code by which a peer refused or ended a call; "" if it did not."""
    told = dict(error.trailing_metadata() or ()).get(CODE_KEY) if isinstance(error, grpc.Call) else None
    return str(told or "")[:64]


def hang_up(dialled: Future[Dialled]) -> None:
    """Ends the call that a dialling nobody waits for any more has opened, if it has."""
    if not dialled.cancelled() and dialled.exception() is None:
        dialled.result().channel.close()


def accepted_by(call: Any, seconds: float) -> str:
    """The certificate under which the other node says that it accepted the call; "" once the call has ended.

    gRPC shows empty metadata before it shows that a call has failed, so only the word itself means accepted.
    """
    with cancelled_after(call, seconds):
        said = str(dict(call.initial_metadata() or ()).get(FINGERPRINT_KEY, ""))
        if not said:
            call.code()  # waits for the end, which the timer brings if the other node does not
    return said


def open_link(
    identity: Identity,
    peer: Peer,
    address: str,
    session_id: bytes,
    frames: Iterator[bytes],
    limits: TransportLimits,
    calls: Calls,
) -> Dialled:
    """Dials one address and opens a link; blocks until the peer has accepted it, at most `TransportLimits.connect`, and
    some seconds more to find out why it did not.

    Raises:
        TransportError: it cannot be reached, or its certificate is not a pinned one.
        PeerError: it refused, by that code.
    """
    channel = secure_channel(Address.parse(address).target, identity, peer.name, peer.certificates, limits)

    deadline = time.monotonic() + limits.connect

    def accepted(call: Any) -> str:
        calls.add(call)
        fingerprint = accepted_by(call, max(deadline - time.monotonic(), 0.1))
        if calls.cancelled:
            raise TransportError("dialling was given up", code="cancelled", party=peer.name)
        if not fingerprint:
            raise _refusal(call, peer, address, identity)
        if fingerprint not in peer.fingerprints:
            raise PeerError(
                "the peer names a certificate that is not pinned", code="wrong_certificate", party=peer.name
            )
        return fingerprint

    try:
        said = metadata(identity, (SESSION_KEY, session_id))
        up = channel.stream_stream(LINK_UP)(frames, metadata=said, timeout=limits.link)
        fingerprint = accepted(up)
        said = metadata(identity, (TICKET_KEY, dict(up.initial_metadata()).get(TICKET_KEY, b"")))
        down = channel.stream_stream(LINK_DOWN)(iter(()), metadata=said, timeout=limits.link)
        accepted(down)
    except BaseException:
        channel.close()
        raise
    return Dialled(peer.name, address, fingerprint, channel, up, down)


def _refusal(call: Any, peer: Peer, address: str, identity: Identity) -> PrivcomputeError:
    """Why a call was not accepted. gRPC cannot tell a refused certificate from a closed port, the ssl module can."""
    error = named(call, peer.name, address)
    if not isinstance(error, TransportError):
        return error
    found = probe(address, peer=peer, identity=identity, timeout=_PROBE_SECONDS)
    if not found.reachable:
        code = "unreachable"
    elif found.pinned is False:
        code = "wrong_certificate"
    elif found.admitted is False:
        code = "not_paired"
    elif call.code() is grpc.StatusCode.CANCELLED:  # by us
        return TransportError(
            f"{peer.name} at {address} did not accept the link in time",
            code="unreachable",
            party=peer.name,
            remedy="ask again; if it stays so, see the other node's log",
        )
    else:
        return error
    return TransportError(found.finding, code=code, party=peer.name, remedy=_REMEDIES.get(code, error.remedy))
