"""Resident identity numbers of 18 and 15 digits, and the two cards that share their form.

    6 region | 8 birth date | 3 order, odd for men | 1 check          18 digits
    6 region | 6 birth date without century | 3 order                 15 digits, issued until 1999

The residence permits of people from Hong Kong, Macao and Taiwan have the regions 810000, 820000 and 830000. The
permanent residence card of foreigners (2023) begins with 9: province, nationality (ISO 3166), birth date, order.

Source: GB 11643-1999; State Council notice on residence permits, 2018; National Immigration Administration, 2023.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

from privcompute.anonymize.identifiers.checksums import id_check
from privcompute.anonymize.identifiers.divisions import PROVINCES, RESIDENCE_REGIONS, known_county
from privcompute.anonymize.identifiers.normal import compact
from privcompute.anonymize.identifiers.parsed import Parsed

KIND: Final = "cn_id"
SHORT: Final = "cn_id15"
RESIDENCE: Final = "hk_mo_tw_residence"
FOREIGN: Final = "foreign_permanent"

EARLIEST: Final = dt.date(1800, 1, 1)
"""Nobody born earlier holds a number; the standard's own specimen was born in 1880."""

_LONG = re.compile(r"[0-9]{17}[0-9X]")
_SHORT = re.compile(r"[0-9]{15}")


def parse(text: str, today: dt.date | None = None) -> Parsed:
    """A resident identity number; one of 15 digits is upgraded to 18.

    Args:
        text: as written; folded here.
        today: what the future begins after; None: now.

    Returns:
        With `value` of 18 characters where there is one. Reasons: `length`, `characters`, `region`, `birth_date`,
        `birth_in_future`, `check_digit`. Warnings: `unknown_county`, `short_form`.
    """
    number = compact(text)
    if _SHORT.fullmatch(number):
        longer = upgrade(number)
        found = _read(longer, today)
        return Parsed(SHORT, longer, found.reasons, ("short_form", *found.warnings), found.parts)
    if len(number) != 18:
        return Parsed(KIND, number, ("length",))
    if not _LONG.fullmatch(number):
        return Parsed(KIND, number, ("characters",))
    return _read(number, today)


def upgrade(number: str) -> str:
    """The 18 characters of a number of 15 digits: the century 19 and the check digit are added."""
    first = number[:6] + "19" + number[6:]
    return first + id_check(first)


def kind_of(number: str) -> str:
    """Which of the cards that share the form has a number of 18 characters."""
    if number[0] == "9":
        return FOREIGN
    return RESIDENCE if number[:6] in RESIDENCE_REGIONS else KIND


def _read(number: str, today: dt.date | None) -> Parsed:
    kind = kind_of(number)
    reasons: list[str] = []
    warnings: list[str] = []
    region = number[1:3] if kind == FOREIGN else number[:2]
    if region not in PROVINCES and kind != RESIDENCE:
        reasons.append("region")
    elif kind == KIND and not known_county(number[:6]):
        warnings.append("unknown_county")
    birth = birth_date(number)
    if birth is None or birth < EARLIEST:
        reasons.append("birth_date")
    elif birth > (today or dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)):
        reasons.append("birth_in_future")
    if id_check(number[:17]) != number[17]:
        reasons.append("check_digit")
    parts = {"region": number[:6], "order": number[14:17], "sex": "m" if int(number[16]) % 2 else "f"}
    if birth is not None:
        parts["birth"] = birth.isoformat()
    return Parsed(kind, number, tuple(reasons), tuple(warnings), parts)


def birth_date(number: str) -> dt.date | None:
    """The birth date in a number of 18 characters; None if there is no such day."""
    try:
        return dt.date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return None
