"""What a plan will cost a node: bytes and rounds, exactly, from public sizes; seconds from this machine's speed.

Bytes are those of a run whose result is shown. They depend on nothing private: the kernel runs at the declared size,
whatever the number of matches (docs/decisions/0004-kernel-at-declared-size.md).

Seconds count from the consent on, tables included. The peer is taken to be as fast as this machine; a peer whose
addresses are all of this machine shares its cores. Between machines the network carries 1 Gbit a second.
"""

from __future__ import annotations

import ipaddress
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from privcompute.errors import UsageError
from privcompute.he import CrossShape, cross_cost
from privcompute.psi import psi_cost
from privcompute.ring import Ring
from privcompute.session.hello import DIGEST_BYTES
from privcompute.session.session import HEADER
from privcompute.transport.address import Address

if TYPE_CHECKING:
    from privcompute.he.layout import Cost
    from privcompute.node.calibration import Calibration
    from privcompute.query import Plan

# Work in units of one X25519 operation on one core, measured side by side (benchmarks/bench_query.py prints both).
_KEY: Final = 0.25  # a key of one's own: hash, map to the curve, sort
_POINT: Final = 1.05  # a key of either side: its X25519 operation, the checks of what comes in, the aligning
_ROW: Final = 0.05  # a key's rows: reading, digest of the content, sorting by key
_CELL: Final = 0.012  # one column or feature of them
_LATTICE_NS: Final = 12_000  # nanoseconds of an X25519 operation on the machine of the kernel's own figures
_OWNER, _EVALUATOR = 1.6, 1.0  # the kernel's figures against whole runs

_NETWORK, _LOOPBACK = 125e6, 300e6  # bytes a second
_FIXED_SECONDS: Final = 0.3  # negotiation, opening the source, the ledger


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes of the run's messages at this node, the longest chain of them, and seconds."""

    bytes_sent: int
    bytes_received: int
    rounds: int
    seconds: float


def estimate(plan: Plan, party: str, calibration: Calibration, *, together: bool = False) -> Estimate:
    """The cost of a plan for one of its parties.

    Args:
        plan: The plan.
        party: For whom; one without data only receives what opens.
        calibration: The speed of this machine.
        together: Whether both holders run on this machine.
    """
    kernel = _kernel(plan)
    counted = _messages(plan, kernel)
    seconds = _seconds(plan, calibration, kernel, together=together)
    seconds += sum(counted.sent.values()) / (_LOOPBACK if together else _NETWORK)
    return Estimate(
        bytes_sent=sum(size for (sender, _), size in counted.sent.items() if sender == party),
        bytes_received=sum(size for (_, receiver), size in counted.sent.items() if receiver == party),
        rounds=counted.rounds[party],
        seconds=round(seconds, 3),
    )


def on_this_machine(addresses: Sequence[str]) -> bool:
    """Whether all of a peer's addresses are this machine's; names are not looked up."""
    return bool(addresses) and all(_is_local(one) for one in addresses)


def _is_local(text: str) -> bool:
    try:
        where = Address.parse(text)
        if where.loopback:
            return True
        ip = ipaddress.ip_address(where.host)
        family = socket.AF_INET6 if ip.version == 6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((where.host, 0))  # only an address of this machine can be bound
    except (UsageError, OSError, ValueError):
        return False
    return True


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


# -- bytes and rounds, message by message of query/run.py ------------------------------------------------------------


class _Count:
    """Counts bytes by (sender, receiver), and how deep the chain of messages is at each party."""

    def __init__(self) -> None:
        self.sent: Counter[tuple[str, str]] = Counter()
        self.rounds: Counter[str] = Counter()
        self._depth: Counter[str] = Counter()  # of what a party has received: what it sends next goes one deeper

    def step(self, messages: Mapping[tuple[str, str], int]) -> None:
        """Messages that all leave before any of them is waited for; with their bytes."""
        before = self._depth.copy()
        for (sender, receiver), size in messages.items():
            depth = before[sender] + 1
            self.sent[sender, receiver] += size
            self._depth[receiver] = max(self._depth[receiver], depth)
            for party in (sender, receiver):
                self.rounds[party] = max(self.rounds[party], depth)


def _messages(plan: Plan, kernel: Cost | None) -> _Count:
    counted = _Count()
    one, other = holders = tuple(side.party for side in plan.sides)
    parties = dict.fromkeys((*holders, *plan.receivers, plan.asker))
    counted.step({(a, b): HEADER.size + DIGEST_BYTES for a in parties for b in parties if a != b})
    psi = psi_cost(*(side.distinct_keys for side in plan.sides))
    for number in range(psi.rounds):
        last = number == psi.rounds - 1
        counted.step({(one, other): psi.sent_by_x if last else 0, (other, one): psi.sent_by_y if last else 0})
    if kernel is not None and plan.kernel is not None:
        owner, evaluator = holders[plan.kernel.owner], holders[1 - plan.kernel.owner]
        counted.step({(owner, evaluator): kernel.key_owner_sends + kernel.messages[0] * HEADER.size})
        counted.step({(evaluator, owner): kernel.evaluator_sends + kernel.messages[1] * HEADER.size})
    width = Ring(plan.modulus_bits).width
    if not set(plan.receivers) <= set(holders):
        counted.step({(one, other): HEADER.size + len(plan.openings) * width})
    for phase in ("count", "value"):
        numbers = Counter(opening.receivers for opening in plan.openings if opening.phase == phase)
        for receivers, count in numbers.items():
            share = HEADER.size + count * width
            counted.step({(a, b): share for a in holders for b in receivers if a != b})
    return counted


# -- seconds ---------------------------------------------------------------------------------------------------------


def table_seconds(keys: int, cells: int) -> float:
    """Work of one pass over a table, in X25519 operations of one core.

    Args:
        keys: distinct keys.
        cells: columns and features of each.
    """
    return keys * (_ROW + _CELL * cells)


def _seconds(plan: Plan, calibration: Calibration, kernel: Cost | None, *, together: bool) -> float:
    both = sum(side.distinct_keys for side in plan.sides)
    work = [
        side.distinct_keys * _KEY
        + table_seconds(side.distinct_keys, len(side.columns) + len(side.features))
        + both * _POINT
        for side in plan.sides
    ]
    lattice = [0.0, 0.0]
    if kernel is not None:
        lattice = [_OWNER * kernel.key_owner_ns / _LATTICE_NS, _EVALUATOR * kernel.evaluator_ns / _LATTICE_NS]
    shared = together and calibration.cores == 1
    operations = (sum(work) if together else max(work)) / calibration.cores
    operations += sum(lattice) if shared else max(lattice)  # one thread a side, one message behind the other
    return _FIXED_SECONDS + operations / calibration.ladders
