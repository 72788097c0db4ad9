"""Who may call what: every call of every service passes here, whatever TLS has accepted before.

TLS lets in whoever holds the key of a pinned or invited certificate. Per call, the gate compares the SHA-256 of the
certificate that was presented with the book as it is now: so an un-paired party is refused on a connection that still
stands, and an invitation's temporary certificate opens the Join call and nothing else.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import grpc

from privcompute.transport.book import Peer, PeerBook
from privcompute.transport.calls import cancelled_after
from privcompute.transport.identity import Identity, same_fingerprint
from privcompute.transport.limits import PROTOCOL_VERSION
from privcompute.transport.tls import cached_fingerprint

LOG: Final = logging.getLogger("privcompute.transport")
NODE: Final = "privcompute.v1.Node"
PAIRING: Final = "privcompute.v1.Pairing"
JOIN: Final = f"/{PAIRING}/Join"
LINK_UP: Final = f"/{NODE}/LinkUp"
LINK_DOWN: Final = f"/{NODE}/LinkDown"
CONTROL: Final = f"/{NODE}/Control"

PARTY_KEY: Final = "privcompute-party"
VERSION_KEY: Final = "privcompute-version"
SESSION_KEY: Final = "privcompute-session-bin"
TICKET_KEY: Final = "privcompute-ticket-bin"
FINGERPRINT_KEY: Final = "privcompute-fingerprint"
TIME_KEY: Final = "privcompute-time"
CODE_KEY: Final = "privcompute-code"
_REQUEST: Final = 10.0  # seconds in which the request of a call that takes one must come


@dataclass(frozen=True)
class Caller:
    """Who is at the other end of a call that passed the gate; our own handlers get it in place of the bare context.

    Args:
        context: gRPC's.
        fingerprint: SHA-256 of the certificate presented on this connection.
        peer: The paired party; None for the holder of an invitation.
    """

    context: grpc.ServicerContext
    fingerprint: str
    peer: Peer | None = None

    def known(self) -> Peer:
        """The paired party; an invitation opens no call that asks for it."""
        if self.peer is None:
            raise LookupError("the caller only holds an invitation")
        return self.peer


def refuse(context: grpc.ServicerContext, status: grpc.StatusCode, code: str, text: str) -> NoReturn:
    """Ends a call; the code travels in the trailing metadata."""
    context.set_trailing_metadata(((CODE_KEY, code),))
    context.abort(status, text)
    raise AssertionError("abort raises")  # pragma: no cover - for the type checker


class Gate(grpc.ServerInterceptor):  # type: ignore[misc]  # grpc is untyped where its stubs are not installed
    """Checks each call before its handler runs.

    Args:
        identity: This node's identity, as it is at the time.
        book: Its peers and invitations.
        calls: How many calls the holder of one certificate may have open: each holds a thread.
    """

    def __init__(self, identity: Callable[[], Identity], book: PeerBook, calls: int) -> None:
        self._identity = identity
        self._book = book
        self._calls = calls
        self._lock = threading.Lock()
        self._active: Counter[str] = Counter()

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        """Wraps the method's handler; see `grpc.ServerInterceptor`."""
        handler = continuation(details)
        if handler is None:
            return None
        method: str = details.method
        ours = method.startswith((f"/{NODE}/", f"/{PAIRING}/"))

        def enter(context: grpc.ServicerContext) -> Any:
            caller = self._admit(method, context)
            self._count(caller.fingerprint, context)
            if ours:
                return caller
            # The health service: `doctor` compares the clocks.
            context.send_initial_metadata(((TIME_KEY, f"{time.time():.3f}"),))
            return context

        behaviour = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream

        # Each method is served as one that takes a stream: for a single request gRPC would wait before it asks us, in a
        # thread that nobody counts.
        def asked(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
            caller = enter(context)
            return behaviour(requests if handler.request_streaming else _only(requests, context), caller)

        def one(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
            try:
                return asked(requests, context)
            except Exception:
                _tell_nothing(context)
                raise

        def many(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
            try:
                yield from asked(requests, context)
            except Exception:
                _tell_nothing(context)
                raise

        if handler.response_streaming:
            build, serve = grpc.stream_stream_rpc_method_handler, many
        else:
            build, serve = grpc.stream_unary_rpc_method_handler, one
        return build(serve, handler.request_deserializer, handler.response_serializer)

    def _count(self, fingerprint: str, context: grpc.ServicerContext) -> None:
        """One call more, until it is over; refused if its caller has too many."""
        with self._lock:
            busy = self._active[fingerprint] >= self._calls
            if not busy:
                self._active[fingerprint] += 1
        if busy:
            refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", "too many calls are open")
        if not context.add_callback(lambda: self._over(fingerprint)):
            self._over(fingerprint)

    def _over(self, fingerprint: str) -> None:
        with self._lock:
            self._active[fingerprint] -= 1
            if self._active[fingerprint] <= 0:
                del self._active[fingerprint]

    def _admit(self, method: str, context: grpc.ServicerContext) -> Caller:
        """The caller, if it may call that method; otherwise ends the call."""
        presented = context.auth_context()
        version = presented.get("ssl_tls_version", [b""])[0]
        if version != b"TLSv1.3":
            refuse(context, grpc.StatusCode.UNAUTHENTICATED, "tls_version", "only TLS 1.3 is spoken here")
        pem = presented.get("x509_pem_cert", [b""])[0]
        if not pem:
            refuse(context, grpc.StatusCode.UNAUTHENTICATED, "no_certificate", "a certificate is needed")
        fingerprint = cached_fingerprint(pem.decode("ascii"))
        if same_fingerprint(fingerprint, self._identity().fingerprint):
            refuse(context, grpc.StatusCode.PERMISSION_DENIED, "own_identity", "this is the node's own identity")
        if method.startswith(f"/{PAIRING}/"):
            if all(one.id != fingerprint for one in self._book.invitations()):
                refuse(context, grpc.StatusCode.PERMISSION_DENIED, "join_refused", "there is no such invitation")
            return Caller(context, fingerprint)
        return Caller(context, fingerprint, self._paired(method, fingerprint, context))

    def _paired(self, method: str, fingerprint: str, context: grpc.ServicerContext) -> Peer:
        said = dict(context.invocation_metadata())
        peer = next((one for one in self._book.all() if fingerprint in one.fingerprints), None)
        if peer is None:
            refuse(context, grpc.StatusCode.PERMISSION_DENIED, "not_paired", "this certificate is not paired here")
        ours = method.startswith(f"/{NODE}/")
        # Standard health clients claim nothing; ours always does, and the claim must be what the certificate proves.
        if said.get(PARTY_KEY, None if ours else peer.name) != peer.name:
            refuse(context, grpc.StatusCode.PERMISSION_DENIED, "wrong_party", "the certificate is not that party's")
        if ours and said.get(VERSION_KEY) != PROTOCOL_VERSION:
            refuse(
                context,
                grpc.StatusCode.FAILED_PRECONDITION,
                "version",
                f"this node speaks version {PROTOCOL_VERSION} of the link protocol",
            )
        if fingerprint != peer.fingerprints[0]:
            # Its next certificate is in use: the old one is forgotten, and the endpoint ends what came with it.
            peer = peer.promoted(fingerprint)
            self._book.replace(peer)
        return peer


def _only(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
    """The request of a method that takes one."""
    with cancelled_after(context, _REQUEST):
        request = next(requests, None)
    if request is None:
        refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "bad_frame", "the call brought no request")
    return request


def _tell_nothing(context: grpc.ServicerContext) -> None:
    """Before an exception of a handler reaches gRPC, which would send its text: refusals and lost calls pass."""
    if context.code() is None and context.is_active():
        LOG.error("a call could not be served")
        refuse(context, grpc.StatusCode.INTERNAL, "internal", "the node met a fault of its own")
