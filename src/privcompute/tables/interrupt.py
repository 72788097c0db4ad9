"""A pass over a table that can be stopped: when its question is given up, its peer is gone, or its time is over.

A thread cannot be cancelled, but DuckDB can be interrupted from another one. A *watch* knows the connections that the
thread has open; `engine.connect` enters each new one into the watch that is active where it is called.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from privcompute.errors import UsageError

if TYPE_CHECKING:
    import duckdb

P = ParamSpec("P")
T = TypeVar("T")

_AGAIN_SECONDS = 0.05
"""An interrupt that falls between two queries is lost, so it is repeated."""


class Watch:
    """The open connections of one piece of work, and whether it is to end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[duckdb.DuckDBPyConnection] = []
        self._over = False

    def enter(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Take in a new connection.

        Raises:
            UsageError: `cancelled` if the work is to end.
        """
        with self._lock:
            if self._over:
                raise cancelled()
            self._open.append(connection)

    def interrupt(self) -> None:
        """End the queries that run, and let no connection be opened any more."""
        with self._lock:
            self._over = True
            for connection in self._open:
                with contextlib.suppress(Exception):  # it was closed meanwhile
                    connection.interrupt()

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Watch the connections that this thread opens."""
        token = _ACTIVE.set(self)
        try:
            yield
        finally:
            _ACTIVE.reset(token)


_ACTIVE: ContextVar[Watch | None] = ContextVar("privcompute_tables_watch", default=None)


def watched(connection: duckdb.DuckDBPyConnection) -> None:
    """Enter a connection into the active watch, if there is one.

    Raises:
        UsageError: `cancelled`.
    """
    watch = _ACTIVE.get()
    if watch is not None:
        watch.enter(connection)


def cancelled() -> UsageError:
    """The error of work that was interrupted."""
    return UsageError("the pass over the table was cancelled", code="cancelled")


async def interruptible(seconds: float, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run blocking work over tables in a thread; cancelling the call, or the end of the time, ends the work too.

    Args:
        seconds: The most it may take.
        work: What to run.
        args: For it.
        kwargs: For it.

    Raises:
        UsageError: `too_slow`, or what the work raises.
    """
    watch = Watch()

    def run() -> T:
        with watch.active():
            return work(*args, **kwargs)

    task = asyncio.create_task(asyncio.to_thread(run))
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if done:
            return task.result()
    finally:
        while not task.done():
            watch.interrupt()
            await asyncio.wait({task}, timeout=_AGAIN_SECONDS)
        if not task.cancelled():
            task.exception()  # looked at, so that nobody reports it as lost
    raise UsageError(
        f"reading the table took longer than {seconds:g} seconds",
        code="too_slow",
        remedy="ask for less at once; its owner may raise limits.table_seconds in node.toml",
    )
