"""A channel around a channel: what meters, records or breaks traffic overrides one method."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from privcompute.errors import PrivcomputeError
from privcompute.session.channel import Buffer, Channel


class ChannelWrapper:
    """Hands everything on to ``inner``."""

    def __init__(self, inner: Channel) -> None:
        self.inner = inner

    @property
    def peer(self) -> str:
        """See `Channel.peer`."""
        return self.inner.peer

    async def send(self, label: str, parts: Sequence[Buffer]) -> None:
        """See `Channel.send`."""
        await self.inner.send(label, parts)

    async def recv(self, label: str, limit: int, timeout: float) -> memoryview:
        """See `Channel.recv`."""
        return await self.inner.recv(label, limit, timeout)

    def signal(self, kind: str, body: bytes) -> None:
        """See `Channel.signal`."""
        self.inner.signal(kind, body)

    def on_signal(self, handler: Callable[[str, bytes], None]) -> None:
        """See `Channel.on_signal`."""
        self.inner.on_signal(handler)

    def unclaimed(self) -> list[str]:
        """See `Channel.unclaimed`."""
        return self.inner.unclaimed()

    async def close(self) -> None:
        """See `Channel.close`."""
        await self.inner.close()

    async def abort(self, error: PrivcomputeError) -> None:
        """See `Channel.abort`."""
        await self.inner.abort(error)
