"""`invite`, `join`, `peers list`, `peers card`, `peers add`, `unpair`, `renew`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import click

from privcompute.cli.app import Command, Group, settings
from privcompute.cli.output import interactive, note, print_json, table

_addresses = click.option(
    "--address",
    "addresses",
    multiple=True,
    metavar="HOST:PORT",
    help="Where the peer reaches this node; default: as it listens.",
)


@click.command(cls=Command)
@click.argument("peer")
@_addresses
def invite(peer: str, addresses: tuple[str, ...]) -> None:
    """Print a one-time code with which PEER may pair with this node, within 24 hours.

    The code is a secret: hand it over where nobody else reads it.
    """
    from privcompute.node.home import Home
    from privcompute.node.pairing import make_invitation
    from privcompute.transport.address import only_loopback
    from privcompute.transport.identity import show_fingerprint

    made = asyncio.run(make_invitation(Home.resolve(settings().home), peer, addresses))
    code = made.encode()
    if only_loopback(made.addresses):
        note("warning: the code holds loopback addresses only; no other machine can use it (see --address)")
    if settings().json:
        print_json(
            {
                "peer": peer,
                "code": code,
                "addresses": list(made.addresses),
                "expires": datetime.fromtimestamp(made.expires, UTC).isoformat(),
                "fingerprint": made.fingerprint,
            }
        )
        return
    click.echo(f"this node: {show_fingerprint(made.fingerprint)}")
    click.echo(f"reachable at {', '.join(made.addresses)}; `privcompute serve` accepts the join")
    click.echo(f"code for {peer}, good once and for 24 hours:")
    click.echo(code)


@click.command(cls=Command)
@click.argument("code")
@_addresses
def join(code: str, addresses: tuple[str, ...]) -> None:
    """Pair with the node that made this code. That node must be serving."""
    from privcompute.node.home import Home
    from privcompute.node.pairing import join_with
    from privcompute.transport.identity import show_fingerprint

    peer = asyncio.run(join_with(Home.resolve(settings().home), code, addresses))
    if settings().json:
        print_json({"peer": peer.name, "fingerprint": peer.fingerprints[0], "addresses": list(peer.addresses)})
    else:
        click.echo(f"paired with {peer.name}")
        click.echo(f"its fingerprint: {show_fingerprint(peer.fingerprints[0])}")


@click.group(cls=Group)
def peers() -> None:
    """List the paired peers; pair by cards."""


@peers.command("list")
def peers_list() -> None:
    """List the paired peers and the open invitations."""
    from privcompute.cli.consent import open_store, when
    from privcompute.transport.identity import show_fingerprint

    with open_store() as store:
        found = store.peers.all()
        waiting = store.peers.invitations()
    if settings().json:
        print_json(
            {
                "peers": [
                    {"name": one.name, "fingerprints": list(one.fingerprints), "addresses": list(one.addresses)}
                    for one in found
                ],
                "invitations": [
                    {"peer": one.peer, "expires": when(one.expires), "tries": one.tries} for one in waiting
                ],
            }
        )
        return
    if found:
        rows = [
            (one.name, ", ".join(one.addresses) or "(it reaches us)", show_fingerprint(one.fingerprints[-1]))
            for one in found
        ]
        click.echo(table(("peer", "addresses", "fingerprint"), rows))
    else:
        click.echo("no peer yet")
    for one in waiting:
        click.echo(f"an invitation for {one.peer} waits until {when(one.expires)}")


@peers.command("card")
@click.option(
    "--address",
    "addresses",
    multiple=True,
    metavar="HOST:PORT",
    help="Where peers reach this node; default: as it listens.",
)
def peers_card(addresses: tuple[str, ...]) -> None:
    """Print this node's card: its name, certificate and addresses.

    It is public. Each peer takes it with `peers add`.
    """
    from privcompute.node.card import own_card
    from privcompute.node.home import Home

    print_json(asyncio.run(own_card(Home.resolve(settings().home), addresses)))


@peers.command("add")
@click.argument("files", nargs=-1, required=True, metavar="CARD…", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="The fingerprints were compared already.")
def peers_add(files: tuple[Path, ...], yes: bool) -> None:
    """Pair by cards that other owners made with `peers card`; each of them takes this node's card, too.

    Where all cards lie in one folder, this node's own may be among them: it is left out.
    """
    from privcompute.errors import ConsentNeeded
    from privcompute.node.card import others_cards, take
    from privcompute.node.home import Home
    from privcompute.transport.identity import show_fingerprint

    home = Home.resolve(settings().home)
    found, own = others_cards(home, files)
    for path in own:
        note(f"{path} is this node's own card; it is left out")
    for peer in found:
        note(f"{peer.name}: {show_fingerprint(peer.fingerprints[0])}")
    if not yes:
        if not interactive():
            raise ConsentNeeded(
                "nobody is here to compare the fingerprints",
                code="consent_needed",
                remedy="compare them with their owners, then add --yes",
            )
        if not click.confirm("Are these the fingerprints that their owners see?", default=False, err=True):
            raise ConsentNeeded("not agreed; nobody was paired", code="not_agreed")
    for peer in found:
        take(home, peer)
    if settings().json:
        print_json({"paired": [{"name": one.name, "fingerprint": one.fingerprints[0]} for one in found]})
    else:
        click.echo(f"paired with {', '.join(one.name for one in found)}; each of them takes this node's card, too")


@click.command(cls=Command)
@click.argument("peer")
def unpair(peer: str) -> None:
    """Forget a peer and its invitations; a running node closes its links."""
    from privcompute.cli.consent import open_store
    from privcompute.errors import UsageError

    with open_store() as store:
        if not store.peers.remove(peer):
            raise UsageError(
                f"{peer} is not paired with this node", code="no_peer", remedy="`privcompute peers list` lists them"
            )
        store.audit.append("unpair", peer=peer)
    if settings().json:
        print_json({"unpaired": peer})
    else:
        click.echo(f"{peer} is forgotten; its own node still knows this one until it unpairs, too")


@click.command(cls=Command)
def renew() -> None:
    """Renew this node's key and certificate; peers accept the old and the new one until all have changed over."""
    from privcompute.node.home import Home
    from privcompute.node.renewal import renew_identity
    from privcompute.transport.identity import show_fingerprint

    renewed = asyncio.run(renew_identity(Home.resolve(settings().home)))
    if settings().json:
        print_json(renewed.to_json())
        return
    click.echo(f"new fingerprint: {show_fingerprint(renewed.fingerprint)}")
    if renewed.told:
        click.echo(f"told: {', '.join(renewed.told)}")
    if renewed.in_use:
        click.echo("the new certificate is in use")
    else:
        click.echo(f"not reached yet: {', '.join(renewed.not_told)}; run `privcompute renew` again when they serve")
