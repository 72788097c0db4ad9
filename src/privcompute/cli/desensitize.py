"""`privcompute desensitize`: a table through the operators of a policy into a new file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from privcompute.cli.app import Command, settings
from privcompute.cli.output import note, print_json, table

if TYPE_CHECKING:
    from privcompute.anonymize.mask.flow import Report

KEY_FILE = "mask-keys.toml"


@click.command("desensitize", cls=Command)
@click.argument("source", metavar="FILE")
@click.option(
    "--policy", required=True, type=click.Path(path_type=Path), metavar="P", help="What becomes of each column (TOML)."
)
@click.option(
    "--output", "-o", required=True, type=click.Path(path_type=Path), metavar="OUT", help="Where the file goes."
)
@click.option(
    "--keys",
    "keys_at",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Owner-only file of keys [default: $PRIVCOMPUTE_KEYS, else mask-keys.toml in the home].",
)
@click.option("--make-keys", is_flag=True, help="Make the keys that the policy names and the key file lacks.")
def desensitize(source: str, policy: Path, output: Path, keys_at: Path | None, make_keys: bool) -> None:
    """Mask, redact, tokenise, encrypt, shift, bucket or replace columns of FILE as the policy says.

    FILE is a .csv, .parquet, .duckdb or .sqlite file (?table=NAME), or postgresql://host/db?table=NAME; only read.
    """
    from privcompute.anonymize.mask import flow, keys
    from privcompute.anonymize.mask.policy import load

    plan = load(policy)
    flow.check_output(source, output)
    place = keys_at or key_file()
    if make_keys:
        for name in keys.make(place, [one for one in plan.keys if keys.VARIABLE + one.upper() not in os.environ]):
            note(f"made key {name} in {place}")
    report = flow.desensitize_file(source, plan, keys.load(place, plan.keys), output)
    if settings().json:
        print_json({**report.to_json(), "output": str(output)})
        return
    _show(report)
    note(f"wrote {report.rows:,} rows to {output}")


def key_file() -> Path:
    """Where keys are, unless the command says it: $PRIVCOMPUTE_KEYS, else mask-keys.toml in the home."""
    from privcompute.node.home import Home

    return Path(os.environ.get("PRIVCOMPUTE_KEYS") or Home.resolve(settings().home).path / KEY_FILE)


def _show(report: Report) -> None:
    rows = [
        (one.name, one.op, ", ".join(one.keys), one.nulls, one.invalid, ", ".join(one.found)) for one in report.columns
    ]
    click.echo(table(("column", "done", "keys", "nulls", "emptied", "still found"), rows))
    left = [one.name for one in report.columns if one.found]
    if left:
        note(f"identifiers were found in columns that pass unchanged: {', '.join(left)}")
