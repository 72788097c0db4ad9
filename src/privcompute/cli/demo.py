"""`demo`: node processes on this machine, paired and asked with the same commands that everybody uses.

The demo owns all tables, so it can lay DuckDB's answer on the pooled tables beside the one of the nodes.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from privcompute.cli.app import Command, settings
from privcompute.cli.output import note, print_json, table

if TYPE_CHECKING:
    from privcompute.cli.stage import Actor, Oracle, Stage


@click.command(cls=Command)
@click.option("--union", is_flag=True, help="Five hospitals with the same columns, one of which drops out midway.")
@click.option("--release", is_flag=True, help="A hospital anonymizes a table and delivers it to a researcher.")
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep all homes and tables in this new directory.",
)
@click.option(
    "--rows", type=click.IntRange(1000, 1_000_000), default=20_000, show_default=True, help="Rows of each table."
)
def demo(union: bool, release: bool, keep: Path | None, rows: int) -> None:
    """Node processes on this machine answer three queries, or deliver a table.

    A hospital and an insurer, each with its own home, table and key, on the loopback interface; or five hospitals.
    """
    begin = time.monotonic()
    if release:
        _release(keep, rows, begin)
        return
    with _place(keep) as place:
        answers = list(_union(place, rows) if union else _join(place, rows))
    seconds = time.monotonic() - begin
    if settings().json:
        print_json({"queries": answers, "seconds": round(seconds, 3)})
    else:
        click.echo(f"\nall of it took {seconds:.1f} s")
    if not all(answer["equal"] for answer in answers):
        raise click.exceptions.Exit(6)


@contextlib.contextmanager
def _place(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="privcompute-") as directory:
        yield Path(directory)


def _host() -> str:
    from privcompute.cli.stage import loopback_host

    host, six = loopback_host()
    if not six:
        note("this machine has no IPv6 loopback: using 127.0.0.1")
    return host


def _join(place: Path, rows: int) -> Iterator[dict[str, Any]]:
    from privcompute.cli.stage import Actor, Stage
    from privcompute.tables.synthetic import DEMO_QUERIES, demo_tables

    tables = demo_tables(rows)
    words = ("--key", "national_id", "--reveal", "matches", "--allow", _EVERYTHING, "--accept-ranges")
    actors = {
        "hospital": Actor("patients", tables["hospital"], words),
        "insurer": Actor("members", tables["insurer"], words),
    }
    with Stage(place, _host(), actors) as stage:
        note(f"two nodes are running in {place}: hospital and insurer, {rows:,} rows each")
        for sql in DEMO_QUERIES:
            _show_question(stage, sql)
            answer = stage.query(sql)
            oracle = stage.oracle(sql)
            yield _show(sql, answer, oracle, oracle.agrees(answer), "on the pooled tables")


def _release(keep: Path | None, rows: int, begin: float) -> None:
    from privcompute.cli.release_demo import ReleaseDemo, hint, people
    from privcompute.cli.stage import Actor, Stage

    words = ("--key", "national_id", "--max-rows-per-key", "64")
    actors = {"hospital": Actor("patients", people(rows), words), "researcher": Actor("notes", people(1000), words)}
    with _place(keep) as place, Stage(place, _host(), actors) as stage:
        note(f"two nodes are running in {place}: hospital, with {rows:,} patients, and researcher")
        body = ReleaseDemo(stage, place).run()
    seconds = time.monotonic() - begin
    hint(keep)
    if settings().json:
        print_json({**body, "seconds": round(seconds, 3)})
    else:
        click.echo(f"\nall of it took {seconds:.1f} s")
    if not body["equal"] or body["refused"] != ["grade"]:
        raise click.exceptions.Exit(6)


_EVERYTHING = "*=aggregate,group,filter,product"


def _union(place: Path, rows: int) -> Iterator[dict[str, Any]]:
    from privcompute.cli.stage import Stage
    from privcompute.tables.synthetic import HOSPITALS, UNION_QUERIES

    *others, asker = HOSPITALS
    victim = others[1]
    with Stage(place, _host(), _hospitals(rows)) as stage:
        note(f"five nodes are running in {place}: {', '.join(HOSPITALS)}, {rows:,} rows each; {asker} asks")
        for number, sql in enumerate(UNION_QUERIES):
            words = ("--quorum", "4") if number == 0 else ("--scheme", "paillier") if number == 2 else ()
            _show_question(stage, sql, *words)
            answer = stage.query(sql, *words, on_note=_Killer(stage, victim) if number == 0 else None)
            oracle = stage.pooled(sql, answer["holders"])
            keys = 1 if "GROUP BY" in sql else 0
            yield _show(sql, answer, oracle, oracle.holds(answer, keys), f"on the rows of {len(answer['holders'])}")


class _Killer:
    """Kills one node as soon as the run has begun: the others are reading their tables then."""

    def __init__(self, stage: Stage, victim: str) -> None:
        self._stage = stage
        self._victim: str | None = victim

    def __call__(self, line: str) -> None:
        if self._victim is not None and "reading the table" in line:
            self._stage.kill(self._victim)
            note(f"{self._victim} has just lost its power (the demo killed its node)")
            self._victim = None


def _hospitals(rows: int) -> dict[str, Actor]:
    from privcompute.cli.stage import Actor
    from privcompute.tables.synthetic import WARDS, union_tables

    words = ("--key", "patient_id", "--max-rows-per-key", "8", "--domain", f"ward={','.join(WARDS)}")
    ranges = ("age=0:127", "bmi=0:64", "systolic=0:300", "visits=0:100", "cost=0:20000")
    options = [word for one in ranges for word in ("--range", one)]
    return {
        party: Actor("patients", rows_, (*words, "--allow", _EVERYTHING, *options))
        for party, rows_ in union_tables(rows).items()
    }


def _show_question(stage: Stage, sql: str, *words: str) -> None:
    from privcompute.cli.render import sql_text

    if not settings().json:
        options = "".join(f"{word} " for word in words)
        click.echo(f'\n{stage.asker}$ privcompute query --yes {options}"\n{sql_text(sql)}"\n')


def _show(sql: str, answer: dict[str, Any], oracle: Oracle, equal: bool, where: str) -> dict[str, Any]:
    from privcompute.cli.render import release_text

    if not settings().json:
        click.echo(release_text(answer))
        click.echo(f"\nDuckDB {where}:")
        click.echo(table(oracle.columns, oracle.rows))
        click.echo("equal" if equal else "NOT EQUAL: please report this")
    return {"sql": sql, **{k: v for k, v in answer.items() if k != "sql"}, "oracle_rows": oracle.rows, "equal": equal}
