"""k-map: the population holds at least k rows of each class.

Source: Sweeney, thesis, MIT (2001).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from privcompute.anonymize.classes import Classes, Mask
from privcompute.anonymize.models.model import Figures, OfClasses, in_range


@dataclass(frozen=True)
class KMap(OfClasses):
    """At least `k` rows of the population in each class."""

    k: int

    kind: ClassVar[str] = "k-map"

    def __post_init__(self) -> None:
        """Check k."""
        in_range("k of k-map", self.k, 1, 1 << 40)

    def holds(self, classes: Classes) -> Mask:
        """Classes with k rows of the population or more."""
        classes.require_population(self.kind)
        return classes.population >= self.k

    def measure(self, classes: Classes) -> Figures:
        """The largest k that holds."""
        classes.require_population(self.kind)
        return {"k": int(classes.population.min()) if len(classes) else None}
