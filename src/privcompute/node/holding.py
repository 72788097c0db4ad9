"""What a holder computes from its own table for a plan, before anything of the run is sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from privcompute.errors import PrivacyError, UsageError
from privcompute.node import datasets
from privcompute.node.ledger import Selection
from privcompute.node.levels import hidden_sets
from privcompute.psi import encode_keys
from privcompute.query.run import Holding
from privcompute.tables.local import local_features

if TYPE_CHECKING:
    from privcompute.node.catalogue import Dataset
    from privcompute.node.context import NodeContext
    from privcompute.query import Plan
    from privcompute.query.plan import Side
    from privcompute.query.union import Member


@dataclass(frozen=True, repr=False, eq=False)
class Prepared:
    """A holder's part of a run, and what its ledger has to look at.

    Attributes:
        holding: Keys and features.
        selections: The sets of own keys that the plan selects, by conditions or by values.
        minimum: How many keys two of them have to differ by: this owner's own minimum. Not the plan's, which is the
            larger of both owners': whether a set is refused tells how near it is to others, and a peer that may choose
            the distance could measure it, or refuse everybody everything by a huge minimum of its own.
    """

    holding: Holding
    selections: tuple[Selection, ...]
    minimum: int


def current(node: NodeContext, name: str, version: str) -> Dataset:
    """The dataset, after reading all of it: its content is what the plan was made for. Blocks.

    Raises:
        UsageError: no such dataset, or the data changed since the catalogue entry was made.
    """
    dataset = node.store.datasets.get(name)
    if datasets.current_version(node.store, dataset, limits=datasets.limits_of(node.config)) != version:
        raise UsageError(
            f"the data of {name} changed since its catalogue entry was made",
            code="stale_entry",
            party=node.name,
            remedy=f"{node.name} runs `privcompute dataset edit {name}`, which reads it anew; then ask again",
        )
    return dataset


def prepare(node: NodeContext, side: Side) -> Prepared:
    """Reads the table once: whole columns against their ranges, caps, features per key, selections. Blocks.

    Raises:
        UsageError: the data changed since the catalogue entry was made, or left a range or a cap.
    """
    dataset = current(node, side.dataset, side.version)
    limits = datasets.limits_of(node.config)
    entry = dataset.entry
    found = local_features(
        datasets.opened(dataset),
        side.keys,
        side.features,
        side.selections,
        side.levels,
        columns=[c for c in entry.columns if c.name in side.columns],
        rows_per_key=side.rows_per_key,
        limits=limits,
    )
    hidden = hidden_sets(side.levels, found.levels, entry.min_cell)
    holding = Holding(encode_keys(found.keys, side.key_types), found.columns)
    return Prepared(holding, (*found.selected, *hidden), entry.min_cell)


def check_ledger(node: NodeContext, plan: Plan, side: Side, prepared: Prepared, digest: str) -> None:
    """Raises PrivacyError if this side's ledger forbids the selections."""
    with refusals_counted(node, plan.asker, side, digest):
        node.store.ledger.check(side.version, prepared.selections, prepared.minimum)


@contextmanager
def refusals_counted(node: NodeContext, peer: str, of: Side | Member, digest: str) -> Iterator[None]:
    """What the ledger refuses in this block counts among the peer's queries: a refusal tells something, too.

    Args:
        node: This node.
        peer: Who asks; this node's own questions are not counted.
        of: Which dataset.
        digest: Of the plan.

    Raises:
        PrivacyError: ``queries_spent``: the peer has none left; or what the block raises.
    """
    ledger = node.store.ledger
    ledger.check_queries(of.version, of.dataset, peer, node.config.limits.queries_per_peer)
    try:
        yield
    except PrivacyError:
        if peer != node.name:
            ledger.count(version=of.version, dataset=of.dataset, peer=peer, plan_digest=digest)
        raise


def record_in_ledger(node: NodeContext, plan: Plan, side: Side, prepared: Prepared, digest: str) -> None:
    """Counts the query as released, in one durable transaction; called before the matches are learned."""
    node.store.ledger.record(
        version=side.version,
        dataset=side.dataset,
        peer=plan.asker,
        plan_digest=digest,
        selections=prepared.selections,
        minimum=prepared.minimum,
        most_queries=node.config.limits.queries_per_peer,
    )
