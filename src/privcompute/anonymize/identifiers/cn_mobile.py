"""Mobile numbers of mainland China: 1, a segment 3 to 9, nine digits; and the 13 digits of connected things.

Nothing in a number checks the rest, so text needs borders or context to make one certain.

Source: numbering plan of the Ministry of Industry and Information Technology; ITU-T E.164 (country code 86).
"""

from __future__ import annotations

import re
from typing import Final

from privcompute.anonymize.identifiers.normal import normalise
from privcompute.anonymize.identifiers.parsed import Parsed

KIND: Final = "cn_mobile"

_COUNTRY = re.compile(r"(?:\+|00)?86(?=1[0-9]{10}$|1064[0-9]{9}$)")
_DROPPED = str.maketrans("", "", " -()\t")


def parse(text: str) -> Parsed:
    """A mobile number in any common spelling, with or without 86.

    Returns:
        With `value` of 11 (or 13) digits. Reasons: `characters`, `length`, `segment`.
    """
    plain = normalise(text).translate(_DROPPED)
    number = _COUNTRY.sub("", plain, count=1)
    if not (number.isascii() and number.isdigit()):
        return Parsed(KIND, number, ("characters",))
    if len(number) == 13 and number.startswith("1064"):
        return Parsed(KIND, number, parts={"segment": "1064"}, warnings=("thing",))
    if len(number) != 11:
        return Parsed(KIND, number, ("length",))
    if number[0] != "1" or number[1] not in "3456789":
        return Parsed(KIND, number, ("segment",))
    return Parsed(KIND, number, parts={"segment": number[:3]})
