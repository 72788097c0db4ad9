"""The sender of a delivery: policy, grades, earlier releases, the spooled table, consent, the pieces, the receipt."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from privcompute.errors import ConsentNeeded, IntegrityError, PrivacyError, PrivcomputeError, TransportError, UsageError
from privcompute.grades.words import PURPOSES
from privcompute.node.delivery import PREFIX, messages, spool
from privcompute.node.delivery.composition import check_earlier
from privcompute.node.delivery.manifest import MAX_REPORT, PIECE, Manifest
from privcompute.node.delivery.recipe import Recipe, shown_report
from privcompute.node.grading import recipient, rule_table
from privcompute.node.holding import current
from privcompute.randomness import token_bytes
from privcompute.session import Progress

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from privcompute.grades import Carried, RuleTable
    from privcompute.node.catalogue import Dataset
    from privcompute.node.context import NodeContext, Observer
    from privcompute.session import Channel
    from privcompute.transport.book import Peer

    Agree = Callable[[dict[str, Any]], bool | Awaitable[bool]]

ATTEMPTS: Final = 5
"""Attempts in a row that bring no piece further."""
_PAUSE: Final = 1.0
_KEPT: Final = 86_400.0
KEY_FILE: Final = "mask-keys.toml"
"""In the home: the keys of policies, unless the owner names another file."""


@dataclass(frozen=True)
class Wish:
    """What an owner wants to release.

    Attributes:
        dataset: of this node.
        to: a paired peer.
        policy: a policy's file.
        purpose: what the peer may use it for, one of `PURPOSES`.
        keys: file of keys that the policy names; None: none, or the environment's.
        despite_earlier: whether an earlier release of the same version is no hindrance.
    """

    dataset: str
    to: str
    policy: Path
    purpose: str = "research"
    keys: Path | None = None
    despite_earlier: bool = False


@dataclass(frozen=True)
class _Ready:
    """A table that may leave once its owner has seen what does."""

    wish: Wish
    dataset: Dataset
    peer: Peer
    manifest: Manifest
    path: Path
    rules: tuple[dict[str, str], ...]
    notes: tuple[str, ...]
    report: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """For the owner: what the peer will see, why it may, what to think of."""
        manifest = self.manifest.to_object()
        return {
            "delivery": {**manifest, "report": self.manifest.report_object()},
            "rules": list(self.rules),
            "notes": list(self.notes),
            "report": self.report,
        }


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
        ready = await asyncio.to_thread(_prepare, node, wish)
    except PrivacyError as error:
        node.store.audit.append("release_refused", peer=wish.to, dataset=wish.dataset, code=error.code)
        raise
    observer(Progress(node.name, "preparing the table", 1, 1))
    answer = consent(ready.to_json())
    if not (await answer if inspect.isawaitable(answer) else answer):
        raise ConsentNeeded("the release was not agreed to; nothing left", code="declined", party=node.name)
    receipt = await _deliver(node, ready, observer)
    manifest = ready.manifest
    node.store.sent.mark(manifest.id, "delivered")
    node.store.audit.append(
        "table_delivered", peer=wish.to, dataset=manifest.dataset, delivery=manifest.id, receipt=receipt
    )
    ready.path.unlink(missing_ok=True)
    return {**ready.to_json(), "status": "delivered", "receipt": receipt}


def _prepare(node: NodeContext, wish: Wish) -> _Ready:
    """Everything before consent. Blocks."""
    dataset, peer = _named(node, wish)
    recipe, table = Recipe.load(wish.policy), rule_table(node.config)
    version, names = dataset.entry.version, [one.name for one in dataset.entry.columns]
    left = [] if wish.despite_earlier else node.store.sent.left(dataset.name, version)
    planned = recipe.carried(names, dataset.grades, table)
    rules = _checked(node, wish, table, planned)
    check_earlier(left, version, recipe.kind, recipe.digest, None)
    current(node, dataset.name, version)
    made = _continued(node, wish, dataset, recipe) or _made(node, wish, dataset, recipe)
    manifest, path, report = made
    leaving = {name for name, _ in manifest.columns}
    # The policy's part said what leaves; what did leave is looked at again, and is plain if nobody knows better.
    surprises = sorted(leaving - {one.column for one in planned})
    if surprises:
        path.unlink(missing_ok=True)
        raise IntegrityError(
            f"the policy's table has a column that the policy does not speak of: {surprises[0]}", code="undeclared"
        )
    notes = check_earlier(left, version, recipe.kind, recipe.digest, manifest.sha256)
    shown = tuple(one for one in rules if one["column"] in leaving)
    return _Ready(wish, dataset, peer, manifest, path, shown, notes, report)


def _named(node: NodeContext, wish: Wish) -> tuple[Dataset, Peer]:
    dataset, peer = node.store.datasets.get(wish.dataset), node.store.peers.get(wish.to)
    if wish.purpose not in PURPOSES:
        raise UsageError(
            f"there is no purpose {wish.purpose[:40]!r}", code="bad_purpose", remedy=f"one of {', '.join(PURPOSES)}"
        )
    if peer is None:
        raise UsageError(
            f"{wish.to} is not a paired peer",
            code="no_peer",
            remedy="`privcompute peers list` lists the peers; pair with `invite` and `join`",
        )
    if not dataset.open_to(wish.to):
        raise PrivacyError(
            f"{dataset.name} is not shared with {wish.to}",
            code="not_shared",
            party=node.name,
            remedy=f"`privcompute dataset edit {dataset.name} --with {wish.to}` (again for each peer) shares it",
        )
    return dataset, peer


def _checked(node: NodeContext, wish: Wish, table: RuleTable, planned: Sequence[Carried]) -> tuple[dict[str, str], ...]:
    """The grades' word on every column that leaves."""
    kind = recipient(node.config, wish.to)
    shown = []
    for one in planned:
        table.check(one, wish.purpose, kind)
        least = table.derived_floor((one.grade, *one.derived_from), wish.purpose, kind)
        grade = "" if one.grade is None else str(one.grade)
        shown.append({"column": one.column, "grade": grade, "as": one.technique.value, "least": least.value})
    return tuple(shown)


