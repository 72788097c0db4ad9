"""`dataset add | list | edit | remove`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from privcompute.cli.app import Group, settings
from privcompute.cli.output import interactive, note, print_json, table

if TYPE_CHECKING:
    from privcompute.node.config import Config
    from privcompute.node.datasets import Accept, Added, Declaration
    from privcompute.node.home import Home
    from privcompute.tables.catalogue import DatasetEntry
    from privcompute.tables.schema import Column

F = TypeVar("F", bound=Callable[..., Any])


@click.group(cls=Group)
def dataset() -> None:
    """Add, list, edit and remove this node's datasets."""


def _rules(function: F) -> F:
    """The options that `add` and `edit` share."""
    for option in reversed(
        (
            click.option(
                "--min-cell", type=click.IntRange(1), metavar="N", help="Fewest people in a cell (a new dataset: 10)."
            ),
            click.option(
                "--min-holders",
                type=click.IntRange(1, 1000),
                metavar="N",
                help="Fewest holders that a cell of a union covers (a new dataset: 3).",
            ),
            click.option(
                "--reveal",
                type=click.Choice(["nothing", "size", "matches"]),
                help="The most that the join itself may tell (a new dataset: nothing).",
            ),
            click.option(
                "--allow",
                multiple=True,
                metavar="COL=USE[,USE]",
                help="Uses of a column: aggregate, group, filter, product; '*' is all columns but the keys.",
            ),
            click.option(
                "--range", "ranges", multiple=True, metavar="COL=LO:HI", help="The public range of a column of numbers."
            ),
            click.option(
                "--domain",
                "domains",
                multiple=True,
                metavar="COL=V1,V2,…",
                help="All values of a column, public, so that a union can be grouped by it; COL= takes them back.",
            ),
            click.option(
                "--grade",
                "grades",
                multiple=True,
                metavar="COL=GRADE[/CATEGORY]",
                help="The grade you confirm for a column ('*': all that have no other); COL= takes it back.",
            ),
            click.option("--accept-ranges", is_flag=True, help="Publish ranges that come from the data."),
            click.option(
                "--max-rows-per-key", type=click.IntRange(1), metavar="N", help="Public cap on the rows of one key."
            ),
            click.option("--with", "partners", multiple=True, metavar="PEER", help="Only these peers may ask."),
            click.option(
                "--consent",
                type=click.Choice(["auto", "manual"]),
                help="Whether you approve each query by hand (a new dataset: auto).",
            ),
        )
    ):
        function = option(function)
    return function


@dataset.command("add")
@click.argument("name")
@click.argument("source")
@click.option("--key", "keys", multiple=True, required=True, metavar="COL", help="A key column; again for more.")
@click.option(
    "--credentials-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Password file of a database (pgpass form, owner-only).",
)
@click.option(
    "--key-type",
    "key_types",
    multiple=True,
    metavar="COL=TYPE",
    help="What a key of a CSV file is: BIGINT, UBIGINT, DATE, TIMESTAMP, BOOLEAN; default: text (VARCHAR).",
)
@_rules
def add(
    name: str,
    source: str,
    keys: tuple[str, ...],
    credentials_file: Path | None,
    key_types: tuple[str, ...],
    **options: Any,
) -> None:
    """Add a dataset: SOURCE is a .csv, .parquet, .duckdb or .sqlite file (?table=NAME), or postgresql://host/db?table=NAME.

    Nothing is copied; the source is read when a query runs.
    """
    from privcompute.cli.consent import open_store
    from privcompute.node import datasets, rules
    from privcompute.node.datasets import Declaration

    declaration = _changed(Declaration({}, {}), options)
    _, config = _home()
    with open_store() as store:
        made = datasets.add(
            store,
            config,
            name,
            source,
            keys,
            declaration,
            credentials=credentials_file,
            accept=_acceptor(options["accept_ranges"]),
            key_types=rules.parse_key_types(key_types),
        )
    _show(made, "added")


@dataset.command("edit")
@click.argument("name")
@click.option(
    "--refresh", is_flag=True, help="Read the source anew and change no rule, as `edit` without options does."
)
@click.option("--with-all", is_flag=True, help="Every paired peer may ask.")
@_rules
def edit(name: str, refresh: bool, with_all: bool, **options: Any) -> None:
    """Change a dataset's rules, and read its source anew. --allow and --range replace those that they name."""
    from privcompute.cli.consent import open_store
    from privcompute.node import datasets

    _, config = _home()

    def change(declaration: Declaration) -> Declaration:
        from dataclasses import replace

        changed = _changed(declaration, options)
        return replace(changed, partners=()) if with_all else changed

    with open_store() as store:
        made = datasets.edit(store, config, name, change, accept=_acceptor(options["accept_ranges"]))
    _show(made, "changed")


@dataset.command("list")
def list_datasets() -> None:
    """List this node's datasets and what their owners allow."""
    from privcompute.cli.consent import open_store
    from privcompute.node.catalogue import describe

    with open_store() as store:
        found = store.datasets.all()
    if settings().json:
        print_json({"datasets": [describe(one) for one in found]})
        return
    if not found:
        click.echo("no dataset yet")
    for one in found:
        click.echo(_text(one.entry, one.source, one.partners, one.grades))


