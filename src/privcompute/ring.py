"""The ring of integers modulo 2**bits, and arrays of its elements.

Up to 64 bits an array holds uint64 words (numpy wraps by itself, narrower rings are masked); above, Python integers
in an object array: what is opened or combined at that width is a handful of sums, and the wide work is done in
`privcompute.he`'s own limbs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from privcompute.errors import UsageError

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Ring:
    """Integers modulo 2**bits; signed values are read from the centred range [-2**(bits-1), 2**(bits-1)).

    Args:
        bits: 1 … 512.
    """

    bits: int

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 512:
            raise UsageError("a ring has 1 to 512 bits", code="bad_ring")

    @property
    def modulus(self) -> int:
        """2**bits."""
        return 1 << self.bits

    @property
    def width(self) -> int:
        """Bytes of one element on the wire."""
        return (self.bits + 7) // 8

    @property
    def words(self) -> bool:
        """Whether arrays hold uint64 words (else Python integers)."""
        return self.bits <= 64

    def array(self, values: Iterable[int] | Array, shape: tuple[int, ...] | None = None) -> Array:
        """The integers, reduced, as an array of this ring."""
        if isinstance(values, np.ndarray) and self.words and values.dtype.kind in "iu":
            out: Array = values.astype(np.uint64)
            return self.reduce(out if shape is None else out.reshape(shape))
        source = values.reshape(-1) if isinstance(values, np.ndarray) else list(values)
        target = shape or (values.shape if isinstance(values, np.ndarray) else (len(source),))
        flat = [int(v) & (self.modulus - 1) for v in source]
        out = np.empty(len(flat), dtype=np.uint64 if self.words else object)
        out[:] = flat
        return out.reshape(target)

    def reduce(self, values: Array) -> Array:
        """The same values modulo 2**bits."""
        if self.bits == 64:
            return values
        mask = self.modulus - 1
        return values & (np.uint64(mask) if self.words else mask)

    def signed(self, values: Array) -> list[int]:
        """The elements, flattened, as Python integers of the centred range."""
        half, modulus = 1 << (self.bits - 1), self.modulus
        return [v - modulus if v >= half else v for v in (int(e) for e in values.reshape(-1))]

    def pack(self, values: Array) -> bytes:
        """Little-endian bytes, `width` an element."""
        if self.bits == 64:
            return np.ascontiguousarray(values, dtype="<u8").tobytes()
        return b"".join(int(v).to_bytes(self.width, "little") for v in values.reshape(-1))

    def unpack(self, data: bytes | memoryview, shape: Sequence[int]) -> Array:
        """The inverse of `pack`.

        Raises:
            UsageError: the length does not fit the shape, or an element is not below 2**bits.
        """
        count = int(np.prod(shape, dtype=object)) if len(shape) else 1
        if len(data) != count * self.width:
            raise UsageError("ring elements of another count or width", code="bad_elements")
        if self.bits == 64:
            return np.frombuffer(data, dtype="<u8").astype(np.uint64).reshape(tuple(shape))
        raw = bytes(data)
        flat = [int.from_bytes(raw[i : i + self.width], "little") for i in range(0, len(raw), self.width)]
        if any(v >= self.modulus for v in flat):
            raise UsageError("a ring element is not reduced", code="bad_elements")
        out = np.empty(count, dtype=np.uint64 if self.words else object)
        out[:] = flat
        return out.reshape(tuple(shape))
