"""A plan over a union as JSON, and what it will cost a node.

Bytes are those of a run in which all holders come and stay and everything is shown. Seconds count from the consent on;
the other holders are taken to be as fast as this machine, and to share its cores if all their addresses are here.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from privcompute.node.estimate import Estimate, table_seconds
from privcompute.node.plan_payload import any_plan_to_json, holder_to_json, on_one_machine
from privcompute.session.session import HEADER
from privcompute.union.cost import SumCost, masked_sum_cost
from privcompute.union.masks import ROUNDS

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
_KEY_SECONDS: Final = 1.5  # of a Paillier key of 3072 bits with its proof
_TABLE_SECONDS: Final = 0.5  # of checking the proof and of a fixed-base table
_CIPHERTEXT: Final = 1e-3


def union_plan_to_json(plan: UnionPlan, node: NodeContext) -> dict[str, Any]:
    """The plan for people and programs: question, holders, groups, disclosure, cost for this node, its limits."""
    together = on_one_machine(node, plan.members)
    return {
        **any_plan_to_json(plan, node),
        "reveal": "nothing",
        "scheme": plan.scheme,
        "key_holder": plan.key_holder,
        "quorum": plan.quorum,
        "min_holders": plan.min_holders,
        "members": [holder_to_json(one) for one in plan.members],
        "groups": [{"sql": one.sql, "values": list(one.values)} for one in plan.groupings],
        "cost": asdict(estimate_union(plan, node.name, node.calibration, together=together)),
    }


def estimate_union(plan: UnionPlan, party: str, calibration: Calibration, *, together: bool = False) -> Estimate:
    """The cost of a plan for one of its parties; all zero for a receiver that only hears of the result."""
    n, collecting = len(plan.members), party == plan.collector
    units = range(len(plan.shape.units))
    keyed: SumCost | None = None
    if plan.scheme == "masks":
        link, rounds = masked_sum_cost(plan.shape, n, units, signature=_SIGNATURE), ROUNDS
    else:
        from privcompute.union.paillier import ROUNDS as PAILLIER_ROUNDS  # deferred: loads the compiler
        from privcompute.union.paillier_cost import paillier_sum_cost

        link, keyed = paillier_sum_cost(plan.shape, n, units, signature=_SIGNATURE)
        rounds = PAILLIER_ROUNDS
    holding = any(one.party == party for one in plan.members)
    links = n if collecting else int(holding)  # a collector's own contribution crosses no network and is metered
    up, down = _both_ways(link, links)
    if keyed is not None and (collecting or party == plan.key_holder):
        more = _both_ways(keyed, 1)
        up, down = up + more[0], down + more[1]
    sent, received = (down, up) if collecting else (up, down)
    if collecting and holding:
        mine = _both_ways(link, 1)
        sent, received = sent + mine[0], received + mine[1]
    seconds = _seconds(plan, calibration, link, together) + (_paillier_seconds(plan) if keyed is not None else 0.0)
    return Estimate(bytes_sent=sent, bytes_received=received, rounds=rounds, seconds=round(seconds, 3))


def _both_ways(link: SumCost, links: int) -> tuple[int, int]:
    up = link.by_holder + link.holder_messages * HEADER.size
    down = link.by_collector + link.collector_messages * HEADER.size
    return links * up, links * down


def _paillier_seconds(plan: UnionPlan) -> float:
    """Drawing and proving a key, a table at each party, and each ciphertext at its holder, at a core's speed."""
    size = 8 * (plan.shape.counts + plan.shape.values * plan.shape.limbs)
    return _KEY_SECONDS + len(plan.members) * (_TABLE_SECONDS + (size / 350 + len(plan.shape.units)) * _CIPHERTEXT)


def _seconds(plan: UnionPlan, calibration: Calibration, link: SumCost, together: bool) -> float:
    n = len(plan.members)
    reading = [table_seconds(m.distinct_keys, len(m.columns) + len(plan.features)) for m in plan.members]
    holder = (n * (_VERIFY + _PAIR) + 2 * n * _VERIFY) / calibration.ladders + n * plan.shape.bytes / _MASK_BYTES
    collector = n * (3 * _VERIFY + _RECOVER) / calibration.ladders + 2 * n * plan.shape.bytes / _MASK_BYTES
    own = max(reading) / calibration.ladders / calibration.cores + holder
    holders = (sum(reading) / calibration.ladders + n * holder) / calibration.cores if together else own
    traffic = n * (link.by_holder + link.by_collector) / (_LOOPBACK if together else _NETWORK)
    return _FIXED_SECONDS + holders + collector + traffic
