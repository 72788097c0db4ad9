"""The sender of a delivery: consent, what may have changed since, the ledger, the pieces, the receipt."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, Final

from privcompute.errors import ConsentNeeded, IntegrityError, PrivacyError, PrivcomputeError, TransportError, UsageError
from privcompute.node.delivery import PREFIX, messages, spool
from privcompute.node.delivery.composition import check_earlier
from privcompute.node.delivery.manifest import PIECE
from privcompute.node.delivery.outgoing import confirm, prepare
from privcompute.randomness import token_bytes
from privcompute.session import Progress

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from privcompute.node.context import NodeContext, Observer
    from privcompute.node.delivery.outgoing import Ready, Wish
    from privcompute.session import Channel

    Agree = Callable[[dict[str, Any]], bool | Awaitable[bool]]

ATTEMPTS: Final = 5
"""Attempts in a row that bring no piece further."""
_PAUSE: Final = 1.0


async def release(node: NodeContext, wish: Wish, consent: Agree, observer: Observer) -> dict[str, Any]:
    """Releases a table to a peer.

    Args:
        node: This node.
        wish: What to whom.
        consent: Shown what would leave; False ends it before anything does.
        observer: Told of progress.

    Raises:
        UsageError: dataset, peer, policy or purpose will not do.
        PrivacyError: `not_shared`, `grade`, `second_release`, or what the policy's part refuses.
        ConsentNeeded: `consent` said no, or the peer's owner has to accept the table first.
        TransportError: the link failed again and again; the same release later continues where it ended.
    """
    observer(Progress(node.name, "preparing the table", 0, 1))
    try:
        ready = await asyncio.to_thread(prepare, node, wish)
    except PrivacyError as error:
        node.store.audit.append("release_refused", peer=wish.to, dataset=wish.dataset, code=error.code)
        raise
    observer(Progress(node.name, "preparing the table", 1, 1))
    answer = consent(ready.to_json())
    if not (await answer if inspect.isawaitable(answer) else answer):
        if node.store.sent.drop(ready.manifest.id):
            ready.path.unlink(missing_ok=True)
        raise ConsentNeeded("the release was not agreed to; nothing left", code="declined", party=node.name)
    receipt = await _deliver(node, ready, observer)
    manifest = ready.manifest
    with node.store.database.transaction():
        if node.store.sent.mark(manifest.id, "delivered"):
            node.store.audit.append(
                "table_delivered", peer=wish.to, dataset=manifest.dataset, delivery=manifest.id, receipt=receipt
            )
    ready.path.unlink(missing_ok=True)
    return {**ready.to_json(), "status": "delivered", "receipt": receipt}


async def _deliver(node: NodeContext, ready: Ready, observer: Observer) -> str:
    """Attempt after attempt, for as long as each brings some pieces further; returns the receipt."""
    idle, furthest = 0, -1
    while True:
        done = [furthest]
        try:
            return await _attempt(node, ready, observer, done)
        except TransportError as error:
            if error.code == "cancelled":
                raise
            idle = 0 if done[0] > furthest else idle + 1
            furthest = max(furthest, done[0])
            if idle >= ATTEMPTS:
                error.remedy = "release the same again when the peer can be reached: it continues where it ended"
                raise
        except PrivcomputeError as error:
            # Of a link that broke the other end may learn later than this one.
            idle += 1
            if error.code != "busy" or idle >= ATTEMPTS:
                raise
        await asyncio.sleep(_PAUSE * min(idle + 1, 3))


async def _attempt(node: NodeContext, ready: Ready, observer: Observer, done: list[int]) -> str:
    manifest, timeout = ready.manifest, node.config.limits.step_seconds
    channel = await node.endpoint.open_link(manifest.receiver, PREFIX + token_bytes(16))
    try:
        await messages.say_delivery(channel, manifest, manifest.sign(node.identity))
        held, digest = await messages.hear_held(channel, manifest, timeout)
        _commit(node, ready)
        with spool.readable():
            same = await asyncio.to_thread(spool.digest_of, ready.path, min(held * PIECE, manifest.bytes))
        start = held if same == digest else 0
        await messages.say_from(channel, start)
        async with messages.in_time(node.config.limits.run_seconds, manifest.receiver):
            await _send_pieces(channel, ready, start, observer, node.name, done)
            receipt = await messages.hear_receipt(channel, timeout)
        # Looked up now: a peer may have renewed its certificate since.
        pinned = node.store.peers.get(manifest.receiver)
        manifest.verify_receipt(pinned.certificates if pinned is not None else (), receipt)
        await channel.close()
    except BaseException as error:
        cancelled = TransportError("the release was cancelled", code="cancelled", party=node.name)
        await channel.abort(error if isinstance(error, PrivcomputeError) else cancelled)
        raise
    return receipt


def _commit(node: NodeContext, ready: Ready) -> None:
    """The ledger, before the first piece leaves; two releases at the same time meet here."""
    manifest = ready.manifest
    try:
        with node.store.database.transaction():
            _enter(node, ready)
    except PrivacyError as error:
        node.store.audit.append("release_refused", peer=manifest.receiver, dataset=manifest.dataset, code=error.code)
        raise


def _enter(node: NodeContext, ready: Ready) -> None:
    manifest, version = ready.manifest, ready.dataset.entry.version
    confirm(node, ready)
    if not ready.wish.despite_earlier:
        left = [one for one in node.store.sent.left(manifest.dataset, version) if one.manifest.id != manifest.id]
        check_earlier(left, version, manifest.kind, manifest.policy, manifest.sha256)
    if not node.store.sent.mark(manifest.id, "sending"):
        # Without its row in the ledger nothing may leave.
        raise UsageError(
            "another release of this dataset to this peer took the place of this one, or has delivered it",
            code="superseded",
            party=node.name,
            remedy="see `privcompute releases list`; if it is not there, release it again",
        )
    node.store.audit.append(
        "table_sending",
        peer=manifest.receiver,
        dataset=manifest.dataset,
        delivery=manifest.id,
        purpose=manifest.purpose,
        policy=manifest.policy,
        sha256=manifest.sha256,
        rows=manifest.rows,
        rules=list(ready.rules),
        despite_earlier=ready.wish.despite_earlier,
    )


async def _send_pieces(
    channel: Channel, ready: Ready, start: int, observer: Observer, me: str, done: list[int]
) -> None:
    manifest = ready.manifest
    with spool.readable():
        file = ready.path.open("rb")
    with file:
        file.seek(start * PIECE)
        for piece in range(start, manifest.pieces):
            with spool.readable():
                data = await asyncio.to_thread(file.read, manifest.size_of(piece))
            if len(data) != manifest.size_of(piece):
                raise IntegrityError(
                    "the spooled table became shorter while it was sent",
                    code="digest",
                    party=me,
                    stage="delivery",
                    remedy="check the disk of the node's home, then release again",
                )
            await channel.send(messages.piece_label(piece), [data])
            done[0] = max(done[0], piece)
            observer(Progress(me, "sending the table", piece + 1, manifest.pieces))
