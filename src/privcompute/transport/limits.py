"""What the transport allows: sizes, numbers and times, all finite, each with a default that suits a wide-area link."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from privcompute.session.mailbox import DEFAULT_CREDIT

PROTOCOL_VERSION: Final = "2"
CHUNK: Final = (1 << 20) + 64
"""Message bytes of each frame but the last one. 1 MiB is fastest on gRPC; an array of 1 MiB and its header fit in."""
MAX_FRAME: Final = CHUNK + (8 << 10)
"""Largest gRPC message accepted: a chunk, its header and its label."""
MAX_SESSION_ID: Final = 64


@dataclass(frozen=True)
class TransportLimits:
    """Sizes in bytes, times in seconds.

    Args:
        credit: Bytes of one link that may wait for a label nobody awaits yet.
        links_per_peer: Sessions one peer may have open at a time.
        calls: Calls served at a time, of all peers together, two for each link; each holds a thread.
        connections: Connections served at a time, those included that have not shown a certificate yet.
        connect: To reach one address and to be accepted there.
        stall: A send of which nothing moves for that long fails.
        idle: A link on which no frame moves either way for that long ends.
        link: Longest life of a link.
        claim: A link that the peer wished for and that no job of ours uses within that time ends.
        close: Longest wait for the peer to confirm the end of a link, and for an abort to be told.
        join: Longest Join call.
        keepalive: Between two pings on a quiet connection.
        keepalive_answer: A ping unanswered for that long ends the connection.
        handshake: Longest TLS handshake served.
        unused: A connection without a call for that long is closed.
        first_retry: First pause before a lost control stream is opened again; it doubles up to ``last_retry``.
        last_retry: Longest such pause.
        refresh: Between two looks at the book, which another process may have changed.
    """

    credit: int = DEFAULT_CREDIT
    links_per_peer: int = 8
    calls: int = 192
    connections: int = 512
    connect: float = 10.0
    stall: float = 60.0
    idle: float = 900.0
    link: float = 86_400.0
    claim: float = 30.0
    close: float = 5.0
    join: float = 30.0
    keepalive: float = 20.0
    keepalive_answer: float = 10.0
    handshake: float = 15.0
    unused: float = 120.0
    first_retry: float = 0.5
    last_retry: float = 30.0
    refresh: float = 2.0

    @property
    def calls_per_peer(self) -> int:
        """Links of two calls each, at its own wish and at ours; the control stream, and room for health checks."""
        return 4 * self.links_per_peer + 8

    def channel_options(self) -> list[tuple[str, int | str]]:
        """gRPC options both ends share: finite messages, pings, nothing that goes another way."""
        return [
            ("grpc.max_receive_message_length", MAX_FRAME),
            ("grpc.max_send_message_length", MAX_FRAME),
            # A chunk in one HTTP/2 frame, four on their way: a fifth more bytes a second than gRPC's 16 KiB frames.
            ("grpc.http2.max_frame_size", CHUNK),
            ("grpc.http2.lookahead_bytes", 4 * CHUNK),
            ("grpc.keepalive_time_ms", int(self.keepalive * 1000)),
            ("grpc.keepalive_timeout_ms", int(self.keepalive_answer * 1000)),
            # The pings' own clock: without it a vanished peer is noticed after a minute, whatever stands above.
            ("grpc.http2.ping_timeout_ms", int(self.keepalive_answer * 1000)),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.enable_retries", 0),
            ("grpc.enable_http_proxy", 0),
        ]

    def server_options(self) -> list[tuple[str, int | str]]:
        """And those of the listening end."""
        return [
            *self.channel_options(),
            ("grpc.so_reuseport", 0),
            ("grpc.http2.min_ping_interval_without_data_ms", 1000),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 1000),
            ("grpc.server_handshake_timeout_ms", int(self.handshake * 1000)),
            ("grpc.max_concurrent_streams", self.calls_per_peer),
            ("grpc.max_connection_idle_ms", int(self.unused * 1000)),
            ("grpc.max_allowed_incoming_connections", self.connections),
        ]
