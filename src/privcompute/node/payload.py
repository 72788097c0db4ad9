"""A plan and an outcome as JSON: what the socket carries, what `--json` prints, what a home keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from privcompute.node.estimate import estimate
from privcompute.node.plan_payload import any_plan_to_json, holder_to_json, learned_to_json, on_one_machine
from privcompute.node.values import to_json, upwards
from privcompute.query import Plan

if TYPE_CHECKING:
    from privcompute.node.context import NodeContext
    from privcompute.node.jobs import Outcome
    from privcompute.query.union import UnionPlan


def plan_to_json(plan: Plan | UnionPlan, node: NodeContext) -> dict[str, Any]:
    """The plan for people and programs: question, sides, disclosure, cost for this node, and this node's limits."""
    if not isinstance(plan, Plan):
        from privcompute.node.union_payload import union_plan_to_json  # deferred: joins do without it

        return union_plan_to_json(plan, node)
    together = on_one_machine(node, plan.sides)
    return {
        **any_plan_to_json(plan, node),
        "reveal": plan.reveal,
        "sides": [holder_to_json(side) for side in plan.sides],
        "cost": asdict(estimate(plan, node.name, node.calibration, together=together)),
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
