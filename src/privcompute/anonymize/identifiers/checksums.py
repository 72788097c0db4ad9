"""Check characters, each rule over plain text that already consists of the right characters.

Source: ISO 7064 (MOD 11-2, MOD 97-10), GB 11643-1999, GB 32100-2015, GB 11714-1997, ISO/IEC 7812-1 (Luhn).
"""

from __future__ import annotations

from typing import Final

ID_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
ID_CHECKS: Final = "10X98765432"
USCC_ALPHABET: Final = "0123456789ABCDEFGHJKLMNPQRTUWXY"
USCC_WEIGHTS: Final = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)
ORGANISATION_WEIGHTS: Final = (3, 7, 9, 10, 5, 8, 4, 2)
_DOUBLED: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def id_check(digits: str) -> str:
    """The check character of a resident identity number's first 17 digits."""
    return ID_CHECKS[sum(int(digit) * weight for digit, weight in zip(digits, ID_WEIGHTS, strict=True)) % 11]


def uscc_check(first: str) -> str:
    """The check character of a unified social credit code's first 17 characters."""
    total = sum(USCC_ALPHABET.index(char) * weight for char, weight in zip(first, USCC_WEIGHTS, strict=True))
    return USCC_ALPHABET[-total % 31]


def organisation_check(first: str) -> str:
    """The check character of an organisation code's first 8 characters; letters count from A = 10."""
    total = sum(int(char, 36) * weight for char, weight in zip(first, ORGANISATION_WEIGHTS, strict=True))
    return "0123456789X0"[11 - total % 11]


def luhn_check(digits: str) -> str:
    """The digit that makes the whole pass Luhn's rule when it is appended."""
    total = sum(_DOUBLED[int(d)] if place % 2 == 0 else int(d) for place, d in enumerate(reversed(digits)))
    return str(-total % 10)


def luhn_holds(digits: str) -> bool:
    """Whether the last digit is the check digit of those before it."""
    return len(digits) > 1 and luhn_check(digits[:-1]) == digits[-1]


def iban_holds(code: str) -> bool:
    """Whether an IBAN (country, check digits, account; capitals) leaves 1 modulo 97."""
    return int("".join(str(int(char, 36)) for char in code[4:] + code[:4])) % 97 == 1
