"""A table through its operators, a chunk at a time: every row once, in its order, in bounded memory.

A chunk's result depends on its cells alone, so that the size of chunks does not show. The output appears under its
name only when it is whole.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from privcompute.anonymize.mask.keys import Keys
from privcompute.anonymize.mask.operator import Apply
from privcompute.anonymize.mask.policy import MaskPolicy
from privcompute.anonymize.mask.texts import Cells
from privcompute.errors import UsageError
from privcompute.tables import Limits, open_source
from privcompute.tables.engine import connect, literal, streamed
from privcompute.tables.files import existing
from privcompute.tables.open import is_csv

FORMATS = (".csv", ".parquet")
_EXAMINED = 4096  # rows of a column that passes unchanged in which identifiers are looked for


@dataclass
class ColumnReport:
    """What was done with one column; figures are the owner's own.

    Attributes:
        name: the column.
        op: the operator, "keep" or "drop".
        keys: ids of its keys.
        nulls: NULL cells before.
        invalid: cells that were emptied because they were not what the operator needs.
        found: of a column that passes unchanged: kinds of identifiers that its first rows hold.
    """

    name: str
    op: str
    keys: tuple[str, ...] = ()
    nulls: int = 0
    invalid: int = 0
    found: tuple[str, ...] = ()


@dataclass
class Report:
    """What a run did."""

    rows: int = 0
    policy: str = ""
    columns: list[ColumnReport] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """For `--json`: deterministic, no values."""
        columns = [{**vars(one), "keys": list(one.keys), "found": list(one.found)} for one in self.columns]
        return {"rows": self.rows, "policy": self.policy, "columns": columns}


class Desensitizer:
    """A policy bound to keys and to the columns of a table.

    Args:
        policy: what becomes of each column.
        keys: the keys that it names.
        names: the table's columns.

    Raises:
        UsageError: `no_such_column`, `no_key`, `policy`, `unlisted_columns`.
        PrivacyError: an operator would hide too little.
    """

    def __init__(self, policy: MaskPolicy, keys: Keys, names: Iterable[str]) -> None:
        self._names = tuple(names)
        absent = [name for name in policy.listed if name not in self._names]
        if absent:
            raise UsageError(
                f"the policy names columns that the table lacks: {', '.join(absent)}",
                code="no_such_column",
                remedy=f"there is: {', '.join(self._names[:20])}",
            )
        rest = [name for name in self._names if name not in policy.transforms]
        if rest and policy.others == "refuse":
            raise UsageError(
                f"the policy has no transform for: {', '.join(rest)}",
                code="unlisted_columns",
                remedy='give each one, if only { op = "keep" }; or set others = "keep" or "drop"',
            )
        self._apply: dict[str, Apply] = {}
        for name, operator in policy.transforms.items():
            for other in operator.beside:
                if other not in self._names:
                    raise UsageError(f"column {name!r} needs column {other!r}", code="no_such_column")
            self._apply[name] = operator.bind(name, keys)
        dropped = set(rest) if policy.others == "drop" else set()
        self.report = Report(policy=policy.digest)
        for name in self._names:
            found = policy.transforms.get(name)
            op = found.op if found else "drop" if name in dropped else "keep"
            self.report.columns.append(ColumnReport(name, op, found.keys if found else ()))

    def batch(self, batch: pa.RecordBatch | pa.Table) -> pa.Table:
        """One chunk; the caller's stays as it is.

        Raises:
            UsageError: `invalid_value`, `not_text`, …
            PrivacyError: `small_domain`.
        """
        before = {name: _whole(batch.column(name)) for name in self._names}
        after = {}
        for about in self.report.columns:
            cells = before[about.name]
            about.nulls += cells.null_count
            if about.op == "drop":
                continue
            if about.name not in self._apply:
                after[about.name] = cells
                if self.report.rows < _EXAMINED:
                    about.found = _identifiers(cells.slice(0, _EXAMINED), about)
                continue
            done = self._apply[about.name](cells, before)
            about.invalid += done.invalid
            after[about.name] = done.column
        self.report.rows += batch.num_rows
        return pa.table(after)

    def table(self, table: pa.Table, rows: int = 1 << 16) -> pa.Table:
        """A whole table in memory, by chunks."""
        parts = [self.batch(part) for part in table.to_batches(max_chunksize=rows)] or [
            self.batch(pa.RecordBatch.from_arrays([_whole(c) for c in table.columns], schema=table.schema))
        ]
        return pa.concat_tables(parts)


def desensitize(table: pa.Table, policy: MaskPolicy, keys: Keys) -> pa.Table:
    """A table in memory through a policy.

    Raises:
        UsageError: the policy, a key or a cell does not fit.
        PrivacyError: an operator would hide too little.
    """
    return Desensitizer(policy, keys, table.column_names).table(table)


def desensitize_file(source: str, policy: MaskPolicy, keys: Keys, output: Path) -> Report:
    """A source of any kind through a policy into a .csv or .parquet file.

    Args:
        source: as for `open_source`; of a CSV file every column is read as text.
        policy: what becomes of each column.
        keys: the keys that it names.
        output: the new file.

    Raises:
        UsageError: as above; `bad_output`.
        PrivacyError: an operator would hide too little.
    """
    check_output(source, output)
    with batches(source) as (names, stream):
        worker = Desensitizer(policy, keys, names)
        with _writer(output) as write:
            empty = True
            for batch in stream:
                write(worker.batch(batch))
                empty = False
            if empty:
                write(worker.batch(pa.Table.from_batches([], schema=_schema(source))))
    return worker.report


def check_output(source: str, output: Path) -> None:
    """Refuse an output that could not be written, or that is the input, before anything is read.

    Raises:
        UsageError: `bad_output`.
    """
    if output.suffix.lower() not in FORMATS:
        raise UsageError(
            f"cannot tell the format of {output.name}", code="bad_output", remedy="name a .csv or .parquet file"
        )
    if not os.access(output.parent, os.W_OK):
        raise UsageError(f"{output.parent} is no directory that can be written to", code="bad_output")
    given = Path(source.partition("?")[0])
    if given.exists() and output.exists() and given.samefile(output):
        raise UsageError(
            "the output is the input", code="bad_output", remedy="name another file: the source stays as it is"
        )


@contextlib.contextmanager
def batches(source: str) -> Iterator[tuple[tuple[str, ...], Iterator[pa.RecordBatch]]]:
    """The columns' names and the rows of a source, in their order, by chunks.

    Raises:
        UsageError: as `open_source`.
    """
    opened = open_source(source, keys=csv_names(source) if is_csv(source) else ())
    names = tuple(column.name for column in opened.schema())
    # One thread: then DuckDB hands rows out in the order in which they lie in the source.
    with opened.relation(names, limits=Limits(threads=1)) as reader:
        yield names, streamed(reader, opened.place)


def csv_names(source: str) -> tuple[str, ...]:
    """The names of a CSV file's columns, read without a guess at their types."""
    path = existing(Path(source))
    with connect(read=[path]) as connection:
        try:
            query = f"DESCRIBE SELECT * FROM read_csv({literal(str(path))}, all_varchar = true, header = true)"  # noqa: S608 - a quoted literal
            return tuple(row[0] for row in connection.execute(query).fetchall())
        except duckdb.Error:
            # No CSV file, or not UTF-8. The source is opened next and says so, without the cells that DuckDB quotes.
            return ()


