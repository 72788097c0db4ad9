"""What of a number is encrypted so that the result is such a number again: the formats of `fpe`.

    mobile      a kept prefix | FF1 over the rest
    bank card   a kept issuer prefix | FF1 over the middle | Luhn's digit anew
    identity    region kept | (birth date, order) as one number below days · 1000, FF1 until it is below that
                again (cycle walking) | check sign anew
    alphabet    a kept prefix | FF1 over the rest | a kept suffix, all out of one alphabet

The tweak is the label and what is kept: the same digits behind another prefix encrypt to something else.

Source: NIST SP 800-38G; cycle walking: Black and Rogaway, Ciphers with Arbitrary Finite Domains, CT-RSA 2002.
"""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from privcompute.anonymize.mask.canonical import birth_days, id_check_signs, luhn_sum
from privcompute.anonymize.mask.ff1 import FF1, MINIMUM_DOMAIN
from privcompute.anonymize.mask.texts import Bytes
from privcompute.errors import PrivacyError, UsageError

Bools = npt.NDArray[np.bool_]
_ZERO: Final = np.uint8(ord("0"))
_EPOCH: Final = dt.date(1970, 1, 1)

ALPHABETS: Final = {
    "digits": "0123456789",
    "lower": "0123456789abcdefghijklmnopqrstuvwxyz",
    "upper": "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "mixed": "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
}


class Format(ABC):
    """Which signs of a canonical value are encrypted, and what follows from them."""

    alphabet: str = ALPHABETS["digits"]
    longest: int
    """Signs of the longest value there is: if even that one leaves too small a domain, nothing can be encrypted."""

    @abstractmethod
    def fits(self, signs: Bytes) -> Bools:
        """(n,) which rows of canonical values can be encrypted at all."""

    @abstractmethod
    def permute(self, ff1: FF1, signs: Bytes, label: bytes, *, forward: bool) -> Bytes:
        """Encrypt (or decrypt) rows that fit.

        Args:
            ff1: in the radix of the alphabet.
            signs: (n, length) bytes of canonical values.
            label: the beginning of every tweak.
            forward: encrypt.

        Returns:
            (n, length) bytes, of values that are canonical again.

        Raises:
            PrivacyError: `small_domain`.
        """

    def check(self, ff1: FF1) -> None:
        """Refuse, before any row is read, what no row could satisfy.

        Raises:
            PrivacyError: `small_domain`.
        """
        ff1.check_length(self.encrypted(self.longest))

    @abstractmethod
    def encrypted(self, length: int) -> int:
        """How many signs of a value of that length are encrypted."""


def kept_tweaks(kept: Bytes, label: bytes, bound: bool) -> tuple[list[bytes], npt.NDArray[np.int64] | None]:
    """The distinct tweaks and each row's index: the label and, if bound, what is kept of the row."""
    if not bound or kept.shape[1] == 0:
        return [label], None
    rows = np.ascontiguousarray(kept).view(f"V{kept.shape[1]}").reshape(-1)
    distinct, codes = np.unique(rows, return_inverse=True)
    return [label + one.tobytes() for one in distinct], codes.astype(np.int64)


@dataclass(frozen=True)
class Mobile(Format):
    """Mobile numbers.

    Attributes:
        keep: digits of the prefix; two at least, or the result is no mobile number.
        bound: the tweak holds the prefix.
    """

    keep: int = 3
    bound: bool = True
    longest = 11

    def fits(self, signs: Bytes) -> Bools:
        """All of them."""
        return np.ones(signs.shape[0], dtype=np.bool_)

    def encrypted(self, length: int) -> int:
        """All but the prefix; of a number of 13 digits, which begins with 1064, at least that is kept."""
        return length - max(self.keep, 4 if length == 13 else 2)

    def permute(self, ff1: FF1, signs: Bytes, label: bytes, *, forward: bool) -> Bytes:
        """See Format."""
        kept = signs.shape[1] - self.encrypted(signs.shape[1])
        tweaks, codes = kept_tweaks(signs[:, :kept], label, self.bound)
        result = signs.copy()
        result[:, kept:] = ff1.column(signs[:, kept:] - _ZERO, tweaks, codes, forward=forward) + _ZERO
        return result


@dataclass(frozen=True)
class Card(Format):
    """Bank cards.

    Attributes:
        keep: digits of the issuer's prefix.
    """

    keep: int = 6
    longest = 19

    def fits(self, signs: Bytes) -> Bools:
        """All of them."""
        return np.ones(signs.shape[0], dtype=np.bool_)

    def encrypted(self, length: int) -> int:
        """All but the prefix and the check digit."""
        return length - self.keep - 1

    def permute(self, ff1: FF1, signs: Bytes, label: bytes, *, forward: bool) -> Bytes:
        """See Format."""
        tweaks, codes = kept_tweaks(signs[:, : self.keep], label, True)
        result = signs - _ZERO
        result[:, self.keep : -1] = ff1.column(result[:, self.keep : -1], tweaks, codes, forward=forward)
        result[:, -1] = 0
        result[:, -1] = -luhn_sum(result) % 10
        return result + _ZERO


