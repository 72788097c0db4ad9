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
        if "delivery" in one.plan:
            from privcompute.cli.delivery_text import delivery_text

            click.echo(delivery_text(one.plan["delivery"]) + "\n")
            continue
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
        what = "deliver this table" if "delivery" in request.plan else "run this plan"
        click.echo(f"approved {request.id}: {printable(request.peer)} may {what} once")
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
    """List and show the results and tables this node received, and the tables it sent."""


@releases.command("list")
def releases_list() -> None:
    """List the results and tables this node received, and the tables it sent."""
    from privcompute.cli.delivery_text import sent_json, sent_row, table_json, table_row

    with open_store() as store:
        found, tables, sent = store.releases.all(), store.received.all(), store.sent.all()
    if settings().json:
        print_json(
            {
                "releases": [_release(one) for one in found],
                "tables": [table_json(one) for one in tables],
                "sent": [sent_json(one) for one in sent],
            }
        )
        return
    if not found and not tables and not sent:
        click.echo("no release yet")
    if found:
        rows = [(one.id, when(one.at), one.asker, " ".join(one.sql.split())) for one in found]
        click.echo(table(("id", "received", "asker", "sql"), rows))
    header = ("dataset", "as", "for", "rows", "state")
    if tables:
        click.echo(table(("table", "from", "since", *header), [table_row(one) for one in tables]))
    if sent:
        click.echo(table(("sent to", "since", *header), [sent_row(one) for one in sent]))


@releases.command("accept")
@click.argument("peer")
@click.option("--off", is_flag=True, help="Hold this peer's tables for approval again.")
def releases_accept(peer: str, off: bool) -> None:
    """Take every table that PEER delivers from now on; without this each one waits for `approve`."""
    from privcompute.errors import UsageError
    from privcompute.node.delivery.receive import ACCEPTED

    with open_store() as store:
        if store.peers.get(peer) is None:
            raise UsageError(f"{peer} is not a paired peer", code="no_peer", remedy="see `privcompute peers list`")
        accepted = sorted({*(store.setting(ACCEPTED) or []), peer} - ({peer} if off else set()))
        store.set_setting(ACCEPTED, accepted)
        store.audit.append("tables_held" if off else "tables_accepted", peer=peer)
    if settings().json:
        print_json({"accepted": accepted})
    else:
        click.echo(f"tables of {peer} are {'held for approval' if off else 'taken as they come'}")


@releases.command("show")
@click.argument("identifier", metavar="ID")
def releases_show(identifier: str) -> None:
    """Show one result with what everybody learned, or what a table's sender says of it."""
    from privcompute.cli.render import release_text

    if identifier.startswith("t"):
        _show_table(identifier)
        return
    with open_store() as store:
        found = store.releases.get(identifier)
    if settings().json:
        print_json({**_release(found), **found.body})
    else:
        click.echo(f"{found.id}, received {when(found.at)}, asked by {printable(found.asker)}\n")
        click.echo(release_text(found.body))


@releases.command("forget")
@click.argument("identifier", metavar="ID")
def releases_forget(identifier: str) -> None:
    """Remove a table that a peer delivered, or has begun to deliver, from this node."""
    from privcompute.node.delivery import spool
    from privcompute.node.home import Home

    with open_store() as store:
        found = store.received.get(identifier)
        store.received.remove(found.id)
        spool.in_file(Home.resolve(settings().home), found.id).unlink(missing_ok=True)
        store.audit.append("table_forgotten", peer=found.manifest.sender, table=found.id)
    if settings().json:
        print_json({"forgotten": found.id})
    else:
        click.echo(f"forgot {found.id}")


def _show_table(identifier: str) -> None:
    from privcompute.cli.delivery_text import delivery_text, table_json

    with open_store() as store:
        found = store.received.get(identifier)
    if settings().json:
        print_json({**table_json(found), "delivery": found.manifest.to_object()})
        return
    click.echo(f"{found.id}, {found.state}, since {when(found.at)}\n{delivery_text(found.manifest.to_object())}")
    if found.state == "received":
        note(f"`privcompute receive {found.id} -o FILE.csv|.parquet` writes it to a file")


def _release(release: StoredRelease) -> dict[str, Any]:
    return {
        "id": release.id,
        "at": when(release.at),
        "asker": release.asker,
        "sql": release.sql,
        "plan_digest": release.plan_digest,
    }
