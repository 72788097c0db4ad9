"""Organisation codes: eight digits or letters, a hyphen, a check character.

Source: GB 11714-1997.
"""

from __future__ import annotations

import re
from typing import Final

from privcompute.anonymize.identifiers.checksums import organisation_check
from privcompute.anonymize.identifiers.normal import compact
from privcompute.anonymize.identifiers.parsed import Parsed

KIND: Final = "cn_org_code"
_CODE = re.compile(r"[0-9A-Z]{8}[0-9X]")


def parse(text: str) -> Parsed:
    """An organisation code.

    Returns:
        With `value` of nine characters. Reasons: `length`, `characters`, `check_digit`.
    """
    code = compact(text)
    if len(code) != 9:
        return Parsed(KIND, code, ("length",))
    if not _CODE.fullmatch(code):
        return Parsed(KIND, code, ("characters",))
    return Parsed(KIND, code, () if organisation_check(code[:8]) == code[8] else ("check_digit",))
