"""The released table: labels for values, suppressed rows as the policy says, rows in an order that tells nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from privcompute.anonymize.classes import Ints, Mask
from privcompute.anonymize.encode import encode
from privcompute.anonymize.policy import Policy
from privcompute.anonymize.prepare import Prepared
from privcompute.anonymize.shown import Shown, ShownColumn
from privcompute.errors import UsageError
from privcompute.randomness import system_stream


def assemble(policy: Policy, prepared: Prepared, shown: Shown) -> pa.Table:
    """Build the table that leaves.

    Raises:
        UsageError: `marker` if some label or value is spelt like the policy's marker.
    """
    table, qi = prepared.table, policy.names("qi")
    hidden = np.ones(table.num_rows, np.bool_)
    hidden[prepared.taking_part] = shown.suppressed
    found: dict[str, Any] = {}
    by_name = dict(zip(qi, shown.columns, strict=True))
    for name in table.column_names:
        if name in by_name:
            cells = shown.hidden[qi.index(name)] if shown.hidden else None
            found[name] = _labels(policy, prepared, name, by_name[name], hidden, cells)
        else:
            column = table.column(name)
            if policy.output.suppressed == "blank" and hidden.any():
                column = _blanked(column, hidden)
            found[name] = column
    out = pa.table(found)
    if policy.output.suppressed == "drop" and hidden.any():
        out = out.filter(pa.array(~hidden))
    return out.take(_order(policy, out))


def _labels(
    policy: Policy, prepared: Prepared, name: str, column: ShownColumn, hidden: Mask, cells: Mask | None
) -> pa.ChunkedArray[Any] | pa.Array[Any]:
    marked = hidden.any() and policy.output.suppressed != "drop"
    if column.as_is and not marked and cells is None:
        return prepared.table.column(name)
    if policy.output.marker in column.labels:
        raise UsageError(
            f"a label of column {name!r} is spelt like the marker of suppressed cells",
            code="marker",
            remedy="choose another output.marker",
        )
    marker = len(column.labels)
    codes: Ints = np.full(len(hidden), marker, np.int64)
    codes[prepared.taking_part] = column.codes
    codes[hidden] = marker
    if cells is not None:
        codes[np.flatnonzero(prepared.taking_part)[cells]] = marker
    texts = pa.array([*column.labels, policy.output.marker], pa.string())
    return texts.take(codes)


def _blanked(column: pa.ChunkedArray[Any], hidden: Mask) -> pa.ChunkedArray[Any]:
    import pyarrow.compute as pc

    out: pa.ChunkedArray[Any] = pc.if_else(pa.array(hidden), pa.scalar(None, column.type), column)
    return out


def _order(policy: Policy, table: pa.Table) -> Ints:
    """A permutation of the rows: random, or by all that they show, which no order of the input can change."""
    rows = table.num_rows
    if policy.output.order == "shuffle":
        return system_stream("anonymize|order of rows").permutation(rows)
    keys: list[Ints] = []
    space = 1
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_nested(column.type):
            continue  # lists and structs have no order; they follow the other columns
        found = encode(name, column)
        width = max(1, len(found.values))
        if keys and space * width < 1 << 62:
            keys[-1] = keys[-1] * width + found.codes
            space *= width
        else:
            keys.append(found.codes.astype(np.int64))
            space = width
    return np.lexsort(keys[::-1]).astype(np.int64) if keys else np.arange(rows, dtype=np.int64)
