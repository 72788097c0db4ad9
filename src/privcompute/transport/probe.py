"""What `doctor` sees at an address: gRPC says 'Socket closed' to every refused certificate, the ssl module says why."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import grpc
from cryptography import x509
from grpc_health.v1 import health_pb2

from privcompute.errors import PeerError, TransportError, UsageError
from privcompute.transport.address import Address
from privcompute.transport.book import Peer
from privcompute.transport.gate import TIME_KEY
from privcompute.transport.identity import Identity, show_fingerprint
from privcompute.transport.limits import TransportLimits
from privcompute.transport.tls import secure_channel

SKEW_ALLOWED = 120.0


@dataclass(frozen=True)
class Probe:
    """What was found at one address.

    Args:
        address: HOST:PORT.
        reachable: Something accepts TCP connections there.
        tls: The TLS version spoken, or None.
        fingerprint: SHA-256 of the certificate presented, or None.
        pinned: It is one of the peer's pinned certificates; None: nothing to compare with.
        admitted: It accepts our certificate; None: not tried.
        days_left: Days until the presented certificate ends, by this machine's clock; negative: ended.
        clock: Seconds by which the other machine's clock is ahead; None: not known.
        finding: One sentence for people.
    """

    address: str
    reachable: bool = False
    tls: str | None = None
    fingerprint: str | None = None
    pinned: bool | None = None
    admitted: bool | None = None
    days_left: int | None = None
    clock: float | None = None
    finding: str = ""

    @property
    def sound(self) -> bool:
        """Everything that was tried is as it should be."""
        clock = self.clock is None or abs(self.clock) <= SKEW_ALLOWED
        return (
            self.reachable
            and self.tls == "TLSv1.3"
            and self.pinned is not False
            and self.admitted is not False
            and clock
        )


def probe(address: str, *, peer: Peer | None = None, identity: Identity | None = None, timeout: float = 5.0) -> Probe:
    """Looks at an address with the ssl module; blocks up to a few times ``timeout``.

    Args:
        address: HOST:PORT.
        peer: Who should be there.
        identity: Who we are: then it is also tried whether we are admitted, and the clocks are compared.
        timeout: Seconds for each step.
    """
    try:
        where = Address.parse(address)
        raw = socket.create_connection((where.host, where.port), timeout)
    except (OSError, UsageError) as error:
        return Probe(address, finding=f"nothing answers at {address}: {_reason(error)}")
    try:
        with raw, _context(identity) as context, context.wrap_socket(raw) as tls:
            der = tls.getpeercert(binary_form=True) or b""
            version = tls.version()
            admitted = _admitted(tls) if identity is not None else None
    except (OSError, ValueError) as error:
        return Probe(address, reachable=True, finding=f"{address} answers, but not in TLS 1.3: {_reason(error)}")
    fingerprint = hashlib.sha256(der).hexdigest()
    pinned = None if peer is None else fingerprint in peer.fingerprints
    end = x509.load_der_x509_certificate(der).not_valid_after_utc
    days = (end - datetime.now(UTC)).days
    clock = None
    if identity is not None and peer is not None and pinned and admitted:
        with contextlib.suppress(TransportError, PeerError):
            clock = health(address, peer, identity, timeout=timeout)
    found = Probe(address, True, version, fingerprint, pinned, admitted, days, clock)
    return Probe(**{**vars(found), "finding": _finding(found, peer)})


def presented_certificate(address: str, timeout: float = 5.0) -> str:
    """The certificate presented at an address, PEM, whoever holds it: to be compared with a known fingerprint.

    Raises:
        TransportError: code ``unreachable``.
    """
    try:
        where = Address.parse(address)
        with (
            socket.create_connection((where.host, where.port), timeout) as raw,
            _context(None) as context,
            context.wrap_socket(raw) as tls,
        ):
            return ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True) or b"")
    except OSError as error:
        raise TransportError(
            f"no node answers at {address}: {_reason(error)}",
            code="unreachable",
            remedy="check that the other node runs (privcompute serve) and that a firewall lets the port through",
        ) from None


def health(address: str, peer: Peer, identity: Identity, *, timeout: float = 5.0) -> float:
    """Asks the standard health service of a peer's node.

    Returns:
        Seconds by which the peer's clock is ahead of ours, to within half a round trip.

    Raises:
        TransportError: it cannot be reached, or does not admit us.
        PeerError: code ``not_serving``.
    """
    target = Address.parse(address).target
    with secure_channel(target, identity, peer.name, peer.certificates, TransportLimits()) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        start = time.time()
        try:
            answer, call = check.with_call(health_pb2.HealthCheckRequest(), timeout=timeout)
        except grpc.RpcError as error:
            raise TransportError(
                f"the node at {address} does not answer a health check ({error.code().name.lower()})",
                code="unreachable",
                party=peer.name,
            ) from None
        middle = (start + time.time()) / 2
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise PeerError("the node is not serving", code="not_serving", party=peer.name)
        said = dict(call.initial_metadata()).get(TIME_KEY)
        return float(said) - middle if said else 0.0


@contextlib.contextmanager
def _context(identity: Identity | None) -> Iterator[ssl.SSLContext]:
    """TLS 1.3 that looks at any certificate: the caller compares fingerprints."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2"])
    if identity is not None:
        # ssl reads certificates from files only. This one has no name, is in memory, and goes with its descriptor.
        with os.fdopen(os.memfd_create("certificate"), "wb") as file:
            file.write(identity.key + identity.certificate.encode())
            file.flush()
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
    yield context


def _admitted(tls: ssl.SSLSocket) -> bool:
    """A gRPC server that accepts our certificate speaks first; one that does not hangs up."""
    try:
        return bool(tls.recv(1))
    except OSError:
        return False


def _finding(found: Probe, peer: Peer | None) -> str:
    name = peer.name if peer else "the peer"
    if found.pinned is False:
        return (
            f"{found.address} presents {show_fingerprint(found.fingerprint or '')}, which is not pinned for {name}: "
            "another node answers there, or its identity changed; if so, pair again"
        )
    if found.days_left is not None and found.days_left < 0:
        return f"the certificate of {name} has ended, or this machine's clock is wrong"
    if found.admitted is False:
        return f"{name} does not admit this node: it has un-paired it, or the clocks differ; pair again"
    if found.clock is not None and abs(found.clock) > SKEW_ALLOWED:
        return f"the clock of {name} differs by {found.clock:.0f} s: set both by a time server"
    return f"{name} answers at {found.address}"


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "a TLS error").lower().replace("_", " ")
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
