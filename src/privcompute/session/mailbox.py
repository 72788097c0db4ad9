"""Where frames wait for their label: the receiving half that every transport shares.

Messages arrive in any order, one at a time: whole (`offer`), or announced by label and size (`begin`), so that the
transport can fill a buffer of that size by itself, and then `finish`. One that is awaited already takes a shorter way:
the transport's thread asks for its buffer (`expect`) and comes to the loop once, when it is full (`land`). A message
whose label is awaited must be within the limit the receiver stated. One that arrives early waits within a credit per
channel. When the credit is full and nobody waits, the transport's reader pauses (back-pressure: the peer's sender
blocks); when it is full while somebody waits for a label that is not inside, that label could never arrive, so the
channel fails with a named error instead of hanging.

Everything here but `heard` and `expect` runs on the session's event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

from privcompute.errors import PeerError, PrivcomputeError, TransportError
from privcompute.session.buffers import BUFFERS
from privcompute.session.channel import MAX_LABEL, Buffer

DEFAULT_CREDIT = 64 << 20
MAX_EARLY_MESSAGES = 100_000
_OVERHEAD = 256  # bytes an early message costs besides its content


@dataclass(repr=False)
class _Partial:
    """A message that the transport is filling."""

    label: str
    buffer: memoryview
    charged: int


@dataclass(repr=False)
class _Waiter:
    limit: int
    future: asyncio.Future[memoryview]
    expects: bool = False  # a buffer was given for it


@dataclass(repr=False)
class _Clock:
    """Fails one wait after ``timeout`` seconds without a sign of life.

    Nothing here may hold the future once the wait is over: it holds the message, and a cycle would keep that until
    Python next looks for cycles, while `BUFFERS` makes new ones.
    """

    mailbox: Mailbox
    future: asyncio.Future[memoryview]
    label: str
    timeout: float
    timer: asyncio.TimerHandle | None = None

    def look(self) -> None:
        """Ends the wait if it is due, else looks again when it may be."""
        left = self.mailbox._heard + self.timeout - time.monotonic()
        if left > 0:
            self.timer = asyncio.get_running_loop().call_later(left, self.look)
        elif not self.future.done():
            self.future.set_exception(
                TransportError(
                    f"nothing heard from the peer for {self.timeout:g} s",
                    code="deadline",
                    party=self.mailbox.peer,
                    stage=self.label,
                    remedy="check that the peer's node runs and is reachable (privcompute doctor), then ask again",
                )
            )

    def stop(self) -> None:
        """The wait is over."""
        if self.timer is not None:
            self.timer.cancel()


@dataclass(repr=False)
class Mailbox:
    """The receiving half of one channel.

    Args:
        peer: The party whose messages these are.
        credit: Bytes that may wait for labels nobody awaits yet.
    """

    peer: str
    credit: int = DEFAULT_CREDIT
    _early: dict[str, memoryview] = field(default_factory=dict)
    _waiting: dict[str, _Waiter] = field(default_factory=dict)
    _done: set[str] = field(default_factory=set)
    _partial: _Partial | None = None
    _held: int = 0
    _failure: PrivcomputeError | None = None
    _violation: PeerError | None = None
    _room: asyncio.Event = field(default_factory=asyncio.Event)
    _heard: float = 0.0
    _handler: Callable[[str, bytes], None] | None = None

    def on_signal(self, handler: Callable[[str, bytes], None]) -> None:
        """Registers the handler of out-of-band words."""
        self._handler = handler

    def signalled(self, kind: str, body: bytes) -> None:
        """The peer sent an out-of-band word: a sign of life, and maybe news."""
        self.heard()
        if self._handler is not None:
            self._handler(kind, body)

    def heard(self, at: float | None = None) -> None:
        """A sign of life, now or ``at`` a time of the monotonic clock: deadlines count from it. From any thread."""
        self._heard = time.monotonic() if at is None else at

    @property
    def held(self) -> int:
        """Bytes that wait now."""
        return self._held

    @property
    def failure(self) -> PrivcomputeError | None:
        """Why the channel ended, if it did."""
        return self._failure

    def unclaimed(self) -> list[str]:
        """Labels that arrived, or began to, and were never awaited.

        Raises:
            PeerError: the peer broke the rules of frames, even if nobody was waiting then.
        """
        if self._violation is not None:
            raise self._violation
        return sorted(self._early) + ([self._partial.label] if self._partial else [])

    # -- the transport's side ---------------------------------------------------------------------------------------

    async def offer(self, label: str, message: Buffer) -> None:
        """Takes a whole message, as it is; waits while there is no room for it.

        Raises:
            PeerError: the message breaks the rules; the channel has failed.
            PrivcomputeError: the channel had failed before.
        """
        data = memoryview(message).cast("B")
        charged = await self._admitted(label, len(data))
        self._deliver(label, data.toreadonly(), charged)

    async def begin(self, label: str, total: int) -> memoryview:
        """Takes the announcement of a message; waits while there is no room for it; raises as `offer` does.

        Returns:
            A buffer of that size, to be filled (from any thread) before `finish`.
        """
        charged = await self._admitted(label, total)
        buffer = BUFFERS.take(total)
        self._partial = _Partial(label, buffer, charged)
        return buffer

    def finish(self) -> None:
        """The buffer of the last `begin` is full."""
        part, self._partial = self._partial, None
        if part is not None:  # else the channel failed meanwhile
            self._deliver(part.label, part.buffer.toreadonly(), part.charged)

    def expect(self, label: str, total: int) -> memoryview | None:
        """A buffer for an announced message, without the loop, if it is awaited now. From the transport's thread.

        Returns:
            A buffer of that size, to be filled before `land`; None: `begin` decides. A wait is given one buffer,
            however often its message is announced. (A peer that sends two messages of one label, the first of them
            small, may see the second delivered; the first is then refused, and the channel ends.)
        """
        waiter = self._waiting.get(label)
        # One that `begin` admitted is not whole for the loop before its `finish`: what follows it keeps its place.
        if waiter is None or waiter.expects or total > waiter.limit or self._partial is not None:
            return None
        buffer = BUFFERS.take(total)
        waiter.expects = True
        return buffer

    def land(self, label: str, buffer: memoryview) -> None:
        """A buffer of `expect` is full.

        Raises:
            PeerError: the message breaks the rules; the channel has failed.
        """
        if self._failure is None:  # else nobody waits any more
            self._deliver(label, buffer.toreadonly(), 0)

    async def _admitted(self, label: str, total: int) -> int:
        """What the message is charged to the credit."""
        try:
            if self._failure is not None:
                raise self._failure
            if not label or len(label) > MAX_LABEL:
                raise self._bad("a label of a wrong length", "bad_frame", None)
            if self._partial is not None:
                raise self._bad("a message inside another", "bad_frame", label)
            charged = await self._admit(label, total)
        except PrivcomputeError as error:
            self.fail(error)
            raise
        self.heard()
        return charged

    async def _admit(self, label: str, total: int) -> int:
        """Makes room for a new message: at once if it is awaited, else within the credit."""
        while True:
            if label in self._done or label in self._early:
                raise self._bad("a label that was used before", "replayed", label)
            waiter = self._waiting.get(label)
            if waiter is not None:
                if total > waiter.limit:
                    raise self._bad("a message larger than its receiver allows", "oversize", label)
                return 0
            cost = total + _OVERHEAD
            if self._held + cost <= self.credit and len(self._early) < MAX_EARLY_MESSAGES:
                self._held += cost
                return cost
            # Also a message larger than the credit ends here: it can only go straight to its receiver.
            if self._waiting:
                awaited = next(iter(self._waiting))
                raise self._bad("early messages filled the credit before an awaited one", "credit", awaited)
            self._room.clear()
            await self._room.wait()
            if self._failure is not None:
                raise self._failure

    def _deliver(self, label: str, message: memoryview, charged: int) -> None:
        if label in self._done or label in self._early:  # another of that label came while this one was on its way
            self._refuse("a label that was used before", "replayed", label)
        waiter = self._waiting.get(label)
        if waiter is None or waiter.future.done():
            self._held += 0 if charged else len(message) + _OVERHEAD  # its receiver gave up meanwhile
            self._early[label] = message
            return
        self._held -= charged
        if len(message) > waiter.limit:
            del message  # which the error's traceback would keep
            self._refuse("a message larger than its receiver allows", "oversize", label)
        self._done.add(label)
        del self._waiting[label]
        waiter.future.set_result(message)

    def _refuse(self, what: str, code: str, label: str) -> NoReturn:
        error = self._bad(what, code, label)
        self.fail(error)
        raise error

    def fail(self, error: PrivcomputeError) -> None:
        """Ends the channel: every wait, now and later, raises ``error``. Messages that are whole can still be taken."""
        if self._failure is None:
            self._failure = error
        for waiter in self._waiting.values():
            if not waiter.future.done():
                waiter.future.set_exception(self._failure)
        self._waiting.clear()
        self._partial = None
        self._room.set()

    def _bad(self, what: str, code: str, label: str | None) -> PeerError:
        error = PeerError(
            f"the peer sent {what}",
            code=code,
            party=self.peer,
            stage=label[:MAX_LABEL] if label else None,
            remedy="the run ended; ask again, and if it happens again ask the peer for its version and log",
        )
        self._violation = self._violation or error
        return error

    # -- the receiver's side ----------------------------------------------------------------------------------------

    def _filling(self, label: str) -> int:
        """Bytes of the message with that label which `begin` announced and which is not full yet."""
        part = self._partial
        return len(part.buffer) if part is not None and part.label == label else 0

    async def take(self, label: str, limit: int, timeout: float) -> memoryview:
        """Waits for the message with that label; see `Channel.recv`."""
        early = self._early.pop(label, None)
        if early is not None:
            self._held -= len(early) + _OVERHEAD
            self._room.set()
            if len(early) > limit:
                del early  # which the error's traceback would keep
                self._refuse("a message larger than its receiver allows", "oversize", label)
            self._done.add(label)
            return early
        if self._failure is not None:
            raise self._failure
        if label in self._done or label in self._waiting:
            raise PeerError("a label is awaited once", code="label_reused", party=self.peer, stage=label)
        if self._filling(label) > limit:
            self._refuse("a message larger than its receiver allows", "oversize", label)
        future: asyncio.Future[memoryview] = asyncio.get_running_loop().create_future()
        waiter = self._waiting[label] = _Waiter(limit, future)
        self._room.set()
        self._heard = max(self._heard, time.monotonic())
        clock = _Clock(self, future, label, timeout)
        clock.look()
        try:
            return await future
        finally:
            clock.stop()
            if self._waiting.get(label) is waiter:
                del self._waiting[label]
