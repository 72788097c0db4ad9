"""`requests`, `approve`, `refuse`, `releases`: what peers ask of this node, and what this node received."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from privcompute.cli.app import Command, Group, settings
from privcompute.cli.output import note, print_json, printable, table

if TYPE_CHECKING:
    from privcompute.node.releases import StoredRelease
    from privcompute.node.requests import Request
    from privcompute.node.store import Store


@contextmanager
def open_store() -> Iterator[Store]:
    """The state of the home; a running node sees at once what is changed in it."""
    from privcompute.node.home import Home
    from privcompute.node.store import Store

    home = Home.resolve(settings().home)
    home.require()
    store = Store(home.database)
    try:
        yield store
    finally:
        store.close()


def when(seconds: float) -> str:
    """A time for people and programs: ISO, local, to the second."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")


@click.command(cls=Command)
@click.option("--all", "every", is_flag=True, help="Decided ones, too.")
def requests(every: bool) -> None:
    """List what peers asked and this node's owner has to decide."""
    from privcompute.cli.render import plan_text

    with open_store() as store:
        found = store.requests.all(state=None if every else "waiting")
    if settings().json:
        print_json({"requests": [_request(one) for one in found]})
        return
    if not found:
        click.echo("no request waits")
    for one in found:
        click.echo(f"{one.id}  {one.state}  from {printable(one.peer)}, {when(one.asked)}")
        click.echo(plan_text(one.plan) + "\n" if one.plan else printable(one.sql) + "\n")
    if any(one.state == "waiting" for one in found):
        note("decide with `privcompute approve ID` or `privcompute refuse ID`")


@click.command(cls=Command)
@click.argument("identifier", metavar="ID")
def approve(identifier: str) -> None:
    """Allow one run of a waiting request."""
    _decide(identifier, approve=True)


@click.command(cls=Command)
@click.argument("identifier", metavar="ID")
def refuse(identifier: str) -> None:
    """Refuse a waiting request."""
    _decide(identifier, approve=False)


def _decide(identifier: str, *, approve: bool) -> None:
    with open_store() as store:
        request = store.requests.decide(identifier, approve=approve)
        store.audit.append(request.state, peer=request.peer, plan_digest=request.plan_digest, request=request.id)
    if settings().json:
        print_json(_request(request))
    elif approve:
        click.echo(f"approved {request.id}: {printable(request.peer)} may run this plan once")
    else:
        click.echo(f"refused {request.id}")


def _request(request: Request) -> dict[str, Any]:
    return {
        "id": request.id,
        "peer": request.peer,
        "state": request.state,
        "sql": request.sql,
        "plan_digest": request.plan_digest,
        "asked": when(request.asked),
        "decided": when(request.decided) if request.decided is not None else None,
        "plan": request.plan,
    }


@click.group(cls=Group)
def releases() -> None:
    """List and show the results this node received."""


@releases.command("list")
def releases_list() -> None:
    """List the results this node received."""
    with open_store() as store:
        found = store.releases.all()
    if settings().json:
        print_json({"releases": [_release(one) for one in found]})
    elif not found:
        click.echo("no release yet")
    else:
        rows = [(one.id, when(one.at), one.asker, " ".join(one.sql.split())) for one in found]
        click.echo(table(("id", "received", "asker", "sql"), rows))


@releases.command("show")
@click.argument("identifier", metavar="ID")
def releases_show(identifier: str) -> None:
    """Show one result with what everybody learned."""
    from privcompute.cli.render import release_text

    with open_store() as store:
        found = store.releases.get(identifier)
    if settings().json:
        print_json({**_release(found), **found.body})
    else:
        click.echo(f"{found.id}, received {when(found.at)}, asked by {printable(found.asker)}\n")
        click.echo(release_text(found.body))


def _release(release: StoredRelease) -> dict[str, Any]:
    return {
        "id": release.id,
        "at": when(release.at),
        "asker": release.asker,
        "sql": release.sql,
        "plan_digest": release.plan_digest,
    }
