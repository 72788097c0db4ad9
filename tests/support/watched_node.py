"""The command line with its channels watched: ``python watched_node.py SPEC.json --home DIR serve --json``.

Writes one JSON line for each message this process sends or takes, and, where the specification says so, ends the
process with SIGKILL at one of them, or sends one of them changed, twice or not at all. Nothing of privcompute is
changed for it: the node opens its links through `privcompute.node.opened.Endpoint`, and this program puts a wrapping
subclass in its place.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from privcompute.cli import main
from privcompute.node import opened
from privcompute.session import Buffer, Channel
from privcompute.testing import Fault, FaultyChannel
from privcompute.testing.wrapper import ChannelWrapper
from privcompute.transport.endpoint import Endpoint

SPEC: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())


class WatchedChannel(ChannelWrapper):
    """Records, and ends the process at the chosen moment."""

    def __init__(self, inner: Channel, session: bytes) -> None:
        fault = SPEC.get("fault")
        super().__init__(inner if fault is None else FaultyChannel(inner, Fault(fault[0], fault[1])))
        self.session = session

    async def send(self, label: str, parts: Sequence[Buffer]) -> None:
        """See `Channel.send`."""
        self._at("sending", label, b"".join(memoryview(part).cast("B") for part in parts))
        await super().send(label, parts)
        self._at("sent", label, None)

    async def recv(self, label: str, limit: int, timeout: float) -> memoryview:
        """See `Channel.recv`."""
        self._at("awaiting", label, None)
        message = await super().recv(label, limit, timeout)
        self._at("received", label, message)
        return message

    def _at(self, moment: str, label: str, data: bytes | memoryview | None) -> None:
        if data is not None:
            line = {
                "session": self.session.hex(),
                "peer": self.peer,
                "moment": moment,
                "label": label,
                "size": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
            }
            with open(SPEC["log"], "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        if [moment, label] == SPEC.get("kill"):
            os.kill(os.getpid(), signal.SIGKILL)


class WatchedEndpoint(Endpoint):
    """An endpoint whose links are watched."""

    def __init__(self, *args: Any, on_link: Any, **named: Any) -> None:
        async def watched(peer: str, session_id: bytes, channel: Channel) -> None:
            await on_link(peer, session_id, WatchedChannel(channel, session_id))

        super().__init__(*args, on_link=watched, **named)

    async def open_link(self, peer: str, session_id: bytes) -> Channel:
        """See `Endpoint.open_link`."""
        link = await super().open_link(peer, session_id)  # which may have come through `accept_link`
        return link if isinstance(link, WatchedChannel) else WatchedChannel(link, session_id)

    async def accept_link(self, peer: str, session_id: bytes, timeout: float) -> Channel:
        """See `Endpoint.accept_link`."""
        return WatchedChannel(await super().accept_link(peer, session_id, timeout), session_id)


if __name__ == "__main__":
    opened.__dict__["Endpoint"] = WatchedEndpoint  # the one seam: a node opens its links through this name
    sys.argv = ["privcompute", *sys.argv[2:]]
    main()
