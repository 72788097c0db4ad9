"""Where frames wait for their label: the receiving half that every transport shares.

Chunks of a message arrive in order, messages in any order. A message whose label is awaited goes straight into a
buffer of the announced size, which must be within the limit the receiver stated. One that arrives early waits within
a credit per channel. When the credit is full and nobody waits, the transport's reader pauses (back-pressure: the
peer's sender blocks); when it is full while somebody waits for a label that is not inside, that label could never
arrive, so the channel fails with a named error instead of hanging.

Everything here runs on the session's event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from privcompute.errors import PeerError, PrivcomputeError, TransportError
from privcompute.session.channel import MAX_LABEL, Buffer

DEFAULT_CREDIT = 64 << 20
MAX_EARLY_MESSAGES = 100_000
_OVERHEAD = 256  # bytes an early message costs besides its content


@dataclass
class _Partial:
    """A message of which chunks are still missing."""

    label: str
    total: int
    buffer: bytearray
    filled: int = 0
    charged: int = 0


@dataclass
class _Waiter:
    limit: int
    future: asyncio.Future[memoryview]


@dataclass
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
        self._heard = asyncio.get_running_loop().time()
        if self._handler is not None:
            self._handler(kind, body)

    @property
    def held(self) -> int:
        """Bytes that wait now."""
        return self._held

    @property
    def failure(self) -> PrivcomputeError | None:
        """Why the channel ended, if it did."""
        return self._failure

    def unclaimed(self) -> list[str]:
        """Labels that arrived and were never awaited.

        Raises:
            PeerError: the peer broke the rules of frames, even if nobody was waiting then.
        """
        if self._violation is not None:
            raise self._violation
        return sorted(self._early) + ([self._partial.label] if self._partial else [])

    # -- the transport's side ---------------------------------------------------------------------------------------

    async def offer(self, label: str, total: int, offset: int, chunk: Buffer) -> None:
        """Takes one chunk of a message; waits while there is no room for it.

        Args:
            label: The message's label.
            total: The message's whole size, the same in each of its chunks.
            offset: Where the chunk belongs: chunks of a message come in order, without gaps, not interleaved.
            chunk: The bytes; kept as they are when they are the whole message.

        Raises:
            PeerError: the chunk breaks the rules; the channel has failed.
        """
        data = memoryview(chunk).cast("B")
        try:
            self._check(label, total, offset, len(data))
            if offset == 0:
                await self._admit(label, total)
                if self._failure is not None:
                    raise self._failure
        except PrivcomputeError as error:
            self.fail(error)
            raise
        self._heard = asyncio.get_running_loop().time()
        if offset == 0 and len(data) == total:
            charged, self._charged_now = self._charged_now, 0
            self._deliver(label, data.toreadonly(), charged)
            return
        if offset == 0:
            self._partial = _Partial(label, total, bytearray(total), charged=self._charged_now)
            self._charged_now = 0
        part = self._partial
        if part is None:
            return
        part.buffer[offset : offset + len(data)] = data
        part.filled = offset + len(data)
        if part.filled == total:
            self._partial = None
            self._deliver(label, memoryview(part.buffer).toreadonly(), part.charged)

    _charged_now: int = 0

    def _check(self, label: str, total: int, offset: int, size: int) -> None:
        if self._failure is not None:
            raise self._failure
        if not label or len(label) > MAX_LABEL:
            raise self._bad("a label of a wrong length", "bad_frame", None)
        part = self._partial
        if part is None:
            if offset != 0:
                raise self._bad("a chunk without a beginning", "bad_frame", label)
            if label in self._done or label in self._early:
                raise self._bad("a label that was used before", "replayed", label)
        elif label != part.label or total != part.total or offset != part.filled:
            raise self._bad("a chunk out of place", "bad_frame", label)
        if size + offset > total or (size == 0 and total > 0):
            raise self._bad("a chunk of a wrong size", "bad_frame", label)

    async def _admit(self, label: str, total: int) -> None:
        """Makes room for a new message: at once if it is awaited, else within the credit."""
        self._charged_now = 0
        while True:
            waiter = self._waiting.get(label)
            if waiter is not None:
                if total > waiter.limit:
                    raise self._bad("a message larger than its receiver allows", "oversize", label)
                return
            cost = total + _OVERHEAD
            if self._held + cost <= self.credit and len(self._early) < MAX_EARLY_MESSAGES:
                self._held += cost
                self._charged_now = cost
                return
            # Also a message larger than the credit ends here: it can only go straight to its receiver.
            if self._waiting:
                awaited = next(iter(self._waiting))
                raise self._bad("early messages filled the credit before an awaited one", "credit", awaited)
            self._room.clear()
            await self._room.wait()
            if self._failure is not None:
                raise self._failure

    def _deliver(self, label: str, message: memoryview, charged: int) -> None:
        waiter = self._waiting.pop(label, None)
        if waiter is None:
            self._held += 0 if charged else len(message) + _OVERHEAD  # its receiver gave up meanwhile
            self._early[label] = message
            return
        self._held -= charged
        if len(message) > waiter.limit:
            error = self._bad("a message larger than its receiver allows", "oversize", label)
            if not waiter.future.done():
                waiter.future.set_exception(error)
            self.fail(error)
        elif not waiter.future.done():
            self._done.add(label)
            waiter.future.set_result(message)

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

    async def take(self, label: str, limit: int, timeout: float) -> memoryview:
        """Waits for the message with that label; see `Channel.recv`."""
        loop = asyncio.get_running_loop()
        early = self._early.pop(label, None)
        if early is not None:
            self._held -= len(early) + _OVERHEAD
            self._room.set()
            if len(early) > limit:
                error = self._bad("a message larger than its receiver allows", "oversize", label)
                self.fail(error)
                raise error
            self._done.add(label)
            return early
        if self._failure is not None:
            raise self._failure
        if label in self._done or label in self._waiting:
            raise PeerError("a label is awaited once", code="label_reused", party=self.peer, stage=label)
        part = self._partial
        if part is not None and part.label == label and part.total > limit:
            error = self._bad("a message larger than its receiver allows", "oversize", label)
            self.fail(error)
            raise error
        future: asyncio.Future[memoryview] = loop.create_future()
        self._waiting[label] = _Waiter(limit, future)
        self._room.set()
        self._heard = max(self._heard, loop.time())
        try:
            while True:
                left = self._heard + timeout - loop.time()
                done, _ = await asyncio.wait({future}, timeout=max(left, 0.0))
                if done:
                    return future.result()
                if loop.time() - self._heard >= timeout:
                    raise TransportError(
                        f"nothing heard from the peer for {timeout:g} s",
                        code="deadline",
                        party=self.peer,
                        stage=label,
                        remedy="check that the peer's node runs and is reachable (privcompute doctor), then ask again",
                    )
        finally:
            self._waiting.pop(label, None)
            if not future.done():
                future.cancel()
