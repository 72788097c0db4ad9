"""What an owner should know of a table before it is released: identifiers, quality and a suggested grade per column.

All figures are the owner's own: a profile is printed for him and crosses to nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from privcompute.anonymize.detect.columns import ColumnScan, KindFound, is_text
from privcompute.anonymize.detect.kinds import DEFAULT_THRESHOLD
from privcompute.anonymize.grades_suggest import Suggestion, suggest

_DISTINCT: Final = 100_000


@dataclass(frozen=True, repr=False)
class ColumnProfile:
    """One column.

    Attributes:
        name: the column.
        type: its Arrow type.
        rows: cells.
        nulls: cells that are NULL.
        blank: cells of text that hold nothing but spaces.
        distinct: different values that are not NULL; None: more than 100,000.
        low: the smallest value of numbers and dates, as text.
        high: the largest one.
        shortest: fewest characters of a text.
        longest: most characters of a text.
        found: identifiers.
        grade: the suggested grades, with reasons.
    """

    name: str
    type: str
    rows: int
    nulls: int
    blank: int
    distinct: int | None
    low: str | None
    high: str | None
    shortest: int | None
    longest: int | None
    found: tuple[KindFound, ...]
    grade: Suggestion

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        plain = {key: value for key, value in vars(self).items() if key not in ("found", "grade")}
        found = [{**vars(one), "reasons": list(one.reasons)} for one in self.found]
        return {**plain, "found": found, "grade": self.grade.to_json()}


@dataclass(repr=False)
class _Tally:
    """One column, chunk by chunk."""

    name: str
    kind: pa.DataType
    rows: int = 0
    nulls: int = 0
    blank: int = 0
    values: set[Any] | None = field(default_factory=set, repr=False)
    low: Any = field(default=None, repr=False)
    high: Any = field(default=None, repr=False)
    shortest: int | None = None
    longest: int | None = None
    scan: ColumnScan | None = None

    def add(self, cells: pa.Array[Any]) -> None:
        self.rows += len(cells)
        self.nulls += cells.null_count
        if pa.types.is_dictionary(cells.type):
            cells = cells.cast(cells.type.value_type)
        if not pa.types.is_nested(cells.type):
            self._count(cells)
        if is_text(self.kind):
            self._text(cells.cast(pa.large_string()))
        elif _ordered(self.kind) and len(cells) > cells.null_count:
            ends = pc.min_max(cells)
            low, high = ends["min"].as_py(), ends["max"].as_py()
            self.low = low if self.low is None else min(self.low, low)
            self.high = high if self.high is None else max(self.high, high)

    def _count(self, cells: pa.Array[Any]) -> None:
        if self.values is not None:
            self.values.update(pc.unique(cells.drop_null()).to_pylist())
            if len(self.values) > _DISTINCT:
                self.values = None

    def _text(self, cells: Any) -> None:
        if self.scan is None:
            self.scan = ColumnScan(self.name)
        self.scan.add(cells)
        lengths = pc.min_max(pc.utf8_length(cells))
        if lengths["min"].as_py() is not None:
            self.shortest = min(lengths["min"].as_py(), self.shortest if self.shortest is not None else 1 << 62)
            self.longest = max(lengths["max"].as_py(), self.longest or 0)
        trimmed: Any = pc.utf8_trim_whitespace(cells)
        empty: Any = pc.equal(trimmed, pa.scalar("", type=pa.large_string()))
        self.blank += pc.sum(empty).as_py() or 0

    def result(self, threshold: int) -> ColumnProfile:
        found = self.scan.result(threshold) if self.scan else ()
        distinct = None if self.values is None else len(self.values)
        return ColumnProfile(
            self.name,
            str(self.kind),
            self.rows,
            self.nulls,
            self.blank,
            distinct,
            None if self.low is None else str(self.low),
            None if self.high is None else str(self.high),
            self.shortest,
            self.longest,
            found,
            suggest(self.name, [one.kind for one in found], numeric=_ordered(self.kind)),
        )


def _ordered(kind: pa.DataType) -> bool:
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_date, pa.types.is_timestamp)
    return any(test(kind) for test in tests)


def profile(
    names: Sequence[str], chunks: Iterable[pa.RecordBatch], *, threshold: int = DEFAULT_THRESHOLD
) -> tuple[ColumnProfile, ...]:
    """Profile a table that comes in chunks.

    Args:
        names: its columns.
        chunks: record batches with these columns.
        threshold: least confidence of what is told as found, in percent.

    Returns:
        A profile a column; none if there is no chunk.
    """
    tallies: dict[str, _Tally] = {}
    for chunk in chunks:
        for name in names:
            cells = chunk.column(name)
            tallies.setdefault(name, _Tally(name, cells.type)).add(cells)
    return tuple(tally.result(threshold) for tally in tallies.values())
