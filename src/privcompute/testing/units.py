"""Times and rates as people write them: "20ms", "100Mbit"."""

from __future__ import annotations

import re

from privcompute.errors import UsageError

_TIME = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_RATE = {"kbit": 1e3 / 8, "mbit": 1e6 / 8, "gbit": 1e9 / 8}


def _parse(text: str, units: dict[str, float], example: str) -> float:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]+)\s*", text)
    if match is None or match.group(2).lower() not in units:
        raise UsageError(f"{text!r} is not of the form {example!r} (units: {', '.join(units)})", code="bad_unit")
    return float(match.group(1)) * units[match.group(2).lower()]


def parse_time(text: str) -> float:
    """Seconds of "20ms"."""
    return _parse(text, _TIME, "20ms")


def parse_rate(text: str) -> float:
    """Bytes a second of "100Mbit"."""
    return _parse(text, _RATE, "100Mbit")
