"""Progress of both parties on standard error: a live line on a terminal, else one line a stage."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TextIO

from privcompute.cli.output import printable
from privcompute.session import Progress

_EVERY = 0.1  # seconds between two redraws
_BAR = 20


class ProgressLines:
    """Shows `Progress` news while a query runs; leaves a terminal's line clean."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._state: dict[str, Progress] = {}
        self._told: set[tuple[str, str, bool]] = set()
        self._drawn = 0.0
        self._length = 0

    def __enter__(self) -> ProgressLines:
        """Start."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wipe the live line."""
        if self._length:
            self._stream.write("\r" + " " * self._length + "\r")
            self._stream.flush()

    def __call__(self, news: Progress) -> None:
        """Take one piece of news; returns at once."""
        self._state[news.party] = news
        if self._live:
            self._draw(news.done >= news.total)
        else:
            self._tell(news)

    def _draw(self, at_once: bool) -> None:
        now = time.monotonic()
        if not at_once and now - self._drawn < _EVERY:
            return
        self._drawn = now
        text = "   ".join(_bar(news) for _, news in sorted(self._state.items()))
        self._stream.write("\r" + text.ljust(self._length))
        self._stream.flush()
        self._length = len(text)

    def _tell(self, news: Progress) -> None:
        done = news.done >= news.total
        mark = (news.party, news.stage, done)
        if mark not in self._told:
            self._told.add(mark)
            share = f"{news.done}/{news.total}"
            self._stream.write(f"{printable(news.party)}: {printable(news.stage)} {share}\n")
            self._stream.flush()


def _bar(news: Progress) -> str:
    share = min(1.0, news.done / news.total) if news.total else 1.0
    full = round(share * _BAR)
    return f"{printable(news.party)} {printable(news.stage)} [{'#' * full}{'.' * (_BAR - full)}] {share:4.0%}"
