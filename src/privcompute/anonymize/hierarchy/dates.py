"""Days and instants into months, quarters, years and longer spans that nest."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from itertools import pairwise

from privcompute.anonymize.hierarchy.tree import ROOT, Hierarchy, Label
from privcompute.errors import UsageError

Day = dt.date | dt.datetime


def _span(years: int) -> Callable[[Day], str]:
    def label(day: Day) -> str:
        start = day.year // years * years
        return f"{start:04d}-{start + years - 1:04d}"

    return label


UNITS: dict[str, Callable[[Day], str]] = {
    "day": lambda day: f"{day.year:04d}-{day.month:02d}-{day.day:02d}",
    "month": lambda day: f"{day.year:04d}-{day.month:02d}",
    "quarter": lambda day: f"{day.year:04d}-Q{(day.month + 2) // 3}",
    "half-year": lambda day: f"{day.year:04d}-H{(day.month + 5) // 6}",
    "year": lambda day: f"{day.year:04d}",
    "5-years": _span(5),
    "10-years": _span(10),
    "20-years": _span(20),
    "century": _span(100),
}
"""Each unit is a union of whole units that stand before it; weeks are not, so they are not here."""


def dates(values: Sequence[Day], units: Sequence[str], place: str = "the hierarchy") -> Hierarchy:
    """Level 0 the date as it is, then one level a unit, then nothing.

    A time stamp's day is that of its own clock: no zone is applied, so that a birthday does not move.

    Args:
        values: the distinct values there are.
        units: names of `UNITS`, from fine to coarse.
        place: for messages.

    Raises:
        UsageError: `bad_hierarchy` if a unit is unknown or they do not grow.
    """
    known = list(UNITS)
    if not units or any(unit not in UNITS for unit in units):
        raise UsageError(f"{place}: a unit of dates is one of {', '.join(known)}", code="bad_hierarchy")
    ranks = [known.index(unit) for unit in units]
    if any(b <= a for a, b in pairwise(ranks)):
        raise UsageError(f"{place}: the units do not grow", code="bad_hierarchy", remedy=f"order: {', '.join(known)}")
    order = sorted(values)
    levels: list[tuple[Label, ...]] = [tuple(value.isoformat() for value in order)]
    levels += [tuple(UNITS[unit](value) for value in order) for unit in units]
    levels.append((ROOT,) * len(order))
    return Hierarchy(tuple(levels), place=place, ordered=True)
