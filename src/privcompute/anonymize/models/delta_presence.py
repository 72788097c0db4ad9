"""delta-presence: from a class nobody can tell too surely that a person of the population is, or is not, in the table.

Source: Nergiz, Atzori, Clifton, SIGMOD 2007.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from privcompute.anonymize.classes import Classes, Doubles, Mask
from privcompute.anonymize.models.model import CLOSE, Figures, OfClasses, in_range


@dataclass(frozen=True)
class DeltaPresence(OfClasses):
    """rows / rows of the population within [`low`, `high`] in each class."""

    low: float
    high: float

    kind: ClassVar[str] = "delta-presence"

    def __post_init__(self) -> None:
        """Check the range."""
        in_range("the lower bound of delta-presence", self.low, 0, 1)
        in_range("the upper bound of delta-presence", self.high, self.low, 1)

    @property
    def monotone(self) -> bool:
        """A good class may merge with a bad one."""
        return False

    def forbids(self, classes: Classes) -> bool:
        """Of a class without a row, everybody knows who is not in the table: above 0, no suppression mends that."""
        return self.low > CLOSE and len(classes.outside) > 0

    def holds(self, classes: Classes) -> Mask:
        """Classes within the range. Nothing can be suppressed of a class without a row, so none is asked for."""
        share = self._share(classes)
        return (share >= self.low - CLOSE) & (share <= self.high + CLOSE)

    def measure(self, classes: Classes) -> Figures:
        """The smallest and the largest share, 0 where the population has a class that the table lacks."""
        share = self._share(classes)
        if not len(share):
            return {"low": None, "high": None}
        return {"low": 0.0 if len(classes.outside) else float(share.min()), "high": float(share.max())}

    def _share(self, classes: Classes) -> Doubles:
        classes.require_population(self.kind)
        out: Doubles = classes.size / classes.population
        return out
