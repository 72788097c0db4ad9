"""A home whose running node answers with canned plans and releases: what stands before and behind it is real."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from privcompute.errors import ConsentNeeded
from privcompute.node.home import Home
from privcompute.node.local_socket import Consent, SocketServer, Watcher

PLAN = {
    "sql": "SELECT …",
    "reveal": "matches",
    "receivers": ["hospital"],
    "minimum": 10,
    "plan_digest": "d" * 64,
    "disclosure": {"hospital": [{"what": "n", "why": "asked for", "size": 12}]},
    "sides": [],
    "asker": "hospital",
    "cost": {"bytes_sent": 1, "bytes_received": 2, "rounds": 3, "seconds": 4.0},
}
RELEASE = {
    "sql": "SELECT …",
    "columns": ["n"],
    "types": ["BIGINT"],
    "rows": [[7]],
    "suppressed_cells": 0,
    "error_bound": {"n": 0.0},
    "learned": PLAN["disclosure"],
    "receivers": ["hospital"],
    "rounds": 3,
    "bytes_sent": 1,
    "bytes_received": 2,
    "seconds": 0.5,
    "reveal": "matches",
    "plan_digest": "d" * 64,
    "release": "r1",
}


class Running:
    """Stands for the operations of a running node."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.cancelled = threading.Event()
        self.digests: Iterator[str] = itertools.repeat("d" * 64)
        self.started = threading.Event()

    async def __call__(self, call: dict[str, Any], consent: Consent, watch: Watcher) -> Any:
        self.calls.append(call)
        self.started.set()
        plan = {**PLAN, "plan_digest": next(self.digests)}
        if call["op"] == "explain":
            return plan
        if call["sql"] == "slow":
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        watch({"party": "insurer", "stage": "align", "done": 1, "total": 2})
        agreed = consent(plan)
        if not (agreed if isinstance(agreed, bool) else await agreed):
            raise ConsentNeeded("no", code="declined")
        return RELEASE


@asynccontextmanager
async def running(home: Home) -> AsyncIterator[Running]:
    node = Running()
    server = SocketServer(home.socket, node)
    await server.start()
    try:
        yield node
    finally:
        await server.stop()


@contextmanager
def running_elsewhere(home: Home) -> Iterator[Running]:
    """The same in another thread, for callers without a loop of their own."""
    box: list[Running] = []
    ready, stop = threading.Event(), threading.Event()

    def serve() -> None:
        async def run() -> None:
            async with running(home) as node:
                box.append(node)
                ready.set()
                await asyncio.to_thread(stop.wait)

        asyncio.run(run())

    thread = threading.Thread(target=serve)
    thread.start()
    assert ready.wait(10)
    try:
        yield box[0]
    finally:
        stop.set()
        thread.join(10)
