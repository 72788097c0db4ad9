"""Renewing this node's key and certificate, in the running node or, where none runs, in a node opened for that."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from privcompute.errors import PrivcomputeError, UsageError
from privcompute.node import local_socket
from privcompute.node.home import Home, alone
from privcompute.transport.identity import Identity

if TYPE_CHECKING:
    from privcompute.node.context import NodeContext


@dataclass(frozen=True, slots=True)
class Renewed:
    """How far a renewal has come.

    Attributes:
        fingerprint: Of the new certificate.
        in_use: Whether this node presents it now.
        told: Peers that accept it.
        not_told: Peers that could not be told yet; the old certificate stays in use until they are.
    """

    fingerprint: str
    in_use: bool
    told: tuple[str, ...]
    not_told: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """What `--json` prints and the running node answers."""
        return asdict(self)


async def renew_identity(home: Home) -> Renewed:
    """Make a new key and certificate, tell every peer, and use it once all of them know.

    A renewal that could not reach every peer is taken up again by the next call, with the same new certificate. A
    running node does it itself: it alone can tell the peers that only reach out, and changes over without a restart.

    Raises:
        UsageError: a node is just starting here.
    """
    from privcompute.node.opened import opened  # deferred: brings in grpc, which a running node spares the command

    home.require()
    try:
        done = await local_socket.call(home.socket, {"op": "renew"})
    except PrivcomputeError as error:
        if error.code != "not_running":
            raise
    else:
        return Renewed(done["fingerprint"], done["in_use"], tuple(done["told"]), tuple(done["not_told"]))
    with alone(home):
        async with opened(home) as context:
            return await renew(context)


async def renew(context: NodeContext) -> Renewed:
    """Renew the identity of an open node; links under the old certificate end when the new one comes into use."""
    from privcompute.transport import renewal  # deferred, as above

    directory = context.home.identity
    following = _following(directory)
    told: list[str] = []
    missed: list[str] = []
    for peer in context.store.peers.all():
        try:
            await renewal.tell(context.endpoint, peer.name, following)
            told.append(peer.name)
        except PrivcomputeError:
            missed.append(peer.name)
    in_use = not missed
    # A second command may have renewed to the same certificate meanwhile.
    if in_use and context.identity.fingerprint != following.fingerprint:
        Identity.promote(directory)
        context.identity = context.endpoint.identity = following
        await context.endpoint.refresh()
    context.store.audit.append("renew", fingerprint=following.fingerprint, in_use=in_use, not_told=missed)
    return Renewed(following.fingerprint, in_use, tuple(told), tuple(missed))


def _following(directory: Path) -> Identity:
    """The next identity of a renewal that has begun, else a fresh one, kept before anybody hears of it."""
    try:
        return Identity.load(directory, as_next=True)
    except UsageError:
        following = Identity.load(directory).renew()
        following.save(directory, as_next=True)
        return following
