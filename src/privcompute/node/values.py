"""Values of a result as JSON and back, exactly: what `--json` prints, what the socket carries, what a release keeps.

Integers beyond 2^53 and DECIMALs are strings, dates ISO, a number that is not finite is null.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

_EXACT_IN_DOUBLE = 1 << 53
_DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")
_INTEGERS = frozenset(
    {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"}
)
_REALS = frozenset({"DOUBLE", "FLOAT", "REAL"})


def to_json(value: Any) -> Any:
    """One value of a result as JSON."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if abs(value) <= _EXACT_IN_DOUBLE else str(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Fraction):
        return upwards(value)
    if isinstance(value, date | datetime):
        return value.isoformat()
    raise TypeError(f"a result holds no {type(value).__name__}")


def upwards(value: Fraction | float) -> float:
    """The least double that is not below an error bound; infinite if it is beyond all doubles."""
    try:
        number = float(value)
    except OverflowError:
        return math.inf
    if isinstance(value, Fraction) and math.isfinite(number) and Fraction(number) < value:
        number = math.nextafter(number, math.inf)
    return number


def from_json(value: Any, kind: str) -> Any:
    """The value that `to_json` wrote, given the DuckDB type of its column."""
    if value is None:
        return None
    if kind in _INTEGERS:
        return int(value)
    if _DECIMAL.fullmatch(kind):
        return Decimal(value)
    if kind in _REALS:
        return float(value)
    if kind == "DATE":
        return date.fromisoformat(value)
    if kind.startswith("TIMESTAMP"):
        return datetime.fromisoformat(value)
    return value


def to_arrow(columns: Sequence[str], types: Sequence[str], rows: Sequence[Sequence[Any]]) -> pa.Table:
    """The rows as an Arrow table whose types follow DuckDB's; HUGEINT becomes decimal(38, 0)."""
    import pyarrow as pa

    arrays: list[Any] = []
    for index, kind in enumerate(types):
        values = [row[index] for row in rows]
        found = _DECIMAL.fullmatch(kind)
        if found:
            arrays.append(pa.array(values, pa.decimal128(int(found[1]), int(found[2]))))
        elif kind in ("HUGEINT", "UHUGEINT"):
            arrays.append(pa.array([None if v is None else Decimal(v) for v in values], pa.decimal128(38, 0)))
        elif kind in _INTEGERS:
            arrays.append(pa.array(values, pa.uint64() if kind == "UBIGINT" else pa.int64()))
        elif kind in _REALS:
            arrays.append(pa.array(values, pa.float64()))
        elif kind == "BOOLEAN":
            arrays.append(pa.array(values, pa.bool_()))
        elif kind == "DATE":
            arrays.append(pa.array(values, pa.date32()))
        elif kind.startswith("TIMESTAMP"):
            arrays.append(pa.array(values, pa.timestamp("us")))
        else:
            arrays.append(pa.array(values, pa.string()))
    return pa.Table.from_arrays(arrays, names=list(columns))
