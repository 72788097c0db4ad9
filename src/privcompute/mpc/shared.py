"""Additive shares over a ring: a value is the sum of what the parties hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NoReturn

from privcompute.errors import UsageError
from privcompute.ring import Array, Ring


@dataclass(frozen=True, eq=False, repr=False)
class Shared:
    """My share of an array of ring elements.

    ``+`` and ``-`` add shares, ``*`` multiplies by a public integer; neither communicates. A product of two shared
    values needs a protocol.

    Args:
        ring: Where the values live.
        values: My share; any shape, as `Ring.array` makes it.
        scale: The shared integer v means v / scale.
    """

    ring: Ring
    values: Array = field(repr=False)
    scale: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        return self.values.shape

    def __repr__(self) -> str:
        return f"Shared(shape={self.shape}, ring=2**{self.ring.bits}, scale={self.scale})"

    def _same(self, other: Shared) -> None:
        if self.ring != other.ring or self.scale != other.scale:
            raise UsageError("shares of different rings or scales do not mix", code="mixed_shares")

    def __add__(self, other: Shared) -> Shared:
        self._same(other)
        return Shared(self.ring, self.ring.reduce(self.values + other.values), self.scale)

    def __sub__(self, other: Shared) -> Shared:
        self._same(other)
        return Shared(self.ring, self.ring.reduce(self.values - other.values), self.scale)

    def __mul__(self, factor: int) -> Shared:
        if not isinstance(factor, int):
            raise TypeError("share * share needs communication: a multiplication protocol")
        public = self.ring.array([factor])[0]
        return Shared(self.ring, self.ring.reduce(self.values * public), self.scale)

    __rmul__ = __mul__

    def __getitem__(self, index: Any) -> Shared:
        return Shared(self.ring, self.ring.array(self.values[index].reshape(-1), self.values[index].shape), self.scale)

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError("shares are not compared: reveal, or run a comparison protocol")

    __hash__ = None  # type: ignore[assignment]  # what has no equality has no hash

    def __bool__(self) -> NoReturn:
        raise TypeError("a share has no truth value: reveal it first")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a share is not pickled or copied")
