"""The pass over one's own table in a run: it ends with the run, with a peer that is gone, or when its time is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import NoReturn, TypeVar

from privcompute.node import negotiation
from privcompute.session import Channel
from privcompute.tables.interrupt import interruptible

T = TypeVar("T")

NOBODY_SENDS = "negotiation/gone"
"""Waiting for this label ends when the link does, and not before."""


_ENDING_SECONDS = 600.0
"""A pass whose time is over may need a moment to end; it is not the peer's silence that ends it."""


async def while_all_are_there(channels: Iterable[Channel], seconds: float, work: Callable[[], T]) -> T:
    """Run blocking work over tables as long as no link fails.

    Args:
        channels: The links to the other parties.
        seconds: The most the work may take.
        work: What to run in a thread.

    Raises:
        PrivcomputeError: what a link failed with, `too_slow`, or what the work raises.
    """
    reading = asyncio.create_task(interruptible(seconds, work))
    gone = [asyncio.create_task(_gone(channel, seconds + _ENDING_SECONDS)) for channel in channels]
    try:
        done, _ = await asyncio.wait({reading, *gone}, return_when=asyncio.FIRST_COMPLETED)
        if reading in done:
            return reading.result()
        raise next(error for one in gone if one in done and (error := one.exception()) is not None)
    finally:
        for task in (reading, *gone):
            task.cancel()
        await asyncio.gather(reading, *gone, return_exceptions=True)


async def _gone(channel: Channel, timeout: float) -> NoReturn:
    await channel.recv(NOBODY_SENDS, 0, timeout)
    raise negotiation.malformed(channel.peer, NOBODY_SENDS)
