"""Inviting and joining: the transport's pairing, with this home's state and its running node's addresses."""

from __future__ import annotations

import asyncio

from privcompute.errors import PrivcomputeError, UsageError
from privcompute.node import local_socket
from privcompute.node.config import Config
from privcompute.node.config import load as load_config
from privcompute.node.home import Home
from privcompute.node.store import Store
from privcompute.transport.address import Address, reachable_addresses
from privcompute.transport.book import Peer, already_paired
from privcompute.transport.identity import Identity
from privcompute.transport.invitation import Invitation, invite


async def make_invitation(home: Home, peer: str, addresses: tuple[str, ...]) -> Invitation:
    """A fresh invitation for a peer; its other half waits in the home until whoever serves it accepts the join.

    Raises:
        UsageError: no such name, the peer is paired already, or there is no address that the code could hold.
    """
    home.require()
    config = load_config(home.config_file)
    identity = Identity.load(home.identity)
    store = Store(home.database)
    try:
        given = tuple(str(Address.parse(one)) for one in addresses)
        made = invite(identity, peer, given or await own_addresses(home, config))
        store.peers.invite(made.pending())
        store.audit.append("invite", peer=peer, addresses=list(made.addresses))
    finally:
        store.close()
    return made


async def join_with(home: Home, code: str, addresses: tuple[str, ...]) -> Peer:
    """Pair with the node that made a code.

    Args:
        home: This node's.
        code: As `invite` printed it.
        addresses: Where the inviter reaches this node; default: as it listens.

    Raises:
        UsageError: the code is damaged or expired, or the inviter is paired already.
        PeerError: the inviter refused.
        TransportError: none of its addresses answers.
    """
    from privcompute.transport.join import join  # deferred: brings in grpc, which `invite` does not need

    home.require()
    config = load_config(home.config_file)
    identity = Identity.load(home.identity)
    inviter = Invitation.decode(code).inviter
    store = Store(home.database)
    try:
        if store.peers.get(inviter) is not None:
            raise already_paired(inviter)
        given = tuple(str(Address.parse(one)) for one in addresses)
        own = given or await own_addresses(home, config, needed=False)
        peer = await asyncio.to_thread(join, identity, code, own)
        store.peers.add(peer)
        store.audit.append("join", peer=peer.name, fingerprint=peer.fingerprints[0])
    finally:
        store.close()
    return peer


async def own_addresses(home: Home, config: Config, *, needed: bool = True) -> tuple[str, ...]:
    """Where peers reach this node: the running node's ports, else the configured one; nothing if it does not listen.

    Raises:
        UsageError: an address is needed, the configured port is 0 and no node runs, so that the port is not known.
    """
    if config.listen is None:
        return ()
    try:
        status = await local_socket.call(home.socket, {"op": "status"})
        port = next((Address.parse(one).port for one in status["addresses"]), None)
    except PrivcomputeError as error:
        if error.code != "not_running":
            raise
        port = None
    if port is None and Address.parse(config.listen).port == 0:
        if not needed:
            return ()
        raise UsageError(
            "the port is chosen when the node starts, and it does not run",
            code="no_address",
            remedy="start `privcompute serve` first, or give --address HOST:PORT",
        )
    return reachable_addresses(config.listen, port)
