"""Control streams: how a node that cannot be reached can still be asked for a link.

`Standing` holds the streams that peers keep open to this node, the newest per certificate. `Keeper` keeps this node's
stream to one peer open, with growing pauses after a loss. A control stream carries only 'open a session'.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import grpc

from privcompute.transport import dial
from privcompute.transport.address import Address
from privcompute.transport.book import Peer
from privcompute.transport.gate import CONTROL
from privcompute.transport.identity import Identity
from privcompute.transport.limits import MAX_SESSION_ID, TransportLimits
from privcompute.transport.tls import secure_channel
from privcompute.wire.control_pb2 import ControlDown, ControlUp, OpenSession

_WAITING: Final = 64


class Asking:
    """One control stream that a peer keeps open here: iteration gives the session ids to ask it for.

    Args:
        fingerprint: Of the certificate it came with.
        own: Of the certificate of this node that it met.
    """

    def __init__(self, fingerprint: str, own: str) -> None:
        self.fingerprint = fingerprint
        self.own = own
        self._ids: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._ids.get, None)

    def ask(self, session_id: bytes) -> bool:
        """Asks for that session; False if too many requests wait already."""
        if self._ids.qsize() >= _WAITING:
            return False
        self._ids.put(session_id)
        return True

    def end(self) -> None:
        """Iteration ends after what waits."""
        self._ids.put(None)


class Standing:
    """The control streams that peers keep open here, the newest for each certificate, and what they are asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._streams: dict[str, Asking] = {}
        self._wanted: dict[bytes, tuple[str, ...]] = {}  # by session: the certificates of who is asked for it

    def open(self, fingerprint: str, own: str) -> Asking:
        """A new stream of the holder of that certificate to ours called ``own``; one it had before ends.

        What it was asked for on that one, and nobody has stopped wanting, it is asked for again: a stream that dies
        takes words with it.
        """
        stream = Asking(fingerprint, own)
        with self._lock:
            before, self._streams[fingerprint] = self._streams.get(fingerprint), stream
            for session_id, asked in self._wanted.items():
                if fingerprint in asked:
                    stream.ask(session_id)
        if before is not None:
            before.end()
        return stream

    def close(self, stream: Asking) -> None:
        """That stream is over."""
        with self._lock:
            if self._streams.get(stream.fingerprint) is stream:
                del self._streams[stream.fingerprint]
        stream.end()

    @contextlib.contextmanager
    def wanting(self, fingerprints: Iterable[str], session_id: bytes) -> Iterator[bool]:
        """Asks the peer with one of these certificates to open that session, on this stream or, as long as the body
        runs, on one that takes its place. Gives False if the peer keeps no stream here now."""
        asked = tuple(fingerprints)
        with self._lock:
            found = [self._streams[f] for f in asked if f in self._streams]
            heard = bool(found) and found[-1].ask(session_id)
            if heard:
                self._wanted[session_id] = asked
        try:
            yield heard
        finally:
            with self._lock:
                self._wanted.pop(session_id, None)

    def keep(self, fingerprints: set[str], own: str) -> None:
        """Ends the streams of all other certificates, and those that met another certificate of this node."""
        with self._lock:
            gone = [stream for f, stream in self._streams.items() if f not in fingerprints or stream.own != own]
        for stream in gone:
            self.close(stream)

    def clear(self) -> None:
        """Ends all."""
        self.keep(set(), "")


class Keeper:
    """Keeps this node's control stream to one peer, in a thread of its own.

    Args:
        identity: This node's.
        peer: Whose address is known.
        limits: Pauses.
        asked: Called from the thread with the peer and the session it asks for.
    """

    def __init__(
        self, identity: Identity, peer: Peer, limits: TransportLimits, asked: Callable[[Peer, bytes], None]
    ) -> None:
        self.identity = identity
        self.peer = peer
        self._limits = limits
        self._asked = asked
        self._stopped = threading.Event()
        self._call: grpc.Call | None = None
        self.thread = threading.Thread(target=self._run, name=f"control {peer.name}", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self.thread.start()

    def stop(self) -> None:
        """Ends the stream; the thread follows."""
        self._stopped.set()
        call = self._call
        if call is not None:
            call.cancel()

    def _run(self) -> None:
        pause = self._limits.first_retry
        while not self._stopped.is_set():
            for address in self.peer.addresses:
                if self._stopped.is_set():
                    return
                if self._hold(address):
                    pause = self._limits.first_retry
            self._stopped.wait(pause)
            pause = min(2 * pause, self._limits.last_retry)

    def _hold(self, address: str) -> bool:
        """One stream from beginning to end; whether it was accepted."""
        target = Address.parse(address).target
        accepted = False
        with secure_channel(target, self.identity, self.peer.name, self.peer.certificates, self._limits) as channel:
            open_stream = channel.stream_stream(
                CONTROL,
                request_serializer=ControlUp.SerializeToString,
                response_deserializer=ControlDown.FromString,
            )
            over = threading.Event()
            try:
                call = self._call = open_stream(_silence(over), metadata=dial.metadata(self.identity))
                if self._stopped.is_set():  # `stop` may have looked before there was a call to cancel
                    call.cancel()
                accepted = dial.accepted_by(call, self._limits.connect) in self.peer.fingerprints
                if not accepted:
                    call.cancel()
                    return False
                for message in call:
                    session_id = message.open.session_id
                    if 0 < len(session_id) <= MAX_SESSION_ID:
                        self._asked(self.peer, session_id)
            except grpc.RpcError:
                return accepted
            finally:
                over.set()
                self._call = None
        return accepted


def _silence(over: threading.Event) -> Iterator[ControlUp]:
    """The direction that carries nothing: gRPC's thread waits here until the stream is over."""
    over.wait()
    yield from ()


def open_session(session_id: bytes) -> ControlDown:
    """The one message a control stream carries."""
    return ControlDown(open=OpenSession(session_id=session_id))
