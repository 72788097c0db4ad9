"""Inviting, joining, renewing: the transport's pairing, with this home's state and its running node's addresses."""

from __future__ import annotations

from privcompute.errors import PrivcomputeError, UsageError
from privcompute.node import local_socket
from privcompute.node.config import Config
from privcompute.node.config import load as load_config
from privcompute.node.home import Home
from privcompute.node.store import Store
from privcompute.transport.address import Address, reachable_addresses
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


async def own_addresses(home: Home, config: Config) -> tuple[str, ...]:
    """Where peers reach this node: the running node's ports, else the configured one; nothing if it does not listen.

    Raises:
        UsageError: the configured port is 0 and no node runs, so that the port is not known.
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
        raise UsageError(
            "the port is chosen when the node starts, and it does not run",
            code="no_address",
            remedy="start `privcompute serve` first, or give --address HOST:PORT",
        )
    return reachable_addresses(config.listen, port)
