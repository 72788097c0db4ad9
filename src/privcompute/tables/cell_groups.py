"""From a row's value of GROUP BY to its place in the list that the plan states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from privcompute.errors import UsageError
from privcompute.tables.cells import Grouping
from privcompute.tables.expressions import expression_type, wrapped
from privcompute.tables.schema import Kind

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from privcompute.tables.source import Source

_INT64 = range(-(1 << 63), 1 << 63)
_KINDS = {"VARCHAR": Kind.TEXT, "BIGINT": Kind.INTEGER, "BOOLEAN": Kind.BOOLEAN, "DATE": Kind.DATE}
_CARRIED = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")


class Group:
    """One grouping: the SQL that streams its values, and their index in the plan's list."""

    def __init__(self, sql: str, values: pa.Array[Any], closed: bool) -> None:
        self.sql = sql
        self.size = len(values)
        self.closed = closed
        self._values = values

    @classmethod
    def of(cls, source: Source, grouping: Grouping) -> Group:
        found = expression_type(source.schema(), grouping.sql)
        if found.kind is not _KINDS[grouping.type]:
            raise UsageError(
                f"an expression of type {found.type} cannot be grouped as {grouping.type}",
                code="encoding_mismatch",
                remedy="cast it in the query to the type that is meant",
            )
        x = wrapped(grouping.sql)
        values = grouping.values
        if grouping.type == "BOOLEAN":
            return cls(f"CAST({x} AS BOOLEAN)", pa.array(values, pa.bool_()), grouping.closed)
        narrow = found.type in _CARRIED and all(v is None or int(v) in _INT64 for v in values)
        if grouping.type == "BIGINT" and narrow:
            return cls(f"CAST({x} AS BIGINT)", pa.array(values, pa.int64()), grouping.closed)
        # Integers beyond 64 bits, and dates, are told apart by their text: there is one for each.
        texts = [None if value is None else str(value) for value in values]
        return cls(f"CAST({x} AS VARCHAR)", pa.array(texts, pa.string()), grouping.closed)

    def index(self, values: pa.Array[Any]) -> npt.NDArray[np.int32]:
        """int32 of the same length: the place of each value, -1 for one that is not in the list."""
        places: Any = pc.index_in(values, value_set=self._values)
        found: npt.NDArray[np.int32] = places.fill_null(-1).to_numpy()
        return found
