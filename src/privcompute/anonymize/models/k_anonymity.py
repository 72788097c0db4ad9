"""k-anonymity: each class has at least k rows.

Source: Samarati and Sweeney (1998); Sweeney, IJUFKS 10 (2002).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from privcompute.anonymize.classes import Classes, Mask
from privcompute.anonymize.models.model import Figures, OfClasses, in_range


@dataclass(frozen=True)
class KAnonymity(OfClasses):
    """At least `k` rows in each class."""

    k: int

    kind: ClassVar[str] = "k-anonymity"

    def __post_init__(self) -> None:
        """Check k."""
        in_range("k of k-anonymity", self.k, 1, 1 << 40)

    def holds(self, classes: Classes) -> Mask:
        """Classes of k rows or more."""
        return classes.size >= self.k

    def measure(self, classes: Classes) -> Figures:
        """The largest k that holds."""
        return {"k": int(classes.size.min()) if len(classes) else None}
