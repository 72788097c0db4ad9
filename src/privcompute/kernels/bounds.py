"""Two numbers of the kernels that the planner needs too; apart, so that planning imports no compiler."""

from typing import Final

MAX_PRIME_BITS: Final = 49
"""Largest width of a prime: the transform's argument that it needs no reduction between passes rests on it."""

ETA: Final = 21
"""Centred binomial noise: the difference of two sums of 21 bits, hence never beyond 21; variance 10.5."""
