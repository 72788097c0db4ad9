"""`serve`: the node as a process. It listens for peers, answers the home's own commands, ends in order on a signal."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable
from typing import Any

from privcompute.node import operations
from privcompute.node.home import Home, alone
from privcompute.node.local_socket import Consent, SocketServer, Watcher
from privcompute.node.opened import opened
from privcompute.node.warm import warm_up_beside
from privcompute.session import Progress
from privcompute.tables.memory import few_arenas, steady_heap

LOG = logging.getLogger("privcompute.node")


async def serve(home: Home, *, ready: Callable[[tuple[str, ...]], None]) -> None:
    """Run the node of a home until SIGINT or SIGTERM.

    Args:
        home: A complete home.
        ready: Called once, with the addresses, when peers and commands are served.

    Raises:
        UsageError: no home, its configuration is wrong, or a node runs there already.
        TransportError: the port is taken.
    """
    home.require()
    few_arenas()
    steady_heap()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    for one in signals:
        loop.add_signal_handler(one, stop.set)
    try:
        with alone(home):
            async with opened(home, serve=True, observer=_log_progress) as context:

                async def operation(call: dict[str, Any], consent: Consent, watch: Watcher) -> Any:
                    return await operations.perform(context, call, consent, watch)

                server = SocketServer(home.socket, operation)
                await server.start()
                context.store.audit.append("serve", addresses=list(context.endpoint.addresses))
                LOG.info("serving %s on %s", context.name, ", ".join(context.endpoint.addresses) or "no port")
                try:
                    ready(tuple(context.endpoint.addresses))
                    threading.Thread(target=warm_up_beside, name="warm", daemon=True).start()
                    await stop.wait()
                finally:
                    LOG.info("stopping")
                    await server.stop()
    finally:
        for one in signals:
            loop.remove_signal_handler(one)


def _log_progress(progress: Progress) -> None:
    LOG.debug("%s %s %d/%d", progress.party, progress.stage, progress.done, progress.total)
