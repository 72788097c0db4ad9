"""The receiver of a delivery: the owner's word, the spool, the checks, the receipt."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from privcompute.errors import ConsentNeeded, IntegrityError, PeerError, PrivcomputeError, TransportError
from privcompute.node import negotiation
from privcompute.node.delivery import messages, spool
from privcompute.node.delivery.manifest import PIECE, Manifest
from privcompute.node.jobs.alive import signs_of_life
from privcompute.session import Progress

if TYPE_CHECKING:
    from privcompute.node.context import NodeContext
    from privcompute.node.delivery.tables import ReceivedTable
    from privcompute.session import Channel

ACCEPTED: Final = "accept_tables_from"
"""The setting that lists the peers whose tables are taken without asking."""
_SPARE: Final = 64 << 20  # bytes of the disk that stay free


async def take_delivery(node: NodeContext, peer: str, channel: Channel) -> None:
    """Answers one link that delivers a table.

    Raises:
        PrivcomputeError: whatever ended it; the peer has been told.
    """
    try:
        await _take(node, peer, channel)
    except OSError:
        error = PeerError("this node cannot write its spool", code="no_room", party=node.name, stage="delivery")
        await channel.abort(error)
        raise error from None
    except BaseException as error:
        await channel.abort(_told(error, node.name))
        raise


def _told(error: BaseException, me: str) -> PrivcomputeError:
    if isinstance(error, PrivcomputeError):
        error.party = error.party or me
        return error
    cancelled = isinstance(error, asyncio.CancelledError)
    return TransportError(
        "the node is stopping" if cancelled else "the node met a fault of its own",
        code="cancelled" if cancelled else "internal",
        party=me,
        remedy="release again later: what arrived is kept",
    )


async def _take(node: NodeContext, peer: str, channel: Channel) -> None:
    timeout = node.config.limits.step_seconds
    manifest, signature = await messages.hear_delivery(channel, timeout)
    _check_address(node, peer, manifest, signature)
    row = await asyncio.to_thread(_admitted, node, peer, manifest)
    path = spool.in_file(node.home, row.id)
    with spool.alone_with(path, node.name):
        if await asyncio.to_thread(_is_here, node, row.id, manifest, path):
            # The receipt was lost on its way: the sender hears again that all of it is here.
            await messages.say_held(channel, manifest.pieces, manifest.sha256)
            if await messages.hear_from(channel, manifest.pieces, timeout) != manifest.pieces:
                raise negotiation.malformed(peer, "from")
        else:
            async with messages.in_time(node.config.limits.run_seconds, peer):
                await _fill(node, channel, manifest, path)
            # The sender waits for the receipt while a long table is read again.
            async with signs_of_life((channel,), "checking the table"):
                await asyncio.to_thread(_check, node, row.id, manifest, path)
    await messages.say_receipt(channel, manifest.receipt(node.identity))


def _is_here(node: NodeContext, identifier: str, manifest: Manifest, path: Path) -> bool:
    """Whether all of it arrived earlier, and still is here. Blocks.

    Only who holds the spool file may ask: until then another link may have brought it, or the owner forgotten it.
    """
    tables = node.store.received
    row = tables.find(manifest)
    if row is None:
        path.unlink(missing_ok=True)
        raise _forgotten(node)
    if row.state == "received" and spool.digest_of(path) != manifest.sha256:
        tables.again(identifier)
        return False
    return row.state == "received"


def _forgotten(node: NodeContext) -> ConsentNeeded:
    return ConsentNeeded(
        f"the owner of {node.name} has forgotten this table while it came; nothing of it stays",
        code="forgotten",
        party=node.name,
        stage="delivery",
        remedy=f"ask the owner of {node.name}, then release it again",
    )


def _check_address(node: NodeContext, peer: str, manifest: Manifest, signature: str) -> None:
    """It is from this peer, to this node, and signed under a certificate that is pinned here."""
    pinned = node.store.peers.get(peer)
    if pinned is None or manifest.sender != peer or manifest.receiver != node.name:
        raise PeerError("a table is not addressed to this node by its sender", code="bad_manifest", stage="delivery")
    manifest.verify(pinned.certificates, signature)


def _admitted(node: NodeContext, peer: str, manifest: Manifest) -> ReceivedTable:
    """The row of a delivery that may come in: its size is within limits and the owner wants it. Blocks."""
    tables = node.store.received
    known = tables.find(manifest)
    if known is not None:
        return known
    if tables.taken(manifest):
        raise PeerError("the peer used this table's id for another table", code="bad_manifest", stage="delivery")
    most = node.config.limits.delivery_mib << 20
    if tables.waiting_bytes(peer) + manifest.bytes > most:
        raise PeerError(
            f"this node holds at most {node.config.limits.delivery_mib} MiB of tables of one peer",
            code="too_large",
            stage="delivery",
            remedy="its owner forgets earlier ones (`privcompute releases forget ID`), or raises"
            " limits.delivery_mib in node.toml",
        )
    place = node.home.path
    if shutil.disk_usage(place).free < manifest.bytes + _SPARE:
        raise PeerError("this node has no room for the table", code="no_room", stage="delivery")
    accepted = peer in (node.store.setting(ACCEPTED) or [])
    with node.store.database.transaction():
        row = tables.begin(manifest) if accepted or _approved(node, peer, manifest) else None
        if row is not None:
            node.store.audit.append(
                "table_accepted",
                peer=peer,
                table=row.id,
                dataset=manifest.dataset,
                beforehand=accepted,
                bytes=manifest.bytes,
            )
            return row
    raise _held_for_owner(node, peer, manifest)


def _approved(node: NodeContext, peer: str, manifest: Manifest) -> bool:
    """Whether the owner approved exactly this table; the approval is spent."""
    node.store.requests.expire(node.config.limits.approval_seconds)
    return node.store.requests.use(peer, manifest.digest())


def _held_for_owner(node: NodeContext, peer: str, manifest: Manifest) -> ConsentNeeded:
    """Leaves a request for the owner; of the table nothing is taken yet."""
    about = f"TABLE {peer}.{manifest.dataset}"
    request = node.store.requests.submit(peer, manifest.digest(), about, {"delivery": manifest.to_object()})
    refused = request.state == "refused"
    return ConsentNeeded(
        f"the owner of {node.name} {'refused this table' if refused else 'has not accepted this table yet'}",
        code="refused" if refused else "awaiting_consent",
        party=node.name,
        stage="delivery",
        remedy=f"{node.name} runs `privcompute approve {request.id}`; then release the same again",
    )


async def _fill(node: NodeContext, channel: Channel, manifest: Manifest, path: Path) -> None:
    """Append the pieces that are missing."""
    limits = node.config.limits
    held = spool.held_pieces(path, manifest)
    prefix = held * PIECE
    await messages.say_held(channel, held, await asyncio.to_thread(spool.digest_of, path, prefix))
    start = await messages.hear_from(channel, held, limits.step_seconds)
    with path.open("r+b") as file:
        file.truncate(start * PIECE)
        file.seek(0, os.SEEK_END)
        for piece in range(start, manifest.pieces):
            size = manifest.size_of(piece)
            data = await channel.recv(messages.piece_label(piece), size, limits.step_seconds)
            if len(data) != size:
                raise PeerError(
                    "a piece of the table has another size than announced", code="bad_frame", stage="delivery"
                )
            await asyncio.to_thread(file.write, data)
            node.observer(Progress(node.name, "receiving a table", piece + 1, manifest.pieces))
        file.flush()
        await asyncio.to_thread(os.fsync, file.fileno())
    spool.keep_name(path)


def _check(node: NodeContext, identifier: str, manifest: Manifest, path: Path) -> None:
    """The whole is what was signed; else nothing of it stays. Blocks."""
    tables = node.store.received
    try:
        if tables.find(manifest) is None:
            raise _forgotten(node)
        if path.stat().st_size != manifest.bytes or spool.digest_of(path) != manifest.sha256:
            raise IntegrityError(
                "what arrived is not what the sender signed",
                code="digest",
                stage="delivery",
                remedy="release again; if it happens twice, check the disks of both nodes",
            )
        spool.check_table(path, manifest)
        with node.store.database.transaction():
            if not tables.finish(identifier):
                raise _forgotten(node)
            node.store.audit.append(
                "table_received",
                peer=manifest.sender,
                table=identifier,
                dataset=manifest.dataset,
                sha256=manifest.sha256,
                rows=manifest.rows,
            )
    except PrivcomputeError:
        path.unlink(missing_ok=True)
        tables.remove(identifier)
        raise
