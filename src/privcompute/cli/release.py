"""`release` and `receive`: a table to a peer, and a peer's table to a file."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from privcompute.cli.app import Command, settings
from privcompute.cli.output import interactive, note, print_json
from privcompute.errors import ConsentNeeded, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from privcompute.node.home import Home

_FORMATS = (".csv", ".parquet", ".arrow")


@click.command(cls=Command)
@click.argument("dataset")
@click.option("--to", required=True, metavar="PEER", help="The paired peer that gets it.")
@click.option(
    "--policy",
    required=True,
    type=click.Path(path_type=Path),
    metavar="POLICY.toml",
    help="As of `anonymize` if it states models, else as of `desensitize`.",
)
@click.option(
    "--purpose",
    type=click.Choice(["joint-statistics", "research", "operations", "development"]),
    default="research",
    show_default=True,
    help="What the peer may use it for; the columns' grades may forbid it.",
)
@click.option(
    "--keys",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Owner-only file of keys [default: mask-keys.toml in the home].",
)
@click.option("--despite-earlier", is_flag=True, help="Although these rows were released as another table before.")
@click.option("--yes", is_flag=True, help="Agree to what leaves without being asked.")
def release(
    dataset: str, to: str, policy: Path, purpose: str, keys: Path | None, despite_earlier: bool, yes: bool
) -> None:
    """Deliver DATASET to a paired peer, made fit to leave by a policy.

    Shows what the peer will see and why it may, asks for consent, sends. After a cut the same command continues.
    """
    from privcompute.cli.delivery_text import delivery_text, rules_text

    def consent(plan: dict[str, Any]) -> bool:
        note(f"{to} will see:\n{delivery_text(plan['delivery'])}\n\n{rules_text(plan['rules'])}")
        for text in plan["notes"]:
            note(f"note: {text}")
        if yes:
            return True
        if not interactive():
            raise ConsentNeeded(
                "consent needed: nobody is here to agree to this release",
                code="consent_needed",
                remedy="add --yes to agree beforehand, or run the command on a terminal",
            )
        return click.confirm("Release this table?", default=False, err=True)

    async def run() -> dict[str, Any]:
        from privcompute.cli.progress import ProgressLines
        from privcompute.node.api import Node

        async with Node.open(_home().path) as node:
            with ProgressLines() as lines:
                return await node.release(
                    dataset,
                    to=to,
                    policy=policy,
                    purpose=purpose,
                    keys=keys,
                    despite_earlier=despite_earlier,
                    consent=consent,
                    progress=lines,
                )

    body = asyncio.run(run())
    if settings().json:
        print_json(body)
    else:
        click.echo(f"{to} has received {body['delivery']['rows']:,} rows of {dataset}, and signed for them")


@click.command(cls=Command)
@click.argument("identifier", metavar="ID")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.csv|.parquet|.arrow",
    help="Where the table goes; a file of that name is replaced once all is written.",
)
@click.option("--forget", is_flag=True, help="Remove the table from this node once the file is written.")
def receive(identifier: str, output: Path, forget: bool) -> None:
    """Write a table that a peer delivered to a file; `releases list` names them."""
    from privcompute.cli.consent import open_store
    from privcompute.node.delivery import spool

    if output.suffix.lower() not in _FORMATS:
        raise UsageError(
            f"cannot tell the format of {output.name}", code="bad_output", remedy=f"name it {', '.join(_FORMATS)}"
        )
    home = _home()
    with open_store() as store:
        found = store.received.get(identifier)
        if found.state != "received":
            raise UsageError(
                f"{identifier} has not arrived whole yet",
                code="not_here",
                remedy=f"{found.manifest.sender} releases it again: that continues where it ended",
            )
        path = spool.in_file(home, found.id)
        if not path.exists() or spool.digest_of(path) != found.manifest.sha256:
            raise UsageError(
                f"the spooled file of {identifier} is gone or was changed",
                code="no_table",
                remedy=f"ask {found.manifest.sender} to release it again",
            )
        with _written(output, spool.schema_of(found.manifest)) as write:
            for batch in spool.batches(path, found.manifest):
                write(batch)
        if forget:
            store.received.remove(found.id)
            path.unlink(missing_ok=True)
        store.audit.append("table_written", peer=found.manifest.sender, table=found.id, forgotten=forget)
    if settings().json:
        print_json({"id": identifier, "output": str(output), "rows": found.manifest.rows, "forgotten": forget})
    else:
        click.echo(f"wrote {found.manifest.rows:,} rows to {output}")


@contextmanager
def _written(output: Path, schema: pa.Schema) -> Iterator[Callable[[pa.RecordBatch], None]]:
    """A function that appends batches to a file, which takes its name when it is whole."""
    import pyarrow as pa  # deferred: the command line starts without it

    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
        os.close(handle)
        with _writer(temporary, output.suffix.lower(), schema) as writer:
            yield getattr(writer, "write_batch", None) or writer.write
        Path(temporary).replace(output)
    except OSError as error:
        raise UsageError(
            f"cannot write {output}: {error.strerror or 'input or output error'}", code="bad_output"
        ) from None
    except pa.ArrowException:  # its text may quote a value
        raise UsageError(
            f"a value does not fit into {output.suffix.lower()}: bytes that are no text, or a time out of its range",
            code="bad_output",
            remedy="write it as .arrow, which holds every value that can be delivered",
        ) from None
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)


def _writer(path: str, suffix: str, schema: pa.Schema) -> Any:
    if suffix == ".csv":
        import pyarrow.csv as csv

        return csv.CSVWriter(path, schema)
    if suffix == ".parquet":
        import pyarrow.parquet as parquet

        return parquet.ParquetWriter(path, schema, compression="zstd")
    import pyarrow as pa

    return pa.ipc.new_file(path, schema)


def _home() -> Home:
    from privcompute.node import log
    from privcompute.node.config import load
    from privcompute.node.home import Home

    home = Home.resolve(settings().home)
    home.require()
    log.set_up(home, load(home.config_file).log)
    return home
