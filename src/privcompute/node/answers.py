"""The answers of a node: one job or delivery for every link that a peer opens, as many at a time as its limits say."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from privcompute.errors import PeerError, PrivcomputeError
from privcompute.node import jobs
from privcompute.node.delivery import is_delivery

if TYPE_CHECKING:
    from privcompute.node.context import NodeContext
    from privcompute.session import Channel

FAILURES = ("ended", "fault")
"""The audit trail's words for runs that gave nothing; a peer can make as many of them as it likes."""

LOG = logging.getLogger("privcompute.node")


class Answers:
    """Runs `jobs.answer`, or takes a delivery, for the links of an endpoint.

    Args:
        most: Answers at the same time, half of them at most for one peer; who comes then is told that the node is busy.

    Attributes:
        context: The node; set once it is open, before the endpoint starts.
    """

    def __init__(self, most: int) -> None:
        self.context: NodeContext | None = None
        self._most = most
        self._running: dict[asyncio.Task[None], str] = {}

    async def take(self, peer: str, session_id: bytes, channel: Channel) -> None:
        """Answer one link; an error ends that run and nothing else."""
        task = asyncio.current_task()
        of_peer = sum(one == peer for one in self._running.values())
        busy = len(self._running) >= self._most or of_peer >= max(1, self._most // 2)
        if self.context is None or task is None or busy:
            await channel.abort(
                PeerError(
                    "this node answers as many queries as it may already",
                    code="busy",
                    remedy="ask again later; limits.sessions in the peer's node.toml says how many",
                )
            )
            return
        self._running[task] = peer
        try:
            if is_delivery(session_id):
                from privcompute.node.delivery.receive import take_delivery  # deferred: loads Arrow

                await take_delivery(self.context, peer, channel)
            else:
                await jobs.answer(self.context, peer, session_id, channel)
        except PrivcomputeError as error:
            # Not its text: that of a refused query marks a part of the query, with whatever constants it names.
            where = f" at {error.stage}" if error.stage else ""
            LOG.warning("session %s of %s ended: %s%s", session_id.hex()[:8], peer, error.code, where)
            self._note(self.context, "ended", peer, code=error.code, stage=error.stage)
        except Exception as error:
            # The peer learns that it failed and nothing else; the text of a strange error may hold data.
            LOG.error("session %s of %s failed: %s", session_id.hex()[:8], peer, type(error).__name__)
            await channel.abort(PeerError("the node met a fault of its own", code="internal"))
            self._note(self.context, "fault", peer, kind=type(error).__name__)
        finally:
            self._running.pop(task, None)

    def _note(self, context: NodeContext, event: str, peer: str, **detail: str | None) -> None:
        """A failed run into the audit trail, which holds so many of one peer and no more."""
        context.store.audit.append(event, peer=peer, **detail)
        context.store.audit.prune(peer, FAILURES, context.config.limits.failures_kept)

    async def stop(self) -> None:
        """Cancel what still runs."""
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
