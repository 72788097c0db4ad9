"""`anonymize` and `measure`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from privcompute.cli.app import Command, settings
from privcompute.cli.output import note, print_json
from privcompute.errors import UsageError

if TYPE_CHECKING:
    from privcompute.anonymize import Policy
    from privcompute.anonymize.mask import Keys


@click.command(cls=Command)
@click.argument("file")
@click.option(
    "--policy",
    "policy_file",
    required=True,
    type=click.Path(path_type=Path),
    metavar="POLICY.toml",
    help="What the columns are and what must hold.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="OUT.csv|.parquet",
    help="Where the release goes.",
)
@click.option("--explain", is_flag=True, help="Show the plan; nothing is searched or written.")
@click.option(
    "--report",
    "report_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.json|.md|.svg",
    help="Write the report, too: JSON, Markdown (with a picture beside it), or the picture alone.",
)
@click.option(
    "--keys",
    "key_file",
    type=click.Path(path_type=Path),
    metavar="KEYS.toml",
    help="Owner-only file of the policy's keys [default: $PRIVCOMPUTE_KEYS, else mask-keys.toml in the home].",
)
def anonymize(
    file: str, policy_file: Path, output: Path | None, explain: bool, report_file: Path | None, key_file: Path | None
) -> None:
    """Release FILE under a policy: generalize, suppress, look again, write."""
    from privcompute.anonymize import Policy
    from privcompute.anonymize.frame import write

    policy = Policy.load(policy_file)
    if explain:
        plan = policy.explain(file, keys=_keys(policy, key_file)).to_json()
        if settings().json:
            print_json(plan)
        else:
            click.echo(_plan_text(plan))
        return
    if output is None:
        raise UsageError("nothing says where the release goes", code="usage", remedy="add -o OUT.csv, or --explain")
    _check_suffix(output, (".csv", ".parquet"))
    if report_file is not None:
        _check_suffix(report_file, (".json", ".md", ".svg"))
    if output.resolve() == Path(file).resolve():
        raise UsageError("the release would overwrite the table", code="bad_output", remedy="name another file")
    released = policy.apply(file, keys=_keys(policy, key_file))
    write(released.frame, output)
    if report_file is not None:
        _write_report(policy, file, released.report, report_file)
    note(f"wrote {output}")
    if settings().json:
        print_json(released.report.body)
    else:
        click.echo(released.report.to_markdown())


@click.command(cls=Command)
@click.argument("file")
@click.option("--qi", multiple=True, required=True, metavar="COL", help="A quasi-identifier.")
@click.option("--sensitive", multiple=True, metavar="COL", help="A sensitive column.")
@click.option("--hierarchy", multiple=True, metavar="COL=FILE", help="The hierarchy of a sensitive column.")
@click.option("--population", metavar="FILE", help="A table of which FILE is a part.")
@click.option(
    "--population-rows", type=click.IntRange(min=1), metavar="N", help="Rows of the population, if only that is known."
)
@click.option("--marker", metavar="TEXT", help="What suppressed rows show.")
@click.option("--locale", type=click.Choice(["en", "zh-CN"]), default="en", help="Language of the report.")
def measure(
    file: str,
    qi: tuple[str, ...],
    sensitive: tuple[str, ...],
    hierarchy: tuple[str, ...],
    population: str | None,
    population_rows: int | None,
    marker: str | None,
    locale: str,
) -> None:
    """Print what FILE reaches under every privacy model, and its re-identification risks."""
    from privcompute.anonymize import measure as run
    from privcompute.anonymize.hierarchy.table import from_file

    found: dict[str, Any] = {}
    for one in hierarchy:
        name, sign, path = one.partition("=")
        if not sign or name not in sensitive:
            raise UsageError("--hierarchy takes COL=FILE, COL a sensitive column", code="usage")
        found[name] = from_file(Path(path))
    more = {} if marker is None else {"marker": marker}
    measured = run(
        file,
        qi=qi,
        sensitive=sensitive,
        hierarchies=found,
        population=population,
        population_rows=population_rows,
        **more,
    )
    if settings().json:
        print_json(measured.to_dict())
    else:
        click.echo(measured.to_markdown(locale))


def _check_suffix(path: Path, known: tuple[str, ...]) -> None:
    if path.suffix.lower() not in known:
        raise UsageError(
            f"cannot tell the format of {path.name}", code="bad_output", remedy=f"name it {' or '.join(known)}"
        )


def _keys(policy: Policy, path: Path | None) -> Keys:
    """The keys that the policy names, as far as they are there."""
    from privcompute.anonymize.mask import Keys, load_keys
    from privcompute.cli.desensitize import key_file

    return load_keys(path or key_file(), policy.keys) if policy.keys else Keys({})


def _write_report(policy: Any, file: str, report: Any, path: Path) -> None:
    from privcompute.anonymize.sweep import with_sweep

    suffix = path.suffix.lower()
    try:
        if suffix == ".json":
            path.write_text(report.to_json(), encoding="utf-8")
            return
        drawn = with_sweep(policy, file, report)
        if suffix == ".md":
            picture = path.with_suffix(".svg")
            picture.write_text(drawn.to_svg(), encoding="utf-8")
            path.write_text(drawn.to_markdown() + f"\n![]({picture.name})\n", encoding="utf-8")
        else:
            path.write_text(drawn.to_svg(), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", code="bad_output") from None


def _plan_text(plan: dict[str, Any]) -> str:
    from privcompute.anonymize.markdown import input_text
    from privcompute.cli.output import table

    columns = [
        [one["name"], one["role"], one.get("hierarchy", ""), one.get("distinct", ""), one.get("levels", "")]
        for one in plan["columns"]
    ]
    return "\n".join(
        [
            f"{plan['rows']} rows, of which {plan['rows_that_may_be_suppressed']} may be suppressed",
            f"search: {plan['algorithm']} over {plan['nodes']} nodes, by {plan['metric']}",
            "input: " + input_text(plan["input"], "en"),
            *(f"must hold: {model}" for model in plan["models"]),
            "",
            table(["column", "role", "hierarchy", "values", "levels"], columns),
        ]
    )
