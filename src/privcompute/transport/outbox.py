"""The outgoing half of the bridge: messages queued on the event loop, frames pulled by gRPC's thread.

gRPC asks for the next frame when it can carry one; only then is a chunk copied out of the sender's buffers, once, into
the one `bytes` gRPC needs. So a link that does not move holds at most the small messages below, however much its
sender wants to send, and `put` returns when the last chunk of its message was taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from privcompute.session.channel import Buffer
from privcompute.transport.frames import first_header, more_header
from privcompute.transport.limits import CHUNK

SMALL = 64 << 10  # messages up to this size are copied at once, and `put` need not wait for gRPC
SMALL_QUEUED = 1 << 20  # bytes of such messages that may wait
_EACH = 256  # and what each costs besides its bytes


@dataclass(eq=False, repr=False)
class _Message:
    left: deque[list[Buffer]]  # what each frame to come is joined of
    taken: asyncio.Future[None] | None
    cost: int = 0  # what it counts among the small ones
    begun: bool = False


def _frames(label: bytes, total: int, views: Sequence[memoryview]) -> deque[list[Buffer]]:
    """The header and the pieces of each frame, made beforehand: what is done between two chunks costs most."""
    frames: deque[list[Buffer]] = deque()
    pieces: list[Buffer] = [first_header(label, total)]
    room = CHUNK
    for view in views:
        start = 0
        while len(view) - start > room:
            pieces.append(view[start : start + room])
            start += room
            frames.append(pieces)
            pieces, room = [more_header(len(frames) * CHUNK)], CHUNK
        pieces.append(view[start:])
        room -= len(view) - start
    frames.append(pieces)
    return frames


class Outbox(Iterator[bytes]):
    """One link's outgoing frames. `put`, `signal` and `finish` belong to the loop, iteration to one gRPC thread.

    Args:
        loop: The loop on which the sender runs.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._messages: deque[_Message] = deque()
        self._signals: dict[str, bytes] = {}
        self._last: bytes | None = None
        self._ended = False
        self._small = 0
        self.frames = 0  # taken by gRPC so far
        self.moved = time.monotonic()  # when it last took one
        self.drained = asyncio.Event()  # everything up to `finish` was taken, or the link is gone

    def put(self, label: str, parts: Sequence[Buffer]) -> asyncio.Future[None] | None:
        """Queues a message.

        Returns:
            A future that is done when gRPC has taken the last chunk (then the buffers may change), and cancelled when
            it never will; None for a small message, which was copied.
        """
        views = [view for view in (memoryview(part).cast("B") for part in parts) if len(view)]
        total = sum(len(view) for view in views)
        with self._lock:
            if self._ended or self._last is not None:
                gone: asyncio.Future[None] = self._loop.create_future()
                gone.cancel()
                return gone
            taken, cost = None, 0
            if total <= SMALL and self._small + total + _EACH <= SMALL_QUEUED:
                cost = total + _EACH
                self._small += cost
                views = [memoryview(b"".join(views))] if views else []
            else:
                taken = self._loop.create_future()
            self._messages.append(_Message(_frames(label.encode("ascii"), total, views), taken, cost))
            self._changed.notify()
        return taken

    def signal(self, kind: str, frame: bytes) -> None:
        """Queues an out-of-band frame; it replaces one of the same kind that still waits, and goes first."""
        with self._lock:
            if len(self._signals) < 16 or kind in self._signals:
                self._signals[kind] = frame
                self._changed.notify()

    def withdraw(self, taken: asyncio.Future[None]) -> bool:
        """Takes back a message of which nothing was taken yet; False if part of it is on its way."""
        with self._lock:
            for message in self._messages:
                if message.taken is taken and not message.begun:
                    self._messages.remove(message)
                    return True
        return taken.done()

    def finish(self, last: bytes, *, drop: bool = False) -> None:
        """Ends the stream with one last frame, after what is queued or (``drop``) instead of it."""
        with self._lock:
            if drop:
                self._forget()
            if self._last is None and not self._ended:
                self._last = last
            self._changed.notify()

    def kill(self) -> None:
        """The link is gone: nothing more is taken. From any thread."""
        with self._lock:
            self._forget()
            self._ended = True
            self._changed.notify()
        self._on_loop(self.drained.set)

    def _forget(self) -> None:
        for message in self._messages:
            if message.taken is not None:
                self._on_loop(message.taken.cancel)
        self._messages.clear()
        self._signals.clear()
        self._small = 0

    def __next__(self) -> bytes:
        with self._lock:
            while not (self._signals or self._messages or self._last is not None or self._ended):
                self._changed.wait()
            self.frames += 1
            self.moved = time.monotonic()
            if self._ended:
                raise StopIteration
            if self._signals:
                return self._signals.pop(next(iter(self._signals)))
            if not self._messages:
                self._ended = True
                self._on_loop(self.drained.set)
                return self._last or b""
            # The copy holds the lock, as it holds Python's own: who withdraws or forgets a message may change it after.
            message = self._messages[0]
            frame = b"".join(message.left.popleft())
            message.begun = True
            if not message.left:
                self._messages.popleft()
                self._small -= message.cost
                if message.taken is not None:
                    self._on_loop(_done, message.taken)
            return frame

    def _on_loop(self, call: object, *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(call, *args)  # type: ignore[arg-type]  # typed by its callers above


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
