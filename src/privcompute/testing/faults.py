"""Plays the network, or the peer, that misbehaves at one label."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from privcompute.session.channel import Buffer, Channel
from privcompute.testing.wrapper import ChannelWrapper

Kind = Literal["flip", "drop", "replay", "reorder", "truncate", "oversize", "delay", "replace"]


@dataclass(frozen=True)
class Fault:
    """What happens to the first message whose label matches.

    Args:
        kind: ``flip`` one bit in the middle, ``drop`` it, ``replay`` it, ``reorder`` it behind the next one,
            ``truncate`` its last byte, ``oversize`` it by a kibibyte, ``delay`` it, or ``replace`` its bytes.
        label: A regular expression searched in the label.
        seconds: Length of a delay.
        replace: New bytes from old, for ``replace``.
        every: Hit every matching message, not only the first.
    """

    kind: Kind
    label: str
    seconds: float = 1.0
    replace: Callable[[bytes], bytes] | None = field(default=None, repr=False)
    every: bool = False


class FaultyChannel(ChannelWrapper):
    """Applies a `Fault` to what is sent; ``hit`` tells whether it happened."""

    def __init__(self, inner: Channel, fault: Fault) -> None:
        super().__init__(inner)
        self.fault = fault
        self.hit = False
        self._kept: tuple[str, bytes] | None = None

    async def send(self, label: str, parts: Sequence[Buffer]) -> None:
        """See `Channel.send`."""
        if self._kept is not None:
            kept, self._kept = self._kept, None
            await super().send(label, parts)
            await super().send(kept[0], [kept[1]])
            return
        if (self.hit and not self.fault.every) or not re.search(self.fault.label, label):
            await super().send(label, parts)
            return
        self.hit = True
        data = bytearray(b"".join(memoryview(part).cast("B") for part in parts))
        kind = self.fault.kind
        if kind == "drop":
            return
        if kind == "reorder":
            self._kept = (label, bytes(data))
            return
        if kind == "flip":
            data[-1 - (len(data) - 64) // 2 if len(data) > 64 else -1] ^= 1
        elif kind == "truncate":
            del data[-1:]
        elif kind == "oversize":
            data += bytes(1024)
        elif kind == "delay":
            await asyncio.sleep(self.fault.seconds)
        elif kind == "replace" and self.fault.replace is not None:
            data = bytearray(self.fault.replace(bytes(data)))
        await super().send(label, [bytes(data)])
        if kind == "replay":
            await super().send(label, [bytes(data)])
