"""Holders that leave a masked sum, or misbehave, at one message: by breaking the link, by silence, or by repetition."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Final

from privcompute.errors import TransportError
from privcompute.session.channel import Buffer, Channel
from privcompute.testing.wrapper import ChannelWrapper

STAGES: Final = {
    "before advertise": "/advert",
    "after advertise": "/deal",
    "after share": "/ready",
    "when granted": "/counts",
    "mid-submission": "/values",
    "after submission": "/survivors-signature",
    "at open": "/shares",
    "between the openings": "/turn-1-signature",
    "at value opening": "/items",
    "half way through value opening": "/late-shares",
}
"""The message that the holder does not send any more, by what it has done before."""
WHOLE: Final = "after submission"
"""From this stage on its numbers are in the sums."""


def counted(stage: str | None) -> bool:
    """Whether the numbers of a holder that leaves at that stage are in the sums."""
    return stage is None or list(STAGES).index(stage) >= list(STAGES).index(WHOLE)


class Leaving(ChannelWrapper):
    """Sends what comes before a label, and then no more.

    Args:
        inner: The holder's channel.
        label: Part of the label.
        how: ``break`` ends the link, ``silent`` lets it stand, ``twice`` sends that message and another such.
    """

    def __init__(self, inner: Channel, label: str, how: str) -> None:
        super().__init__(inner)
        self._label, self._how = label, how

    async def send(self, label: str, parts: Sequence[Buffer]) -> None:
        """See `Channel.send`."""
        if not re.search(re.escape(self._label) + r"\.\d+$", label):
            await super().send(label, parts)
        elif self._how == "break":
            raise TransportError("the holder's machine went down", code="test_down")
        elif self._how == "silent":
            await self.inner.recv("nobody sends this", 0, 60.0)  # until the other end gives the link up
        else:
            await super().send(label, parts)
            await super().send(label.rpartition(".")[0] + ".2", parts)
            await asyncio.sleep(0)
