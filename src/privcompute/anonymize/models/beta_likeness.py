"""beta-likeness: no sensitive value is relatively much more frequent in a class than in the table.

For each value v of a class, (p_v - q_v) / q_v <= beta; enhanced: <= min(beta, -ln q_v), which binds for frequent
values.

Source: Cao and Karras, PVLDB 5 (2012), definitions 2 and 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from privcompute.anonymize.classes import Classes, Doubles, Histogram, Mask
from privcompute.anonymize.models.model import CLOSE, Figures, OfColumn, in_range


@dataclass(frozen=True)
class BetaLikeness(OfColumn):
    """A relative gain of at most `beta` for each value of each class."""

    beta: float
    enhanced: bool = False

    kind: ClassVar[str] = "beta-likeness"

    def __post_init__(self) -> None:
        """Check beta."""
        in_range("beta of beta-likeness", self.beta, 0, 1e12, open_low=True)

    def holds(self, classes: Classes) -> Mask:
        """Classes without a value that gains too much."""
        found = classes.histogram(self.column)
        limit = np.full(len(found.total), self.beta)
        if self.enhanced:
            with np.errstate(divide="ignore"):
                limit = np.minimum(limit, -np.log(found.everywhere))
        return found.highest(_gain(found) - limit[found.value]) <= CLOSE

    def measure(self, classes: Classes) -> Figures:
        """The smallest beta that holds; enhanced: None if a value gains more than -ln q, so that no beta does."""
        if not len(classes):
            return {"beta": None}
        found = classes.histogram(self.column)
        gain = _gain(found)
        if self.enhanced and bool((gain > -np.log(found.everywhere[found.value]) + CLOSE).any()):
            return {"beta": None}
        return {"beta": float(gain.max())}


def _gain(found: Histogram) -> Doubles:
    everywhere = found.everywhere[found.value]
    out: Doubles = (found.share - everywhere) / everywhere
    return out
