"""FF1: format-preserving encryption of strings of digits in any radix, for one string and for whole columns.

Ten rounds of a Feistel network whose round function is AES in CBC-MAC. For a column, all but the last block of that MAC
depend on the tweak alone: so each round is one call of AES-ECB over the column. Arithmetic is in 64 bits as long as
a half has less than 56, else in Python's integers. Lengths in bytes come from integer bit lengths, never from
logarithms in floating point.

Domains below a million are refused, as NIST requires: who may ask for encryptions of chosen values writes down the
whole table of a small one. FF1 is no authenticated encryption: equal values with equal tweaks stay equal.

Patents may be claimed on FF1: let a person who knows check that before a product relies on it.

Source: NIST SP 800-38G (2016), algorithms 7 and 8; the minimum of SP 800-38G Revision 1, second draft (2025).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from privcompute.anonymize.mask.feistel import add_result, fill_blocks
from privcompute.errors import PrivacyError, UsageError

MINIMUM_DOMAIN: Final = 1_000_000
ROUNDS: Final = 10
_BLOCK: Final = 16
_MAX_RADIX: Final = 1 << 16
_MAX_LENGTH: Final = 1 << 32
_MAX_TWEAK: Final = 1 << 16
_NARROW: Final = 1 << 56
_ROWS: Final = 1 << 16  # a round's blocks of so many rows stay in the second-level cache

Digits = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]


class FF1:
    """FF1 under one key in one radix.

    Args:
        key: 16, 24 or 32 bytes.
        radix: 2 to 65,536.

    Raises:
        UsageError: `bad_key`, `bad_radix`.
    """

    __slots__ = ("_ecb", "radix")

    def __init__(self, key: bytes, radix: int = 10) -> None:
        if len(key) not in (16, 24, 32):
            raise UsageError("a key of FF1 has 16, 24 or 32 bytes", code="bad_key")
        if not 2 <= radix <= _MAX_RADIX:
            raise UsageError("a radix of FF1 lies between 2 and 65,536", code="bad_radix")
        self.radix = radix
        # One block at a time without chaining: the chain of the MAC is laid by hand below.
        self._ecb = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - the primitive that FF1 is made of

    def __repr__(self) -> str:
        return f"FF1(<hidden>, radix={self.radix})"

    def encrypt(self, digits: Sequence[int], tweak: bytes = b"") -> list[int]:
        """Encrypt one string.

        Args:
            digits: numbers below the radix, most significant first.
            tweak: what else the result shall depend on; not secret.

        Raises:
            PrivacyError: `small_domain`.
            UsageError: `bad_digit`, `bad_length`, `bad_tweak`.
        """
        self.check_length(len(digits))
        return self._one(list(digits), tweak, forward=True)

    def decrypt(self, digits: Sequence[int], tweak: bytes = b"") -> list[int]:
        """The inverse of `encrypt`; raises as it does."""
        self.check_length(len(digits))
        return self._one(list(digits), tweak, forward=False)

    def check_length(self, length: int) -> None:
        """Refuse lengths that FF1 must not encrypt in this radix.

        Raises:
            PrivacyError: `small_domain`: fewer than a million strings have that length.
            UsageError: `bad_length`: longer than FF1 admits.
        """
        if length < 2 or self.radix**length < MINIMUM_DOMAIN:
            raise PrivacyError(
                f"format-preserving encryption of {length} signs out of {self.radix} has fewer than"
                f" {MINIMUM_DOMAIN:,} results: who sees enough of them reads the rest",
                code="small_domain",
                remedy='encrypt more signs (keep fewer), or use op = "token"',
            )
        if length >= _MAX_LENGTH:
            raise UsageError("FF1 encrypts less than 2^32 signs", code="bad_length")

    def column(
        self,
        digits: Digits,
        tweaks: Sequence[bytes] = (b"",),
        codes: npt.NDArray[np.int64] | None = None,
        *,
        forward: bool = True,
    ) -> Digits:
        """Encrypt (or decrypt) the rows of a matrix, all of one length.

        Args:
            digits: (n, length) numbers below the radix, which is at most 256.
            tweaks: the distinct tweaks.
            codes: (n,) each row's index into `tweaks`; None: the first one for all.
            forward: encrypt; else decrypt.

        Returns:
            A new matrix of the same shape.

        Raises:
            PrivacyError: `small_domain`.
            UsageError: `bad_digit`, `bad_length`, `bad_tweak`.
        """
        rows, length = digits.shape
        self.check_length(length)
        if self.radix < 256 and rows and int(digits.max()) >= self.radix:
            raise _bad_digit()
        which = np.zeros(rows, dtype=np.int64) if codes is None else codes
        if self.radix ** (length - length // 2) >= _NARROW:
            each = [
                self._one([int(d) for d in row], tweaks[code], forward=forward)
                for row, code in zip(digits, which, strict=True)
            ]
            return np.array(each, dtype=np.uint8).reshape(rows, length)
        templates = np.array([self._template(length, tweak) for tweak in tweaks], dtype=np.uint64).reshape(-1, 2)
        result = np.empty_like(digits)
        for start in range(0, rows, _ROWS):
            part = slice(start, start + _ROWS)
            result[part] = self._rows(digits[part], templates, which[part], forward)
        return result

    # -- one string --------------------------------------------------------------------------------------------------

    def _one(self, digits: list[int], tweak: bytes, *, forward: bool) -> list[int]:
        length = len(digits)
        if length < 2:
            raise UsageError("FF1 encrypts at least two signs", code="bad_length")
        if any(not 0 <= digit < self.radix for digit in digits):
            raise _bad_digit()
        low = length - length // 2
        width = _width(self.radix, low)
        head, fill = self._head(length, tweak)
        a, b = _number(digits[: length // 2], self.radix), _number(digits[length // 2 :], self.radix)
        for i in range(ROUNDS) if forward else reversed(range(ROUNDS)):
            known, other = (b, a) if forward else (a, b)
            r = self._mac(head + fill + bytes([i]) + known.to_bytes(width, "big"))
            y = int.from_bytes(self._stretched(r, 4 * -(-width // 4) + 4), "big")
            modulus = self.radix ** (length // 2 if i % 2 == 0 else low)
            new = (other + y if forward else other - y) % modulus
            a, b = (b, new) if forward else (new, a)
        return _digits(a, length // 2, self.radix) + _digits(b, low, self.radix)

    def _head(self, length: int, tweak: bytes) -> tuple[bytes, bytes]:
        """P and the part of Q before the round's number: the tweak and zeros."""
        if len(tweak) >= _MAX_TWEAK:
            raise UsageError("a tweak has less than 65,536 bytes", code="bad_tweak")
        width = _width(self.radix, length - length // 2)
        p = (
            bytes([1, 2, 1])
            + self.radix.to_bytes(3, "big")
            + bytes([ROUNDS, length // 2 % 256])
            + length.to_bytes(4, "big")
            + len(tweak).to_bytes(4, "big")
        )
        return p, tweak + bytes(-(len(tweak) + width + 1) % _BLOCK)

    def _mac(self, blocks: bytes) -> bytes:
        """AES-CBC-MAC; the length is a multiple of sixteen bytes."""
        state = bytes(_BLOCK)
        for start in range(0, len(blocks), _BLOCK):
            state = self._ecb.update(_xor(state, blocks[start : start + _BLOCK]))
        return state

    def _stretched(self, r: bytes, length: int) -> bytes:
        """The first `length` bytes of R and of the encryptions of R xor 1, 2, …"""
        result = r
        j = 1
        while len(result) < length:
            result += self._ecb.update(_xor(r, j.to_bytes(_BLOCK, "big")))
            j += 1
        return result[:length]

    # -- a column ----------------------------------------------------------------------------------------------------

    def _template(self, length: int, tweak: bytes) -> tuple[int, int]:
        """Two big-endian words: the MAC of all blocks but the last, XOR the last with zeros for round and number."""
        width = _width(self.radix, length - length // 2)
        head, fill = self._head(length, tweak)
        whole = head + fill + bytes(1 + width)
        last = _xor(self._mac(whole[:-_BLOCK]), whole[-_BLOCK:])
        return int.from_bytes(last[:8], "big"), int.from_bytes(last[8:], "big")

    def _rows(self, digits: Digits, templates: Words, codes: npt.NDArray[np.int64], forward: bool) -> Digits:
        rows, length = digits.shape
        u = length // 2
        width = _width(self.radix, length - u)
        a, b = _numbers(digits[:, :u], self.radix), _numbers(digits[:, u:], self.radix)
        blocks = np.empty((rows, 2), dtype=np.uint64)
        plain: Any = blocks.reshape(-1).view(np.uint8)
        sealed: Any = np.empty(_BLOCK * rows + _BLOCK - 1, dtype=np.uint8)
        out = sealed[: _BLOCK * rows].view(np.uint64).reshape(rows, 2)
        for i in range(ROUNDS) if forward else reversed(range(ROUNDS)):
            known, other = (b, a) if forward else (a, b)
            fill_blocks(templates, codes, known, np.uint64(i << 8 * width), blocks)
            self._ecb.update_into(plain, sealed)
            modulus = np.uint64(self.radix ** (u if i % 2 == 0 else length - u))
            new = np.empty(rows, dtype=np.uint64)
            add_result(out, width > 4, modulus, forward, other, new)
            a, b = (b, new) if forward else (new, a)
        result = np.empty_like(digits)
        _spell(a, result[:, :u], self.radix)
        _spell(b, result[:, u:], self.radix)
        return result


def _bad_digit() -> UsageError:
    return UsageError("a sign is not among those of the radix", code="bad_digit")


def _width(radix: int, low: int) -> int:
    """Bytes of the longer half: ⌈⌈v·log2(radix)⌉ / 8⌉, exactly."""
    largest: int = radix**low - 1
    return (largest.bit_length() + 7) // 8


def _xor(a: bytes, b: bytes) -> bytes:
    return (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).to_bytes(_BLOCK, "big")


def _number(digits: Sequence[int], radix: int) -> int:
    value = 0
    for digit in digits:
        value = value * radix + digit
    return value


def _digits(value: int, length: int, radix: int) -> list[int]:
    result = [0] * length
    for place in reversed(range(length)):
        value, result[place] = divmod(value, radix)
    return result


def _numbers(digits: Digits, radix: int) -> Words:
    value = np.zeros(digits.shape[0], dtype=np.uint64)
    for place in range(digits.shape[1]):
        value *= np.uint64(radix)
        value += digits[:, place]
    return value


def _spell(values: Words, out: Digits, radix: int) -> None:
    rest = values
    for place in reversed(range(out.shape[1])):
        quotient = rest // np.uint64(radix)
        out[:, place] = rest - quotient * np.uint64(radix)
        rest = quotient