def _schema(source: str) -> pa.Schema:
    opened = open_source(source, keys=csv_names(source) if is_csv(source) else ())
    with opened.relation([column.name for column in opened.schema()]) as reader:
        return reader.schema


def _whole(column: Any) -> Cells:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _identifiers(cells: Cells, about: ColumnReport) -> tuple[str, ...]:
    kind = cells.type.value_type if pa.types.is_dictionary(cells.type) else cells.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        return about.found
    from privcompute.anonymize.detect import scan  # deferred: loads the kernels

    found = scan(cells, column=about.name)
    return tuple(sorted({*about.found, *found.kinds()}))


@contextlib.contextmanager
def _writer(output: Path) -> Iterator[Any]:
    """A function that appends tables to a file, which takes its name at the end and not before."""
    handle, temporary = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
    os.close(handle)
    opened: list[Any] = []

    def write(table: pa.Table) -> None:
        with _faults_of(output):
            if not opened:
                if output.suffix.lower() == ".parquet":
                    opened.append(pyarrow.parquet.ParquetWriter(temporary, table.schema, compression="zstd"))
                else:
                    opened.append(pyarrow.csv.CSVWriter(temporary, table.schema))
            opened[0].write_table(table)

    try:
        yield write
        with _faults_of(output):
            for one in opened:
                one.close()
            Path(temporary).replace(output)
    finally:
        for one in opened:
            # What could not be written is thrown away, and its fault is on its way already.
            with contextlib.suppress(OSError, pa.ArrowInvalid):
                one.close()
        Path(temporary).unlink(missing_ok=True)


@contextlib.contextmanager
def _faults_of(output: Path) -> Iterator[None]:
    """Around writing alone: what an operator or the source raises in between keeps its own name.

    Raises:
        UsageError: `bad_output`.
    """
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        # The writer has no form for a column's type, or a cell is no text. Without Arrow's words, which quote the cell.
        raise UsageError(
            f"{output.name} cannot hold a column of this table: its type has no place in {output.suffix}",
            code="bad_output",
            remedy="write .parquet, or drop the column",
        ) from None
    except OSError as error:
        raise UsageError(
            f"cannot write {output}: {error.strerror or 'input or output error'}", code="bad_output"
        ) from None
