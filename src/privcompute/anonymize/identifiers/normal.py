"""One spelling for what people write in many: full-width digits, invisible characters, dashes, spaces.

Every character is folded for itself, so that each folded one still knows where it stood: its NFKC form (full-width to
ASCII, circled digits to digits), decimal digits of every script to ASCII, dashes to `-`, middle dots to `·`, all kinds
of spaces to one. Invisible characters (Unicode Cf, variation selectors) are dropped. Nothing is composed across
characters, and letters keep their case.

Source: Unicode Standard Annex 15 (NFKC); Unicode Character Database, general categories.
"""

from __future__ import annotations

import functools
import unicodedata
from dataclasses import dataclass
from typing import Final

_DOTS: Final = frozenset("·•‧∙⋅・˙")
_DASHES: Final = frozenset("−")  # minus; all of category Pd are dashes as well
_JOINERS: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")
_SELECTORS: Final = (range(0xFE00, 0xFE10), range(0xE0000, 0xE1000), range(0x180B, 0x1810))


@dataclass(frozen=True, repr=False)
class Normal:
    """A folded text that knows its origin.

    Attributes:
        text: the folded characters.
        places: for each of them, the index in the original text of the character it came from.
    """

    text: str
    places: tuple[int, ...]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The original's half-open span of the folded text's span; both in characters, the span not empty."""
        return self.places[start], self.places[end - 1] + 1


@functools.lru_cache(maxsize=1 << 14)
def fold(char: str) -> str:
    """What one character becomes: nothing, one character or several."""
    category = unicodedata.category(char)
    if category == "Cf" or char in _JOINERS or any(ord(char) in taken for taken in _SELECTORS):
        return ""
    return "".join(map(_fold_one, unicodedata.normalize("NFKC", char)))


def _fold_one(char: str) -> str:
    if char.isascii():
        return char
    category = unicodedata.category(char)
    if category == "Nd":
        return str(unicodedata.decimal(char))
    if category == "Pd" or char in _DASHES:
        return "-"
    if category == "Zs":
        return " "
    return "·" if char in _DOTS else char


def normalise(text: str) -> str:
    """The folded text, without its offsets."""
    return text if text.isascii() else "".join(map(fold, text))


def normalise_with_places(text: str) -> Normal:
    """The folded text and where each of its characters came from."""
    if text.isascii():
        return Normal(text, tuple(range(len(text))))
    folded: list[str] = []
    places: list[int] = []
    for place, char in enumerate(text):
        for one in fold(char):
            folded.append(one)
            places.append(place)
    return Normal("".join(folded), tuple(places))


def compact(text: str) -> str:
    """Folded, in capitals, without spaces and dashes: the canonical form of a number with letters."""
    return "".join(char for char in normalise(text).upper() if char not in " -\t")
