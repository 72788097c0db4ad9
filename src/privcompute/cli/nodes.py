"""`init` and `serve`."""

from __future__ import annotations

import asyncio

import click

from privcompute.cli.app import Command, settings
from privcompute.cli.output import note, print_json


@click.command(cls=Command)
@click.option("--name", required=True, help="This party's name in SQL: lower-case letters, digits and _.")
@click.option(
    "--listen",
    metavar="HOST:PORT",
    help="Where peers reach this node, e.g. '[::]:7443'; without it, it only reaches out.",
)
def init(name: str, listen: str | None) -> None:
    """Set up a node: its name, key, configuration and state."""
    from privcompute.node.home import Home
    from privcompute.node.setup import create_node
    from privcompute.node.warm import cold
    from privcompute.transport.identity import show_fingerprint

    home = Home.resolve(settings().home)
    if cold():
        note("compiling the kernels, once after an installation: half a minute")
    made = create_node(home, name, listen)
    if settings().json:
        print_json(
            {
                "name": name,
                "home": str(home.path),
                "listen": listen,
                "fingerprint": made.fingerprint,
                "calibration": made.calibration.to_json(),
            }
        )
        return
    click.echo(f"node {name} is set up in {home.path}")
    click.echo(f"fingerprint {show_fingerprint(made.fingerprint)}")
    note("next: `privcompute invite PEER` or `privcompute join CODE`, then `privcompute dataset add`")


@click.command(cls=Command)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="Overrides log.level of node.toml.",
)
def serve(log_level: str | None) -> None:
    """Run the node: answer peers until stopped by Ctrl-C or SIGTERM."""
    from privcompute.node import log
    from privcompute.node.config import load
    from privcompute.node.daemon import serve as run
    from privcompute.node.home import Home

    home = Home.resolve(settings().home)
    home.require()
    config = load(home.config_file)
    as_json = settings().json
    log.set_up(home, config.log, level=log_level, echo=True)

    def ready(addresses: tuple[str, ...]) -> None:
        if as_json:
            print_json({"event": "listening", "name": config.name, "addresses": list(addresses)})
        else:
            click.echo(f"{config.name} is listening on {', '.join(addresses) or 'no port; it reaches out only'}")

    try:
        asyncio.run(run(home, ready=ready))
    finally:
        log.close()
