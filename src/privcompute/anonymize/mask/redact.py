"""redact: every value is replaced by one text; or, in free text, only the identifiers that are found in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from privcompute.anonymize.mask.keys import Keys
from privcompute.anonymize.mask.operator import Apply, Masked, Operator
from privcompute.anonymize.mask.parameters import flag, parameter, text, whole
from privcompute.anonymize.mask.texts import TEXT, Cells, as_text


@dataclass(frozen=True)
class Redact(Operator):
    """Replaces values.

    Attributes:
        replacement: what stands for a value (`with` in a policy).
        found: replace only the identifiers that detection finds in the text, each by its kind in brackets.
        threshold: of detection, the least confidence in percent.
    """

    op: ClassVar[str] = "redact"

    replacement: str = parameter(text(100), "***", name="with")
    found: bool = parameter(flag, False)
    threshold: int = parameter(whole(1, 100), 40)

    def bind(self, column: str, keys: Keys) -> Apply:
        """See Operator."""

        def whole_cells(cells: Cells, beside: Mapping[str, Cells]) -> Masked:
            fill = pa.scalar(self.replacement, type=TEXT)
            return Masked(pc.if_else(cells.is_valid(), fill, pa.scalar(None, type=TEXT)))

        def spans(cells: Cells, beside: Mapping[str, Cells]) -> Masked:
            return Masked(self._without(as_text(cells, column)))

        return spans if self.found else whole_cells

    def _without(self, cells: Cells) -> Cells:
        from privcompute.anonymize.detect import scan  # deferred: loads the kernels

        found = scan(cells, threshold=self.threshold)
        if not len(found):
            return cells
        changed: dict[int, str] = {}
        for row in np.unique(found.rows):
            value = cells[int(row)].as_py()
            # From the end, so that the places of those before stay what they are.
            for one in sorted(found.of_row(int(row)), key=lambda one: -one.start):
                value = f"{value[: one.start]}[{one.kind}]{value[one.end :]}"
            changed[int(row)] = value
        mask = np.zeros(len(cells), dtype=np.bool_)
        mask[list(changed)] = True
        done: Cells = pc.replace_with_mask(
            cells, pa.array(mask), pa.array([changed[row] for row in sorted(changed)], type=TEXT)
        )
        return done
