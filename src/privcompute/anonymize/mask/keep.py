"""keep: the column passes unchanged, and the policy says that this is meant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from privcompute.anonymize.mask.keys import Keys
from privcompute.anonymize.mask.operator import Apply, Masked, Operator


@dataclass(frozen=True)
class Keep(Operator):
    """Changes nothing."""

    op: ClassVar[str] = "keep"

    def bind(self, column: str, keys: Keys) -> Apply:
        """See Operator."""
        return lambda cells, beside: Masked(cells)
