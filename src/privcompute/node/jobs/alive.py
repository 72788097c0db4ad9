"""Signs of life before a session, which gives its own: who waits for a peer's next word hears that it is there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from privcompute.session import Channel
from privcompute.union.stages import BEAT


@asynccontextmanager
async def signs_of_life(channels: Iterable[Channel], stage: str) -> AsyncIterator[None]:
    """Tells these peers every `BEAT` seconds that this node is still there, for as long as the block takes.

    Args:
        channels: The links to who waits.
        stage: What takes so long, for people; nothing else is told.
    """
    links = tuple(channels)

    async def beat() -> None:
        while True:
            for channel in links:
                channel.signal("progress", json.dumps([stage, 0, 1]).encode())
            await asyncio.sleep(BEAT)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
