"""Tables in and out: whatever holds columns becomes an Arrow table and goes back as what it was.

Arrow tables, batches and readers, pandas and polars frames (lazy ones are collected), DuckDB relations, sources of
`privcompute.tables`, and paths (CSV, Parquet, DuckDB, SQLite, PostgreSQL: read through DuckDB, back as Arrow). Arrow
data is never written to, so the caller's frame stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from privcompute.errors import UsageError
from privcompute.tables import Source, open_source

Kind = Literal["arrow", "pandas", "polars"]


@dataclass(frozen=True)
class Loaded:
    """A table, and what it was.

    Attributes:
        table: the data.
        kind: what to give back.
    """

    table: pa.Table = field(repr=False)
    kind: Kind


def load(frame: Any) -> Loaded:
    """Read any kind of frame.

    Raises:
        UsageError: `bad_frame`; `no_such_file`, `unreadable` and the like of a source.
    """
    if isinstance(frame, pa.Table):
        return Loaded(_checked(frame), "arrow")
    if isinstance(frame, pa.RecordBatch):
        return Loaded(_checked(pa.Table.from_batches([frame])), "arrow")
    if isinstance(frame, pa.RecordBatchReader):
        return Loaded(_checked(frame.read_all()), "arrow")
    if isinstance(frame, str | Path):
        return Loaded(_checked(_read(open_source(str(frame)))), "arrow")
    if isinstance(frame, Source):
        return Loaded(_checked(_read(frame)), "arrow")
    module = type(frame).__module__.partition(".")[0]
    if module == "polars":
        return Loaded(_checked(getattr(frame, "collect", lambda: frame)().to_arrow()), "polars")
    if module == "pandas":
        try:
            return Loaded(_checked(pa.Table.from_pandas(frame, preserve_index=False)), "pandas")
        except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError):  # its text quotes a value
            raise _bad("a column of the pandas frame mixes types") from None
    if type(frame).__name__ == "DuckDBPyRelation":
        return Loaded(_checked(frame.to_arrow_table()), "arrow")
    raise _bad(f"{type(frame).__name__} is not a table")


def unload(table: pa.Table, kind: Kind) -> Any:
    """The table as the caller's kind of frame."""
    if kind == "pandas":
        return table.to_pandas()
    if kind == "polars":
        import polars as pl

        return pl.from_arrow(table)
    return table


def write(table: pa.Table, path: Path) -> None:
    """Write a CSV or Parquet file, whole or not at all.

    Raises:
        UsageError: `bad_output`.
    """
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise UsageError(f"cannot tell the format of {path.name}", code="bad_output", remedy="name it .csv or .parquet")
    part = path.with_name(path.name + ".part")
    try:
        if suffix == ".csv":
            import pyarrow.csv as csv

            csv.write_csv(table, part)
        else:
            import pyarrow.parquet as parquet

            parquet.write_table(table, part)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UsageError(
            f"cannot write {path}: {error.strerror or 'input or output error'}", code="bad_output"
        ) from None


def _read(source: Source) -> pa.Table:
    with source.relation([column.name for column in source.schema()]) as reader:
        return reader.read_all()


def _checked(table: pa.Table) -> pa.Table:
    """Refuse names that occur twice."""
    names = table.column_names
    if len(set(names)) != len(names):
        raise _bad("two columns of the table have the same name")
    return table


def _bad(what: str) -> UsageError:
    return UsageError(
        what,
        code="bad_frame",
        remedy="give an Arrow, pandas or polars table, a DuckDB relation, a source, or a path",
    )
