"""Ending calls, whoever began them: those of one link together, and one that takes too long."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Protocol


class Cancellable(Protocol):
    """gRPC's call, or the context of one that is served."""

    def cancel(self) -> object:
        """Ends it at once; nothing if it is over."""


class Calls:
    """The calls of one link: all are cancelled at once, those still to come among them. From any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Cancellable] = []
        self.cancelled = False

    def add(self, call: Cancellable) -> None:
        """One more; it is cancelled at once if they all were."""
        with self._lock:
            self._calls.append(call)
            unwanted = self.cancelled
        if unwanted:
            call.cancel()

    def cancel(self) -> None:
        """Cancels them, whenever they begin. May be called more than once."""
        with self._lock:
            self.cancelled, calls = True, list(self._calls)
        for call in calls:
            call.cancel()


@contextlib.contextmanager
def cancelled_after(call: Cancellable, seconds: float) -> Iterator[None]:
    """Cancels the call if the body takes longer: gRPC's own deadline would bound the whole call."""
    timer = threading.Timer(seconds, call.cancel)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
