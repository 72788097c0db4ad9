"""date_shift: all dates of one subject move by the same secret number of days; intervals between them stay.

The shift is HMAC(key, subject) modulo the width, never 0: the same in every table, chunk and process. It is whole
days of 24 hours: a time of day stays in UTC, leap days need no care, and no time zone enters. Seasons and weekdays are
blurred only; a subject of whom one true date is known has all of them known.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from privcompute.anonymize.identifiers import normalise, parser
from privcompute.anonymize.mask.dates import is_dated, moved, read_day
from privcompute.anonymize.mask.keys import Keys
from privcompute.anonymize.mask.operator import Apply, Masked, Operator, settle
from privcompute.anonymize.mask.parameters import choice, key_id, kind, optional, parameter, text, whole
from privcompute.anonymize.mask.texts import Cells, as_text
from privcompute.anonymize.mask.token import hmac_sha256
from privcompute.errors import UsageError

_DAY = 86_400


@dataclass(frozen=True)
class DateShift(Operator):
    """Moves dates.

    Attributes:
        key: the key's id.
        subject: the column that says whose date it is, as it is before any change.
        subject_type: a kind of identifier, whose spellings then are one subject.
        days: the largest shift, forth or back.
        domain: the kind of subject; tables whose dates shall move alike say the same.
        invalid: what becomes of cells that are no date, and of dates without a subject: "error" or "null".
    """

    op: ClassVar[str] = "date_shift"

    key: str = parameter(key_id)
    subject: str = parameter(text(128))
    subject_type: str | None = parameter(optional(kind), None)
    days: int = parameter(whole(7, 36_500), 365)
    domain: str = parameter(text(64), "person")
    invalid: str = parameter(choice("error", "null"), "error")

    @property
    def keys(self) -> tuple[str, ...]:
        """The one key."""
        return (self.key,)

    @property
    def beside(self) -> tuple[str, ...]:
        """The subject's column."""
        return (self.subject,)

    def bind(self, column: str, keys: Keys) -> Apply:
        """See Operator."""
        mac = hmac_sha256(keys.derive(self.key, "date_shift"))
        head = len(self.domain.encode()).to_bytes(4, "big") + self.domain.encode()
        parse = parser(self.subject_type) if self.subject_type else None

        def shift(subject: Any) -> int:
            canonical = " ".join(normalise(subject).split())
            if parse is not None:
                found = parse(subject)
                canonical = found.value if found.valid else canonical
            # 128 bits modulo at most 73,000: no shift is likelier than another by more than 2^-111.
            draw = int.from_bytes(mac(head + canonical.encode())[:16], "big") % (2 * self.days)
            return draw - self.days if draw < self.days else draw - self.days + 1

        def apply(cells: Cells, beside: Mapping[str, Cells]) -> Masked:
            codes = as_text(beside[self.subject], self.subject).dictionary_encode()
            table = np.array([shift(one) for one in codes.dictionary.to_pylist()] or [0], dtype=np.int64)
            known = np.asarray(codes.indices.is_valid())
            days = table[np.asarray(codes.indices.fill_null(0)).astype(np.int64)]
            return self._shifted(cells, days, known, column)

        return apply

    def _shifted(
        self,
        cells: Cells,
        days: np.ndarray[tuple[int], np.dtype[np.int64]],
        known: np.ndarray[tuple[int], np.dtype[np.bool_]],
        column: str,
    ) -> Masked:
        if pa.types.is_dictionary(cells.type):
            cells = cells.cast(cells.type.value_type)
        present = np.asarray(cells.is_valid())
        wrong = present & ~known
        if is_dated(cells.type):
            done = self._typed(cells, days, present & known, column)
        else:
            done = self._texts(cells, days, wrong, column)
        return settle(done, wrong, self.invalid, column, "date with a subject")

    def _typed(self, cells: Cells, days: np.ndarray, keep: np.ndarray, column: str) -> Cells:
        kind = cells.type
        if pa.types.is_date32(kind):
            step, plain = 1, cells.cast(pa.int32()).cast(pa.int64())
        else:
            unit = "ms" if pa.types.is_date64(kind) else kind.unit
            step = _DAY * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
            plain = cells.cast(pa.int64())
        values = np.asarray(plain.fill_null(0))
        if len(values):
            low, high = int(values.min()) - self.days * step, int(values.max()) + self.days * step
            limit = 2**31 if step == 1 else 2**63
            if low < -limit or high >= limit:
                raise UsageError(f"a shifted date of column {column!r} leaves its type", code="date_range")
        result = pa.array(values + days * step, type=pa.int64(), mask=~keep)
        return result.cast(pa.int32()).cast(kind) if step == 1 else result.cast(kind)

    def _texts(self, cells: Cells, days: np.ndarray, wrong: np.ndarray, column: str) -> Cells:
        result: list[str | None] = []
        for place, text_of_cell in enumerate(as_text(cells, column).to_pylist()):
            found = None if text_of_cell is None or wrong[place] else read_day(text_of_cell)
            if found is None:
                wrong[place] |= text_of_cell is not None
                result.append(None)
                continue
            day, spell = found
            other = moved(day, int(days[place]), column)
            assert isinstance(other, dt.date)  # noqa: S101 - a date and a timedelta make a date
            result.append(spell(other))
        return pa.array(result, type=pa.large_string())
