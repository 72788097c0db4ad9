"""A node opened in this process: identity, state, endpoint, and answers to peers for as long as it is open."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from privcompute.node.answers import Answers
from privcompute.node.calibration import load as load_calibration
from privcompute.node.config import load as load_config
from privcompute.node.context import NodeContext, Observer
from privcompute.node.home import Home
from privcompute.node.store import Store
from privcompute.session import Progress
from privcompute.transport.endpoint import Endpoint
from privcompute.transport.identity import Identity
from privcompute.transport.limits import TransportLimits


def silent(_: Progress) -> None:
    """An observer that looks away."""


@asynccontextmanager
async def opened(home: Home, *, serve: bool = False, observer: Observer = silent) -> AsyncIterator[NodeContext]:
    """Open the node of a home.

    Args:
        home: A complete home.
        serve: Whether to listen on the configured port and to let peers that cannot be reached ask; otherwise this
            node only reaches out.
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
    answers = Answers(config.limits.sessions)
    try:
        endpoint = Endpoint(
            identity,
            store.peers,
            listen=config.listen if serve else None,
            limits=TransportLimits(credit=config.limits.credit_mib << 20),
            keep_control=serve,
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
