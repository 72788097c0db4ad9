"""Texts such as postal codes cut to a prefix, shorter from level to level."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from privcompute.anonymize.hierarchy.tree import ROOT, Hierarchy, Label
from privcompute.errors import UsageError


def redaction(values: Sequence[str], keep: Sequence[int], place: str = "the hierarchy") -> Hierarchy:
    """Level 0 the text, then its first `keep` characters and `*` a level, then nothing.

    How much was cut does not show: `518000` kept to three is `518*`, whatever followed.

    Args:
        values: the distinct values there are.
        keep: characters kept, descending, at least 1.
        place: for messages.

    Raises:
        UsageError: `bad_hierarchy`.
    """
    if not keep or keep[-1] < 1 or any(b >= a for a, b in pairwise(keep)):
        raise UsageError(
            f"{place}: the kept lengths do not descend to at least 1", code="bad_hierarchy", remedy="keep = [4, 3, 2]"
        )
    order = sorted(values)
    levels: list[tuple[Label, ...]] = [tuple(order)]
    levels += [tuple(value[:length] + ROOT for value in order) for length in keep]
    levels.append((ROOT,) * len(order))
    return Hierarchy(tuple(levels), place=place)
