"""`explain` and `query`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from privcompute.cli.app import Command, settings
from privcompute.cli.output import interactive, note, print_json
from privcompute.errors import ConsentNeeded, UsageError

if TYPE_CHECKING:
    from privcompute.node.home import Home
    from privcompute.node.result import Explanation, QueryRelease

_REVEAL = click.Choice(["nothing", "size", "matches"])


@dataclass(frozen=True)
class _Asked:
    """What the command line says of a question besides its text; the names are those of `Node.query`."""

    reveal: str | None
    to: tuple[str, ...]
    scheme: str | None
    key_holder: str | None
    quorum: int | None


def _options(function: Callable[..., None]) -> Callable[..., None]:
    """The options that `explain` and `query` share."""
    for option in reversed(
        [
            click.option(
                "--reveal",
                type=_REVEAL,
                help="How much the join itself may tell; default: the least both owners allow.",
            ),
            click.option("--to", multiple=True, metavar="PARTY", help="Who receives the result; default: this node."),
            click.option(
                "--scheme",
                type=click.Choice(["masks", "paillier"]),
                help="Of a union: how the sums are computed; default: masks.",
            ),
            click.option("--key-holder", metavar="PARTY", help="Of a union by Paillier: who holds the key."),
            click.option(
                "--quorum",
                type=click.IntRange(min=2),
                metavar="N",
                help="Of a union: the fewest holders with which it may finish.",
            ),
        ]
    ):
        function = option(function)
    return function


@click.command(cls=Command)
@click.argument("sql")
@_options
def explain(sql: str, **options: Any) -> None:
    """Show a query's plan, cost and what each party would learn. Nothing is computed."""
    from privcompute.cli.render import plan_text

    body = _explain(_home(), sql, _Asked(**options)).body
    if settings().json:
        print_json(body)
    else:
        click.echo(plan_text(body))


@click.command(cls=Command)
@click.argument("sql")
@_options
@click.option("--yes", is_flag=True, help="Agree to the plan without being asked.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.csv|.parquet",
    help="Write the rows to this file, too.",
)
def query(sql: str, yes: bool, output: Path | None, **options: Any) -> None:
    """Ask a question over the join of two parties' tables, or over the union of many parties' rows.

    Shows the plan and what each party will learn, asks for consent, runs, prints the result.
    """
    from privcompute.cli.render import plan_text, release_text

    if output is not None and output.suffix.lower() not in (".csv", ".parquet"):
        raise UsageError(
            f"cannot tell the format of {output.name}",
            code="bad_output",
            remedy="name the file .csv or .parquet",
        )
    if output is not None and not os.access(output.parent, os.W_OK):
        raise UsageError(
            f"{output.parent} is no directory that can be written to",
            code="bad_output",
            remedy="make it, or name another",
        )
    home, asked = _home(), _Asked(**options)
    agreed = None if yes else _ask_person(home, sql, asked)

    def consent(plan: Explanation) -> bool:
        if agreed is None:
            note(plan_text(plan.body) + "\n")
            return True
        # What the person agreed to is this very plan; a dataset may have changed since.
        return plan.plan_digest == agreed

    release = asyncio.run(_run(home, sql, asked, consent))
    if output is not None and release.value.columns:
        _write(release, output)
        note(f"wrote {output}")
    if settings().json:
        print_json(release.body)
    else:
        click.echo(release_text(release.body))


def _home() -> Home:
    from privcompute.node import log
    from privcompute.node.config import load
    from privcompute.node.home import Home

    home = Home.resolve(settings().home)
    home.require()
    log.set_up(home, load(home.config_file).log)
    return home


def _explain(home: Home, sql: str, asked: _Asked) -> Explanation:
    from privcompute.node.api import Node

    async def run() -> Explanation:
        async with Node.open(home.path) as node:
            return await node.explain(sql, **asdict(asked))

    return asyncio.run(run())


def _ask_person(home: Home, sql: str, asked: _Asked) -> str:
    """Show the plan and ask; returns the digest of what was agreed. No session waits for the person meanwhile."""
    from privcompute.cli.render import plan_text

    plan = _explain(home, sql, asked)
    note(plan_text(plan.body) + "\n")
    if not interactive():
        raise ConsentNeeded(
            "consent needed: nobody is here to agree to this plan",
            code="consent_needed",
            remedy="add --yes to agree beforehand, or run the command on a terminal",
        )
    if not click.confirm(f"Run this plan ({_mode(plan.body)})?", default=False, err=True):
        raise ConsentNeeded("not agreed; nothing was computed", code="not_agreed")
    return plan.plan_digest


def _mode(body: Mapping[str, Any]) -> str:
    """The one word of a plan that a person should have read."""
    return f"scheme: {body['scheme']}" if body.get("scheme") else f"reveal: {body['reveal']}"


async def _run(home: Home, sql: str, asked: _Asked, consent: Callable[[Explanation], bool]) -> QueryRelease:
    from privcompute.cli.progress import ProgressLines
    from privcompute.node.api import Node

    async with Node.open(home.path) as node:
        with ProgressLines() as lines:
            return await node.query(sql, **asdict(asked), consent=consent, progress=lines)


def _write(release: QueryRelease, path: Path) -> None:
    table = release.to_arrow()
    try:
        if path.suffix.lower() == ".csv":
            import pyarrow.csv as csv

            csv.write_csv(table, path)
        else:
            import pyarrow.parquet as parquet

            parquet.write_table(table, path)
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror or 'input or output error'}",
            code="bad_output",
            remedy=f"the result is kept: `privcompute releases show {release.id}`",
        ) from None
