"""Administrative divisions of China: street, county, city, province, by the digits of their codes (GB/T 2260).

A code's first two digits are the province, four the city, six the county, nine the street. With a table of names the
column may hold names instead, and labels are names.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from privcompute.anonymize.hierarchy.tree import ROOT, Hierarchy, Label
from privcompute.anonymize.identifiers.divisions import PROVINCES
from privcompute.errors import UsageError

DIGITS = {"street": 9, "county": 6, "city": 4, "province": 2}


def divisions(
    values: Sequence[str],
    levels: Sequence[str],
    names: Mapping[str, str] | None = None,
    place: str = "the hierarchy",
) -> Hierarchy:
    """Level 0 the code or name, then one level a kind of division, then nothing.

    Args:
        values: the distinct values: codes of at least as many digits as the first level needs, such as resident ids'
            first six, or, if `names` is given, names.
        levels: of `DIGITS`, from small to large.
        names: code to name; None: labels are codes, provinces by name.
        place: for messages.

    Raises:
        UsageError: `bad_hierarchy`; it says how many values are no code and no known name.
    """
    widths = [DIGITS.get(level, 0) for level in levels]
    if not widths or not all(widths) or any(b >= a for a, b in pairwise(widths)):
        raise UsageError(
            f"{place}: levels of divisions are among {', '.join(DIGITS)}, from small to large", code="bad_hierarchy"
        )
    known = {**PROVINCES, **(names or {})}
    codes = _codes_by_name(names or {})
    order = sorted(values)
    found = [value if value.isascii() and value.isdecimal() else codes.get(value, "") for value in order]
    wrong = sum(len(code) < widths[-1] for code in found)
    if wrong:
        raise UsageError(
            f"{place}: {wrong} distinct values are neither a code of a division nor a name that stands for one",
            code="bad_hierarchy",
            remedy="give a table of names (`names`), and correct names that several divisions share",
        )
    rows: list[tuple[Label, ...]] = [tuple(order)]
    for width in widths:
        # A code that is shorter than the level is already there: a city in a column of counties.
        rows.append(tuple(known.get(code[:width], code[:width]) for code in found))
    rows.append((ROOT,) * len(order))
    return Hierarchy(tuple(rows), place=place)


def _codes_by_name(names: Mapping[str, str]) -> dict[str, str]:
    """Names that one division has, to its code; a name that several have stands for none."""
    found: dict[str, str] = {}
    for code, name in names.items():
        found[name] = "" if name in found else code
    return found


def read_names(path: Path) -> dict[str, str]:
    """A table `code,name,…` with a header line, in UTF-8.

    Raises:
        UsageError: `no_such_file`, `bad_hierarchy` naming the line.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {path}", code="no_such_file", remedy="check the path in the policy")
    found: dict[str, str] = {}
    for line, row in enumerate(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"))), 1):
        if line > 1 and row:
            if len(row) < 2 or not row[0].isdecimal():
                raise UsageError(f"{path}: line {line} is not a code and a name", code="bad_hierarchy")
            found[row[0]] = row[1]
    return found
