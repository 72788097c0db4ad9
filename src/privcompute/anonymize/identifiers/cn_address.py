"""Postal addresses in Chinese: province, prefecture, county, then street, number, building.

Source: GB/T 23705-2009 (the order of an address's elements); GB/T 2260 (the names).
"""

from __future__ import annotations

import functools
import re
from typing import Final

from privcompute.anonymize.identifiers.divisions import PROVINCES, prefectures
from privcompute.anonymize.identifiers.normal import normalise
from privcompute.anonymize.identifiers.parsed import Parsed

KIND: Final = "cn_address"

_PROVINCE_ENDS = re.compile("(壮族自治区|回族自治区|维吾尔自治区|特别行政区|自治区|省|市)$")
STREET_SIGNS: Final = "路街巷弄道村镇乡里园苑庄屯"
"""Characters with which the name of a street, village or estate ends."""

NUMBER_SIGNS: Final = "号室楼栋幢层座组户單单元"
"""Characters that follow a number of a house, building or room."""

_STREET = re.compile(f"[{STREET_SIGNS}]|胡同|大厦|小区|社区|开发区")


@functools.cache
def starts() -> tuple[str, ...]:
    """What an address may begin with: provinces and prefectures, with and without their kind, longest first."""
    full = {*PROVINCES.values(), *prefectures().values()}
    short = {_PROVINCE_ENDS.sub("", name) for name in full}
    return tuple(sorted(full | {name for name in short if len(name) > 1}, key=lambda name: (-len(name), name)))


def region_of(address: str) -> str:
    """The name that a folded address begins with; empty if it is none of a province or prefecture."""
    return next((name for name in starts() if address.startswith(name)), "")


def parse(text: str) -> Parsed:
    """An address.

    Returns:
        With `value` without spaces. Reasons: `form`. Warnings: `unknown_region`.
    """
    address = "".join(normalise(text).split())
    if not _STREET.search(address) or len(address) < 5:
        return Parsed(KIND, address, ("form",))
    region = region_of(address)
    return Parsed(KIND, address, (), () if region else ("unknown_region",), {"region": region})
