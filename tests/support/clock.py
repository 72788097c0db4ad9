"""An event loop whose clock stands still while anything happens, and jumps to the next timer when nothing does.

Tests of lateness run on it: whoever is silent is late at once, and nobody is late because the machine was busy.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class _Idle(selectors.DefaultSelector):
    """Tells its loop when nothing would happen before the next timer."""

    loop: JumpingLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """See `selectors.BaseSelector.select`."""
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None or self.loop.working:
            return super().select(None)
        self.loop.now += timeout
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    """The loop; work in threads is waited for, and takes no time by its clock.

    Attributes:
        now: Seconds since it was made.
        working: Threads that work for it.
    """

    def __init__(self) -> None:
        selector = _Idle()
        selector.loop = self
        self.now, self.working = 0.0, 0
        super().__init__(selector)

    def time(self) -> float:
        """See `asyncio.AbstractEventLoop.time`."""
        return self.now

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """See `asyncio.AbstractEventLoop.run_in_executor`."""
        future = super().run_in_executor(executor, func, *args)
        self.working += 1
        future.add_done_callback(self._worked)
        return future

    def _worked(self, future: asyncio.Future[Any]) -> None:
        self.working -= 1


def run_jumping(work: Coroutine[Any, Any, T]) -> tuple[T, float]:
    """Runs something on such a loop.

    Returns:
        Its result, and the seconds it took by the loop's clock.
    """
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        result = runner.run(work)
        return result, runner.get_loop().time()
