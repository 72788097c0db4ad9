"""Addresses of the Internet Protocol, versions 4 and 6.

Source: RFC 791; RFC 4291 section 2.2; RFC 5952 (the canonical text).
"""

from __future__ import annotations

import ipaddress
from typing import Final

from privcompute.anonymize.identifiers.normal import normalise
from privcompute.anonymize.identifiers.parsed import Parsed

KIND: Final = "ip"


def parse(text: str) -> Parsed:
    """An address of either version, in its canonical text.

    Returns:
        With `parts["scope"]`: `global`, or `local` for one that means nothing outside of its network. Reasons: `form`.
    """
    plain = normalise(text).strip().strip("[]")
    try:
        address = ipaddress.ip_address(plain)
    except ValueError:
        return Parsed(KIND, plain, ("form",))
    scope = "global" if address.is_global else "local"
    return Parsed(KIND, str(address), parts={"version": str(address.version), "scope": scope})
