"""Calls to another node: a link's two for one session, the Control stream, with gRPC's errors given names."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import grpc

from privcompute.errors import PeerError, PrivcomputeError, TransportError
from privcompute.transport.address import Address
from privcompute.transport.book import Peer
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
    code = dict(error.trailing_metadata() or ()).get(CODE_KEY) if isinstance(error, grpc.Call) else None
    status = error.code() if isinstance(error, grpc.Call) else grpc.StatusCode.UNKNOWN
    if code:
        return PeerError(
            "the peer refused the call", code=str(code)[:64], party=party, remedy=_REMEDIES.get(str(code), "")
        )
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
class Call:
    """The two calls of a link, of which the peer has accepted the first."""

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
        link.outbox.kill()
        if self.up.code() is not grpc.StatusCode.OK:
            self.down.cancel()

    def _reason(self, error: Exception | None) -> PrivcomputeError:
        """By the call that failed first."""
        if self.up.done() and self.up.code() is not grpc.StatusCode.OK:
            error = self.up
        return named(error if isinstance(error, grpc.RpcError) else None, self.party, self.address)


class Attempt:
    """One dialling, which another thread can give up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Any] = []
        self.given_up = False

    def begun(self, call: Any) -> None:
        """This is one of its calls; it is cancelled at once if nobody wants it any more."""
        with self._lock:
            self._calls.append(call)
            unwanted = self.given_up
        if unwanted:
            call.cancel()

    def give_up(self) -> None:
        """Cancels its calls, whenever they begin."""
        with self._lock:
            self.given_up, calls = True, list(self._calls)
        for call in calls:
            call.cancel()


def hang_up(dialled: Future[Call]) -> None:
    """Ends the call that a dialling nobody waits for any more has opened, if it has."""
    if not dialled.cancelled() and dialled.exception() is None:
        dialled.result().channel.close()


@contextlib.contextmanager
def cancelled_after(call: grpc.Call, seconds: float) -> Iterator[None]:
    """Cancels the call if the body takes longer: gRPC's own deadline would bound the whole stream."""
    timer = threading.Timer(seconds, call.cancel)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


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
    attempt: Attempt,
) -> Call:
    """Dials one address and opens a link; blocks until the peer has accepted it, at most `TransportLimits.connect`.

    Raises:
        TransportError: it cannot be reached, or its certificate is not a pinned one.
        PeerError: it refused, by that code.
    """
    channel = secure_channel(Address.parse(address).target, identity, peer.name, peer.certificates, limits)

    def accepted(call: Any) -> str:
        attempt.begun(call)
        fingerprint = accepted_by(call, limits.connect)
        if attempt.given_up:
            raise TransportError("dialling was given up", code="cancelled", party=peer.name)
        if not fingerprint:
            raise _refusal(call, peer, address, identity)
        if fingerprint not in peer.fingerprints:
            call.cancel()
            raise PeerError(
                "the peer names a certificate that is not pinned", code="wrong_certificate", party=peer.name
            )
        return fingerprint

    try:
        said = metadata(identity, (SESSION_KEY, session_id))
        up = channel.stream_unary(LINK_UP).future(frames, metadata=said, timeout=limits.link)
        fingerprint = accepted(up)
        said = metadata(identity, (TICKET_KEY, dict(up.initial_metadata()).get(TICKET_KEY, b"")))
        down = channel.unary_stream(LINK_DOWN)(b"", metadata=said, timeout=limits.link)
        accepted(down)
    except BaseException:
        channel.close()
        raise
    return Call(peer.name, address, fingerprint, channel, up, down)


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
    else:
        return error
    return TransportError(found.finding, code=code, party=peer.name, remedy=_REMEDIES.get(code, error.remedy))
