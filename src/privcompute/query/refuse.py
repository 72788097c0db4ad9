"""Refusals that mark the offending text of the SQL with a caret line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from privcompute.errors import PrivcomputeError, UsageError

WIDTH = 100


@dataclass(frozen=True)
class Span:
    """Characters `start` to `end`, the latter not included, of the SQL text."""

    start: int
    end: int

    def hull(self, other: Span) -> Span:
        """The smallest span that holds both."""
        return Span(min(self.start, other.start), max(self.end, other.end))


def marked(sql: str, span: Span) -> str:
    """The line of the SQL that holds the span's start, and carets under the span.

    A long line is cut to a window around the span; tabs become blanks so that the carets stand where they belong.
    """
    start = min(max(span.start, 0), len(sql))
    line_start = sql.rfind("\n", 0, start) + 1
    line_end = sql.find("\n", start)
    line_end = len(sql) if line_end < 0 else line_end
    end = min(max(span.end, start + 1), max(line_end, start + 1))
    left = max(line_start, min(start - WIDTH // 4, line_end - WIDTH))
    right = min(line_end, left + WIDTH)
    text = "".join(c if c.isprintable() else " " for c in sql[left:right])
    carets = "^" * max(1, min(end, max(right, start + 1)) - start)
    return f"  {text}\n  {' ' * (start - left)}{carets}"


class Refuser:
    """Refuses pieces of one SQL text.

    Args:
        sql: The text that spans point into.
    """

    def __init__(self, sql: str) -> None:
        self.sql = sql

    def error(
        self, code: str, what: str, span: Span, remedy: str, kind: type[PrivcomputeError] = UsageError
    ) -> PrivcomputeError:
        """The error, for a caller that raises it itself."""
        return kind(f"{what}\n{marked(self.sql, span)}", code=code, remedy=remedy)

    def unsupported(self, what: str, span: Span, remedy: str) -> NoReturn:
        """Refuse what is outside the supported SQL."""
        raise self.error("unsupported_sql", what, span, remedy)

    def not_yet(self, what: str, span: Span, remedy: str) -> NoReturn:
        """Refuse what the language has and this version does not."""
        raise self.error("not_yet", f"{what} is not built yet", span, remedy)

    def wide(self, what: str, span: Span, remedy: str) -> NoReturn:
        """Refuse what could overflow."""
        raise self.error("too_wide", what, span, remedy)
