"""What a masked sum sends, from public sizes; one test compares it with metered traffic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from privcompute.union.job import Roster, SumShape
from privcompute.union.messages import ADVERT_BYTES, DEAL_BYTES, set_bytes, signatures_bytes
from privcompute.union.shamir import SHARE_BYTES
from privcompute.union.streams import UnitMasks


@dataclass(frozen=True)
class SumCost:
    """Bytes without headers, and messages, on the link of one holder.

    Args:
        by_holder: Bytes the holder sends.
        by_collector: Bytes the collector sends to it.
        holder_messages: Messages the holder sends.
        collector_messages: Messages the collector sends to it.
    """

    by_holder: int
    by_collector: int
    holder_messages: int
    collector_messages: int


def masked_sum_cost(shape: SumShape, holders: int, shown: Sequence[int], *, signature: int) -> SumCost:
    """The cost of a run in which all holders of the roster come and stay.

    Args:
        shape: What is added.
        holders: Number of holders.
        shown: The units that show; at least one.
        signature: Bytes of one signature.
    """
    t, others, here = Roster.threshold(holders), holders - 1, set_bytes(holders)
    certificate = signatures_bytes(t, signature)
    by_holder = (
        (ADVERT_BYTES + signature)
        + others * DEAL_BYTES
        + shape.bytes
        + 2 * signature
        + holders * SHARE_BYTES
        + 8 * UnitMasks(shape, shown).words
    )
    by_collector = (
        signatures_bytes(holders, signature, ADVERT_BYTES)
        + (here + others * DEAL_BYTES)
        + here
        + certificate
        + (1 + set_bytes(len(shape.units)) + here)
        + (1 + certificate)
        + 1
    )
    return SumCost(by_holder, by_collector, 10, 8)
