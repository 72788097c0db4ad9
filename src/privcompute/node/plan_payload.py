"""What plans over joins and over unions have in common, as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from privcompute.node.estimate import on_this_machine
from privcompute.node.values import to_json

if TYPE_CHECKING:
    from privcompute.node.context import NodeContext
    from privcompute.query import Plan
    from privcompute.query.disclosure import Learned
    from privcompute.query.plan import Side
    from privcompute.query.union import Member, UnionPlan


def any_plan_to_json(plan: Plan | UnionPlan, node: NodeContext) -> dict[str, Any]:
    """Question, minimum, result, openings and disclosure of a plan, and this node's limits."""
    return {
        "sql": plan.sql,
        "asker": plan.asker,
        "receivers": list(plan.receivers),
        "minimum": plan.minimum,
        "plan_digest": plan.digest(),
        "outputs": [{"name": one.name, "type": one.expression.type} for one in plan.outputs],
        "openings": [
            {
                "name": one.name,
                "phase": one.phase,
                "what": one.what,
                "bound": to_json(one.bound),
                "receivers": list(one.receivers),
            }
            for one in plan.openings
        ],
        "disclosure": learned_to_json(plan.disclosure.parties),
        "limits": asdict(node.config.limits),
    }


def holder_to_json(one: Side | Member) -> dict[str, Any]:
    """Which dataset a holder brings, its public sizes, and what is done with its columns."""
    return {
        "party": one.party,
        "dataset": one.dataset,
        "version": one.version,
        "keys": list(one.keys),
        "distinct_keys": one.distinct_keys,
        "rows_per_key": one.rows_per_key,
        "uses": [list(use) for use in one.uses],
    }


def learned_to_json(parties: Iterable[tuple[str, Sequence[Learned]]]) -> dict[str, list[dict[str, Any]]]:
    """By party, what it learns and why."""
    return {
        party: [
            {"what": one.what, "why": one.why, "item": one.item, "name": one.name, "size": one.size} for one in learned
        ]
        for party, learned in parties
    }


def on_one_machine(node: NodeContext, holders: Sequence[Side] | Sequence[Member]) -> bool:
    """Whether the holders share this node's machine."""
    peers = [node.store.peers.get(one.party) for one in holders if one.party != node.name]
    return all(peer is not None and on_this_machine(peer.addresses) for peer in peers)
