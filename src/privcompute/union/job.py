"""What a sum over many holders is about: its shape, who takes part, what one holder brings and what comes out.

Words: a *holder* brings a contribution; the *collector* adds and may be a holder too; a *unit* is a run of values
that are shown or suppressed together. Both schemes of the union, masks and Paillier, speak these types.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Final, Protocol, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from privcompute.errors import UsageError

Words: TypeAlias = npt.NDArray[np.uint64]

RINGS: Final = (64, 128, 192, 256)
"""Widths, in bits, of the ring the values are added in."""
MOST_BYTES: Final = 1 << 30
"""Bytes of one holder's counts and values together."""
MOST_HOLDERS: Final = 500
ID_BYTES: Final = 32
COUNT_LIMIT: Final = 1 << 63
"""Counts are added modulo 2**64; one holder's stay below this."""


@dataclass(frozen=True)
class SumShape:
    """How many numbers are added, and how wide they are; public.

    Args:
        counts: Numbers that open first, added modulo 2**64; from them the collector decides what is shown.
        units: Values in each unit; the values of unit 0 come first.
        bits: Width of the ring of the values: 64, 128, 192 or 256. Signed sums must stay below 2**(bits - 1) in size.
    """

    counts: int
    units: tuple[int, ...]
    bits: int

    def __post_init__(self) -> None:
        if self.bits not in RINGS or self.counts < 0 or not self.units or min(self.units) < 1:
            raise UsageError(
                "a sum has counts, at least one unit of at least one value, and a ring of 64, 128, 192 or 256 bits",
                code="bad_shape",
            )
        if 8 * (self.counts + self.values * self.limbs) > MOST_BYTES:
            raise UsageError(
                f"one holder's part of a union is at most {MOST_BYTES >> 20} MiB",
                code="too_wide",
                remedy="ask for fewer groups or fewer statistics at once",
            )

    @cached_property
    def values(self) -> int:
        """Number of values of all units together."""
        return sum(self.units)

    @cached_property
    def sizes(self) -> npt.NDArray[np.int64]:
        """`units` as an array."""
        return np.array(self.units, np.int64)

    @property
    def limbs(self) -> int:
        """64-bit words of one value."""
        return self.bits // 64

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Index of each unit's first value, and behind the last unit the number of values."""
        return (0, *accumulate(self.units))

    def checked(self, shown: Sequence[int]) -> tuple[int, ...]:
        """Units as they are announced, ascending; UsageError (``bad_units``) if one is none or stands there twice."""
        units = tuple(sorted(shown))
        if units and (units[0] < 0 or units[-1] >= len(self.units) or len(set(units)) < len(units)):
            raise UsageError("the units to show are none of the sum's", code="bad_units")
        return units

    @property
    def bytes(self) -> int:
        """Bytes of one contribution."""
        return 8 * (self.counts + self.values * self.limbs)


@dataclass(frozen=True)
class Roster:
    """Who may take part, and how few may finish.

    Args:
        holders: Names, ascending, distinct; at least two.
        quorum: The fewest holders whose sum may open; 2 … number of holders.
    """

    holders: tuple[str, ...]
    quorum: int

    def __post_init__(self) -> None:
        if not 2 <= len(self.holders) <= MOST_HOLDERS or list(self.holders) != sorted(set(self.holders)):
            raise UsageError(f"a union has 2 to {MOST_HOLDERS} distinct holders, in order", code="bad_roster")
        if not 2 <= self.quorum <= len(self.holders):
            raise UsageError("the quorum lies between 2 and the number of holders", code="bad_roster")

    @staticmethod
    def threshold(n: int) -> int:
        """How many of ``n`` holders must act together to open anything: floor(2n/3) + 1."""
        return 2 * n // 3 + 1

    def least(self, n: int) -> int:
        """The fewest survivors that may finish when ``n`` began."""
        return max(self.quorum, self.threshold(n))


@dataclass(frozen=True)
class SumJob:
    """One attempt at one sum.

    Args:
        id: 32 bytes, a digest of all that was agreed and of both sides' nonces; unique to this attempt.
        roster: Who may take part.
        shape: What is added.
        patience: Seconds that each stage waits for its slowest holder.
    """

    id: bytes = field(repr=False)
    roster: Roster
    shape: SumShape
    patience: float

    def __post_init__(self) -> None:
        if len(self.id) != ID_BYTES or not self.patience > 0:
            raise UsageError("a job has an id of 32 bytes and a positive patience", code="bad_job")


