"""Chinese passports: E and 8 digits, E with a letter and 7 digits, G and 8 digits, service and diplomatic ones.

Nothing checks the digits: text needs context.

Source: National Immigration Administration; ICAO Doc 9303.
"""

from __future__ import annotations

import re
from typing import Final

from privcompute.anonymize.identifiers.normal import compact
from privcompute.anonymize.identifiers.parsed import Parsed

KIND: Final = "cn_passport"
_FORM = re.compile(r"E[0-9]{8}|E[A-HJ-NP-Z][0-9]{7}|G[0-9]{8}|[DSP][0-9]{8}|[DSP]E[0-9]{7}")


def parse(text: str) -> Parsed:
    """A passport number.

    Returns:
        With `value` of nine characters. Reasons: `length`, `characters`.
    """
    number = compact(text)
    if len(number) != 9:
        return Parsed(KIND, number, ("length",))
    return Parsed(KIND, number, () if _FORM.fullmatch(number) else ("characters",))
