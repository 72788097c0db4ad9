"""Results and errors, for people and as JSON. Standard output holds the result alone."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterable, Sequence
from typing import Any

import click

from privcompute.errors import PrivcomputeError


def print_json(body: Any) -> None:
    """One JSON object on standard output, on one line; NaN never."""
    text = json.dumps(body, allow_nan=False, ensure_ascii=False)
    # Half a character, which a peer may have sent, is no UTF-8; escaped by its number it is the same JSON.
    click.echo(text.encode("utf-8", "backslashreplace").decode("utf-8"))


def print_error(error: PrivcomputeError, as_json: bool) -> None:
    """An error: on standard error for people, as an object on standard output for programs."""
    if as_json:
        print_json({"error": error.to_json()})
    else:
        click.echo(f"error: {error}", err=True)


def internal_error(error: BaseException) -> PrivcomputeError:
    """A fault of ours, told without its text, which may hold data."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "privcompute" in frame.filename] or frames
    where = f"{os.path.basename(ours[-1].filename)}:{ours[-1].lineno}" if ours else "unknown place"
    return PrivcomputeError(
        f"a fault in privcompute: {type(error).__name__} at {where}",
        code="internal",
        remedy="report it with this line; set PRIVCOMPUTE_DEBUG=1 for the full trace, which may show data",
    )


def note(text: str) -> None:
    """A line for people beside the result, on standard error."""
    click.echo(text, err=True)


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A plain table; numbers to the right, NULL for None."""
    body = [[_cell(value) for value in row] for row in rows]
    values = [list(row) for row in rows] if isinstance(rows, list | tuple) else []
    widths = [max(map(_width, column)) for column in zip(header, *body, strict=True)]
    right = [
        bool(values) and all(isinstance(row[i], int | float) or row[i] is None or _numeric(row[i]) for row in values)
        for i in range(len(header))
    ]
    lines = [_line(header, widths, right), "  ".join("-" * width for width in widths)]
    lines += [_line(row, widths, right) for row in body]
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = []
    for cell, width, to_right in zip(cells, widths, right, strict=True):
        space = " " * (width - _width(cell))
        padded.append(space + cell if to_right else cell + space)
    return "  ".join(padded).rstrip()


def _cell(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return f"{value:.12g}"
    return printable(str(value))


def printable(text: str) -> str:
    """Text that may come from a peer, without control characters for this terminal."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _numeric(value: Any) -> bool:
    return isinstance(value, str) and value.lstrip("-").replace(".", "", 1).isdigit()


def _width(text: str) -> int:
    """Columns on a terminal; wide East Asian characters take two."""
    import unicodedata

    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def interactive() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()
