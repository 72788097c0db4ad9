"""A TCP relay that delays, and on demand cuts the connection or flips a byte, between two processes of one machine."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

_CHUNK = 1 << 16
_ON_THE_WAY = 256  # chunks


@dataclass(frozen=True)
class Mischief:
    """What the relay does to one direction besides delaying it.

    Args:
        kind: ``cut`` the connection, ``flip`` a bit and go on, or ``stall``: swallow everything that follows.
        after: Bytes of that direction, over all connections together, that pass unharmed.
        direction: ``up`` from the client to the server, or ``down``.
    """

    kind: Literal["cut", "flip", "stall"]
    after: int
    direction: Literal["up", "down"] = "up"


class Relay:
    """Listens on a free port of 127.0.0.1 and carries connections to ``target``; made by `relay`.

    Attributes:
        port: Where it listens.
        carried: Bytes so far, by direction.
        connections: How many there were.
    """

    def __init__(self, target: tuple[str, int], delay: float, mischief: Mischief | None) -> None:
        self.port = 0
        self.carried = {"up": 0, "down": 0}
        self.connections = 0
        self.struck = False
        self._target, self._delay, self._mischief = target, delay, mischief
        self._tasks: set[asyncio.Task[None]] = set()

    def arm(self, mischief: Mischief | None) -> None:
        """From now on this goes wrong, ``after`` counted from here; None: nothing more."""
        self.struck = False
        if mischief is not None:
            mischief = replace(mischief, after=mischief.after + self.carried[mischief.direction])
        self._mischief = mischief

    async def serve(self, ready: threading.Event, stop: asyncio.Event) -> None:
        """Listens until ``stop``."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await stop.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self.connections += 1
        with contextlib.closing(writer):
            try:
                there, back = await asyncio.open_connection(*self._target)
            except OSError:
                return
            with contextlib.closing(back):
                ways = [self._carry("up", reader, back), self._carry("down", there, writer)]
                jobs = [asyncio.create_task(way) for way in ways]
                try:
                    await asyncio.gather(*jobs)
                except OSError:
                    writer.transport.abort()
                    back.transport.abort()
                finally:
                    for job in jobs:
                        job.cancel()
                    await asyncio.gather(*jobs, return_exceptions=True)

    async def _carry(
        self, way: Literal["up", "down"], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        loop = asyncio.get_running_loop()
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_ON_THE_WAY)

        async def deliver() -> None:
            while True:
                due, data = await line.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                if not data:
                    with contextlib.suppress(OSError):
                        writer.write_eof()
                    return
                writer.write(data)
                await writer.drain()

        delivery = asyncio.create_task(deliver())
        try:
            while not delivery.done():
                data = self._harm(way, await reader.read(_CHUNK))
                if data is not None:
                    await line.put((loop.time() + self._delay, data))
                    if not data:
                        break
            await delivery
        finally:
            delivery.cancel()
            await asyncio.gather(delivery, return_exceptions=True)

    def _harm(self, way: Literal["up", "down"], data: bytes) -> bytes | None:
        before, self.carried[way] = self.carried[way], self.carried[way] + len(data)
        plan = self._mischief
        if plan is None or plan.direction != way or not data or before + len(data) <= plan.after:
            return data
        if plan.kind == "flip":
            if self.struck:
                return data
            self.struck = True
            place = max(0, plan.after - before)
            return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        self.struck = True
        if plan.kind == "cut":
            raise ConnectionResetError
        return None


@contextlib.contextmanager
def relay(target: tuple[str, int], *, delay: float = 0.0, mischief: Mischief | None = None) -> Iterator[Relay]:
    """Runs a `Relay` to ``target`` in a thread.

    Args:
        target: Host and port it carries to.
        delay: Seconds each way.
        mischief: What goes wrong, if anything.
    """
    made = Relay(target, delay, mischief)
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(made.serve(ready, stop))
        loop.close()

    thread = threading.Thread(target=run, name="relay", daemon=True)
    thread.start()
    ready.wait()
    try:
        yield made
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
