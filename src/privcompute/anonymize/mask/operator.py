"""What an operator is: parameters as a policy states them, which become a function of a column's chunk.

The function sees one chunk of the column, and of other columns that it asks for. It is a pure function of cells and
keys (but for `noise`): so chunks, tables and processes agree.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from privcompute.anonymize.mask.keys import Keys
from privcompute.anonymize.mask.texts import Cells
from privcompute.errors import UsageError


@dataclass(frozen=True, repr=False)
class Masked:
    """What an operator made of a chunk.

    Attributes:
        column: as many cells as there were, NULL where they were NULL.
        invalid: cells that were not what the operator needs, made NULL because the policy says so.
    """

    column: Cells
    invalid: int = 0


Apply = Callable[[Cells, Mapping[str, Cells]], Masked]


class Operator(ABC):
    """One operator with its parameters; its subclasses are frozen dataclasses."""

    op: ClassVar[str]
    """Its name in a policy."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Ids of the keys it needs."""
        return ()

    @property
    def beside(self) -> tuple[str, ...]:
        """Other columns that it reads, as they were before anything was changed."""
        return ()

    @abstractmethod
    def bind(self, column: str, keys: Keys) -> Apply:
        """The function for one column.

        Args:
            column: its name, for messages.
            keys: where its keys are.

        Raises:
            UsageError: `no_key`.
            PrivacyError: the parameters would hide too little.
        """


def settle(
    column: Cells, wrong: np.ndarray[tuple[int], np.dtype[np.bool_]], invalid: str, name: str, what: str
) -> Masked:
    """The chunk, if its invalid cells are to be NULL; an error, if there are any and they are not.

    Args:
        column: NULL where a cell is wrong.
        wrong: (n,) the cells that are.
        invalid: the policy's word: "error" or "null".
        name: the column's name.
        what: what the cells should be.

    Raises:
        UsageError: `invalid_value`; it holds no value.
    """
    count = int(wrong.sum())
    if count and invalid == "error":
        raise UsageError(
            f"column {name!r} holds {count} {'cell' if count == 1 else 'cells'} in one chunk that"
            f" {'is' if count == 1 else 'are'} no {what}",
            code="invalid_value",
            remedy='`privcompute profile` counts them; correct them, or set invalid = "null" to empty them',
        )
    return Masked(column, count)
