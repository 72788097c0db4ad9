"""`demo`: two node processes on this machine, paired and asked with the same commands that everybody uses.

The demo owns both tables, so it can lay DuckDB's answer on the pooled tables beside the one of the two nodes.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from privcompute.cli.app import Command, settings
from privcompute.cli.output import note, print_json, table

if TYPE_CHECKING:
    from privcompute.cli.stage import Stage


@click.command(cls=Command)
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep both homes and tables in this new directory.",
)
@click.option(
    "--rows", type=click.IntRange(1000, 1_000_000), default=20_000, show_default=True, help="Rows of each table."
)
def demo(keep: Path | None, rows: int) -> None:
    """Two node processes on this machine answer three queries.

    A hospital and an insurer, each with its own home, table and key, on the loopback interface.
    """
    from privcompute.cli.stage import Stage, loopback_host
    from privcompute.tables.synthetic import DEMO_QUERIES

    begin = time.monotonic()
    host, six = loopback_host()
    if not six:
        note("this machine has no IPv6 loopback: using 127.0.0.1")
    with contextlib.ExitStack() as stack:
        place = (
            keep if keep is not None else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="privcompute-")))
        )
        stage = stack.enter_context(Stage(place, host, rows))
        note(f"two nodes are running in {place}: hospital and insurer, {rows:,} rows each")
        answers = [_ask(stage, sql) for sql in DEMO_QUERIES]
    seconds = time.monotonic() - begin
    if settings().json:
        print_json({"queries": answers, "seconds": round(seconds, 3)})
    else:
        click.echo(f"\nall of it took {seconds:.1f} s")
    if not all(answer["equal"] for answer in answers):
        raise click.exceptions.Exit(6)


def _ask(stage: Stage, sql: str) -> dict[str, Any]:
    from privcompute.cli.render import release_text, sql_text

    as_json = settings().json
    if not as_json:
        click.echo(f'\ninsurer$ privcompute query --yes "\n{sql_text(sql)}"\n')
    answer = stage.query(sql)
    oracle = stage.oracle(sql)
    equal = oracle.agrees(answer)
    if not as_json:
        click.echo(release_text(answer))
        click.echo("\nDuckDB on the pooled tables:")
        click.echo(table(oracle.columns, oracle.rows))
        click.echo("equal" if equal else "NOT EQUAL: please report this")
    return {"sql": sql, **{k: v for k, v in answer.items() if k != "sql"}, "oracle_rows": oracle.rows, "equal": equal}
