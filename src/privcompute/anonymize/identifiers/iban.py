"""International bank account numbers: country, two check digits, the country's account number.

Source: ISO 13616-1; SWIFT's registry of lengths.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from privcompute.anonymize.identifiers.checksums import iban_holds
from privcompute.anonymize.identifiers.normal import compact
from privcompute.anonymize.identifiers.parsed import Parsed

KIND: Final = "iban"

_BY_LENGTH = {
    15: "NO",
    16: "BE",
    18: "DK FO FI FK GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HU LB NI PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU YE",
    31: "MT SC",
    32: "LC",
    33: "RU",
}
LENGTHS: Final[Mapping[str, int]] = MappingProxyType(
    {country: length for length, countries in _BY_LENGTH.items() for country in countries.split()}
)
"""Characters of an IBAN by country."""

_FORM = re.compile(r"[A-Z]{2}[0-9]{2}[0-9A-Z]{11,30}")


def parse(text: str) -> Parsed:
    """An IBAN, grouped or not.

    Returns:
        With `value` in capitals without spaces. Reasons: `characters`, `country`, `length`, `check_digit`.
    """
    code = compact(text)
    if not _FORM.fullmatch(code):
        return Parsed(KIND, code, ("characters",))
    length = LENGTHS.get(code[:2])
    if length is None:
        return Parsed(KIND, code, ("country",))
    if length != len(code):
        return Parsed(KIND, code, ("length",))
    return Parsed(KIND, code, () if iban_holds(code) else ("check_digit",), parts={"country": code[:2]})
