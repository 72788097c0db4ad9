"""A plan over a union as JSON, and what it will cost a node.

Bytes are those of a run in which all holders come and stay and everything is shown. Seconds count from the consent on;
the other holders are taken to be as fast as this machine, and to share its cores if all their addresses are here.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from privcompute.node.estimate import Estimate, on_this_machine, table_seconds
from privcompute.node.values import to_json
from privcompute.session.session import HEADER
from privcompute.union.cost import SumCost, masked_sum_cost
from privcompute.union.masks import ROUNDS as _ROUNDS

if TYPE_CHECKING:
    from privcompute.node.calibration import Calibration
    from privcompute.node.context import NodeContext
    from privcompute.query.union import UnionPlan

_SIGNATURE: Final = 71  # bytes of a P-256 signature in DER: 70 to 72
_VERIFY: Final = 1.4  # a signature's check, in X25519 operations of this machine's calibration
_PAIR: Final = 6.0  # what a holder does for each other holder: keys, shares, sealing, one mask's key
_RECOVER: Final = 3.0  # what the collector does for each holder to recover its secrets
_MASK_BYTES: Final = 1.5e9  # bytes of masks made and added in a second
_NETWORK, _LOOPBACK = 125e6, 300e6  # bytes a second
_FIXED_SECONDS: Final = 0.5


def union_plan_to_json(plan: UnionPlan, node: NodeContext) -> dict[str, Any]:
    """The plan for people and programs: question, holders, groups, disclosure, cost for this node, its limits."""
    from privcompute.node.payload import learned_to_json

    return {
        "sql": plan.sql,
        "asker": plan.asker,
        "receivers": list(plan.receivers),
        "reveal": "nothing",
        "scheme": plan.scheme,
        "key_holder": plan.key_holder,
        "quorum": plan.quorum,
        "minimum": plan.minimum,
        "min_holders": plan.min_holders,
        "plan_digest": plan.digest(),
        "members": [
            {
                "party": one.party,
                "dataset": one.dataset,
                "version": one.version,
                "keys": list(one.keys),
                "distinct_keys": one.distinct_keys,
                "rows_per_key": one.rows_per_key,
                "uses": [list(use) for use in one.uses],
            }
            for one in plan.members
        ],
        "groups": [{"sql": one.sql, "values": list(one.values)} for one in plan.groupings],
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
        "cost": asdict(estimate_union(plan, node.name, node.calibration, together=_together(plan, node))),
        "limits": asdict(node.config.limits),
    }


def _together(plan: UnionPlan, node: NodeContext) -> bool:
    peers = [node.store.peers.get(one.party) for one in plan.members if one.party != node.name]
    return all(peer is not None and on_this_machine(peer.addresses) for peer in peers)


def estimate_union(plan: UnionPlan, party: str, calibration: Calibration, *, together: bool = False) -> Estimate:
    """The cost of a plan for one of its parties; all zero for a receiver that only hears of the result."""
    n, collecting = len(plan.members), party == plan.collector
    link = masked_sum_cost(plan.shape, n, range(len(plan.shape.units)), signature=_SIGNATURE)
    up = link.by_holder + link.holder_messages * HEADER.size
    down = link.by_collector + link.collector_messages * HEADER.size
    holding = any(one.party == party for one in plan.members)
    links = n if collecting else int(holding)  # a collector's own contribution crosses no network and is metered
    sent, received = (links * down, links * up) if collecting else (links * up, links * down)
    if collecting and holding:
        sent, received = sent + up, received + down
    return Estimate(
        bytes_sent=sent,
        bytes_received=received,
        rounds=_ROUNDS,
        seconds=round(_seconds(plan, calibration, link, together), 3),
    )


def _seconds(plan: UnionPlan, calibration: Calibration, link: SumCost, together: bool) -> float:
    n = len(plan.members)
    reading = [table_seconds(m.distinct_keys, len(m.columns) + len(plan.features)) for m in plan.members]
    holder = (n * (_VERIFY + _PAIR) + 2 * n * _VERIFY) / calibration.ladders + n * plan.shape.bytes / _MASK_BYTES
    collector = n * (3 * _VERIFY + _RECOVER) / calibration.ladders + 2 * n * plan.shape.bytes / _MASK_BYTES
    own = max(reading) / calibration.ladders / calibration.cores + holder
    holders = (sum(reading) / calibration.ladders + n * holder) / calibration.cores if together else own
    traffic = n * (link.by_holder + link.by_collector) / (_LOOPBACK if together else _NETWORK)
    return _FIXED_SECONDS + holders + collector + traffic
