"""The part of a pass that looks at single rows: values as integers, filters as 0 or 1, broken promises as bits.

Every expression is computed on every row, whatever a filter says: whether a row's arithmetic fails, or a check, depends
on neither filter nor peer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from privcompute.errors import UsageError
from privcompute.tables.checks import MASK_BITS, Check, column_checks, encode, mask_columns
from privcompute.tables.expressions import columns_of, expression_type, wrapped
from privcompute.tables.features import Feature
from privcompute.tables.schema import Column

if TYPE_CHECKING:
    import pyarrow as pa

    from privcompute.tables.source import Source


class Rows:
    """The values, filters and checks that features and selections need, each once.

    Args:
        source: the table.
        features: what is summed.
        selections: DuckDB boolean expressions.
        expressions: what else is read, so that its columns are checked too.
        columns: the published columns; those that are used are checked, whole.
        checks: further checks.

    Attributes:
        used: names of the columns that the expressions use.
        values: SQL of each distinct encoded value; they are named v0, v1, …
        bounds: the largest size of each.
        value_of: for each feature the index of its value.
        wheres: each distinct filter; they are named w0, w1, …
        where_of: filter to its index.

    Raises:
        UsageError: `encoding_mismatch`, `bad_expression`, `no_such_column`.
    """

    def __init__(
        self,
        source: Source,
        features: Sequence[Feature],
        selections: Sequence[str],
        expressions: Sequence[str],
        columns: Sequence[Column],
        checks: Sequence[Check] = (),
    ) -> None:
        schema = source.schema()
        read = [*(f.sql for f in features), *(f.where for f in features), *selections, *expressions]
        self.used = {column.name for column in source.columns(sorted(set().union(*map(columns_of, read))))}
        self._checks = [*column_checks([column for column in columns if column.name in self.used]), *checks]
        self.bounds: list[int] = []
        self.value_of = []
        values: dict[str, int] = {}
        for feature in features:
            # The same value under several filters is encoded, and checked, once.
            encoded = encode(feature, expression_type(schema, feature.sql))
            if encoded.value not in values:
                values[encoded.value] = len(values)
                self.bounds.append(encoded.bound)
                self._checks += encoded.checks
            self.value_of.append(values[encoded.value])
        self.values = list(values)
        self.wheres = list(dict.fromkeys([feature.where for feature in features] + list(selections)))
        for where in self.wheres:
            kind = expression_type(schema, where).type
            if kind not in ("BOOLEAN", '"NULL"', "NULL"):
                raise UsageError("a filter is not a boolean expression", code="bad_expression")
        self.where_of = {where: place for place, where in enumerate(self.wheres)}
        self._masks = mask_columns(self._checks)

    @property
    def masks(self) -> list[str]:
        """Names of the masks of `mask_columns`."""
        return [f"m{place}" for place in range(len(self._masks))]

    def columns(self) -> list[str]:
        """The select list: values v…, filters w… as TINYINT 0 or 1, masks m…"""
        values = [f"{sql} AS v{place}" for place, sql in enumerate(self.values)]
        wheres = [
            f"CAST(coalesce({wrapped(where)}, false) AS TINYINT) AS w{place}" for place, where in enumerate(self.wheres)
        ]
        return [*values, *wheres, *(f"{sql} AS m{place}" for place, sql in enumerate(self._masks))]

    def broken(self, batch: pa.RecordBatch) -> int:
        """Which checks some row of the batch breaks, by the batch's columns m…: bit i stands for the i-th check."""
        flags = 0
        for place, name in enumerate(self.masks):
            mask = batch.column(name).to_numpy(zero_copy_only=False)
            flags |= int(np.bitwise_or.reduce(mask, initial=0)) << (place * MASK_BITS)
        return flags

    def judge(self, flags: int) -> None:
        """Raise the error of the first broken check.

        Args:
            flags: as `broken` gives them, of all rows.

        Raises:
            UsageError: `range_exceeded`, `not_decimal`, `null_found`, `outside_domain` and the codes of further checks.
        """
        for place, check in enumerate(self._checks):
            if flags >> place & 1:
                raise check.error()


def check_rows_per_key(most: int, cap: int) -> None:
    """Hold the number of rows of one key to the public cap.

    Raises:
        UsageError: `rows_per_key_exceeded`.
    """
    if most > cap:
        raise UsageError(
            f"some key has more than {cap} rows, the public cap",
            code="rows_per_key_exceeded",
            remedy="raise the cap: dataset edit … --max-rows-per-key N; or remove duplicates",
        )
