"""Vehicle plates: a province's character, an authority's letter, five characters, or six for new energy.

The last of five may be 挂 (trailer), 学 (driving school), 警 (police), 港 or 澳 (Hong Kong, Macao). Of six, a small
car's first and a large one's last is a letter of the fuel: D, A, B, C, E electric; F, G, H, J, K not only.

Source: GA 36-2018.
"""

from __future__ import annotations

import re
from typing import Final

from privcompute.anonymize.identifiers.divisions import PLATE_PROVINCES
from privcompute.anonymize.identifiers.normal import normalise
from privcompute.anonymize.identifiers.parsed import Parsed

KIND: Final = "cn_plate"
NEW_ENERGY: Final = "cn_plate_nev"
FUELS: Final = "ABCDEFGHJK"
LAST: Final = "挂学警港澳"

_ORDINARY = re.compile(rf"[{PLATE_PROVINCES}][A-HJ-NP-Z][0-9A-HJ-NP-Z]{{4}}[0-9A-HJ-NP-Z{LAST}]")
_SMALL = re.compile(rf"[{PLATE_PROVINCES}][A-HJ-NP-Z][{FUELS}][0-9A-HJ-NP-Z][0-9]{{4}}")
_LARGE = re.compile(rf"[{PLATE_PROVINCES}][A-HJ-NP-Z][0-9]{{5}}[{FUELS}]")
_DROPPED = str.maketrans("", "", " -·.\t")


def parse(text: str) -> Parsed:
    """A vehicle plate, with or without its dot.

    Returns:
        With `value` in capitals. Reasons: `length`, `province`, `characters`.
    """
    plate = normalise(text).upper().translate(_DROPPED)
    kind = NEW_ENERGY if len(plate) == 8 else KIND
    if len(plate) not in (7, 8):
        return Parsed(kind, plate, ("length",))
    if plate[0] not in PLATE_PROVINCES:
        return Parsed(kind, plate, ("province",))
    fits = _SMALL.fullmatch(plate) or _LARGE.fullmatch(plate) if kind == NEW_ENERGY else _ORDINARY.fullmatch(plate)
    return Parsed(kind, plate, () if fits else ("characters",), parts={"authority": plate[:2]})
