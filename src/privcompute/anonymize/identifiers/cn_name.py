"""Names of persons in Chinese characters: a surname, one or two characters given; or parts joined by a dot.

No rule tells a name from a word: a name in text needs a word before it that announces one (detect/), and a column
needs most of its values to look like names.
"""

from __future__ import annotations

import functools
import re
from typing import Final

from privcompute.anonymize.identifiers.normal import normalise
from privcompute.anonymize.identifiers.parsed import Parsed
from privcompute.anonymize.identifiers.words import COMPOUND_SURNAMES, SURNAMES

KIND: Final = "cn_name"

_HAN = "\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_PLAIN = re.compile(rf"[{_HAN}]{{2,4}}")
_DOTTED = re.compile(rf"[{_HAN}]+(?:·[{_HAN}]+)+")
_LATIN = re.compile(r"[A-Za-zÀ-ɏ][A-Za-zÀ-ɏ'’.\- ]*[A-Za-zÀ-ɏ.]")


@functools.cache
def _surnames() -> frozenset[str]:
    return frozenset(SURNAMES) | frozenset(COMPOUND_SURNAMES)


def surname_of(name: str) -> str | None:
    """The surname that a folded name begins with, the longer one if two do; None if none is known."""
    for length in (2, 1):
        if len(name) > length and name[:length] in _surnames():
            return name[:length]
    return None


def parse(text: str) -> Parsed:
    """A person's name.

    Returns:
        With `value` without spaces between Chinese characters. Reasons: `form`. Warnings: `unknown_surname`.
    """
    folded = " ".join(normalise(text).split())
    if _LATIN.fullmatch(folded):
        return Parsed(KIND, folded, warnings=("latin",))
    name = folded.replace(" ", "")
    if _DOTTED.fullmatch(name):
        return Parsed(KIND, name)
    if not _PLAIN.fullmatch(name):
        return Parsed(KIND, name, ("form",))
    surname = surname_of(name)
    if surname is None or len(name) - len(surname) > 2:
        return Parsed(KIND, name, warnings=("unknown_surname",))
    return Parsed(KIND, name, parts={"surname": surname})
