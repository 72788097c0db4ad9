"""A plan and an outcome as JSON: what the socket carries, what `--json` prints, what a home keeps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from privcompute.node.estimate import estimate, on_this_machine
from privcompute.node.values import to_json, upwards
from privcompute.query import Plan

if TYPE_CHECKING:
    from privcompute.node.context import NodeContext
    from privcompute.node.jobs import Outcome
    from privcompute.query.disclosure import Learned
    from privcompute.query.union import UnionPlan


def plan_to_json(plan: Plan | UnionPlan, node: NodeContext) -> dict[str, Any]:
    """The plan for people and programs: question, sides, disclosure, cost for this node, and this node's limits."""
    if not isinstance(plan, Plan):
        from privcompute.node.union_payload import union_plan_to_json  # deferred: joins do without it

        return union_plan_to_json(plan, node)
    return {
        "sql": plan.sql,
        "asker": plan.asker,
        "receivers": list(plan.receivers),
        "reveal": plan.reveal,
        "minimum": plan.minimum,
        "plan_digest": plan.digest(),
        "sides": [
            {
                "party": side.party,
                "dataset": side.dataset,
                "version": side.version,
                "keys": list(side.keys),
                "distinct_keys": side.distinct_keys,
                "rows_per_key": side.rows_per_key,
                "uses": [list(use) for use in side.uses],
            }
            for side in plan.sides
        ],
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
        "cost": asdict(estimate(plan, node.name, node.calibration, together=_together(plan, node))),
        "limits": asdict(node.config.limits),
    }


def _together(plan: Plan, node: NodeContext) -> bool:
    """Whether the holders share this node's machine."""
    peers = [node.store.peers.get(side.party) for side in plan.sides if side.party != node.name]
    return all(peer is not None and on_this_machine(peer.addresses) for peer in peers)


def learned_to_json(parties: Iterable[tuple[str, Sequence[Learned]]]) -> dict[str, list[dict[str, Any]]]:
    """By party, what it learns and why."""
    return {
        party: [
            {"what": one.what, "why": one.why, "item": one.item, "name": one.name, "size": one.size} for one in learned
        ]
        for party, learned in parties
    }


def outcome_to_json(outcome: Outcome) -> dict[str, Any]:
    """The outcome of a run at this party; without rows if it is no receiver."""
    plan, finished = outcome.plan, outcome.finished
    union = {} if isinstance(plan, Plan) else _of_union(plan, outcome)
    return {
        "sql": plan.sql,
        "asker": plan.asker,
        "status": outcome.status,
        "columns": list(finished.columns) if finished else [],
        "types": list(finished.types) if finished else [],
        "rows": [[to_json(value) for value in row] for row in finished.rows] if finished else [],
        "suppressed_cells": finished.suppressed_cells if finished else 0,
        "error_bound": _bounds(finished.error_bound) if finished else {},
        "learned": learned_to_json(outcome.learned.items()),
        "rounds": outcome.rounds,
        "bytes_sent": outcome.bytes_sent,
        "bytes_received": outcome.bytes_received,
        "seconds": round(outcome.seconds, 6),
        "reveal": plan.reveal if isinstance(plan, Plan) else "nothing",
        "receivers": list(plan.receivers),
        "plan_digest": outcome.plan_digest,
        **union,
    }


def _of_union(plan: UnionPlan, outcome: Outcome) -> dict[str, Any]:
    return {
        "scheme": plan.scheme,
        "quorum": plan.quorum,
        "holders": list(outcome.holders),
        "dropped": dict(outcome.dropped),
    }


def _bounds(bounds: Mapping[str, Any]) -> dict[str, Any]:
    """By column, the worst absolute error, never rounded down; None where no finite bound holds."""
    return {name: None if bound is None else to_json(upwards(bound)) for name, bound in bounds.items()}
