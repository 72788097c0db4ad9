"""Numbers into intervals whose widths grow: each border of a level is a border of the level below."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from privcompute.anonymize.hierarchy.tree import ROOT, Hierarchy, Label
from privcompute.errors import UsageError

MAX_LEAVES = 100_000
"""Whole numbers of a declared range are all leaves up to this many, used or not; beyond, only those in the data."""

Number = int | float


def intervals(
    values: Sequence[Number],
    widths: Sequence[Number],
    bounds: tuple[Number, Number] | None = None,
    place: str = "the hierarchy",
) -> Hierarchy:
    """Level 0 the number, then one level a width, then nothing.

    Whole numbers become `20-24` (both ends belong to it), others `[2.5, 5.0)`. Intervals start at the lower bound. A
    label's share is that of the numbers in it if all are whole, else its width's share of the range.

    Args:
        values: the distinct values there are, finite.
        widths: ascending, each a multiple of the one before.
        bounds: the public range, both ends inside; None: that of the values, which the intervals then tell.
        place: for messages.

    Raises:
        UsageError: `bad_hierarchy` if widths do not nest; `outside_range` if values lie outside.
    """
    steps = [Fraction(str(width)) for width in widths]
    if not steps or steps[0] <= 0 or any(b <= a or (b / a).denominator != 1 for a, b in pairwise(steps)):
        raise UsageError(
            f"{place}: the widths are not positive multiples of each other, ascending",
            code="bad_hierarchy",
            remedy="for example widths = [5, 10, 20]",
        )
    exact = [Fraction(value) if isinstance(value, int) else Fraction(repr(value)) for value in values]
    whole = all(isinstance(value, int) for value in values) and all(s.denominator == 1 for s in steps)
    if bounds is None:
        low, high = (min(exact), max(exact)) if exact else (Fraction(0), Fraction(0))
    else:
        low, high = Fraction(str(bounds[0])), Fraction(str(bounds[1]))
        whole = whole and low.denominator == high.denominator == 1
    outside = sum(not low <= value <= high for value in exact)
    if outside:
        raise UsageError(
            f"{place}: {outside} distinct values lie outside of the declared range",
            code="outside_range",
            remedy="widen `range`, or cap the column first (top and bottom coding)",
        )
    if whole and high - low < MAX_LEAVES and bounds is not None:
        exact = [Fraction(number) for number in range(int(low), int(high) + 1)]
        leaves: list[Label] = [str(number) for number in exact]
    else:
        order = sorted(range(len(values)), key=lambda i: exact[i])
        leaves = [str(values[i]) for i in order]
        exact = [exact[i] for i in order]
    levels: list[tuple[Label, ...]] = [tuple(leaves)]
    shares: list[dict[Label, float]] = [dict.fromkeys(leaves, 1 / max(1, len(leaves)))]
    span = high - low + (1 if whole else 0)
    for step in steps:
        starts = [low + (value - low) // step * step for value in exact]
        names = [_name(start, step, high, whole) for start in starts]
        levels.append(tuple(names))
        covered = (
            (name, (min(start + step, low + span) - start) / span if span else Fraction(1))
            for name, start in zip(names, starts, strict=True)
        )
        # The last real number of a range may stand alone in an interval of no width.
        shares.append({name: max(float(part), 1 / max(1, len(leaves))) for name, part in covered})
    if len(set(levels[-1])) > 1:
        levels.append((ROOT,) * len(leaves))
        shares.append({ROOT: 1.0})
    return Hierarchy(tuple(levels), tuple(shares), place, ordered=True)


def _name(start: Fraction, step: Fraction, high: Fraction, whole: bool) -> str:
    if whole:
        end = min(start + step - 1, high)
        return str(start) if end == start else f"{start}-{end}"
    return f"[{_decimal(start)}, {_decimal(start + step)})"


def _decimal(number: Fraction) -> str:
    return str(number) if number.denominator == 1 else repr(float(number))
