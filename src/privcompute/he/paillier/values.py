"""Decrypted values: exact integers in steps, shown as what one likes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np


@dataclass(frozen=True, repr=False)
class Values:
    """Values as integer * step, without any rounding; their repr shows none of them.

    Attributes:
        integers: In steps.
        step: The encoding's step.
    """

    integers: tuple[int, ...]
    step: Fraction

    def __repr__(self) -> str:
        return f"Values({len(self.integers)} of them, step {self.step})"

    def __len__(self) -> int:
        return len(self.integers)

    def __iter__(self) -> Iterator[Fraction]:
        return (integer * self.step for integer in self.integers)

    def sum(self) -> Fraction:
        """The exact sum; of a `Batch.total` that is the sum of the column."""
        return sum(self.integers) * self.step

    def floats(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The nearest doubles."""
        up, down = self.step.numerator, self.step.denominator
        return np.array([up * integer / down for integer in self.integers], np.float64)
