"""Find identifiers in a column of text, on all cores.

A span counts characters of the original cell, as Python does. What a finding is made of stays in the column: a Finding
holds where and what kind, never the text.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from privcompute.anonymize.detect import context
from privcompute.anonymize.detect.kinds import DEFAULT_THRESHOLD, KINDS, reason_words
from privcompute.anonymize.detect.line import Out, workspace
from privcompute.anonymize.detect.lines import scan_lines
from privcompute.anonymize.detect.tables import tables
from privcompute.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from privcompute.anonymize.detect.lines import Longs

_BLOCK_BYTES: Final = 1 << 20
_GROWTH: Final = 6  # the most characters that a byte of UTF-8 folds to: U+FDFA, three bytes, becomes eighteen


@dataclass(frozen=True)
class Finding:
    """One identifier in a column.

    Attributes:
        row: of the column.
        start: its first character in the cell.
        end: behind its last one.
        kind: what it is.
        confidence: in percent.
        reasons: what speaks for it, and against it.
    """

    row: int
    start: int
    end: int
    kind: str
    confidence: int
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {**vars(self), "reasons": list(self.reasons)}


@dataclass(frozen=True, repr=False)
class Findings(Sequence[Finding]):
    """The identifiers of a column, by row and place.

    Attributes:
        rows: (n,) ascending.
        starts: (n,) characters.
        ends: (n,) characters.
        codes: (n,) indices into `KINDS`.
        confidences: (n,) percent.
        reasons: (n,) bits, in the order of `REASONS`.
    """

    rows: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int32]
    codes: npt.NDArray[np.uint8]
    confidences: npt.NDArray[np.uint8]
    reasons: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: Any) -> Any:
        """One finding."""
        return Finding(
            int(self.rows[place]),
            int(self.starts[place]),
            int(self.ends[place]),
            KINDS[self.codes[place]],
            int(self.confidences[place]),
            reason_words(int(self.reasons[place])),
        )

    def __repr__(self) -> str:
        return f"Findings({len(self)}: {', '.join(self.kinds())})"

    def of_row(self, row: int) -> Iterator[Finding]:
        """The findings of one row."""
        first, last = np.searchsorted(self.rows, [row, row + 1])
        return (self[place] for place in range(int(first), int(last)))

    def kinds(self) -> tuple[str, ...]:
        """The kinds there are, in alphabetical order."""
        return tuple(sorted(KINDS[code] for code in np.unique(self.codes)))

    def only(self, kinds: Iterable[str]) -> Findings:
        """Those of some kinds."""
        keep = np.isin(self.codes, [KINDS.index(kind) for kind in kinds])
        return Findings(*(values[keep] for values in vars(self).values()))


def scan(
    cells: Any,
    *,
    column: str = "",
    threshold: int = DEFAULT_THRESHOLD,
    threads: int | None = None,
    today: dt.date | None = None,
) -> Findings:
    """Find identifiers in every cell.

    Args:
        cells: an Arrow array of text, or texts and None.
        column: the column's name, which is context for all its cells.
        threshold: least confidence, in percent.
        threads: None: one a core.
        today: what birth dates may not be after; None: today.

    Raises:
        UsageError: `not_text`, `bad_threshold`.
    """
    if not 1 <= threshold <= 100:
        raise UsageError("a threshold lies between 1 and 100 percent", code="bad_threshold")
    data, offsets = _buffers(cells)
    always = context.of_column(column) if column else 0
    day = today or dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)
    number = day.year * 10000 + day.month * 100 + day.day
    cuts = _cuts(offsets)
    look_up = tables()

    def block(place: int) -> Out:
        first, last = cuts[place], cuts[place + 1]
        room = int(offsets[last] - offsets[first]) // 2 + 8
        longest = int(np.diff(offsets[first : last + 1]).max())
        out = Out(
            np.empty(room, dtype=np.int64),
            np.empty(room, dtype=np.int32),
            np.empty(room, dtype=np.int32),
            np.empty(room, dtype=np.uint8),
            np.empty(room, dtype=np.uint8),
            np.empty(room, dtype=np.int32),
        )
        line = workspace(_GROWTH * longest)
        count = scan_lines(data, offsets, first, last, look_up, line, threshold, always, number, out)
        trimmed: list[Any] = [values[:count].copy() for values in out]
        return Out(*trimmed)

    workers = max(1, min(threads or os.cpu_count() or 1, len(cuts) - 1))
    if workers == 1:
        parts = [block(place) for place in range(len(cuts) - 1)]
    else:
        with ThreadPoolExecutor(workers) as pool:  # the kernels release the interpreter lock
            parts = list(pool.map(block, range(len(cuts) - 1)))
    if not parts:
        longs, ints, small = np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.uint8)
        parts = [Out(longs, ints, ints, small, small, ints)]
    return Findings(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def scan_text(text: str, *, threshold: int = DEFAULT_THRESHOLD, today: dt.date | None = None) -> list[Finding]:
    """Find identifiers in one text; raises as `scan` does."""
    return list(scan([text], threshold=threshold, threads=1, today=today))


def warm_up() -> None:
    """Load the kernels, or compile them: half a minute, once after an installation.

    Raises:
        IntegrityError: this machine computes something else.
    """
    found = [(one.start, one.end, one.kind) for one in scan_text("身份证１１０１０５19491231002x", threshold=90)]
    if found != [(3, 21, "cn_id")]:
        raise IntegrityError("the kernels of detection do not find a known specimen", code="bad_kernel")


def _buffers(cells: Any) -> tuple[npt.NDArray[np.uint8], Longs]:
    """The bytes of all cells and where each starts; NULLs are empty."""
    column = cells if isinstance(cells, pa.Array | pa.ChunkedArray) else pa.array(cells, type=pa.large_string())
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)):
        raise UsageError(f"identifiers are looked for in text, not in {kind}", code="not_text")
    if column.type != pa.large_string():
        column = column.cast(pa.large_string())
    if column.null_count:
        column = column.fill_null("")
    _, offset_buffer, data_buffer = column.buffers()
    if len(column) == 0 or offset_buffer is None:
        return np.zeros(0, dtype=np.uint8), np.zeros(1, dtype=np.int64)
    offsets = np.frombuffer(memoryview(offset_buffer), dtype=np.int64)
    offsets = offsets[column.offset : column.offset + len(column) + 1]
    data = np.zeros(0, np.uint8) if data_buffer is None else np.frombuffer(memoryview(data_buffer), dtype=np.uint8)
    return data, offsets


def _cuts(offsets: Longs) -> list[int]:
    """Row numbers that cut the column into blocks of about a mebibyte."""
    rows = len(offsets) - 1
    if rows == 0:
        return [0]
    total = int(offsets[-1] - offsets[0])
    marks = np.searchsorted(offsets, offsets[0] + np.arange(_BLOCK_BYTES, total, _BLOCK_BYTES))
    return sorted({0, rows, *(int(mark) for mark in marks if 0 < mark < rows)})
