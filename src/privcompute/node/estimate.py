"""What a plan will cost this node: bytes and rounds from public sizes, seconds from this machine's measured speed.

The number of matches is not known beforehand: all figures hold for the largest possible number, the smaller of the
two key sets. The peer is taken to be as fast as this machine, and the network to carry 1 Gbit a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from privcompute.he import CrossShape, cross_cost
from privcompute.psi import psi_cost
from privcompute.session.session import HEADER

if TYPE_CHECKING:
    from privcompute.he.layout import Cost
    from privcompute.node.calibration import Calibration
    from privcompute.query import Plan

_NETWORK = 125e6  # bytes a second
_REFERENCE_LADDERS = 60_000.0  # of the machine on which the kernel's times were taken, on one core
_ROWS = 1.0e6  # rows a second that DuckDB reads, checks and sums, a column; coarse
_FIXED_SECONDS = 0.5  # negotiation, opening the source, the ledger
_ROUNDS = 8
_SMALL_MESSAGES = 12  # digest, counts, values
_SMALL_BYTES = 64


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes of the run's messages at this node, their rounds, and seconds."""

    bytes_sent: int
    bytes_received: int
    rounds: int
    seconds: float


def estimate(plan: Plan, party: str, calibration: Calibration) -> Estimate:
    """The cost of a plan for one of its parties; a party without data only receives what opens.

    Args:
        plan: The plan.
        party: For whom.
        calibration: The speed of this machine.
    """
    side = plan.side_of(party)
    small = _SMALL_MESSAGES * (HEADER.size + _SMALL_BYTES)
    x, y = (one.distinct_keys for one in plan.sides)
    psi = psi_cost(x, y)
    sent = [psi.sent_by_x + small, psi.sent_by_y + small]
    kernel = _kernel(plan)
    if kernel is not None and plan.kernel is not None:
        owner = plan.kernel.owner
        sent[owner] += kernel.key_owner_sends + kernel.messages[0] * HEADER.size
        sent[1 - owner] += kernel.evaluator_sends + kernel.messages[1] * HEADER.size
    seconds = _seconds(plan, calibration, kernel) + sum(sent) / _NETWORK
    if side is None:
        return Estimate(small, small, _ROUNDS, round(seconds, 3))
    return Estimate(sent[side], sent[1 - side], _ROUNDS, round(seconds, 3))


def _kernel(plan: Plan) -> Cost | None:
    shape = plan.kernel
    if shape is None:
        return None
    owner = shape.owner
    return cross_cost(
        CrossShape(
            rows=shape.rows,
            x_bounds=shape.bounds[owner],
            y_bounds=shape.bounds[1 - owner],
            entries=tuple((one[owner], one[1 - owner]) for one in shape.entries),
            modulus_bits=shape.modulus_bits,
        )
    )


def _seconds(plan: Plan, calibration: Calibration, kernel: Cost | None) -> float:
    x, y = (one.distinct_keys for one in plan.sides)
    reading = max(s.distinct_keys * (1 + len(s.features) + len(s.columns)) for s in plan.sides) / _ROWS
    curve = (x + y) / calibration.ladders + max(x, y) / calibration.maps
    lattice = 0.0
    if kernel is not None:
        # The two sides work one after the other for the most part: ciphertexts first, products then.
        slower = _REFERENCE_LADDERS / calibration.ladders
        lattice = (kernel.key_owner_ns + kernel.evaluator_ns) * 1e-9 * slower
    return _FIXED_SECONDS + reading + (curve + lattice) / calibration.cores