def _continued(
    node: NodeContext, wish: Wish, dataset: Dataset, recipe: Recipe
) -> tuple[Manifest, Path, dict[str, Any]] | None:
    """The same table of an attempt that did not end."""
    found = node.store.sent.unfinished(wish.to, dataset.name, dataset.entry.version, recipe.full_digest(wish.purpose))
    if found is None:
        return None
    path = spool.out_file(node.home, found.manifest.id)
    if not path.exists() or spool.digest_of(path) != found.manifest.sha256:
        return None
    return found.manifest, path, dict(found.manifest.report_object())


def _made(node: NodeContext, wish: Wish, dataset: Dataset, recipe: Recipe) -> tuple[Manifest, Path, dict[str, Any]]:
    identifier = token_bytes(16).hex()
    path = spool.out_file(node.home, identifier)
    made = recipe.tables(node.config, dataset, wish.keys or node.home.path / KEY_FILE)
    columns, rows = spool.write_stream(path, made.parts)
    report = made.report()
    shown = json.dumps(
        shown_report(recipe.kind, report, [name for name, _ in columns]), sort_keys=True, ensure_ascii=True
    )
    if len(shown) > MAX_REPORT:
        raise UsageError("the report is longer than 128 KiB", code="too_large", remedy="release fewer columns")
    manifest = Manifest(
        id=identifier,
        sender=node.name,
        receiver=wish.to,
        dataset=dataset.name,
        purpose=wish.purpose,
        kind=recipe.kind,
        policy=recipe.digest,
        columns=columns,
        rows=rows,
        bytes=path.stat().st_size,
        sha256=spool.digest_of(path),
        report=shown,
    )
    node.store.sent.add(manifest, dataset.entry.version, recipe.full_digest(wish.purpose))
    _tidy(node)
    return manifest, path, report


def _tidy(node: NodeContext) -> None:
    """Remove what has lain in the spool for a day and belongs to no delivery that may still continue."""
    wanted = {one.manifest.id for one in node.store.sent.all() if one.state != "delivered"}
    for path in spool.out_file(node.home, "x").parent.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another release of this node has just ended
            if path.stem not in wanted and path.stat().st_mtime < time.time() - _KEPT:
                path.unlink()


async def _deliver(node: NodeContext, ready: _Ready, observer: Observer) -> str:
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


async def _attempt(node: NodeContext, ready: _Ready, observer: Observer, done: list[int]) -> str:
    manifest, timeout = ready.manifest, node.config.limits.step_seconds
    channel = await node.endpoint.open_link(manifest.receiver, PREFIX + token_bytes(16))
    try:
        await messages.say_delivery(channel, manifest, manifest.sign(node.identity))
        held, digest = await messages.hear_held(channel, manifest, timeout)
        same = await asyncio.to_thread(spool.digest_of, ready.path, min(held * PIECE, manifest.bytes))
        start = held if same == digest else 0
        _commit(node, ready)
        await messages.say_from(channel, start)
        await _send_pieces(channel, ready, start, observer, node.name, done)
        receipt = await messages.hear_receipt(channel, timeout)
        manifest.verify_receipt(ready.peer.certificates, receipt)
        await channel.close()
    except BaseException as error:
        cancelled = TransportError("the release was cancelled", code="cancelled", party=node.name)
        await channel.abort(error if isinstance(error, PrivcomputeError) else cancelled)
        raise
    return receipt


def _commit(node: NodeContext, ready: _Ready) -> None:
    """The ledger, before the first piece leaves; two releases at the same time meet here."""
    manifest = ready.manifest
    version = ready.dataset.entry.version
    with node.store.database.transaction():
        if not ready.wish.despite_earlier:
            left = [one for one in node.store.sent.left(manifest.dataset, version) if one.manifest.id != manifest.id]
            check_earlier(left, version, manifest.kind, manifest.policy, manifest.sha256)
        node.store.sent.mark(manifest.id, "sending")
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
    channel: Channel, ready: _Ready, start: int, observer: Observer, me: str, done: list[int]
) -> None:
    manifest = ready.manifest
    with ready.path.open("rb") as file:
        file.seek(start * PIECE)
        for piece in range(start, manifest.pieces):
            data = await asyncio.to_thread(file.read, manifest.size_of(piece))
            await channel.send(messages.piece_label(piece), [data])
            done[0] = max(done[0], piece)
            observer(Progress(me, "sending the table", piece + 1, manifest.pieces))
