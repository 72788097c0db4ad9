"""A hierarchy written out: one line a value, one column a level, as the reference tools exchange it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from privcompute.anonymize.hierarchy.tree import Hierarchy
from privcompute.errors import UsageError


def from_rows(rows: Sequence[Sequence[str]], place: str = "the hierarchy", *, ordered: bool = False) -> Hierarchy:
    """A hierarchy from its lines, the value first.

    Raises:
        UsageError: `bad_hierarchy`, naming the line.
    """
    if not rows:
        raise UsageError(f"{place} has no line", code="bad_hierarchy", remedy="write one line for each value")
    width = len(rows[0])
    for line, row in enumerate(rows, 1):
        if len(row) != width or not width:
            raise UsageError(
                f"{place}: line {line} has {len(row)} levels where the first has {width}",
                code="bad_hierarchy",
                remedy="give every line the same number of levels",
            )
    return Hierarchy(tuple(zip(*rows, strict=True)), place=place, ordered=ordered)


def from_file(path: Path, *, separator: str = ";", ordered: bool = False) -> Hierarchy:
    """A hierarchy from a CSV file without a header, in UTF-8.

    Raises:
        UsageError: `no_such_file`, `unreadable`, `bad_hierarchy` (naming the line).
    """
    if not path.is_file():
        raise UsageError(f"there is no file {path}", code="no_such_file", remedy="check the path in the policy")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UsageError(f"{path}: line {line} is not UTF-8", code="unreadable", remedy="store it in UTF-8") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", code="unreadable") from None
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=separator) if row]
    return from_rows(rows, str(path), ordered=ordered)
