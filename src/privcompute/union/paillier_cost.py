"""What a Paillier sum sends, from public sizes; one test compares it with metered traffic."""

from __future__ import annotations

from collections.abc import Sequence

from privcompute.he.paillier.keys import DEFAULT_BITS
from privcompute.union.cost import SumCost
from privcompute.union.job import SumShape
from privcompute.union.keys import HASH_BYTES
from privcompute.union.messages import set_bytes, signatures_bytes
from privcompute.union.paillier_messages import Layout, key_message_bytes


def paillier_sum_cost(
    shape: SumShape, holders: int, shown: Sequence[int], *, signature: int, bits: int = DEFAULT_BITS
) -> tuple[SumCost, SumCost]:
    """The cost of a run in which all come and stay: on the link of a holder, and what holding the key adds to a link.

    Args:
        shape: What is added.
        holders: Number of holders.
        shown: The units that show.
        signature: Bytes of one signature.
        bits: Length of the key.
    """
    layout = Layout.of(shape, holders, bits)
    key = key_message_bytes(bits, signature)
    holder = SumCost(layout.counts_bytes + layout.values_bytes + signature, key, 4, 3)
    opened = [layout.count_ciphertexts] if shape.counts else []
    opened += [len(layout.ciphertexts_of(shown))] if shown else []
    listed = signatures_bytes(holders, signature, HASH_BYTES)
    keyed = SumCost(
        key + 1 + sum(one * bits // 8 for one in opened),
        listed + set_bytes(len(shape.units)) + sum(layout.blinded_bytes(one) for one in opened),
        2 + len(opened),
        2 + len(opened),
    )
    return holder, keyed
