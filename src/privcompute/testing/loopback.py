"""Channels between parties of one process, with an optional delay and bandwidth."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from privcompute.errors import PrivcomputeError, TransportError, class_named
from privcompute.session.channel import Buffer
from privcompute.session.mailbox import DEFAULT_CREDIT, Mailbox

_QUEUE = 256


class LoopbackChannel:
    """One end of a pair; made by `loopback_pair`."""

    def __init__(self, peer: str, inbox: Mailbox, outbox: Mailbox, delay: float, rate: float | None) -> None:
        self.peer = peer
        self._inbox, self._outbox = inbox, outbox
        self._delay, self._rate = delay, rate
        self._line: asyncio.Queue[tuple[float, str, bytes]] | None = None
        self._pump: asyncio.Task[None] | None = None
        self._free = 0.0
        self._closed = False

    async def send(self, label: str, parts: Sequence[Buffer]) -> None:
        """See `Channel.send`."""
        if self._inbox.failure is not None:
            raise self._inbox.failure
        if self._closed:
            raise TransportError("the link is closed", code="closed", party=self.peer, stage=label)
        data = b"".join(memoryview(part).cast("B") for part in parts)
        if self._delay == 0 and self._rate is None:
            with contextlib.suppress(PrivcomputeError):  # the receiver's to notice, as on a real network
                await self._outbox.offer(label, data)
            return
        loop = asyncio.get_running_loop()
        self._free = max(self._free, loop.time()) + (len(data) / self._rate if self._rate else 0.0)
        if self._line is None:
            self._line = asyncio.Queue(_QUEUE)
            self._pump = asyncio.create_task(self._carry(self._line))
        await self._line.put((self._free + self._delay, label, data))

    async def _carry(self, line: asyncio.Queue[tuple[float, str, bytes]]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, label, data = await line.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            try:
                await self._outbox.offer(label, data)
            except PrivcomputeError:
                return
            finally:
                line.task_done()

    async def recv(self, label: str, limit: int, timeout: float) -> memoryview:
        """See `Channel.recv`."""
        return await self._inbox.take(label, limit, timeout)

    def signal(self, kind: str, body: bytes) -> None:
        """See `Channel.signal`."""
        if self._outbox.failure is None:
            self._outbox.signalled(kind, body)

    def on_signal(self, handler: Callable[[str, bytes], None]) -> None:
        """See `Channel.on_signal`."""
        self._inbox.on_signal(handler)

    def unclaimed(self) -> list[str]:
        """See `Channel.unclaimed`."""
        return self._inbox.unclaimed()

    async def close(self) -> None:
        """See `Channel.close`."""
        if self._closed:
            return
        self._closed = True
        if self._line is not None and self._outbox.failure is None:
            waiting = asyncio.create_task(self._line.join())
            await asyncio.wait({waiting, *([self._pump] if self._pump else [])}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
        if self._pump is not None:
            self._pump.cancel()
        self._outbox.fail(TransportError("the peer closed the link", code="closed"))

    async def abort(self, error: PrivcomputeError) -> None:
        """See `Channel.abort`."""
        self._closed = True
        if self._pump is not None:
            self._pump.cancel()
        told = class_named(type(error).__name__)(
            error.message, code=error.code, remedy=error.remedy, party=error.party, stage=error.stage
        )
        self._outbox.fail(told)
        self._inbox.fail(TransportError("the link was aborted here", code="closed", party=self.peer))


def loopback_pair(
    first: str, second: str, *, rtt: float = 0.0, rate: float | None = None, credit: int = DEFAULT_CREDIT
) -> tuple[LoopbackChannel, LoopbackChannel]:
    """The two ends of a link: the channel of ``first`` (whose peer is ``second``), and the other.

    Args:
        first: A party.
        second: Another.
        rtt: Seconds for there and back.
        rate: Bytes a second each way; None: unlimited.
        credit: Bytes that may wait for their label at each end.
    """
    at_first, at_second = Mailbox(second, credit), Mailbox(first, credit)
    return (
        LoopbackChannel(second, at_first, at_second, rtt / 2, rate),
        LoopbackChannel(first, at_second, at_first, rtt / 2, rate),
    )
