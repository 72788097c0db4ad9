"""The node's log: a rotating file in the home, owner-only, with the time, the level, the process and what happened.

The running node and every command of one home write the same file. So whoever writes holds a lock of the home for that
line, and looks first whether another process has rotated the file meanwhile.

What is logged are events, names, labels, sizes and error codes; never a value of a table, a share or a key.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sys
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from typing import Any

from privcompute.node.config import Log
from privcompute.node.home import Home

LOGGER = logging.getLogger("privcompute")

_FORMAT = "%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"


class _OwnerOnly(RotatingFileHandler):
    """A rotating file that only its owner may read, also after it rotated, and that several processes may write."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line to the file that has the name now."""
        try:
            descriptor = os.open(f"{self.baseFilename}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError:
            self.handleError(record)
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._follow()
            super().emit(record)
        finally:
            os.close(descriptor)  # and with it the lock

    def _follow(self) -> None:
        """Let go of a file that another process has renamed; the next write opens the one in its place."""
        if self.stream is None:
            return
        try:
            there, here = os.stat(self.baseFilename), os.fstat(self.stream.fileno())
            same = (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
        except FileNotFoundError:
            same = False
        if not same:
            self.stream.close()
            self.stream = None  # as RotatingFileHandler does itself while it rotates

    def _open(self) -> TextIOWrapper[Any]:
        def opener(path: str, flags: int) -> int:
            return os.open(path, flags, 0o600)

        return open(self.baseFilename, self.mode, encoding="utf-8", opener=opener)  # type: ignore[return-value]  # a TextIOWrapper


class _OneLine(logging.Formatter):
    """One line an event: no trace (its text may hold data), no control characters of a peer."""

    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        record = logging.makeLogRecord({**record.__dict__, "exc_info": None, "exc_text": None, "stack_info": None})
        text = super().format(record) + (f" [{type(error).__name__}]" if error is not None else "")
        return "".join(char if char.isprintable() else " " for char in text)


def set_up(home: Home, settings: Log, *, level: str | None = None, echo: bool = False) -> None:
    """Send this process's log to the home, and to standard error too if `echo`.

    Args:
        home: Where `logs/node.log` lies.
        settings: Level, size and number of files.
        level: Overrides the level of the settings.
        echo: Whether people watch (`serve`).
    """
    close()
    chosen = (level or settings.level).upper()
    LOGGER.setLevel(chosen)
    LOGGER.propagate = False
    home.logs.mkdir(mode=0o700, exist_ok=True)
    handlers: list[logging.Handler] = [
        _OwnerOnly(home.logs / "node.log", maxBytes=settings.file_mib << 20, backupCount=settings.files, delay=True)
    ]
    if echo:
        handlers.append(logging.StreamHandler(sys.stderr))
    for handler in handlers:
        handler.setFormatter(_OneLine(_FORMAT))
        LOGGER.addHandler(handler)


def close() -> None:
    """Take this process's handlers down."""
    for handler in list(LOGGER.handlers):
        LOGGER.removeHandler(handler)
        handler.close()
