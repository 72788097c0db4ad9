"""What a run of the kernel costs in bits: the noise budget, and the choice of a row of the table.

docs/ring-lwe.md derives every formula here; its symbols are the names below. All of it is integer arithmetic on
public sizes, so that both parties arrive at the same parameters on any machine.

Source: noise flooding as in Gentry, "Fully homomorphic encryption using ideal lattices", STOC 2009, section 7.2
(circuit privacy); limits of log2 q for 128 bits of security: "Security guidelines for implementing homomorphic
encryption", IACR eprint 2024/463, ternary secret, classical.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import prod
from typing import Final

from privcompute.errors import UsageError
from privcompute.he.primes import PRIMES
from privcompute.kernels.bounds import ETA, MAX_PRIME_BITS

MODULUS_LIMITS: Final[dict[int, int]] = {8192: 212, 16384: 430}
"""Largest bits of q by ring dimension N; nothing outside runs."""

DIGIT_WIDTHS: Final = (16, 32, 64)
STATISTICAL: Final = 40
"""A run's distance from the ideal is at most 2**-STATISTICAL, all returned coefficients together."""

_MAX_BOUND: Final = 1 << 126


@dataclass(frozen=True)
class CrossShape:
    """The public size of a set of inner products between two parties' columns.

    Args:
        rows: Rows of every column, or a bound on them.
        x_bounds: For each column of the key owner, a public bound on |value|; never the data's own maximum.
        y_bounds: For each column of the evaluator, the same.
        entries: The wanted products (i, j) of key owner's column i and evaluator's column j, each once.
        modulus_bits: Bits k of the ring of shares, at least 2 + log2(rows * B_x * B_y) for each entry; None: the
            least that will do.
    """

    rows: int
    x_bounds: tuple[int, ...]
    y_bounds: tuple[int, ...]
    entries: tuple[tuple[int, int], ...]
    modulus_bits: int | None = None

    def __post_init__(self) -> None:
        inside = all(0 <= i < len(self.x_bounds) and 0 <= j < len(self.y_bounds) for i, j in self.entries)
        if self.rows < 0 or not self.entries or not inside or len(set(self.entries)) != len(self.entries):
            raise UsageError("an inner product names columns that exist, and each pair once", code="bad_shape")
        if any(not 0 <= bound <= _MAX_BOUND for bound in self.x_bounds + self.y_bounds):
            raise UsageError("a column's bound is between 0 and 2**126", code="too_wide")
        if self.modulus_bits is not None and self.modulus_bits < self.least_modulus_bits:
            raise UsageError("the ring of shares is too small for the largest possible sum", code="too_wide")

    @property
    def least_modulus_bits(self) -> int:
        """The least k with 2**(k-2) >= rows * B_x * B_y for every wanted entry."""
        largest = max(self.x_bounds[i] * self.y_bounds[j] for i, j in self.entries)
        return (max(1, self.rows * largest) - 1).bit_length() + 2

    @property
    def k(self) -> int:
        """Bits of the ring of shares."""
        return self.least_modulus_bits if self.modulus_bits is None else self.modulus_bits

    def swapped(self) -> CrossShape:
        """The same products with the roles exchanged: the evaluator's columns become the key owner's."""
        entries = tuple((j, i) for i, j in self.entries)
        return CrossShape(self.rows, self.y_bounds, self.x_bounds, entries, self.modulus_bits)


