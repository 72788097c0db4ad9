"""Encrypted columns, and what may be computed on them without the key.

`Encrypted` is fresh: nobody can tell from it how it came about, and it alone can be written to bytes. `Computed` is the
result of sums and products: it shows its makers' doings to whoever has the inputs (equal sums look equal, a factor of 0
or 1 is plain to see), so it has to be re-randomised by an encryptor before it leaves. Both carry the interval of
integers that every slot lies in; what would leave the packing's room is refused, never wrapped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import gmpy2
import numpy as np

from privcompute.errors import UsageError
from privcompute.he.paillier.keys import PublicKey
from privcompute.he.paillier.packing import Interval, Packing
from privcompute.he.paillier.rows import Rows, from_rows, to_rows, words_of

if TYPE_CHECKING:
    from privcompute.he.paillier.encryptor import Encryptor


_AT_ONCE = 16
"""Batches that are copied side by side for one pass of the kernel."""


class Batch:
    """A column of ``count`` values under one key, several in a ciphertext.

    Attributes:
        key: The public key.
        packing: How values lie in ciphertexts.
        count: Number of values.
        interval: The integers, in steps, that every value lies between.
        rows: The ciphertexts, (ciphertexts, words) int64.
    """

    __slots__ = ("count", "interval", "key", "packing", "rows")

    def __init__(self, key: PublicKey, packing: Packing, count: int, interval: Interval, rows: Rows) -> None:
        if packing.bits != key.bits:
            raise UsageError("this packing is for keys of another length", code="mismatch")
        if not packing.fits(interval):
            raise _no_room()
        self.key, self.packing, self.count, self.interval, self.rows = key, packing, count, interval, rows

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.count} values in {len(self.rows)} ciphertexts of {self.key.bits} bits, "
            f"{self.packing.per_ciphertext} slots of {self.packing.width} bits)"
        )

    def __len__(self) -> int:
        return self.count

    def __bool__(self) -> NoReturn:
        raise TypeError("an encrypted column is neither true nor false; for its size ask len()")

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError("encrypted columns are not compared: equal values have different ciphertexts")

    __hash__ = None  # type: ignore[assignment]  # what cannot be compared is no key of a dictionary

    def __reduce__(self) -> NoReturn:
        raise TypeError("encrypted columns are not pickled: Encrypted.to_bytes() is the way out")

    def __add__(self, other: object) -> Computed:
        """Value by value.

        Raises:
            UsageError: ``mismatch``: another key, packing or length; ``head_room``: more terms than the packing has
                room for.
        """
        if not isinstance(other, Batch):
            return NotImplemented
        return add_all([self, other])

    def __neg__(self) -> Computed:
        return self * -1

    def __sub__(self, other: object) -> Computed:
        if not isinstance(other, Batch):
            return NotImplemented
        return self + (-other)

    def __mul__(self, scalar: object) -> Computed:
        """Every value times one public integer.

        Raises:
            UsageError: ``head_room``.
        """
        if isinstance(scalar, bool) or not isinstance(scalar, int):
            return NotImplemented
        interval = self.interval.times(scalar)
        if not self.packing.fits(interval):
            raise _no_room()
        square, size = self.key.square, abs(scalar)
        rows, messages = self.rows, None
        if scalar < 0:
            # A slot u of value low + u becomes high - value = span - u: never negative.
            rows = _inverses(self.key, rows)
            content = int(gmpy2.pack([size * self.interval.span] * self.packing.per_ciphertext, self.packing.width))
            messages = to_rows([content] * len(rows), words_of(self.key.bits))
        bits = max(1, size.bit_length())
        powers = square.powers(rows, to_rows([size], words_of(bits)), bits, messages)
        return Computed(self.key, self.packing, self.count, interval, powers)

    __rmul__ = __mul__

    def times(self, scalars: Sequence[int]) -> Computed:
        """Value i times scalars[i]: only where a ciphertext holds one value.

        The time depends on the packing's ``factor``, not on the scalars, but for their signs.

        Raises:
            UsageError: ``mismatch``, ``head_room``, or ``packed`` where ciphertexts hold several values.
        """
        factor, key = self.packing.factor, self.key
        if self.packing.per_ciphertext != 1:
            raise UsageError(
                "values that share a ciphertext cannot be multiplied by different numbers",
                code="packed",
                remedy="pack with slots=1",
            )
        if len(scalars) != self.count:
            raise UsageError("there are as many scalars as values", code="mismatch")
        if any(abs(s) > factor for s in scalars):
            raise _no_room()
        # One interval for all: from that of the largest factor of either sign.
        low, high = self.interval.low, self.interval.high
        reach = factor * max(abs(low), abs(high))
        interval = Interval(-reach, reach)
        if not self.packing.fits(interval):
            raise _no_room()
        negative = np.array([s < 0 for s in scalars], bool)
        rows = self.rows.copy()
        rows[negative] = _inverses(key, rows[negative])
        # What stands in slot i is |s| u or -|s| u; s low + reach more makes it s value + reach.
        messages = to_rows((s * low + reach for s in scalars), words_of(key.bits))
        exponents = to_rows((abs(s) for s in scalars), words_of(factor.bit_length()))
        powers = key.square.powers(rows, exponents, factor.bit_length(), messages)
        return Computed(key, self.packing, self.count, interval, powers)

    def plus(self, values: Iterable[Any], interval: Interval | None = None) -> Computed:
        """Every value plus one that is known here.

        Args:
            values: As many as there are; None as interval: values of the packing's encoding; with an interval:
                integers in steps that lie in it.
            interval: Public bounds of the integers; widened to 0, which slots without a value get.

        Raises:
            UsageError: ``mismatch``, ``range_exceeded``, ``head_room``.
        """
        packing = self.packing
        integers = packing.encoding.encode(values) if interval is None else [int(v) for v in values]
        bounds = packing.interval if interval is None else Interval(min(interval.low, 0), max(interval.high, 0))
        if len(integers) != self.count:
            raise UsageError("there are as many values to add as encrypted ones", code="mismatch")
        if not packing.fits(self.interval + bounds):
            raise _no_room()
        n, messages = self.key.n, from_rows(packing.pack(integers, bounds))
        rows = self.key.square.multiply([self.rows, to_rows((1 + n * m for m in messages), self.rows.shape[1])])
        return Computed(self.key, packing, self.count, self.interval + bounds, rows)

    def total(self) -> Computed:
        """All ciphertexts added: as many partial sums as a ciphertext has slots, which add up to the sum of the column.

        The owner of the key sees each of them, not only their sum; see docs/paillier.md.

        Raises:
            UsageError: ``head_room``: the packing's ``terms`` is below the number of ciphertexts; ``empty``.
        """
        if not self.count:
            raise UsageError("there is nothing to add up", code="empty")
        interval = self.interval.times(len(self.rows))
        if not self.packing.fits(interval):
            raise _no_room()
        if self.count < len(self.rows) * self.packing.per_ciphertext and self.interval.low > 0:
            raise UsageError("slots without a value must be 0", code="mismatch")
        slots = min(self.packing.per_ciphertext, self.count)
        return Computed(self.key, self.packing, slots, interval, self.key.square.product(self.rows))

    def select(self, ciphertexts: Sequence[int]) -> Computed:
        """These ciphertexts alone, with all their slots.

        Args:
            ciphertexts: Indices of ciphertexts, at least one.

        Raises:
            UsageError: ``empty``, or ``mismatch``: there is no such ciphertext.
        """
        if not ciphertexts:
            raise UsageError("there is nothing to select", code="empty")
        if not all(0 <= one < len(self.rows) for one in ciphertexts):
            raise UsageError("there is no such ciphertext", code="mismatch")
        count = len(ciphertexts) * self.packing.per_ciphertext
        return Computed(self.key, self.packing, count, self.interval, self.rows[list(ciphertexts)])

    def fresh(self, encryptor: Encryptor) -> Encrypted:
        """The same values in ciphertexts that nobody can link to these."""
        return encryptor.refresh(self)


class Encrypted(Batch):
    """Fresh ciphertexts: from an encryptor, or read and validated."""

    __slots__ = ()

    def to_bytes(self) -> bytes:
        """The batch as it travels; see docs/paillier.md for the format."""
        from privcompute.he.paillier.serialisation import batch_to_bytes

        return batch_to_bytes(self)

    @staticmethod
    def from_bytes(
        data: bytes | memoryview, key: PublicKey, packing: Packing, count: int, interval: Interval | None = None
    ) -> Encrypted:
        """Reads a batch of which everything but the ciphertexts is known beforehand.

        Args:
            data: From `to_bytes`.
            key: The key it has to be under.
            packing: The packing it has to have.
            count: The number of values it has to have.
            interval: That of its values; None: of values just encrypted.

        Raises:
            PeerError: ``bad_ciphertext``: anything else, or a ciphertext that is out of range, shares a factor with
                the modulus, or is trivial.
        """
        from privcompute.he.paillier.serialisation import batch_from_bytes

        return batch_from_bytes(data, key, packing, count, interval)


class Computed(Batch):
    """Results: stay here until an encryptor has made them fresh."""

    __slots__ = ()

    def to_bytes(self) -> NoReturn:
        """Refused.

        Raises:
            UsageError: ``not_fresh``, always.
        """
        raise UsageError(
            "a computed ciphertext shows how it was made and does not leave",
            code="not_fresh",
            remedy="re-randomise it: batch.fresh(encryptor).to_bytes()",
        )


def add_all(batches: Sequence[Batch]) -> Computed:
    """Value by value; faster than one sum after the other.

    Raises:
        UsageError: ``mismatch``, ``head_room`` or ``empty``.
    """
    if not batches:
        raise UsageError("there is nothing to add up", code="empty")
    first, *others = batches
    interval = first.interval
    for other in others:
        if (other.key, other.packing, other.count) != (first.key, first.packing, first.count):
            raise UsageError("only columns of one key, packing and length are added", code="mismatch")
        interval += other.interval
        if not first.packing.fits(interval):
            raise _no_room()
    rows, square = first.rows, first.key.square
    for start in range(0, len(others), _AT_ONCE):
        rows = square.multiply([rows, *(other.rows for other in others[start : start + _AT_ONCE])])
    return Computed(first.key, first.packing, first.count, interval, rows)


def _inverses(key: PublicKey, rows: Rows) -> Rows:
    square = gmpy2.mpz(key.n) ** 2
    return to_rows((int(gmpy2.invert(c, square)) for c in from_rows(rows)), rows.shape[1])


def _no_room() -> UsageError:
    return UsageError(
        "the slots have no room for this: a sum could reach into its neighbour",
        code="head_room",
        remedy="pack with more terms or a larger factor; all who add up have to use the same packing",
    )
