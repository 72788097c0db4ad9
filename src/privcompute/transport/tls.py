"""Mutual TLS 1.3 under pinned certificates, for both ends of a gRPC connection."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

import grpc

from privcompute.transport.book import PeerBook
from privcompute.transport.identity import Identity, fingerprint_of, host_name
from privcompute.transport.limits import TransportLimits

cached_fingerprint = lru_cache(maxsize=512)(fingerprint_of)
"""`fingerprint_of` for certificates that are looked at on every call."""


def server_credentials(identity: Callable[[], Identity], book: PeerBook) -> grpc.ServerCredentials:
    """Credentials that look at identity and book anew at each handshake.

    The roots are exactly the peers' certificates and those of usable invitations; what each may call is `gate`'s to
    say. With no peer at all the node's own certificate stands in, which `gate` refuses.
    """

    def configuration() -> grpc.ServerCertificateConfiguration:
        me = identity()
        roots = [pem for peer in book.all() for pem in peer.certificates]
        roots += [invitation.certificate for invitation in book.invitations()]
        return grpc.ssl_server_certificate_configuration(
            [(me.key, me.certificate.encode())], root_certificates=_bundle(roots or [me.certificate])
        )

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
