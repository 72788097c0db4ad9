"""A hierarchy of the caller's own making: one function a level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from privcompute.anonymize.hierarchy.tree import ROOT, Hierarchy, Label


def functions(
    values: Sequence[Any],
    steps: Sequence[Callable[[str], str]],
    place: str = "the hierarchy",
    *,
    text: Callable[[Any], str] = str,
) -> Hierarchy:
    """Level 0 the value's text; level l is the l-th function of the label at level l-1, so that levels always nest.

    Args:
        values: the distinct values there are.
        steps: pure functions from label to label.
        place: for messages.
        text: how a value is written.
    """
    order = sorted(text(value) for value in values)
    levels: list[tuple[Label, ...]] = [tuple(order)]
    for step in steps:
        levels.append(tuple(step(label) if label is not None else None for label in levels[-1]))
    if len(set(levels[-1])) > 1:
        levels.append((ROOT,) * len(order))
    return Hierarchy(tuple(levels), place=place)
