"""Permits to travel between the mainland, Hong Kong, Macao and Taiwan.

    H or M and 8 digits (older: 10)    of Hong Kong and Macao residents, to the mainland
    8 digits                           of Taiwan residents, to the mainland
    C, W, L or T: 8 digits, or C with a letter and 7 digits    of mainland residents

Nothing checks the digits: text needs context, and eight digits need it most.

Source: National Immigration Administration, forms of the permits since 2013.
"""

from __future__ import annotations

import re
from typing import Final

from privcompute.anonymize.identifiers.normal import compact
from privcompute.anonymize.identifiers.parsed import Parsed

HK_MO: Final = "hk_mo_permit"
TAIWAN: Final = "tw_permit"
MAINLAND: Final = "mainland_permit"

_FORMS = {
    HK_MO: re.compile(r"[HM][0-9]{8}(?:[0-9]{2})?"),
    TAIWAN: re.compile(r"[0-9]{8}"),
    MAINLAND: re.compile(r"[CWLT][0-9]{8}|C[A-HJ-NP-Z][0-9]{7}"),
}


def _parse(kind: str, text: str) -> Parsed:
    number = compact(text)
    if _FORMS[kind].fullmatch(number):
        return Parsed(kind, number[:9] if kind == HK_MO else number)
    return Parsed(kind, number, ("characters" if 8 <= len(number) <= 11 else "length",))


def parse_hk_mo(text: str) -> Parsed:
    """A permit of a Hong Kong or Macao resident; the two digits that count reissues are dropped."""
    return _parse(HK_MO, text)


def parse_taiwan(text: str) -> Parsed:
    """A permit of a Taiwan resident."""
    return _parse(TAIWAN, text)


def parse_mainland(text: str) -> Parsed:
    """A permit of a mainland resident."""
    return _parse(MAINLAND, text)