@dataclass(frozen=True)
class Parameters:
    """One row of the table, and the noise that makes it necessary.

    Args:
        n: Ring dimension N.
        widths: Width of each prime of q; the l-th prime of a width is the l-th of that width in `PRIMES`.
        k: Shares and plaintexts are modulo t = 2**k.
        digit: Width of the digits into which the evaluator's values are cut.
        pack: Columns of the key owner in one ciphertext, each with N // pack rows.
        rows: R, rows with padding.
        digit_bound: B, largest size of a digit.
        returned: M, coefficients that are returned.
    """

    n: int
    widths: tuple[int, ...]
    k: int
    digit: int
    pack: int
    rows: int
    digit_bound: int
    returned: int

    @cached_property
    def primes(self) -> tuple[int, ...]:
        """The primes of q."""
        used: dict[int, int] = {}
        found = []
        for width in self.widths:
            found.append(PRIMES[width][used.get(width, 0)])
            used[width] = used.get(width, 0) + 1
        return tuple(found)

    @cached_property
    def q(self) -> int:
        """The ciphertext modulus."""
        return prod(self.primes)

    @property
    def bits(self) -> int:
        """Bits of a packed coefficient: the widths together."""
        return sum(self.widths)

    @property
    def span(self) -> int:
        """Rows of one block."""
        return self.n // self.pack

    @cached_property
    def noise(self) -> int:
        """E: worst case of all noise that depends on anything secret: of the products, and of the fresh zero.

        A product's noise is (e + rounding of the message) * y over R rows, at most R * (21 + 1/2) * B; the zero
        encryption adds e*u + e_0 + e_1*s, at most 21 * (2N + 1).
        """
        return -(-self.rows * (2 * ETA + 1) * self.digit_bound // 2) + ETA * (2 * self.n + 1)

    @cached_property
    def flood_bits(self) -> int:
        """f: the flood is uniform in [-2**f, 2**f), with 2**f >= 2**39 * M * E."""
        return ((self.returned * self.noise << (STATISTICAL - 1)) - 1).bit_length()

    @cached_property
    def total_noise(self) -> int:
        """Worst case of a returned coefficient before the modulus switch: flood, E, and the rounding of the mask."""
        return (1 << self.flood_bits) + self.noise + 1

    @property
    def least_q(self) -> int:
        """The least q that decrypts for certain, with a sixteenth to spare for the modulus switch."""
        return -(-17 * (self.total_noise << (self.k + 1)) // 16)

    @cached_property
    def reply_bits(self) -> int:
        """w: replies are switched to the modulus 2**w, the least that still decrypts for certain.

        The switch rounds each coefficient by at most 1/2 + 2**-11; the secret has at most N coefficients of size 1.
        """
        spare = Fraction(1, 1 << (self.k + 1)) - Fraction(self.total_noise, self.q)
        if spare <= 0:
            raise UsageError("these parameters cannot carry the noise", code="too_wide")
        rounding = (self.n + 1) * (Fraction(1, 2) + Fraction(1, 1 << 11))
        return int(rounding // spare).bit_length()

    @property
    def limbs(self) -> int:
        """64-bit limbs of a switched coefficient."""
        return -(-self.reply_bits // 64)


def split_widths(bits: int) -> tuple[int, ...]:
    """Widths of the fewest primes that together have `bits` bits, as even as possible."""
    count = -(-bits // MAX_PRIME_BITS)
    return tuple(bits // count + (1 if i < bits % count else 0) for i in range(count))


def digits_of(bound: int, width: int) -> tuple[int, int]:
    """How many balanced digits of `width` bits hold every |value| <= bound, and how large a digit can be."""
    limit = (1 << (width - 1)) - (1 if width == 64 else 0)
    count, left = 1, bound
    while left > limit:
        left = (left + (1 << (width - 1))) >> width
        count += 1
    return count, max(1, bound) if count == 1 else 1 << (width - 1)


def candidates(shape: CrossShape) -> list[Parameters]:
    """Every admissible row for this shape, one for each dimension, digit width and packing."""
    found = []
    x_used = len({i for i, _ in shape.entries})
    y_used = {j for _, j in shape.entries}
    for width in DIGIT_WIDTHS:
        digits = {j: digits_of(shape.y_bounds[j], width) for j in y_used}
        returned = sum(digits[j][0] for _, j in shape.entries)
        largest = max(bound for _, bound in digits.values())
        for n, limit in MODULUS_LIMITS.items():
            for pack in sorted({-(-x_used // groups) for groups in range(1, x_used + 1)}):
                if pack > n // 64:
                    continue
                span = n // pack
                rows = max(1, -(-shape.rows // span)) * span
                parameters = _fit(n, shape.k, width, pack, rows, largest, returned, limit)
                if parameters is not None:
                    found.append(parameters)
    return found


def _fit(
    n: int, k: int, digit: int, pack: int, rows: int, digit_bound: int, returned: int, limit: int
) -> Parameters | None:
    """The fewest bits of q that carry the noise, or None beyond the limit of N."""
    bits = Parameters(n, (), k, digit, pack, rows, digit_bound, returned).least_q.bit_length()
    for more in (0, 1):  # the primes lie just below their powers of two
        if bits + more > limit:
            return None
        fit = Parameters(n, split_widths(bits + more), k, digit, pack, rows, digit_bound, returned)
        if fit.q >= fit.least_q:
            return fit
    return None
