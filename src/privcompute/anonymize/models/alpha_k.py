"""(alpha, k)-anonymity: at least k rows, and no sensitive value in more than the part alpha of a class.

Source: Wong, Li, Fu, Wang, KDD 2006 (the general model: every value of the column is protected).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from privcompute.anonymize.classes import Classes, Doubles, Mask
from privcompute.anonymize.models.k_anonymity import KAnonymity
from privcompute.anonymize.models.model import CLOSE, Figures, Model, OfColumn, in_range


@dataclass(frozen=True)
class AlphaKAnonymity(OfColumn):
    """At least `k` rows in each class, at most the part `alpha` of them with one value."""

    alpha: float
    k: int

    kind: ClassVar[str] = "alpha-k-anonymity"

    def __post_init__(self) -> None:
        """Check both."""
        in_range("alpha", self.alpha, 0, 1, open_low=True)
        in_range("k of (alpha, k)-anonymity", self.k, 1, 1 << 40)

    @property
    def implied(self) -> tuple[Model, ...]:
        """k rows; and as many as it takes that one is no more than the part alpha."""
        return (KAnonymity(max(self.k, math.ceil(1 / self.alpha - CLOSE))),)

    def holds(self, classes: Classes) -> Mask:
        """Classes that are large and mixed enough."""
        return (classes.size >= self.k) & (self._largest(classes) <= self.alpha + CLOSE)

    def measure(self, classes: Classes) -> Figures:
        """The smallest alpha and the largest k that hold."""
        if not len(classes):
            return {"alpha": None, "k": None}
        return {"alpha": float(self._largest(classes).max()), "k": int(classes.size.min())}

    def _largest(self, classes: Classes) -> Doubles:
        found = classes.histogram(self.column)
        return found.highest(found.share)
