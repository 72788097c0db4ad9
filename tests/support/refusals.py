"""What a refusal of a query says: its code, the text it marks, a remedy."""

from __future__ import annotations

from privcompute.errors import PrivcomputeError, UsageError


def marked_text(error: PrivcomputeError) -> str:
    """The text above the carets."""
    _, line, carets = error.message.split("\n")
    start = carets.index("^")
    return line[start : start + carets.count("^")]


def check_marked(error: PrivcomputeError, code: str, text: str) -> None:
    """A mistake of the asker, of that code; exactly that text is marked, and there is a remedy."""
    assert isinstance(error, UsageError)
    assert error.code == code, error
    assert marked_text(error) == text
    assert error.remedy
