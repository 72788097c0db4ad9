"""A link between two parties of one process: a node that asks a union and holds rows itself plays both.

Its holder's session and its collector's session are two sessions with two names: a session's channels bear the
others' names, and the collector's has one for each holder, this node's own among them, so it needs a name for itself
that no party has; see `privcompute.union.collector_name`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from privcompute.errors import PrivcomputeError, TransportError, class_named
from privcompute.session.channel import Buffer
from privcompute.session.mailbox import DEFAULT_CREDIT, Mailbox


class LocalChannel:
    """One end of a pair; made by `local_pair`.

    Args:
        peer: The party at the other end.
        inbox: Where what the peer sends waits.
        outbox: The peer's.
    """

    def __init__(self, peer: str, inbox: Mailbox, outbox: Mailbox) -> None:
        self.peer = peer
        self._inbox, self._outbox = inbox, outbox
        self._closed = False

    def _check_open(self, label: str) -> None:
        if self._inbox.failure is not None:
            raise self._inbox.failure
        if self._closed:
            raise TransportError("the link is closed", code="closed", party=self.peer, stage=label)

    async def send(self, label: str, parts: Sequence[Buffer]) -> None:
        """See `Channel.send`."""
        self._check_open(label)
        data = b"".join(memoryview(part).cast("B") for part in parts)
        with contextlib.suppress(PrivcomputeError):  # the receiver's to notice, as on a real network
            await self._outbox.offer(label, data)

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
        if not self._closed:
            self._closed = True
            self._outbox.fail(TransportError("the peer closed the link", code="closed"))

    async def abort(self, error: PrivcomputeError) -> None:
        """See `Channel.abort`."""
        self._closed = True
        told = class_named(type(error).__name__)(
            error.message, code=error.code, remedy=error.remedy, party=error.party, stage=error.stage
        )
        self._outbox.fail(told)
        self._inbox.fail(TransportError("the link was aborted here", code="closed", party=self.peer))


def local_pair(first: str, second: str, *, credit: int = DEFAULT_CREDIT) -> tuple[LocalChannel, LocalChannel]:
    """The two ends of a link: the channel of ``first`` (whose peer is ``second``), and the other.

    Args:
        first: A party.
        second: Another.
        credit: Bytes that may wait for their label at each end.
    """
    at_first, at_second = Mailbox(second, credit), Mailbox(first, credit)
    return LocalChannel(second, at_first, at_second), LocalChannel(first, at_second, at_first)
