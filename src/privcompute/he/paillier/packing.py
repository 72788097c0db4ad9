"""Many values in one ciphertext: slots side by side, wide enough for all that will be added up in them.

A slot holds a value minus the lowest possible one, so never anything negative. Adding ciphertexts adds slots; the
width leaves room for the declared number of terms, so that no slot can reach into its neighbour. Every batch carries
the exact interval its values lie in, and what would leave the room is refused (`batch`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import gmpy2

from privcompute.errors import IntegrityError, UsageError
from privcompute.he.paillier.encoding import FixedPoint
from privcompute.he.paillier.keys import is_size
from privcompute.he.paillier.rows import Rows, from_rows, to_rows, words_of


@dataclass(frozen=True)
class Interval:
    """The integers that every slot's value lies between, both included."""

    low: int
    high: int

    @property
    def span(self) -> int:
        """Largest number that stands in a slot."""
        return self.high - self.low

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.low + other.low, self.high + other.high)

    def times(self, scalar: int) -> Interval:
        """Of all values times a number."""
        ends = (self.low * scalar, self.high * scalar)
        return Interval(min(ends), max(ends))


@dataclass(frozen=True)
class Packing:
    """How a column's values lie in plaintexts: public, agreed beforehand, the same for all who add up.

    Args:
        encoding: Range and step of the values.
        bits: Length of the key.
        terms: Most ciphertexts that will be added up in one, counted through all sums.
        factor: Largest absolute number that a ciphertext will be multiplied with.
        slots: Values per ciphertext; None: as many as fit.

    Raises:
        UsageError: ``bad_packing``: numbers below one, or not even one slot fits.
    """

    encoding: FixedPoint
    bits: int
    terms: int
    factor: int = 1
    slots: int | None = None

    def __post_init__(self) -> None:
        if self.terms < 1 or self.factor < 1 or not is_size(self.bits):
            raise UsageError("terms and factor are at least 1, and the key has a size on offer", code="bad_packing")
        most = (self.bits - 1) // self.width
        if self.slots is None:
            object.__setattr__(self, "slots", most)
        if not 1 <= self.per_ciphertext <= most:
            raise UsageError(
                f"{most} slots of {self.width} bits fit a key of {self.bits} bits",
                code="bad_packing",
                remedy="take fewer slots, fewer terms, a narrower range or a coarser step",
            )

    @property
    def interval(self) -> Interval:
        """Of a single value; 0 is always inside, because it fills the slots that no value is left for."""
        return Interval(min(self.encoding.lowest, 0), max(self.encoding.highest, 0))

    @property
    def width(self) -> int:
        """Bits of a slot."""
        return max(1, (self.interval.span * self.terms * self.factor).bit_length())

    @property
    def per_ciphertext(self) -> int:
        """Slots of a ciphertext."""
        assert self.slots is not None  # noqa: S101  # set above
        return self.slots

    def ciphertexts(self, count: int) -> int:
        """How many ciphertexts so many values take."""
        return -(-count // self.per_ciphertext)

    def fits(self, interval: Interval) -> bool:
        """Whether slots have room for values of that interval."""
        return interval.span.bit_length() <= self.width

    def pack(self, integers: Sequence[int], interval: Interval) -> Rows:
        """Plaintexts: one row a ciphertext, words of the key's length; slots left over hold the value 0.

        Raises:
            UsageError: ``range_exceeded``: an integer outside of the interval.
        """
        if any(not interval.low <= v <= interval.high for v in integers):
            raise UsageError("a value lies outside of its interval; nothing was encrypted", code="range_exceeded")
        size, low = self.per_ciphertext, interval.low
        contents = [v - low for v in integers]
        contents += [-low] * (-len(contents) % size)
        packed = (gmpy2.pack(contents[i : i + size], self.width) for i in range(0, len(contents), size))
        return to_rows((int(v) for v in packed), words_of(self.bits))

    def unpack(self, plaintexts: Rows, count: int, interval: Interval) -> list[int]:
        """The values in decrypted plaintexts.

        Raises:
            IntegrityError: ``slot_out_of_bounds``: something stands in a slot or above that cannot be there: somebody
                encrypted what was not agreed.
        """
        size, found = self.per_ciphertext, []
        for value in from_rows(plaintexts):
            if value >> (self.width * size):
                raise _out_of_bounds()
            slots = gmpy2.unpack(gmpy2.mpz(value), self.width)
            found += slots + [0] * (size - len(slots))
        if found and max(found) > interval.span:
            raise _out_of_bounds()
        return [int(v) + interval.low for v in found[:count]]


def _out_of_bounds() -> IntegrityError:
    return IntegrityError(
        "a decrypted slot is out of its bounds: somebody encrypted, or added, what was not agreed",
        code="slot_out_of_bounds",
        remedy="nothing was released; ask the contributors to send again",
    )
