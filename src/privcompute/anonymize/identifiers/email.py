"""E-mail addresses, as people write them: a local part of unquoted characters, a host name with a dot.

Source: RFC 5322 (dot-atom), RFC 1035 (labels), RFC 5321 section 4.5.3.1 (lengths).
"""

from __future__ import annotations

import re
from typing import Final

from privcompute.anonymize.identifiers.normal import normalise
from privcompute.anonymize.identifiers.parsed import Parsed

KIND: Final = "email"
_LOCAL = re.compile(r"[A-Za-z0-9_%+!#$&'*/=?^`{|}~-]+(?:\.[A-Za-z0-9_%+!#$&'*/=?^`{|}~-]+)*")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]*[A-Za-z]")


def parse(text: str) -> Parsed:
    """An e-mail address.

    Returns:
        With `value` whose host is in small letters; the local part keeps its case. Reasons: `characters`, `length`.
    """
    address = normalise(text).strip()
    local, _, host = address.rpartition("@")
    value = f"{local}@{host.lower()}"
    if len(local) > 64 or len(host) > 255:
        return Parsed(KIND, value, ("length",))
    fits = _LOCAL.fullmatch(local) and _HOST.fullmatch(host)
    return Parsed(KIND, value, () if fits else ("characters",), parts={"host": host.lower()})
