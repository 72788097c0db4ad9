"""A node opened in this process: identity, state, endpoint, and answers to peers for as long as it is open."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from privcompute.errors import PeerError, PrivcomputeError
from privcompute.node import jobs
from privcompute.node.calibration import load as load_calibration
from privcompute.node.config import Config
from privcompute.node.config import load as load_config
from privcompute.node.context import NodeContext, Observer
from privcompute.node.home import Home
from privcompute.node.store import Store
from privcompute.session import Channel, Progress
from privcompute.transport.endpoint import Endpoint
from privcompute.transport.identity import Identity
from privcompute.transport.limits import TransportLimits

LOG = logging.getLogger("privcompute.node")


def silent(_: Progress) -> None:
    """An observer that looks away."""


@asynccontextmanager
async def opened(home: Home, *, listen: bool = False, observer: Observer = silent) -> AsyncIterator[NodeContext]:
    """Open the node of a home.

    Args:
        home: A complete home.
        listen: Whether to listen on the configured port (`serve`); otherwise only reach out.
        observer: Told of the progress of answers to peers.

    Raises:
        UsageError: no home, or a field of its configuration is wrong.
        IntegrityError: identity or state are damaged.
        TransportError: the port is taken.
    """
    home.require()
    config = load_config(home.config_file)
    identity = Identity.load(home.identity)
    store = Store(home.database)
    answers = _Answers(config)
    try:
        endpoint = Endpoint(
            identity,
            store.peers,
            listen=config.listen if listen else None,
            limits=TransportLimits(credit=config.limits.credit_mib << 20),
            on_link=answers.take,
        )
        context = NodeContext(
            name=config.name,
            home=home,
            identity=identity,
            endpoint=endpoint,
            store=store,
            config=config,
            calibration=load_calibration(store),
            observer=observer,
        )
        answers.context = context
        await endpoint.start()
        try:
            yield context
        finally:
            await answers.stop()
            await endpoint.stop()
    finally:
        store.close()


class _Answers:
    """Runs `jobs.answer` for every link a peer opens, at most `limits.sessions` at a time."""

    def __init__(self, config: Config) -> None:
        self.context: NodeContext | None = None
        self._most = config.limits.sessions
        self._running: set[asyncio.Task[None]] = set()

    async def take(self, peer: str, session_id: bytes, channel: Channel) -> None:
        """Answer one link; an error ends that run and nothing else."""
        task = asyncio.current_task()
        if self.context is None or task is None or len(self._running) >= self._most:
            await channel.abort(
                PeerError(
                    "this node answers as many queries as it may already",
                    code="busy",
                    remedy="ask again later; limits.sessions in the peer's node.toml says how many",
                )
            )
            return
        self._running.add(task)
        try:
            await jobs.answer(self.context, peer, session_id, channel)
        except PrivcomputeError as error:
            LOG.warning("session %s of %s ended: %s (%s)", session_id.hex()[:8], peer, error.code, error.message)
            self.context.store.audit.append("ended", peer=peer, code=error.code, stage=error.stage)
        except Exception as error:
            # The peer learns that it failed and nothing else; the text of a strange error may hold data.
            LOG.exception("session %s of %s failed", session_id.hex()[:8], peer)
            await channel.abort(PeerError("the node met a fault of its own", code="internal"))
            self.context.store.audit.append("fault", peer=peer, kind=type(error).__name__)
        finally:
            self._running.discard(task)

    async def stop(self) -> None:
        """Cancel what still runs."""
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
