"""Distinct l-diversity: at least l different sensitive values in each class.

Source: Machanavajjhala, Kifer, Gehrke, Venkitasubramaniam, TKDD 1 (2007).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from privcompute.anonymize.classes import Classes, Mask
from privcompute.anonymize.models.k_anonymity import KAnonymity
from privcompute.anonymize.models.model import Figures, Model, OfColumn, in_range


@dataclass(frozen=True)
class DistinctLDiversity(OfColumn):
    """At least `l` different values in each class; NULL is a value."""

    l: int  # noqa: E741 - the parameter's name in the literature

    kind: ClassVar[str] = "distinct-l-diversity"

    def __post_init__(self) -> None:
        """Check l."""
        in_range("l of distinct l-diversity", self.l, 1, 1 << 40)

    @property
    def monotone(self) -> bool:
        """A union has every value of its parts."""
        return True

    @property
    def implied(self) -> tuple[Model, ...]:
        """As many rows as values, which is quicker to see."""
        return (KAnonymity(self.l),)

    def holds(self, classes: Classes) -> Mask:
        """Classes with l values or more."""
        return np.diff(classes.histogram(self.column).start) >= self.l

    def measure(self, classes: Classes) -> Figures:
        """The largest l that holds."""
        return {"l": int(np.diff(classes.histogram(self.column).start).min()) if len(classes) else None}
