"""What a listening node serves: Link, Control, Join, and the standard health service. All in gRPC's threads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from privcompute.errors import PeerError, PrivcomputeError, TransportError
from privcompute.transport.calls import Calls, cancelled_after
from privcompute.transport.control import open_session
from privcompute.transport.gate import FINGERPRINT_KEY, NODE, PAIRING, SESSION_KEY, TICKET_KEY, Caller, refuse
from privcompute.transport.limits import MAX_SESSION_ID
from privcompute.transport.pairing import Inviter
from privcompute.wire.control_pb2 import ControlDown, ControlUp
from privcompute.wire.pairing_pb2 import JoinDown, JoinUp, JoinWelcome

if TYPE_CHECKING:
    from privcompute.transport.endpoint import Endpoint

_LOOK: Final = 1.0  # seconds between two looks whether a call still stands


def add_services(server: grpc.Server, endpoint: Endpoint) -> health.HealthServicer:
    """Registers all services of a node; they expect a `Caller`, which the gate makes, in place of gRPC's context.

    Returns:
        The health service, to be told of the end.
    """
    served = _Services(endpoint)
    node = {
        "LinkUp": grpc.stream_stream_rpc_method_handler(served.link_up),
        "LinkDown": grpc.stream_stream_rpc_method_handler(served.link_down),
        "Control": grpc.stream_stream_rpc_method_handler(
            served.control,
            request_deserializer=ControlUp.FromString,
            response_serializer=ControlDown.SerializeToString,
        ),
    }
    pairing = {
        "Join": grpc.stream_stream_rpc_method_handler(
            served.join, request_deserializer=JoinUp.FromString, response_serializer=JoinDown.SerializeToString
        )
    }
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(NODE, node), grpc.method_handlers_generic_handler(PAIRING, pairing))
    )
    # Blocking, because the non-blocking Watch has another signature than the handlers that the gate wraps.
    checks = health.HealthServicer(experimental_non_blocking=False)
    for name in ("", NODE):
        checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    return checks


class _Services:
    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def link_up(self, incoming: Iterator[bytes], caller: Caller) -> Iterator[bytes]:
        """One session's data, from the caller; see transport/frames.py."""
        context, peer = caller.context, caller.known()
        session_id = dict(context.invocation_metadata()).get(SESSION_KEY, b"")
        if not isinstance(session_id, bytes) or not 0 < len(session_id) <= MAX_SESSION_ID:
            refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "bad_session", "a session id has 1 to 64 bytes")

        def lost(_: Exception | None) -> PrivcomputeError:
            return TransportError(
                f"the connection of {peer.name} was lost",
                code="unreachable",
                party=peer.name,
                remedy=f"check that {peer.name}'s node still runs, then ask again",
            )

        calls = Calls()
        calls.add(context)
        try:
            # From here on somebody reads it to its end, whatever becomes of this call.
            link = self._endpoint.incoming(peer, caller.fingerprint, session_id, calls, incoming, lost)
        except PrivcomputeError as error:
            refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, error.code, error.message)
        context.send_initial_metadata(((FINGERPRINT_KEY, link.own_fingerprint), (TICKET_KEY, link.ticket)))
        while not link.peer_done.wait(_LOOK):
            if not context.is_active():  # and its reader waits for room: nobody takes what came
                link.lost(lost(None))
                break
        yield from ()

    def link_down(self, _: Iterator[bytes], caller: Caller) -> Iterator[bytes]:
        """The same session's data, to the caller, which says by its ticket which session."""
        context, peer = caller.context, caller.known()
        ticket = dict(context.invocation_metadata()).get(TICKET_KEY, b"")
        link = self._endpoint.awaiting(peer, caller.fingerprint, ticket)
        if link is None:
            refuse(context, grpc.StatusCode.NOT_FOUND, "bad_ticket", "no link waits for a call with that ticket")
        link.calls.add(context)

        def unheard() -> None:
            if not link.peer_done.is_set():
                link.calls.cancel()

        if not context.add_callback(unheard):
            unheard()
        context.send_initial_metadata(((FINGERPRINT_KEY, link.own_fingerprint),))
        yield from link.outbox
        link.peer_done.wait(self._endpoint.limits.close)

    def control(self, _: Iterator[ControlUp], caller: Caller) -> Iterator[ControlDown]:
        """A peer that this node may ask for links."""
        standing, own = self._endpoint.standing, self._endpoint.identity.fingerprint
        stream = standing.open(caller.fingerprint, own)
        if not caller.context.add_callback(lambda: standing.close(stream)):
            standing.close(stream)
        caller.context.send_initial_metadata(((FINGERPRINT_KEY, own),))
        for session_id in stream:
            yield open_session(session_id)

    def join(self, incoming: Iterator[JoinUp], caller: Caller) -> Iterator[JoinDown]:
        """Pairing by a one-time code; see transport/pairing.py."""
        endpoint, context = self._endpoint, caller.context
        with cancelled_after(context, endpoint.limits.join):
            try:
                inviter = Inviter(endpoint.identity, endpoint.book, caller.fingerprint)
                yield JoinDown(challenge=inviter.challenge(self._step(incoming, "hello")))
                inviter.welcome(self._step(incoming, "answer"))
                yield JoinDown(welcome=JoinWelcome())
            except PrivcomputeError as error:
                refuse(context, grpc.StatusCode.PERMISSION_DENIED, error.code, error.message)

    @staticmethod
    def _step(incoming: Iterator[JoinUp], wanted: str) -> Any:
        message = next(incoming, None)
        if message is None or message.WhichOneof("step") != wanted:
            raise PeerError("the join's messages are out of order", code="bad_frame")
        return getattr(message, wanted)
