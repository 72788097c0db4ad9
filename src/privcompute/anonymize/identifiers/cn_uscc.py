"""Unified social credit codes of organisations: 18 characters of an alphabet of 31, which has no I, O, S, V, Z.

    1 registering department | 1 category | 6 region | 9 organisation code | 1 check

Source: GB 32100-2015; the organisation code inside is GB 11714-1997 and has a check character of its own.
"""

from __future__ import annotations

from typing import Final

from privcompute.anonymize.identifiers.checksums import USCC_ALPHABET, organisation_check, uscc_check
from privcompute.anonymize.identifiers.divisions import PROVINCES
from privcompute.anonymize.identifiers.normal import compact
from privcompute.anonymize.identifiers.parsed import Parsed

KIND: Final = "cn_uscc"
DEPARTMENTS: Final = "123456789ANY"
"""First characters: establishment, diplomacy, justice, culture, civil affairs, …, 9 industry and commerce, Y others."""


def parse(text: str) -> Parsed:
    """A social credit code.

    Returns:
        With `value` in capitals. Reasons: `length`, `characters`, `department`, `check_digit`. Warnings: `region`
        (of the central registry, or unknown), `inner_check` (the organisation code's own check does not hold: codes
        given since 2015 need not keep it).
    """
    code = compact(text)
    if len(code) != 18:
        return Parsed(KIND, code, ("length",))
    if not set(code) <= set(USCC_ALPHABET):
        return Parsed(KIND, code, ("characters",))
    reasons = [] if code[0] in DEPARTMENTS else ["department"]
    if uscc_check(code[:17]) != code[17]:
        reasons.append("check_digit")
    warnings = [] if code[2:8].isdigit() and (code[2:4] in PROVINCES or code[2:4] == "10") else ["region"]
    if organisation_check(code[8:16]) != code[16]:
        warnings.append("inner_check")
    return Parsed(KIND, code, tuple(reasons), tuple(warnings), {"region": code[2:8], "organisation": code[8:17]})
