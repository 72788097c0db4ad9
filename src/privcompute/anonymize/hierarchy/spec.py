"""The `hierarchy` of a policy's column: read, checked, and later built for the values that there are."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from privcompute.anonymize.hierarchy.dates import UNITS, dates
from privcompute.anonymize.hierarchy.divisions import DIGITS, divisions, read_names
from privcompute.anonymize.hierarchy.intervals import intervals
from privcompute.anonymize.hierarchy.order import ordering
from privcompute.anonymize.hierarchy.redaction import redaction
from privcompute.anonymize.hierarchy.table import from_file
from privcompute.anonymize.hierarchy.tree import Hierarchy, flat
from privcompute.anonymize.schema import Fields, fault
from privcompute.errors import UsageError

Build = Callable[[Sequence[Any], Sequence[str], str], Hierarchy]
"""From the distinct values (typed, and as texts) and a name for messages to a hierarchy."""


@dataclass(frozen=True)
class HierarchySpec:
    """A way of making a hierarchy.

    Attributes:
        type: its name in a policy.
        build: makes it.
    """

    type: str
    build: Build


def read_spec(about: Fields, folder: Path) -> HierarchySpec:
    """What a policy says of a hierarchy.

    Raises:
        UsageError: `policy`, naming the field.
    """
    kind = about.text("type", None, tuple(_READERS))
    build = _READERS[kind](about, folder)
    about.end()
    return HierarchySpec(kind, build)


def default_spec() -> HierarchySpec:
    """The value, or nothing."""
    return HierarchySpec("suppress", lambda values, texts, place: flat(texts, place))


def _table(about: Fields, folder: Path) -> Build:
    path = folder / about.text("file")
    separator, ordered = about.text("separator", ";"), about.flag("ordered", False)
    if len(separator) != 1:
        raise fault(about.name("separator"), "is not one character")
    return lambda values, texts, place: from_file(path, separator=separator, ordered=ordered)


def _interval(about: Fields, folder: Path) -> Build:
    widths = about.numbers("widths")
    bounds: tuple[float, float] | None = None
    if about.has("range"):
        given = about.numbers("range")
        if len(given) != 2 or given[0] > given[1]:
            raise fault(about.name("range"), "is not [lowest, highest]")
        bounds = (given[0], given[1])

    def build(values: Sequence[Any], texts: Sequence[str], place: str) -> Hierarchy:
        numbers = [_number(value, text, place) for value, text in zip(values, texts, strict=True)]
        made = intervals(numbers, widths, bounds, place)
        if all(isinstance(value, int) for value in values):
            return made
        # A text such as `39` stays the leaf's name.
        text = {str(number): text for number, text in zip(numbers, texts, strict=True)}
        leaves = tuple(text.get(leaf or "", leaf) for leaf in made.leaves)
        shares = None if made.shares is None else (dict.fromkeys(leaves, 1 / max(1, len(leaves))), *made.shares[1:])
        return Hierarchy((leaves, *made.levels[1:]), shares, place, ordered=True)

    return build


def _number(value: Any, text: str, place: str) -> int | float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not abs(number) < 1e300 or (number.is_integer() and text != str(int(number)) and not _decimal(value)):
        raise UsageError(
            f"{place}: the column holds texts that are no plain numbers",
            code="bad_hierarchy",
            remedy="correct them (007, ７, 7 years), or name them under nulls.markers",
        )
    return int(number) if number.is_integer() else number


def _decimal(value: Any) -> bool:
    return not isinstance(value, str)


def _date(about: Fields, folder: Path) -> Build:
    units = about.texts("units")
    if any(unit not in UNITS for unit in units):
        raise fault(about.name("units"), f"has one that is none of {', '.join(UNITS)}")

    def build(values: Sequence[Any], texts: Sequence[str], place: str) -> Hierarchy:
        try:
            days = [value if isinstance(value, dt.date) else dt.date.fromisoformat(value) for value in values]
        except (TypeError, ValueError):
            raise UsageError(
                f"{place}: the column holds texts that are no dates", code="bad_hierarchy", remedy="write 2026-02-28"
            ) from None
        made = dates(days, units, place)
        text = {day.isoformat(): text for day, text in zip(days, texts, strict=True)}
        return Hierarchy((tuple(text[leaf or ""] for leaf in made.leaves), *made.levels[1:]), None, place, ordered=True)

    return build


def _redaction(about: Fields, folder: Path) -> Build:
    keep = about.wholes("keep")
    return lambda values, texts, place: redaction(texts, keep, place)


def _order(about: Fields, folder: Path) -> Build:
    order, sizes = about.texts("order"), about.wholes("sizes")
    return lambda values, texts, place: ordering(order, sizes, place)


def _division(about: Fields, folder: Path) -> Build:
    levels = about.texts("levels")
    if any(level not in DIGITS for level in levels):
        raise fault(about.name("levels"), f"has one that is none of {', '.join(DIGITS)}")
    paths = [folder / name for name in about.texts("names", ())]

    def build(values: Sequence[Any], texts: Sequence[str], place: str) -> Hierarchy:
        names: dict[str, str] = {}
        for path in paths:
            names |= read_names(path)
        return divisions(texts, levels, names or None, place)

    return build


def _suppress(about: Fields, folder: Path) -> Build:
    return default_spec().build


_READERS: dict[str, Callable[[Fields, Path], Build]] = {
    "table": _table,
    "interval": _interval,
    "date": _date,
    "redaction": _redaction,
    "order": _order,
    "division": _division,
    "suppress": _suppress,
}