@dataset.command("remove")
@click.argument("name")
def remove(name: str) -> None:
    """Forget a dataset. The source stays, and so does the record of what was released of it."""
    from privcompute.cli.consent import open_store
    from privcompute.node import datasets

    _home()
    with open_store() as store:
        datasets.remove(store, name)
    if settings().json:
        print_json({"removed": name})
    else:
        click.echo(f"removed {name}")


def _home() -> tuple[Home, Config]:
    from privcompute.node.config import load
    from privcompute.node.home import Home

    home = Home.resolve(settings().home)
    home.require()
    return home, load(home.config_file)


def _changed(declaration: Declaration, options: dict[str, Any]) -> Declaration:
    """The declaration with the options that were given; a rule or range that names a column replaces its old one."""
    from dataclasses import replace

    from privcompute.node import rules

    changes: dict[str, Any] = {}
    for option, attribute in (
        ("min_cell", "min_cell"),
        ("min_holders", "min_holders"),
        ("reveal", "reveal"),
        ("max_rows_per_key", "rows_per_key"),
        ("partners", "partners"),
        ("consent", "consent"),
    ):
        if options[option]:
            changes[attribute] = options[option]
    if options["allow"]:
        given = rules.parse_allow(options["allow"])
        # '*' speaks of every column, so it starts the rules anew.
        kept = (
            {} if "*" in given else {name: uses for name, uses in declaration.allow.items() if not _names(given, name)}
        )
        changes["allow"] = {**kept, **given}
    if options["ranges"]:
        bounds = rules.parse_ranges(options["ranges"])
        changes["ranges"] = {
            **{name: old for name, old in declaration.ranges.items() if not _names(bounds, name)},
            **bounds,
        }
    if options["domains"]:
        values = rules.parse_domains(options["domains"])
        changes["domains"] = {
            **{name: old for name, old in declaration.domains.items() if not _names(values, name)},
            **values,
        }
    if options["grades"]:
        given_grades = rules.parse_grades(options["grades"])
        # '*' speaks of every column that is not named.
        kept_grades = {} if "*" in given_grades else declaration.grades
        changes["grades"] = {
            **{name: old for name, old in kept_grades.items() if not _names(given_grades, name)},
            **given_grades,
        }
    return replace(declaration, **changes)


def _names(given: dict[str, Any], column: str) -> bool:
    return column.casefold() in {name.casefold() for name in given}


def _acceptor(accepted: bool) -> Accept:
    def accept(derived: Sequence[Column], cap: int | None) -> bool:
        if accepted:
            return True
        if not interactive():
            return False
        note("These figures come from the data and would be public:")
        if derived:
            note(table(("column", "type", "from", "to"), [(one.name, one.type, one.lo, one.hi) for one in derived]))
        if cap is not None:
            note(f"at most {cap} row{'' if cap == 1 else 's'} a key")
        return click.confirm("Publish them?", default=False, err=True)

    return accept


def _show(made: Added, what: str) -> None:
    if settings().json:
        from privcompute.node.catalogue import describe

        print_json({**describe(made.dataset), "notes": list(made.notes)})
        return
    click.echo(f"{what} {made.dataset.name}; a peer will see:")
    click.echo(_text(made.entry, made.dataset.source, made.dataset.partners, made.dataset.grades))
    for text in made.notes:
        note(f"note: {text}")


def _text(entry: DatasetEntry, source: str, partners: Sequence[str], grades: Mapping[str, str]) -> str:
    who = ", ".join(partners) or "every paired peer"
    lines = [
        f"{entry.party}.{entry.name}  from {source}",
        f"  key {', '.join(entry.keys)}: {entry.distinct_keys:,} distinct, at most {entry.rows_per_key} rows each",
        f"  open to {who}; reveal {entry.reveal}; at least {entry.min_cell} people a cell; consent {entry.consent}",
        f"  in a union: at least {entry.min_holders} holders a cell",
    ]
    rows = [
        (
            one.name,
            one.type,
            "key" if one.name in entry.keys else ", ".join(sorted(entry.allow.get(one.name, ()))) or "-",
            f"{_number(one.lo)} to {_number(one.hi)}" if one.lo is not None else "",
            one.range_origin if one.lo is not None and one.range_origin != "type" else "",
            "" if one.domain is None else _few([str(value) for value in one.domain]),
            grades.get(one.name, ""),
        )
        for one in entry.columns
    ]
    header = ("column", "type", "allowed", "range", "range is", "values", "grade (private)")
    # A table without grades looks as it always did.
    wide = len(header) if grades else len(header) - 1
    lines += ["  " + line for line in table(header[:wide], [row[:wide] for row in rows]).splitlines()]
    return "\n".join(lines)


def _few(values: Sequence[str]) -> str:
    """The values in quotes if they need them; of many the first and their number."""
    shown = [one if one.strip() == one and one and not set(one) & set(',"') else f'"{one}"' for one in values[:5]]
    return ", ".join(shown) + (f", … ({len(values)})" if len(values) > len(shown) else "")


def _number(value: Any) -> str:
    return str(value) if value.denominator == 1 else f"{float(value):g}"
