"""delta-disclosure privacy: the frequency of each value of a class differs from the table's by less than a factor.

|log(p_v / q_v)| < delta for each value v that the class has. The base of the logarithm is part of the model: published
definitions and ARX take 2, some libraries e; both figures are measured, and the policy has to say which one it means.

Source: Brickell and Shmatikov, KDD 2008.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from privcompute.anonymize.classes import Classes, Doubles, Mask
from privcompute.anonymize.models.model import Figures, OfColumn, in_range
from privcompute.errors import UsageError

Base = Literal["2", "e"]


@dataclass(frozen=True)
class DeltaDisclosure(OfColumn):
    """|log p/q| < `delta` for each value of each class, to the base `log`."""

    delta: float
    log: Base

    kind: ClassVar[str] = "delta-disclosure"

    def __post_init__(self) -> None:
        """Check delta and the base."""
        in_range("delta of delta-disclosure", self.delta, 0, 1e6, open_low=True)
        if self.log not in ("2", "e"):
            raise UsageError('delta-disclosure needs log = "2" or log = "e"', code="bad_parameter")

    def holds(self, classes: Classes) -> Mask:
        """Classes near the table in every value that they have."""
        scale = math.log(2) if self.log == "2" else 1.0
        return self._largest(classes) < self.delta * scale

    def measure(self, classes: Classes) -> Figures:
        """The number that delta must exceed, to both bases."""
        if not len(classes):
            return {"delta_ln": None, "delta_log2": None}
        largest = float(self._largest(classes).max())
        return {"delta_ln": largest, "delta_log2": largest / math.log(2)}

    def _largest(self, classes: Classes) -> Doubles:
        found = classes.histogram(self.column)
        return found.highest(np.abs(np.log(found.share / found.everywhere[found.value])))
