"""`doctor`: what is wrong with this node, and what to do."""

from __future__ import annotations

import asyncio

import click

from privcompute.cli.app import Command, settings
from privcompute.cli.output import print_json, printable


@click.command(cls=Command)
@click.pass_context
def doctor(context: click.Context) -> None:
    """Check the home, the port, the running node, the datasets and the peers.

    Exits with 0 when nothing failed, with 4 when only links failed, else with 2.
    """
    from privcompute.node.checkup import examine
    from privcompute.node.home import Home

    findings = asyncio.run(examine(Home.resolve(settings().home)))
    failed = [one for one in findings if one.state == "fail"]
    status = 0 if not failed else 4 if all(one.about.startswith("peer ") for one in failed) else 2
    if settings().json:
        print_json(
            {
                "ok": not failed,
                "checks": [
                    {"about": one.about, "state": one.state, "text": one.text, "remedy": one.remedy} for one in findings
                ],
            }
        )
    else:
        for one in findings:
            click.echo(f"{_MARK[one.state]:4}  {printable(one.about)}: {printable(one.text)}")
            if one.remedy:
                click.echo(f"      -> {printable(one.remedy)}")
    context.exit(status)


_MARK = {"ok": "ok", "warn": "warn", "fail": "FAIL"}
