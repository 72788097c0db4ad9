"""The root command: lazily loaded sub-commands, options that stand anywhere, errors as people and as JSON.

Exit status: 0, 1 a fault of ours, 2 usage, 3 peer, 4 transport, 5 privacy, 6 integrity, 7 awaiting consent, 130 Ctrl-C.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import click

from privcompute.errors import PrivcomputeError

CANCELLED_STATUS = 130


@dataclass
class Settings:
    """What stands before or after a command: `--home`, `--json`."""

    home: str | None = None
    json: bool = False


def settings() -> Settings:
    """The settings of the command that runs now."""
    context = click.get_current_context()
    found = context.find_root().ensure_object(Settings)
    assert isinstance(found, Settings)  # noqa: S101 - nothing else is ever stored there
    return found


def _keep_home(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.find_root().ensure_object(Settings).home = value


def _keep_json(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.find_root().ensure_object(Settings).json = True


def _anywhere() -> list[click.Option]:
    return [
        click.Option(
            ["--home"],
            metavar="DIR",
            expose_value=False,
            callback=_keep_home,
            help="The node's directory [default: $PRIVCOMPUTE_HOME, else .privcompute].",
        ),
        click.Option(
            ["--json"],
            is_flag=True,
            expose_value=False,
            callback=_keep_json,
            help="Print one JSON object on standard output.",
        ),
    ]


class Command(click.Command):
    """A command that takes --home and --json after its name, too."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.params += _anywhere()


class Group(click.Group):
    """A group of such commands."""

    command_class = Command

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.params += _anywhere()


Group.group_class = Group

# command: (module, attribute, one line of help). The help stands here so that `--help` imports nothing.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "init": ("privcompute.cli.nodes", "init", "Set up a node: its name, key, configuration and state."),
    "invite": ("privcompute.cli.peers", "invite", "Print a one-time code with which one peer may pair."),
    "join": ("privcompute.cli.peers", "join", "Pair with the node that made this code."),
    "dataset": ("privcompute.cli.datasets", "dataset", "Add, list, edit and remove this node's datasets."),
    "serve": ("privcompute.cli.nodes", "serve", "Run the node: answer peers until stopped."),
    "explain": ("privcompute.cli.queries", "explain", "Show a query's plan, cost and what each party would learn."),
    "query": ("privcompute.cli.queries", "query", "Ask a question over the join of two parties' tables."),
    "requests": ("privcompute.cli.consent", "requests", "List what peers asked and this node's owner has to decide."),
    "approve": ("privcompute.cli.consent", "approve", "Allow one run of a waiting request."),
    "refuse": ("privcompute.cli.consent", "refuse", "Refuse a waiting request."),
    "releases": ("privcompute.cli.consent", "releases", "List and show the results and tables this node received."),
    "release": (
        "privcompute.cli.release",
        "release",
        "Deliver a table to a peer, anonymized or desensitized by a policy.",
    ),
    "receive": ("privcompute.cli.release", "receive", "Write a table that a peer delivered to a file."),
    "peers": ("privcompute.cli.peers", "peers", "List the paired peers."),
    "unpair": ("privcompute.cli.peers", "unpair", "Forget a peer and close its links."),
    "renew": ("privcompute.cli.peers", "renew", "Renew this node's certificate, with overlap."),
    "doctor": ("privcompute.cli.doctor", "doctor", "Check the home, the port, the running node and the peers."),
    "anonymize": ("privcompute.cli.anonymize", "anonymize", "Release a table under a policy: generalized, suppressed."),
    "measure": (
        "privcompute.cli.anonymize",
        "measure",
        "Measure privacy models and re-identification risks of a table.",
    ),
    "profile": ("privcompute.cli.detect", "profile", "What a table holds: identifiers, quality, suggested grades."),
    "detect": ("privcompute.cli.detect", "detect", "Find identifiers in a table's cells or a text's lines."),
    "desensitize": (
        "privcompute.cli.desensitize",
        "desensitize",
        "Mask, tokenise or encrypt columns of a table into a new file.",
    ),
    "demo": ("privcompute.cli.demo", "demo", "Two node processes on this machine answer three queries."),
    "completion": ("privcompute.cli.completion", "completion", "Print the completion script of a shell."),
}

# Commands of later parts: refused by name, not listed.
UNBUILT: dict[str, str] = {
    "bench": "`make bench` in a checkout runs the measurements",
    "web": "use the command line or `privcompute.connect`",
}


class Root(Group):
    """Imports a sub-command when it is called, and ends with the statuses above."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which people need them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now."""
        if cmd_name in UNBUILT:
            return _unbuilt(cmd_name)
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As in click, with the nearest command for a misspelt one."""
        name = args[0]
        if name not in COMMANDS and name not in UNBUILT and not name.startswith("-"):
            import difflib

            near = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {name!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, from the table above."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, _, about) in COMMANDS.items()])

    def main(self, args: Sequence[str] | None = None, *more: Any, **named: Any) -> NoReturn:
        """Run a command line and exit with its status."""
        words = list(sys.argv[1:] if args is None else args)
        named["standalone_mode"] = False
        sys.exit(_status(lambda: super(Root, self).main(words, *more, **named), "--json" in words))


def _status(run: Callable[[], Any], as_json: bool) -> int:
    from privcompute.cli.output import print_error

    try:
        result = run()
    except PrivcomputeError as error:
        print_error(error, as_json)
        return error.exit_status
    except click.ClickException as error:
        return _click_status(error, as_json)
    except (click.Abort, KeyboardInterrupt):
        print_error(PrivcomputeError("stopped by Ctrl-C", code="cancelled"), as_json)
        return CANCELLED_STATUS
    except BrokenPipeError:
        # Whoever read our output has left: end quietly, also when Python flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # the last resort: its text may hold data, so only its type is shown
        if os.environ.get("PRIVCOMPUTE_DEBUG"):
            raise
        from privcompute.cli.output import internal_error

        print_error(internal_error(error), as_json)
        return 1
    return result if isinstance(result, int) else 0


def _click_status(error: click.ClickException, as_json: bool) -> int:
    if not as_json:
        error.show()
    else:
        from privcompute.cli.output import print_error

        print_error(PrivcomputeError(error.format_message(), code="usage", remedy="see --help"), as_json)
    return error.exit_code


def _unbuilt(name: str) -> click.Command:
    def refuse(words: tuple[str, ...]) -> None:
        from privcompute.errors import UsageError

        raise UsageError(f"`privcompute {name}` is not built yet", code="not_yet", remedy=UNBUILT[name])

    return Command(
        name,
        callback=refuse,
        params=[click.Argument(["words"], nargs=-1, type=click.UNPROCESSED)],
        context_settings={"ignore_unknown_options": True},
        add_help_option=False,
    )


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="privcompute", prog_name="privcompute")
def root() -> None:
    """Ask a question across two private tables; learn the answer and nothing else."""
