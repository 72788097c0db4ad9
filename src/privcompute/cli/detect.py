"""`privcompute detect` and `privcompute profile`: what a table holds of persons, shown to its owner."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from privcompute.cli.app import Command, settings
from privcompute.cli.output import note, print_json, table

if TYPE_CHECKING:
    import pyarrow as pa

    from privcompute.anonymize.detect import Finding
    from privcompute.anonymize.profile import ColumnProfile

_TEXTS = (".txt", ".log", ".md", ".jsonl")
_LINES = 1 << 16
_THRESHOLD = click.option(
    "--threshold",
    type=click.IntRange(1, 100),
    default=50,
    show_default=True,
    help="Least confidence, in percent.",
)


@click.command("detect", cls=Command)
@click.argument("source", metavar="FILE")
@click.option("--column", "columns", multiple=True, metavar="COL", help="Look only here; else in every column of text.")
@_THRESHOLD
def detect(source: str, columns: tuple[str, ...], threshold: int) -> None:
    """Find identifiers in the cells of FILE, with exact spans: where and what, never the text itself.

    FILE is a table (.csv, .parquet, .duckdb, .sqlite, postgresql://…) or text (.txt, .log, .md, .jsonl), a line a row.
    """
    found = list(_findings(source, columns, threshold))
    if settings().json:
        print_json({"findings": [{"column": column, **one.to_json()} for column, one in found]})
        return
    rows = [
        (column, one.row, f"{one.start}-{one.end}", one.kind, one.confidence, ", ".join(one.reasons))
        for column, one in found
    ]
    if rows:
        click.echo(table(("column", "row", "characters", "kind", "%", "reasons"), rows))
    note(f"{len(found):,} identifiers found")


@click.command("profile", cls=Command)
@click.argument("source", metavar="FILE")
@_THRESHOLD
def profile(source: str, threshold: int) -> None:
    """Tell what FILE holds, column by column: identifiers, NULLs, distinct values, ranges, a grade to start from."""
    from privcompute.anonymize.mask.flow import batches
    from privcompute.anonymize.profile import profile as profiled

    with batches(source) as (names, stream):
        columns = profiled(names, stream, threshold=threshold)
    if settings().json:
        print_json({"columns": [one.to_json() for one in columns]})
        return
    click.echo(
        table(
            ("column", "type", "rows", "NULL", "distinct", "from", "to", "found", "GB/T 43697", "JR/T 0197", "because"),
            [_row(one) for one in columns],
        )
    )
    note("grades are suggestions: general data by sub-level, and levels of JR/T 0197; the owner confirms them")


def _row(one: ColumnProfile) -> tuple[Any, ...]:
    found = ", ".join(f"{kind.kind} {kind.confidence} %" for kind in one.found) or "-"
    distinct = f"{one.distinct:,}" if one.distinct is not None else "> 100,000"
    low = one.low or (_signs(one.shortest) if one.shortest is not None else "")
    high = one.high or (_signs(one.longest) if one.longest is not None else "")
    grade = f"general {one.grade.general}"
    reasons = "; ".join(one.grade.reasons)
    return (
        one.name,
        one.type,
        f"{one.rows:,}",
        one.nulls,
        distinct,
        low,
        high,
        found,
        grade,
        one.grade.finance,
        reasons,
    )


def _signs(count: int) -> str:
    return "1 sign" if count == 1 else f"{count} signs"


def _findings(source: str, columns: tuple[str, ...], threshold: int) -> Iterator[tuple[str, Finding]]:
    """Column and finding, by row; rows count from 0 through the whole source."""
    from dataclasses import replace

    from privcompute.anonymize.detect import scan

    first = 0
    for chunk in _text_chunks(source, columns):
        for column, cells in chunk.items():
            for one in scan(cells, column=column, threshold=threshold):
                yield column, replace(one, row=one.row + first)
        first += len(next(iter(chunk.values()), ()))


def _text_chunks(source: str, columns: tuple[str, ...]) -> Iterator[dict[str, pa.Array[Any]]]:
    from privcompute.anonymize.detect.columns import is_text
    from privcompute.anonymize.mask.flow import batches
    from privcompute.tables.source import missing

    if Path(source).suffix.lower() in _TEXTS:
        yield from _lines(Path(source))
        return
    with batches(source) as (names, stream):
        for column in columns:
            if column not in names:
                raise missing("column", column, names, source)
        for batch in stream:
            wanted = columns or [name for name in names if is_text(batch.column(name).type)]
            yield {name: batch.column(name) for name in wanted}


def _lines(path: Path) -> Iterator[dict[str, pa.Array[Any]]]:
    from itertools import islice

    import pyarrow as pa

    from privcompute.tables.files import existing

    with existing(path).open(encoding="utf-8", errors="replace", newline=None) as file:
        lines = (line.rstrip("\n") for line in file)
        while part := list(islice(lines, _LINES)):
            yield {"": pa.array(part, type=pa.large_string())}