@dataclass(frozen=True, eq=False, repr=False)
class Contribution:
    """What one holder adds; secret.

    Args:
        counts: (counts,) uint64.
        values: (values, limbs) uint64, little-endian limbs, two's complement modulo 2**bits.
    """

    counts: Words
    values: Words

    def __repr__(self) -> str:
        return f"Contribution({self.counts.shape[0]} counts, {self.values.shape[0]} values)"

    @staticmethod
    def of(
        shape: SumShape, counts: Sequence[int] | npt.NDArray[np.int64], values: Sequence[int] | npt.NDArray[np.int64]
    ) -> Contribution:
        """The contribution of these integers.

        Args:
            shape: What is added.
            counts: Each in [0, 2**63).
            values: Signed, each in [-2**(bits - 1), 2**(bits - 1)); in the order of the units.

        Raises:
            UsageError: ``bad_contribution``: another number of them, or one is out of range.
        """
        if len(counts) != shape.counts or len(values) != shape.values:
            raise _bad()
        if isinstance(counts, np.ndarray):
            counts = counts.tolist()
        if not all(0 <= count < COUNT_LIMIT for count in counts):
            raise _bad()
        return Contribution(np.array(counts, "<u8"), to_limbs(values, shape.limbs))

    def check(self, shape: SumShape) -> None:
        """Raises UsageError (``bad_contribution``) unless both arrays have the type and size that the shape names."""
        fits = self.counts.shape == (shape.counts,) and self.values.shape == (shape.values, shape.limbs)
        if not fits or not self.counts.dtype == self.values.dtype == np.dtype("<u8"):
            raise _bad()


def _bad() -> UsageError:
    return UsageError(
        "a holder's numbers do not have the number or the range that the sum has", code="bad_contribution"
    )


def to_limbs(values: Sequence[int] | npt.NDArray[np.int64], limbs: int) -> Words:
    """(n, limbs) two's complement of signed integers; UsageError if one does not fit."""
    if isinstance(values, np.ndarray):
        if values.dtype != np.int64 or values.ndim != 1:
            raise _bad()
        out = np.empty((len(values), limbs), "<u8")
        out[:, 0] = values.view(np.uint64)
        out[:, 1:] = (values >> np.int64(63)).view(np.uint64)[:, None]
        return out
    try:
        raw = b"".join(value.to_bytes(8 * limbs, "little", signed=True) for value in values)
    except OverflowError:
        raise _bad() from None
    return np.frombuffer(raw, "<u8").reshape(len(values), limbs)


def from_limbs(words: Words) -> list[int]:
    """The signed integers of (n, limbs) two's complement."""
    if words.shape[1] == 1:
        return cast(list[int], words[:, 0].view(np.int64).tolist())
    raw, width = np.ascontiguousarray(words, dtype="<u8").tobytes(), 8 * words.shape[1]
    return [int.from_bytes(raw[i : i + width], "little", signed=True) for i in range(0, len(raw), width)]


@dataclass(frozen=True)
class Totals:
    """What the collector learns.

    Args:
        counts: Sums over the survivors.
        shown: The units that were shown, ascending.
        values: For each shown unit the signed sums over the survivors.
        survivors: Whose contributions are in the sums, each whole and once; ascending.
        dropped: The holders that are not, or that went missing afterwards, with the reason's code.
    """

    counts: tuple[int, ...] = field(repr=False)
    shown: tuple[int, ...]
    values: Mapping[int, tuple[int, ...]] = field(repr=False)
    survivors: tuple[str, ...]
    dropped: Mapping[str, str]


@dataclass(frozen=True)
class Receipt:
    """What a holder knows of the end.

    Args:
        survivors: Whose contributions are in the sums.
        shown: The units that were shown, ascending.
    """

    survivors: tuple[str, ...]
    shown: tuple[int, ...]


class Identity(Protocol):
    """A holder's long-term key, and those it has pinned of the others."""

    def sign(self, message: bytes) -> bytes:
        """A signature of this party, 1 to 255 bytes."""
        ...

    def verify(self, party: str, message: bytes, signature: bytes) -> None:
        """Raises IntegrityError (``signature``) unless ``party`` signed the message."""
        ...


Decide: TypeAlias = Callable[[Sequence[int]], Sequence[int]]
"""The collector's suppression: from the opened counts the units that may be shown."""

Admit: TypeAlias = Callable[[tuple[str, ...]], Awaitable[None]]
"""The holder's ledger: raises PrivacyError when these survivors' sum must not open."""
