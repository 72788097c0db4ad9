"""Channels between parties of one process, with an optional delay and bandwidth."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from privcompute.errors import PrivcomputeError
from privcompute.session.channel import Buffer
from privcompute.session.local import LocalChannel
from privcompute.session.mailbox import DEFAULT_CREDIT, Mailbox

_QUEUE = 256


class LoopbackChannel(LocalChannel):
    """One end of a pair; made by `loopback_pair`."""

    def __init__(self, peer: str, inbox: Mailbox, outbox: Mailbox, delay: float, rate: float | None) -> None:
        super().__init__(peer, inbox, outbox)
        self._delay, self._rate = delay, rate
        self._line: asyncio.Queue[tuple[float, str, bytes]] | None = None
        self._pump: asyncio.Task[None] | None = None
        self._free = 0.0

    async def send(self, label: str, parts: Sequence[Buffer]) -> None:
        """See `Channel.send`."""
        if self._delay == 0 and self._rate is None:
            await super().send(label, parts)
            return
        self._check_open(label)
        data = b"".join(memoryview(part).cast("B") for part in parts)
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

    async def close(self) -> None:
        """See `Channel.close`."""
        if not self._closed and self._line is not None and self._outbox.failure is None:
            waiting = asyncio.create_task(self._line.join())
            await asyncio.wait({waiting, *([self._pump] if self._pump else [])}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
        if self._pump is not None:
            self._pump.cancel()
        await super().close()

    async def abort(self, error: PrivcomputeError) -> None:
        """See `Channel.abort`."""
        if self._pump is not None:
            self._pump.cancel()
        await super().abort(error)


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
