"""A table that its owner wishes to release, before anything leaves: policy, grades, earlier releases, the spool."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from privcompute.errors import IntegrityError, PrivacyError, PrivcomputeError, UsageError
from privcompute.grades import Carried, RuleTable
from privcompute.grades.words import PURPOSES
from privcompute.node.catalogue import Dataset
from privcompute.node.delivery import spool
from privcompute.node.delivery.composition import check_earlier
from privcompute.node.delivery.manifest import MAX_REPORT, Manifest
from privcompute.node.delivery.recipe import Recipe, shown_report
from privcompute.node.grading import recipient, rule_table
from privcompute.node.holding import current
from privcompute.randomness import token_bytes

if TYPE_CHECKING:
    from privcompute.node.context import NodeContext

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
class Ready:
    """A table that may leave once its owner has seen what does."""

    wish: Wish
    dataset: Dataset
    recipe: Recipe
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


def prepare(node: NodeContext, wish: Wish) -> Ready:
    """Everything before consent. Blocks.

    Raises:
        PrivcomputeError: why this table may not leave, or cannot be made.
    """
    dataset = named(node, wish)
    recipe, table = Recipe.load(wish.policy), rule_table(node.config)
    version, names = dataset.entry.version, [one.name for one in dataset.entry.columns]
    left = [] if wish.despite_earlier else node.store.sent.left(dataset.name, version)
    planned = recipe.carried(names, dataset.grades, table)
    rules = checked(node, wish, table, planned)
    check_earlier(left, version, recipe.kind, recipe.digest, None)
    dataset = current(node, dataset.name, version)
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
    return Ready(wish, dataset, recipe, manifest, path, shown, notes, report)


def confirm(node: NodeContext, ready: Ready) -> None:
    """Again, right before something leaves: consent and a peer that is away take time, in which the owner may change
    what the table rests on.

    Raises:
        UsageError: dataset or peer are gone, or the dataset is another one.
        PrivacyError: `not_shared`, `grade`.
    """
    dataset, table = named(node, ready.wish), rule_table(node.config)
    if dataset.entry.version != ready.dataset.entry.version:
        raise UsageError(
            f"{dataset.name} was changed while its release was under way",
            code="stale_entry",
            party=node.name,
            remedy="release it again",
        )
    names = [one.name for one in dataset.entry.columns]
    checked(node, ready.wish, table, ready.recipe.carried(names, dataset.grades, table))


def named(node: NodeContext, wish: Wish) -> Dataset:
    """The dataset that a wish names, if the peer may have it.

    Raises:
        UsageError: `no_dataset`, `bad_purpose`, `no_peer`.
        PrivacyError: `not_shared`.
    """
    dataset = node.store.datasets.get(wish.dataset)
    if wish.purpose not in PURPOSES:
        raise UsageError(
            f"there is no purpose {wish.purpose[:40]!r}", code="bad_purpose", remedy=f"one of {', '.join(PURPOSES)}"
        )
    if node.store.peers.get(wish.to) is None:
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
    return dataset


def checked(node: NodeContext, wish: Wish, table: RuleTable, planned: Sequence[Carried]) -> tuple[dict[str, str], ...]:
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
    try:
        # What was read is the version that the ledger will name, and not what was written over it meanwhile.
        current(node, dataset.name, dataset.entry.version)
        report = made.report()
        shown = json.dumps(
            shown_report(recipe.kind, report, [name for name, _ in columns]), sort_keys=True, ensure_ascii=True
        )
        if len(shown) > MAX_REPORT:
            raise UsageError("the report is longer than 128 KiB", code="too_large", remedy="release fewer columns")
    except PrivcomputeError:
        path.unlink(missing_ok=True)
        raise
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
