"""Average re-identification risk: the number of classes over the number of released rows.

Source: El Emam, Guide to the De-Identification of Personal Health Information (2013), the marketer's risk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from privcompute.anonymize.classes import Classes, Ints, Mask
from privcompute.anonymize.models.model import CLOSE, Figures, OfTable, in_range


@dataclass(frozen=True)
class AverageRisk(OfTable):
    """At most `threshold` classes a released row."""

    threshold: float

    kind: ClassVar[str] = "average-risk"

    def __post_init__(self) -> None:
        """Check the threshold."""
        in_range("the threshold of average-risk", self.threshold, 0, 1, open_low=True)

    def holds(self, classes: Classes) -> Mask:
        """Classes from the smallest size on with which the average is low enough."""
        return keep_from(classes, lambda size: len(size) / max(1, int(size.sum())) <= self.threshold + CLOSE)

    def measure(self, classes: Classes) -> Figures:
        """The average."""
        return {"average": len(classes) / classes.rows if len(classes) else None}


def keep_from(classes: Classes, good: Callable[[Ints], bool]) -> Mask:
    """(classes,): those of at least s rows, for the smallest s with which the table is good; none if no s is.

    Whole sizes are dropped together, so that the choice depends on nothing but sizes.
    """
    size = classes.size
    for smallest in np.unique(size):
        kept: Mask = size >= smallest
        if good(size[kept]):
            return kept
    return np.zeros(len(size), np.bool_)
