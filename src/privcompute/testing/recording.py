"""Records what one party sends: labels, sizes and a digest, in order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from privcompute.session.channel import Buffer, Channel
from privcompute.testing.wrapper import ChannelWrapper


@dataclass(frozen=True)
class Entry:
    """One sent message."""

    sender: str
    receiver: str
    label: str
    size: int
    sha256: str


class RecordingChannel(ChannelWrapper):
    """Appends an `Entry` to ``log`` for each message sent."""

    def __init__(self, inner: Channel, me: str, log: list[Entry]) -> None:
        super().__init__(inner)
        self.me, self.log = me, log

    async def send(self, label: str, parts: Sequence[Buffer]) -> None:
        """See `Channel.send`."""
        digest, size = hashlib.sha256(), 0
        for part in parts:
            view = memoryview(part).cast("B")
            digest.update(view)
            size += len(view)
        self.log.append(Entry(self.me, self.peer, label, size, digest.hexdigest()))
        await super().send(label, parts)
