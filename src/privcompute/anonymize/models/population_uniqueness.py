"""Population uniqueness: the estimated part of the population that is alone in its class.

The estimator is one of `uniqueness.py`; by the rule of Dankar et al. unless the policy names one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from privcompute.anonymize.classes import Classes, Ints, Mask
from privcompute.anonymize.models.average_risk import keep_from
from privcompute.anonymize.models.model import CLOSE, Figures, OfTable, in_range
from privcompute.anonymize.uniqueness import Estimator, population_uniqueness


@dataclass(frozen=True)
class PopulationUniqueness(OfTable):
    """At most the part `threshold` of a population of `population` rows is estimated to be unique."""

    threshold: float
    population: int
    estimator: Estimator = "dankar"

    kind: ClassVar[str] = "population-uniqueness"

    def __post_init__(self) -> None:
        """Check the parameters."""
        in_range("the threshold of population-uniqueness", self.threshold, 0, 1)
        in_range("the population of population-uniqueness", self.population, 1, 1 << 40)

    def holds(self, classes: Classes) -> Mask:
        """Classes from the smallest size on with which the estimate is low enough."""
        return keep_from(classes, lambda size: self._estimate(size) <= self.threshold + CLOSE)

    def measure(self, classes: Classes) -> Figures:
        """The estimate."""
        return {"uniqueness": self._estimate(classes.size) if len(classes) else None}

    def _estimate(self, size: Ints) -> float:
        return population_uniqueness(size, max(self.population, int(size.sum())), self.estimator)