@dataclass(frozen=True)
class Identity(Format):
    """Identity numbers of 18 characters: the result has the same region, a real birth date and its check sign.

    Attributes:
        since: the first birth date of the format.
        until: the last one; another date gives another permutation.
        keep_sex: the order stays odd or even.
    """

    since: dt.date = dt.date(1900, 1, 1)
    until: dt.date = dt.date(2025, 12, 31)
    keep_sex: bool = False
    longest = 18

    @property
    def _orders(self) -> int:
        return 500 if self.keep_sex else 1000

    @property
    def size(self) -> int:
        """How many numbers of one region (and sex) there are."""
        return ((self.until - self.since).days + 1) * self._orders

    def fits(self, signs: Bytes) -> Bools:
        """Birth dates within the format's."""
        days, real = birth_days(signs[:, :17] - _ZERO)
        result: Bools = real & (days >= (self.since - _EPOCH).days) & (days <= (self.until - _EPOCH).days)
        return result

    def encrypted(self, length: int) -> int:
        """Digits of the number that holds date and order."""
        return len(str(max(self.size, 1) - 1))

    def check(self, ff1: FF1) -> None:
        """See Format."""
        if self.since > self.until:
            raise UsageError("`since` lies after `until`", code="policy")
        if self.size < MINIMUM_DOMAIN:
            raise PrivacyError(
                f"birth dates from {self.since} to {self.until} leave fewer than {MINIMUM_DOMAIN:,} numbers a region",
                code="small_domain",
                remedy='widen `since` and `until`, or use op = "token"',
            )

    def permute(self, ff1: FF1, signs: Bytes, label: bytes, *, forward: bool) -> Bytes:
        """See Format."""
        self.check(ff1)
        digits = signs[:, :17] - _ZERO
        days, _ = birth_days(digits)
        order = digits[:, 14:17].astype(np.int64) @ np.array([100, 10, 1])
        odd = order % 2
        if self.keep_sex:
            order //= 2
        ranks = (days - (self.since - _EPOCH).days) * self._orders + order
        kept = np.column_stack([signs[:, :6], odd.astype(np.uint8) + _ZERO]) if self.keep_sex else signs[:, :6]
        tweaks, codes = kept_tweaks(kept, label, True)
        ranks = self._walked(ff1, ranks, tweaks, np.zeros(len(ranks), np.int64) if codes is None else codes, forward)
        days, order = np.divmod(ranks, self._orders)
        if self.keep_sex:
            order = order * 2 + odd
        result = np.empty_like(signs)
        result[:, :6] = signs[:, :6]
        result[:, 6:14] = _dates(days + (self.since - _EPOCH).days)
        result[:, 14:17] = _decimal(order, 3) + _ZERO
        result[:, 17] = id_check_signs(result[:, :17] - _ZERO)
        return result

    def _walked(
        self, ff1: FF1, ranks: npt.NDArray[np.int64], tweaks: list[bytes], codes: npt.NDArray[np.int64], forward: bool
    ) -> npt.NDArray[np.int64]:
        """Encrypt again and again what is not yet below `size`: a permutation of the numbers below it."""
        width = self.encrypted(18)
        result = ranks.copy()
        open_rows = np.arange(len(ranks))
        powers = 10 ** np.arange(width - 1, -1, -1, dtype=np.int64)
        while len(open_rows):
            moved = ff1.column(_decimal(result[open_rows], width), tweaks, codes[open_rows], forward=forward)
            result[open_rows] = moved.astype(np.int64) @ powers
            open_rows = open_rows[result[open_rows] >= self.size]
        return result


@dataclass(frozen=True)
class Alphabet(Format):
    """Values of any length out of one alphabet.

    Attributes:
        name: of the alphabet.
        keep_prefix: signs at the front that stay.
        keep_suffix: signs at the end that stay.
    """

    name: str
    keep_prefix: int = 0
    keep_suffix: int = 0
    longest = 1 << 16

    @property
    def alphabet(self) -> str:  # type: ignore[override]  # here it depends on a field
        """The signs, in the order of their numbers."""
        return ALPHABETS[self.name]

    def _numbers(self, signs: Bytes) -> Bytes:
        table = np.full(256, 255, dtype=np.uint8)
        table[np.frombuffer(self.alphabet.encode(), dtype=np.uint8)] = np.arange(len(self.alphabet))
        return table[signs]

    def fits(self, signs: Bytes) -> Bools:
        """Those that consist of the alphabet where they are encrypted."""
        inner = self._numbers(signs[:, self.keep_prefix : signs.shape[1] - self.keep_suffix])
        result: Bools = (inner != 255).all(axis=1)
        return result

    def encrypted(self, length: int) -> int:
        """What is neither prefix nor suffix."""
        return length - self.keep_prefix - self.keep_suffix

    def permute(self, ff1: FF1, signs: Bytes, label: bytes, *, forward: bool) -> Bytes:
        """See Format."""
        length = signs.shape[1]
        ff1.check_length(self.encrypted(length))
        inner = slice(self.keep_prefix, length - self.keep_suffix)
        kept = np.column_stack([signs[:, : self.keep_prefix], signs[:, length - self.keep_suffix :]])
        tweaks, codes = kept_tweaks(kept, label, True)
        letters = np.frombuffer(self.alphabet.encode(), dtype=np.uint8)
        result = signs.copy()
        result[:, inner] = letters[ff1.column(self._numbers(signs[:, inner]), tweaks, codes, forward=forward)]
        return result


def _decimal(values: npt.NDArray[np.int64], width: int) -> Bytes:
    """(n, width) decimal digits."""
    result = np.empty((len(values), width), dtype=np.uint8)
    rest = values
    for place in reversed(range(width)):
        rest, digit = np.divmod(rest, 10)
        result[:, place] = digit
    return result


def _dates(days: npt.NDArray[np.int64]) -> Bytes:
    """(n, 8) the signs YYYYMMDD of days since 1970-01-01."""
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    year = dates.astype("datetime64[Y]").astype(np.int64) + 1970
    month = months.astype(np.int64) % 12 + 1
    day = (dates - months.astype("datetime64[D]")).astype(np.int64) + 1
    return _decimal(year * 10000 + month * 100 + day, 8) + _ZERO
