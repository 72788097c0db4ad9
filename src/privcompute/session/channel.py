"""What a protocol may ask of a network: send bytes to one peer under a label, wait for a label.

A channel belongs to one peer and one session. Messages meet by label, never by order. Loopback
(`privcompute.testing`) and gRPC (`privcompute.transport`) implement it, and one contract suite tests both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

from privcompute.errors import PrivcomputeError

Buffer: TypeAlias = bytes | bytearray | memoryview | Any
"""A contiguous buffer; numpy arrays are passed as they are."""

MAX_LABEL = 512


class Channel(Protocol):
    """One peer's link inside one session."""

    @property
    def peer(self) -> str:
        """The party at the other end."""
        ...

    async def send(self, label: str, parts: Sequence[Buffer]) -> None:
        """Queues one message, the concatenation of ``parts``; returns when the link has taken it.

        Waits while the link is full (back-pressure). The buffers may be changed once it has returned.

        Raises:
            TransportError: the link is gone.
            PrivcomputeError: the peer aborted the run.
        """
        ...

    async def recv(self, label: str, limit: int, timeout: float) -> memoryview:
        """The message with that label, whole, once.

        Args:
            label: Each label of a session is awaited once.
            limit: The most bytes the receiver is ready to hold.
            timeout: Seconds without any sign of life (a frame, progress) from the peer.

        Raises:
            PeerError: the message is larger than ``limit``, or early frames filled the credit.
            TransportError: the link is gone, or silent for longer than ``timeout``.
        """
        ...

    def signal(self, kind: str, body: bytes) -> None:
        """Sends a small out-of-band word (progress) if the link has room; never waits."""
        ...

    def on_signal(self, handler: Callable[[str, bytes], None]) -> None:
        """Registers the one handler of the peer's out-of-band words."""
        ...

    def unclaimed(self) -> list[str]:
        """Labels of messages that arrived and were never awaited."""
        ...

    async def close(self) -> None:
        """Ends the link in order, after what was sent; unclaimed messages are dropped and reported by the session."""
        ...

    async def abort(self, error: PrivcomputeError) -> None:
        """Tells the peer, if it can still be told, that the run ended with this error, and ends the link."""
        ...
