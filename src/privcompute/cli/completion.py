"""`privcompute completion SHELL`: the script that completes commands and options in bash, zsh or fish."""

from __future__ import annotations

import click

from privcompute.cli.app import Command, root


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    For bash: eval "$(privcompute completion bash)".
    """
    from click.shell_completion import get_completion_class

    from privcompute.cli.app import settings
    from privcompute.cli.output import print_json

    kind = get_completion_class(shell)
    if kind is None:
        raise click.ClickException(f"no completion for {shell}")
    script = kind(root, {}, "privcompute", "_PRIVCOMPUTE_COMPLETE").source()
    if settings().json:
        print_json({"shell": shell, "script": script})
    else:
        click.echo(script)
