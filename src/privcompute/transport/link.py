"""One session's data link to one peer: `session.Channel` over two long-lived gRPC streams, one each way.

Two threads serve it: gRPC pulls outgoing frames from the `Outbox`; a reader takes incoming ones. Small messages cross
to the loop as they are, at most `WINDOW` on the bridge; of a large one only its announcement does, and the reader
fills the buffer that the mailbox made for it, beside the loop. A large one that is awaited already crosses once, when
it is full. When the mailbox has no room the reader stops, gRPC's flow control stops the peer, and the peer's `send`
waits.

The end, in order: CLOSE, answered by CLOSE, then the stream ends; so when `close` returns, the peer's process has
everything that was sent. Any other end of the stream is an error with a name.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from privcompute.errors import IntegrityError, PeerError, PrivcomputeError, TransportError
from privcompute.randomness import token_bytes
from privcompute.session.channel import Buffer
from privcompute.session.mailbox import Mailbox
from privcompute.transport.calls import Calls
from privcompute.transport.frames import (
    ABORT,
    Abort,
    Chunk,
    Close,
    Reader,
    Signal,
    abort_frame,
    close_frame,
    label_bytes,
    signal_frame,
)
from privcompute.transport.limits import TransportLimits
from privcompute.transport.outbox import Outbox

LOG: Final = logging.getLogger("privcompute.transport")
WINDOW: Final = 4
_LOOK: Final = 1.0  # seconds between two looks of the reader whether the loop still stands
_LAST: Final = (close_frame()[:1], bytes([ABORT]))


@dataclass(frozen=True, slots=True, repr=False)
class _Begin:
    """A message of several frames is announced; the loop answers with a buffer for it, or None: not wanted."""

    label: str
    total: int
    buffer: Future[memoryview | None] = field(default_factory=Future)


class _Filled:
    """That buffer is full."""


class _Over:
    """The stream has ended, after all that came before."""


_Item = Chunk | Signal | Close | Abort | PrivcomputeError | _Begin | _Filled | _Over


class GrpcLink:
    """A `Channel`; made by the endpoint, on whose event loop its coroutines run.

    Args:
        peer: The party at the other end, authenticated.
        session_id: The session it belongs to.
        fingerprints: SHA-256 of our and of the peer's certificate on this connection, hexadecimal.
        limits: Sizes and times.
        calls: The gRPC calls under it.
    """

    def __init__(
        self,
        peer: str,
        session_id: bytes,
        fingerprints: tuple[str, str],
        limits: TransportLimits,
        calls: Calls,
    ) -> None:
        self.peer = peer
        self.session_id = session_id
        self.own_fingerprint, self.peer_fingerprint = fingerprints
        self.ticket = token_bytes(16)  # by which the peer's two calls find each other, if it dialled
        self.ended = asyncio.Event()  # the stream is over, in both directions
        self.peer_done = threading.Event()  # the same, for threads: nothing more will be read
        self._limits = limits
        self.calls = calls
        self._loop = asyncio.get_running_loop()
        self.outbox = Outbox(self._loop)
        self._mailbox = Mailbox(peer, limits.credit)
        self._inbox: asyncio.Queue[_Item] = asyncio.Queue()
        self._window = threading.Semaphore(WINDOW)
        self._discard = False  # nothing that still arrives is wanted
        self._closing = False
        self._why: PrivcomputeError | None = None  # why the stream is over, as the reader's thread saw it
        self._moved = self._made = time.monotonic()
        self._claimed = False  # somebody here has used it
        self._filling: npt.NDArray[np.uint8] | None = None  # the reader's: where the rest of a large message goes
        self._expected: tuple[str, memoryview] | None = None  # the reader's: that message, if it was awaited
        self._cut_off: asyncio.TimerHandle | None = None  # then calls that still stand are cancelled
        self._pump = asyncio.create_task(self._deliver(), name=f"link from {peer}")

    def __repr__(self) -> str:
        return f"GrpcLink(peer={self.peer!r}, session={self.session_id.hex()[:16]})"

    def claim(self) -> None:
        """Somebody here uses the link."""
        self._claimed = True

    # -- Channel ----------------------------------------------------------------------------------------------------

    async def send(self, label: str, parts: Sequence[Buffer]) -> None:
        """See `Channel.send`."""
        self._claimed = True
        self._check_open(label)
        label_bytes(label)
        taken = self.outbox.put(label, parts)
        if taken is None:
            return
        try:
            await self._until_taken(taken, label)
        except asyncio.CancelledError:
            if not self.outbox.withdraw(taken):
                # Half a message is on the wire and its buffers are about to change: the link is of no use any more.
                self._fail(
                    TransportError("a send was cancelled half way", code="cancelled", party=self.peer, stage=label)
                )
            raise

    async def _until_taken(self, taken: asyncio.Future[None], label: str) -> None:
        while True:
            frames, began = self.outbox.frames, time.monotonic()
            done, _ = await asyncio.wait({taken}, timeout=self._limits.stall)
            if done:
                if taken.cancelled():
                    if not (self._closing or self._mailbox.failure or self._why):  # the reader is about to say
                        with contextlib.suppress(TimeoutError):
                            await asyncio.wait_for(self.ended.wait(), self._limits.close)
                    self._check_open(label)
                    raise self._gone(label)
                return
            if self.outbox.frames == frames and self._moved < began:
                error = TransportError(
                    f"the peer has taken nothing for {self._limits.stall:g} s",
                    code="deadline",
                    party=self.peer,
                    stage=label,
                    remedy="check the network and the peer's node (privcompute doctor), then ask again",
                )
                self._fail(error)
                raise error

    async def recv(self, label: str, limit: int, timeout: float) -> memoryview:
        """See `Channel.recv`."""
        self._claimed = True
        return await self._mailbox.take(label, limit, timeout)

    def signal(self, kind: str, body: bytes) -> None:
        """See `Channel.signal`."""
        self.outbox.signal(kind, signal_frame(kind, body))

    def on_signal(self, handler: Callable[[str, bytes], None]) -> None:
        """See `Channel.on_signal`."""
        self._mailbox.on_signal(handler)

    def unclaimed(self) -> list[str]:
        """See `Channel.unclaimed`."""
        return self._mailbox.unclaimed()

    async def close(self) -> None:
        """See `Channel.close`."""
        if not self._closing:
            self._closing = True
            self.outbox.finish(close_frame())
            await self._until_drained()
            self._discard = True
            self._mailbox.fail(self._gone(None))
        await self._until_ended()

    async def abort(self, error: PrivcomputeError) -> None:
        """See `Channel.abort`."""
        if not self._closing:
            self._closing = True
            self._mailbox.fail(TransportError("the link was aborted here", code="closed", party=self.peer))
            self.outbox.finish(abort_frame(error), drop=True)
            self._discard = True
        await self._until_ended()

    # -- the endpoint's side ----------------------------------------------------------------------------------------

    @property
    def quiet_for(self) -> float:
        """Seconds since a frame last came in or was taken."""
        return time.monotonic() - max(self._moved, self.outbox.moved)

    @property
    def unclaimed_for(self) -> float:
        """Seconds for which nobody here has used the link at all."""
        return 0.0 if self._claimed else time.monotonic() - self._made

    def end(self, error: PrivcomputeError) -> None:
        """Ends the link for a reason of this node (un-paired, idle, stopping), telling the peer as far as possible."""
        self._fail(error)

    def lost(self, why: PrivcomputeError) -> None:
        """The calls are over for that reason, whatever the reader still waits for. From any thread."""
        self._why = self._why or why
        self.outbox.kill()

    def drop(self) -> None:
        """Forgets a link whose stream never came to be."""
        self.outbox.kill()
        self._inbox.put_nowait(_Over())

    def read_from(self, incoming: Iterator[bytes], reason: Callable[[Exception | None], PrivcomputeError]) -> None:
        """Reads the stream to its end; runs in the reader's thread.

        Args:
            incoming: gRPC's iterator.
            reason: The named error of a stream that ended by that exception, or by none.
        """
        reader, failure, closed, broken = Reader(self.peer), None, False, False
        try:
            for frame in incoming:
                self._moved = time.monotonic()
                self._mailbox.heard(self._moved)  # here and now: the loop may be late
                if broken or self._discard:
                    closed = closed or frame[:1] in _LAST
                    continue
                if self._filling is not None and (left := reader.place(frame, self._filling)) >= 0:
                    if not left:
                        self._filled()
                    continue
                try:
                    item = reader.read(frame)
                except PeerError as bad:
                    broken = True
                    self._pass(bad)
                    continue
                closed = closed or isinstance(item, Close | Abort)
                if not isinstance(item, Chunk) or len(item.data) == item.total:
                    self._pass(item)
                elif item.offset == 0:
                    self._begin(item)
        except Exception as error:  # gRPC raises several kinds, and any of them means that the stream is over
            failure = error
        finally:
            self._filling = self._expected = None
            if not closed:
                self._why = reason(failure)
                self._pass(self._why)
            self.outbox.kill()
            self.peer_done.set()
            self._pass(_Over())

    # -- the reader's thread ----------------------------------------------------------------------------------------

    def _begin(self, chunk: Chunk) -> None:
        """Asks for a buffer and puts the beginning of a large message there."""
        buffer = None
        with contextlib.suppress(MemoryError):  # no memory: the loop finds the same, and says so
            buffer = self._mailbox.expect(chunk.label, chunk.total)
        if buffer is not None:
            self._expected = chunk.label, buffer
        else:
            begin = _Begin(chunk.label, chunk.total)
            self._pass(begin)
            self._wait(lambda seconds: bool(wait([begin.buffer], seconds).done))
            buffer = begin.buffer.result() if begin.buffer.done() else None
        if buffer is not None:
            self._filling = np.frombuffer(buffer, dtype=np.uint8)
            self._filling[: len(chunk.data)] = np.frombuffer(chunk.data, dtype=np.uint8)

    def _filled(self) -> None:
        self._filling = None
        if self._expected is None:
            self._pass(_Filled())
            return
        label, buffer = self._expected
        self._expected = None
        self._call(self._land, label, buffer)

    def _pass(self, item: _Item) -> None:
        """Waits for a place on the bridge, then passes the item to the loop."""
        self._wait(lambda seconds: self._window.acquire(timeout=seconds))
        self._call(self._inbox.put_nowait, item)

    def _call(self, function: Callable[..., None], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(function, *args)

    def _wait(self, ready: Callable[[float], bool]) -> None:
        """Waits for the loop, as long as there is somebody on it who takes items."""
        while not ready(_LOOK) and not self._pump.done():
            pass

    # -- the loop ---------------------------------------------------------------------------------------------------

    async def _deliver(self) -> None:
        """Takes items off the bridge, in order, as far as the mailbox has room, until the stream is over."""
        try:
            while not isinstance(item := await self._inbox.get(), _Over):
                try:
                    if not self._discard:
                        await self._deliver_one(item)
                except PrivcomputeError as error:
                    self._fail(error)
                except Exception:
                    self._unhandled()
                if isinstance(item, _Begin) and not item.buffer.done():
                    item.buffer.set_result(None)
                self._window.release()
        finally:
            self._discard = True
            self.ended.set()
            self._cut_off_later()

    async def _deliver_one(self, item: _Item) -> None:
        if isinstance(item, Chunk):
            await self._mailbox.offer(item.label, item.data)
        elif isinstance(item, _Begin):
            item.buffer.set_result(await self._mailbox.begin(item.label, item.total))
        elif isinstance(item, _Filled):
            self._mailbox.finish()
        elif isinstance(item, Signal):
            self._mailbox.signalled(item.kind, item.body)
        elif isinstance(item, Close | Abort):
            closed = TransportError("the peer closed the link", code="closed", party=self.peer)
            self._mailbox.fail(item.error if isinstance(item, Abort) else closed)
            self.outbox.finish(close_frame(), drop=True)
            self._discard = True
        elif isinstance(item, PrivcomputeError):
            raise item

    def _land(self, label: str, buffer: memoryview) -> None:
        if self._discard:
            return
        try:
            self._mailbox.land(label, buffer)
        except PrivcomputeError as error:
            self._fail(error.with_traceback(None))  # which would keep the buffer
        except Exception:
            self._unhandled()

    def _unhandled(self) -> None:
        LOG.error("a frame of %s could not be handled", self.peer)
        self._fail(IntegrityError("a frame could not be handled", code="internal", party=self.peer))

    def _fail(self, error: PrivcomputeError) -> None:
        """Ends the link with that error here, and tells the peer if the stream still stands."""
        self._mailbox.fail(error)
        self._closing = self._discard = True
        self.outbox.finish(abort_frame(error), drop=True)
        self._cut_off_later()

    def _cut_off_later(self) -> None:
        """A peer that takes nothing, or does not end its stream, would hold the calls."""
        if self._cut_off is None:
            self._cut_off = self._loop.call_later(self._limits.close, self.calls.cancel)

    def _check_open(self, label: str) -> None:
        if self._mailbox.failure is not None:
            raise self._mailbox.failure
        if self._closing:
            raise self._gone(label)
        if self._why is not None:
            raise self._why

    def _gone(self, label: str | None) -> TransportError:
        return TransportError("the link is closed", code="closed", party=self.peer, stage=label)

    async def _until_drained(self) -> None:
        while not self.outbox.drained.is_set():
            frames = self.outbox.frames
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.outbox.drained.wait(), self._limits.close)
            if self.outbox.frames == frames:
                return  # nothing moves any more: what is left cannot be delivered

    async def _until_ended(self) -> None:
        try:
            await asyncio.wait_for(self.ended.wait(), self._limits.close)
        except TimeoutError:
            self.calls.cancel()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.ended.wait(), self._limits.close)
