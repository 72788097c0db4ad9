"""Recursive (c, l)-diversity: the most frequent value of a class is not too frequent beside its rare ones.

With the counts of a class in descending order r1 >= r2 >= …, r1 < c * (r_l + r_(l+1) + … + r_m). A class with fewer
than l values fails for every c.

Source: Machanavajjhala, Kifer, Gehrke, Venkitasubramaniam, TKDD 1 (2007), definition 4.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from privcompute.anonymize.classes import Classes, Doubles, Mask
from privcompute.anonymize.kernels.closeness import descending_tail
from privcompute.anonymize.models.distinct_l import DistinctLDiversity
from privcompute.anonymize.models.model import Figures, Model, OfColumn, in_range


@dataclass(frozen=True)
class RecursiveCLDiversity(OfColumn):
    """r1 < `c` * (r_`l` + … + r_m) in each class."""

    c: float
    l: int  # noqa: E741 - the parameter's name in the literature

    kind: ClassVar[str] = "recursive-cl-diversity"

    def __post_init__(self) -> None:
        """Check both."""
        in_range("c of recursive (c, l)-diversity", self.c, 0, 1e9, open_low=True)
        in_range("l of recursive (c, l)-diversity", self.l, 1, 1 << 40)

    @property
    def implied(self) -> tuple[Model, ...]:
        """Fewer than l values fail."""
        return (DistinctLDiversity(self.column, self.l),)

    def holds(self, classes: Classes) -> Mask:
        """Classes whose first count is below c times the tail."""
        return self._bound(classes) < self.c

    def measure(self, classes: Classes) -> Figures:
        """The number that c must exceed at this l; None: no c does."""
        bound = float(self._bound(classes).max()) if len(classes) else np.inf
        return {"c_infimum": bound if np.isfinite(bound) else None, "l": self.l}

    def _bound(self, classes: Classes) -> Doubles:
        """(classes,), r1 / (r_l + … + r_m); infinite with fewer than l values."""
        found = classes.histogram(self.column)
        first, tail = np.empty(len(classes), np.int64), np.empty(len(classes), np.int64)
        descending_tail(found.start, found.count, self.l, first, tail)
        with np.errstate(divide="ignore"):
            out: Doubles = first / tail
        return out
