"""Entropy l-diversity: the entropy of the sensitive values of each class is at least ln l.

l is a real number: a table reaches exp of the smallest entropy, which is not cut to an integer.

Source: Machanavajjhala, Kifer, Gehrke, Venkitasubramaniam, TKDD 1 (2007), definition 4.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from privcompute.anonymize.classes import Classes, Doubles, Mask
from privcompute.anonymize.models.distinct_l import DistinctLDiversity
from privcompute.anonymize.models.model import CLOSE, Figures, Model, OfColumn, in_range


@dataclass(frozen=True)
class EntropyLDiversity(OfColumn):
    """An entropy of at least ln `l` in each class."""

    l: float  # noqa: E741 - the parameter's name in the literature

    kind: ClassVar[str] = "entropy-l-diversity"

    def __post_init__(self) -> None:
        """Check l."""
        in_range("l of entropy l-diversity", self.l, 1, 1e9)

    @property
    def implied(self) -> tuple[Model, ...]:
        """The entropy of n values is at most ln n."""
        return (DistinctLDiversity(self.column, math.ceil(self.l - CLOSE)),)

    def holds(self, classes: Classes) -> Mask:
        """Classes of enough entropy."""
        return self._entropy(classes) >= math.log(self.l) - CLOSE

    def measure(self, classes: Classes) -> Figures:
        """The largest l that holds, a real number."""
        return {"l": float(np.exp(self._entropy(classes).min())) if len(classes) else None}

    def _entropy(self, classes: Classes) -> Doubles:
        found = classes.histogram(self.column)
        out: Doubles = np.maximum(-found.sums(found.share * np.log(found.share)), 0.0)
        return out
