"""bucket: a number or a date is replaced by the interval that holds it. Arithmetic is in decimals, exact."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pyarrow as pa

from privcompute.anonymize.identifiers import normalise
from privcompute.anonymize.mask.dates import read_day
from privcompute.anonymize.mask.keys import Keys
from privcompute.anonymize.mask.operator import Apply, Masked, Operator, settle
from privcompute.anonymize.mask.parameters import choice, optional, parameter
from privcompute.anonymize.mask.texts import TEXT, Cells, as_text, each_distinct
from privcompute.errors import UsageError

UNITS = ("month", "quarter", "year", "decade")
_DIGITS = 38


def number(value: object) -> Decimal | None:
    """A finite decimal of at most 38 digits out of what a policy or a cell holds; None if it is none."""
    try:
        result = Decimal(str(value)) if not isinstance(value, bool) else Decimal("NaN")
    except InvalidOperation:
        return None
    return result if result.is_finite() and -_DIGITS <= result.adjusted() < _DIGITS else None


def _number(value: object) -> str | None:
    return None if number(value) is not None and isinstance(value, int | float | str) else "must be a number"


def _positive(value: object) -> str | None:
    return _number(value) or (None if (number(value) or 0) > 0 else "must be positive")


def _edges(value: object) -> str | None:
    if not isinstance(value, tuple) or len(value) < 2 or any(_number(one) for one in value):
        return "must be a list of at least two numbers"
    numbers = [number(one) or Decimal(0) for one in value]
    return None if all(a < b for a, b in pairwise(numbers)) else "must ascend"


@dataclass(frozen=True)
class Bucket(Operator):
    """Replaces by intervals, closed below and open above, written `[20,30)`.

    Attributes:
        width: of the intervals of numbers; or edges, or a unit.
        origin: where an interval begins.
        low: below it everything is `<low`.
        high: from it on everything is `>=high`.
        edges: the limits of unequal intervals; outside of them everything is `<first` or `>=last`.
        unit: of dates: "month", "quarter", "year", "decade".
        invalid: what becomes of cells that are no number or date: "error" or "null".
    """

    op: ClassVar[str] = "bucket"

    width: int | float | str | None = parameter(optional(_positive), None)
    origin: int | float | str = parameter(_number, 0)
    low: int | float | str | None = parameter(optional(_number), None)
    high: int | float | str | None = parameter(optional(_number), None)
    edges: tuple[int | float | str, ...] | None = parameter(optional(_edges), None)
    unit: str | None = parameter(optional(choice(*UNITS)), None)
    invalid: str = parameter(choice("error", "null"), "error")

    def bind(self, column: str, keys: Keys) -> Apply:
        """See Operator."""
        if sum(one is not None for one in (self.width, self.edges, self.unit)) != 1:
            raise UsageError(f"bucket of column {column!r} needs a width, edges or a unit", code="policy")
        label: Callable[[str], str | None] = self._period if self.unit else self._interval

        def apply(cells: Cells, beside: Mapping[str, Cells]) -> Masked:
            texts = _texts(cells, column)
            done = each_distinct(texts, label)
            wrong = np.asarray(texts.is_valid()) & np.asarray(done.is_null())
            return settle(done, wrong, self.invalid, column, "date" if self.unit else "number")

        return apply

    def _interval(self, text: str) -> str | None:
        value = number(normalise(text).strip())
        if value is None:
            return None
        if self.edges is not None:
            edges = [number(one) or Decimal(0) for one in self.edges]
            at = bisect.bisect_right(edges, value)
            if at == 0:
                return f"<{_plain(edges[0])}"
            return f">={_plain(edges[-1])}" if at == len(edges) else f"[{_plain(edges[at - 1])},{_plain(edges[at])})"
        low, high = number(self.low), number(self.high)
        if low is not None and value < low:
            return f"<{_plain(low)}"
        if high is not None and value >= high:
            return f">={_plain(high)}"
        width, origin = number(self.width) or Decimal(1), number(self.origin) or Decimal(0)
        # Not `//`, which rounds towards zero for decimals.
        start = origin + ((value - origin) / width).to_integral_value(rounding="ROUND_FLOOR") * width
        if start > value:  # the quotient was rounded up to the next whole number
            start -= width
        return f"[{_plain(start)},{_plain(start + width)})"

    def _period(self, text: str) -> str | None:
        found = read_day(normalise(text))
        if found is None:
            return None
        day = found[0]
        return {
            "month": f"{day.year:04d}-{day.month:02d}",
            "quarter": f"{day.year:04d}-Q{(day.month + 2) // 3}",
            "year": f"{day.year:04d}",
            "decade": f"{day.year // 10:03d}0s",
        }[self.unit or "year"]


def _texts(cells: Cells, column: str) -> Cells:
    """As text; doubles by their shortest text, for an interval may be taken of what was measured."""
    if pa.types.is_floating(cells.type):
        return pa.array([None if one is None else repr(one) for one in cells.to_pylist()], type=TEXT)
    return as_text(cells, column)


def _plain(value: Decimal) -> str:
    text = f"{value:f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"
