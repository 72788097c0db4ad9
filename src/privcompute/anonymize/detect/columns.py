"""What a column as a whole is: which kind of identifier most of its cells are, and what is found inside of its text.

One cell that looks like a passport number says little; nine of ten do. So the share of cells that are, from end to
end, of one kind counts beside the single confidences, and the column's name beside both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa

from privcompute.anonymize.detect import context
from privcompute.anonymize.detect.kinds import (
    C_ADDRESS,
    C_LEAD,
    DEFAULT_THRESHOLD,
    KINDS,
    WANTED,
    reason_words,
)
from privcompute.anonymize.detect.scan import Findings, scan
from privcompute.anonymize.identifiers import cn_address, cn_name
from privcompute.anonymize.identifiers.normal import normalise

LEAST_SHARE: Final = 0.5
_SAMPLE: Final = 200  # cells a chunk that are read as names and addresses
_CANDIDATE: Final = 10  # confidence below which not even a column of them is worth a word


@dataclass(frozen=True)
class KindFound:
    """One kind of identifier in a column.

    Attributes:
        kind: which.
        cells: cells that hold one.
        whole: cells that are one from end to end.
        confidence: that the column holds such identifiers, in percent.
        reasons: what speaks for it.
    """

    kind: str
    cells: int
    whole: int
    confidence: int
    reasons: tuple[str, ...]


@dataclass
class ColumnScan:
    """Counts of one column, chunk by chunk.

    Attributes:
        name: the column.
        cells: cells so far that are not NULL.
        sampled: cells of them that were read as names and addresses.
    """

    name: str
    cells: int = 0
    sampled: int = 0
    _held: dict[str, int] = field(default_factory=dict, repr=False)
    _whole: dict[str, int] = field(default_factory=dict, repr=False)
    _best: dict[str, int] = field(default_factory=dict, repr=False)
    _reasons: dict[str, int] = field(default_factory=dict, repr=False)
    _looks: dict[str, int] = field(default_factory=dict, repr=False)

    def add(self, column: pa.Array[Any], *, threads: int | None = None) -> Findings:
        """Count a chunk of text.

        Returns:
            All that was found in it, also what is unlikely.
        """
        found = scan(column, column=self.name, threshold=_CANDIDATE, threads=threads)
        lengths = np.asarray(_lengths(column))
        self.cells += len(column) - column.null_count
        for code in np.unique(found.codes):
            kind = KINDS[code]
            mine = found.codes == code
            rows = found.rows[mine]
            spans = found.ends[mine] - found.starts[mine]
            self._held[kind] = self._held.get(kind, 0) + len(np.unique(rows))
            self._whole[kind] = self._whole.get(kind, 0) + int((spans == lengths[rows]).sum())
            self._best[kind] = max(self._best.get(kind, 0), int(np.median(found.confidences[mine])))
            self._reasons[kind] = self._reasons.get(kind, 0) | int(np.bitwise_or.reduce(found.reasons[mine]))
        self._look(column)
        return found

    def _look(self, column: pa.Array[Any]) -> None:
        """Names and addresses have no checks: a sample of cells is read as such."""
        cells = [normalise(str(one)) for one in column.slice(0, _SAMPLE).to_pylist() if one]
        self.sampled += len(cells)
        for kind, parse in ((cn_name.KIND, cn_name.parse), (cn_address.KIND, cn_address.parse)):
            fits = [one for one in map(parse, cells) if one.valid and not one.warnings]
            self._looks[kind] = self._looks.get(kind, 0) + len(fits)

    def result(self, threshold: int = DEFAULT_THRESHOLD) -> tuple[KindFound, ...]:
        """The kinds whose confidence reaches the threshold, the surest first."""
        always = context.of_column(self.name)
        found = []
        for kind, held in self._held.items():
            share = self._whole.get(kind, 0) / max(1, self.cells)
            confidence = self._best[kind]
            if share >= LEAST_SHARE:  # what chance explains in one cell it does not in most of a column
                confidence = max(confidence, round(100 - (100 - confidence) * (1 - share) - 3))
            elif confidence < DEFAULT_THRESHOLD and always & WANTED[KINDS.index(kind)] == 0:
                continue
            words = reason_words(self._reasons[kind]) + (("most_cells",) if share >= LEAST_SHARE else ())
            found.append(KindFound(kind, held, self._whole.get(kind, 0), min(99, confidence), words))
        found += self._by_look(always, {one.kind for one in found})
        # Of two kinds that the same cells are, the one that leaves less to chance.
        kept = [one for one in found if one.confidence >= threshold and not _shadowed(one, found)]
        return tuple(sorted(kept, key=lambda one: (-one.confidence, -one.cells, one.kind)))

    def _by_look(self, always: int, known: set[str]) -> list[KindFound]:
        found = []
        for kind, wanted in ((cn_name.KIND, C_LEAD), (cn_address.KIND, C_ADDRESS)):
            looks = self._looks.get(kind, 0)
            share = looks / max(1, self.sampled)
            named = bool(always & wanted) or _named(self.name, kind)
            if kind in known or not looks or share < (0.3 if named else 0.7):
                continue
            confidence = round(share * (95 if named else 75))
            estimate = round(share * self.cells)
            words = ("form", "most_cells", *(("context",) if named else ()))
            found.append(KindFound(kind, estimate, estimate, confidence, words))
        return found


def _named(column: str, kind: str) -> bool:
    names = {"cn_name": ("name", "姓名", "xm", "xingming"), "cn_address": ("addr", "住址", "地址", "dizhi")}[kind]
    return any(one in column.casefold() for one in names)


def _shadowed(one: KindFound, all_of_them: Iterable[KindFound]) -> bool:
    """Whether a surer kind takes nearly the same cells whole, so that this one is its reading by chance."""
    return any(
        other.kind != one.kind and other.confidence > one.confidence + 10 and other.whole >= 5 * max(1, one.whole)
        for other in all_of_them
    )


def _lengths(column: Any) -> Any:
    import pyarrow.compute as pc  # deferred: of columns alone

    return pc.utf8_length(column).fill_null(0)


def is_text(kind: pa.DataType) -> bool:
    """Whether a column's cells are text."""
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(test(plain) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))
