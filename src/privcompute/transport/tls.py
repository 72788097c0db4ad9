"""Mutual TLS 1.3 under pinned certificates, for both ends of a gRPC connection."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final

import grpc

from privcompute.transport.book import PeerBook
from privcompute.transport.identity import Identity, fingerprint_of, host_name
from privcompute.transport.limits import TransportLimits

cached_fingerprint = lru_cache(maxsize=512)(fingerprint_of)
"""`fingerprint_of` for certificates that are looked at on every call."""


_SETTLE: Final = 0.25  # seconds


def server_credentials(identity: Callable[[], Identity], book: PeerBook) -> grpc.ServerCredentials:
    """Credentials that look at identity and book anew at each handshake; for one port.

    The roots are exactly the peers' certificates and those of usable invitations; what each may call is `gate`'s to
    say. With no peer at all the node's own certificate stands in, which `gate` refuses.

    gRPC frees what it made of an older configuration while another connection's thread may be about to use it: told a
    new one at each handshake, it dies within a second of a few connections at once, from whomever. So it is told only
    what changed, and that after a moment, during which it holds back all further handshakes: those that were under way
    have passed the place by then. See docs/decisions/0014-what-grpc-reloads.md.
    """
    told: tuple[str, bytes] | None = None

    def configuration() -> grpc.ServerCertificateConfiguration | None:
        nonlocal told
        me = identity()
        roots = {pem for peer in book.all() for pem in peer.certificates}
        roots |= {invitation.certificate for invitation in book.invitations()}
        now = me.certificate, _bundle(sorted(roots) or [me.certificate])
        if now == told:
            return None
        if told is not None:
            time.sleep(_SETTLE)
        told = now
        return grpc.ssl_server_certificate_configuration([(me.key, me.certificate.encode())], root_certificates=now[1])

    return grpc.dynamic_ssl_server_credentials(configuration(), configuration, require_client_authentication=True)


def secure_channel(
    target: str, identity: Identity, party: str, pinned: Iterable[str], limits: TransportLimits
) -> grpc.Channel:
    """A channel with a connection of its own, on which only the holder of a pinned certificate is accepted.

    Args:
        target: As gRPC names it.
        identity: Ours; its certificate is presented.
        party: The other end's name, which its certificate must carry.
        pinned: The other end's certificates, PEM: the only roots.
        limits: Sizes and times.
    """
    credentials = grpc.ssl_channel_credentials(_bundle(pinned), identity.key, identity.certificate.encode())
    options = [
        *limits.channel_options(),
        ("grpc.ssl_target_name_override", host_name(party)),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    return grpc.secure_channel(target, credentials, options=options)


def _bundle(pems: Iterable[str]) -> bytes:
    return "".join(pems).encode("ascii")
