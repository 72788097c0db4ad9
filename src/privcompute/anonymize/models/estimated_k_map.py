"""k-map where only the population's size is known: how many rows of a sample make k rows of the population likely.

A class of k rows of the population has, in a sample of the fraction s, a Poisson number of rows of mean s k. A class
that shows more of them than all but the part `significance` of such classes do is taken for one of more than k rows.
So the condition is a smallest class size, never above k itself:

- zero-truncated-poisson: given that a class of the sample has a row at all (d4 of the source), one row more than c,
  where P(1 <= X <= c | X >= 1) >= 1 - significance;
- poisson: without that (d3; Pannekoek, Statistica Neerlandica 53, 1999), two rows more than the least c with
  P(X <= c) >= 1 - significance: one more than the test needs, which is how ARX counts.

It is an estimate from the size of the population alone: whoever has a table of the population takes `k-map`.

Source: El Emam and Dankar, J. Am. Med. Inform. Assoc. 15:627 (2008).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal, get_args

from privcompute.anonymize.classes import Classes, Mask
from privcompute.anonymize.models.model import Figures, OfClasses, in_range
from privcompute.errors import UsageError

CellSize = Literal["zero-truncated-poisson", "poisson"]

_WIDE = 40
"""Standard deviations around a Poisson mean beyond which no double sees a difference."""


@dataclass(frozen=True)
class EstimatedKMap(OfClasses):
    """Classes so large that the `population` rows hold, most likely, `k` of each.

    Attributes:
        k: rows of the population.
        population: its rows; the table is a sample of it.
        significance: the part of the classes of k rows that may be taken for larger ones.
        estimator: the distribution of the rows in the sample.
    """

    k: int
    population: int
    significance: float = 0.01
    estimator: CellSize = "zero-truncated-poisson"

    kind: ClassVar[str] = "estimated-k-map"

    def __post_init__(self) -> None:
        """Check the parameters."""
        in_range("k of estimated-k-map", self.k, 1, 1 << 24)
        in_range("the population of estimated-k-map", self.population, 1, 1 << 40)
        in_range("the significance of estimated-k-map", self.significance, 1e-6, 0.5)
        if self.estimator not in get_args(CellSize):
            raise UsageError(
                f"the estimator of estimated-k-map is one of {', '.join(get_args(CellSize))}", code="bad_parameter"
            )

    def holds(self, classes: Classes) -> Mask:
        """Classes with so many rows as the estimate asks for."""
        return classes.size >= self.rows_for(classes.whole)

    def measure(self, classes: Classes) -> Figures:
        """The smallest class, and how many rows the estimate asks for."""
        return {
            "rows": int(classes.size.min()) if len(classes) else None,
            "rows_asked": self.rows_for(classes.whole),
        }

    def rows_for(self, sample: int) -> int:
        """The rows that a class needs in a sample of so many rows."""
        if sample < 1:
            return 1
        return min(
            smallest_class(self.k, min(1.0, sample / self.population), self.significance, self.estimator), sample
        )


@lru_cache(maxsize=64)
def smallest_class(k: int, fraction: float, significance: float, estimator: CellSize) -> int:
    """The smallest class of a sample that is taken for more than k rows of the population; k at most.

    Args:
        k: rows of the population.
        fraction: the sample's part of the population, in (0, 1].
        significance: the part of the classes of k rows that may be taken for larger ones.
        estimator: the distribution of the rows in the sample.
    """
    mean = k * fraction
    truncated = estimator == "zero-truncated-poisson"
    # What lies further below the mean adds nothing that a double can hold.
    start = max(1 if truncated else 0, math.floor(mean - _WIDE * math.sqrt(mean)))
    there = -math.expm1(-mean) if truncated else 1.0
    reached = 0.0
    for rows in range(start, min(k, math.ceil(mean + _WIDE * math.sqrt(mean) + _WIDE))):
        reached += math.exp(rows * math.log(mean) - mean - math.lgamma(rows + 1)) / there
        if reached >= 1 - significance:
            return min(k, rows + (1 if truncated else 2))
    return k
