"""Opens a shared array to the named receivers.

Inputs: every holder: its share of x over a ring; the receivers' names, the holders' names.
Needs: nothing.
Output: receivers: x; the others: nothing.
Learned: receivers: x, on purpose; the others: nothing.
Source: additive secret sharing, folklore; compare Ben-Or, Goldwasser, Wigderson (STOC 1988), section 2.
Steps:
    1. Each holder sends its share to every receiver but itself.
    2. Each receiver adds the shares of all holders.
"""

from __future__ import annotations

from collections.abc import Sequence

from privcompute.errors import PeerError, UsageError
from privcompute.mpc.shared import Shared
from privcompute.ring import Array, Ring
from privcompute.session import Session, protocol


@protocol("reveal", source="additive secret sharing, folklore", rounds=1, learned="receivers: the value")
async def reveal_to(
    s: Session,
    x: Shared | None,
    receivers: Sequence[str],
    *,
    ring: Ring,
    shape: tuple[int, ...],
    holders: Sequence[str] | None = None,
) -> Array | None:
    """Opens ``x``.

    Args:
        s: The session.
        x: My share; None for a party that holds none.
        receivers: Who learns the value.
        ring: The ring of x, known to all.
        shape: The shape of x, known to all.
        holders: Who holds shares; default: all parties.

    Returns:
        The opened array (elements of the ring) at a receiver, else None.

    Raises:
        PeerError: a share of a wrong size or out of the ring.
        UsageError: this party is a holder without a share of that ring and shape.
    """
    held_by = tuple(holders) if holders is not None else s.parties
    if (s.me in held_by) != (x is not None) or (x is not None and (x.ring != ring or x.shape != shape)):
        raise UsageError("every holder, and nobody else, brings a share of that ring and shape", code="bad_share")
    # 1.
    if x is not None:
        mine = ring.pack(x.values)
        for party in receivers:
            if party != s.me:
                await s.send_bytes(party, "share", mine)
    if s.me not in receivers:
        return None
    # 2.
    total = x.values if x is not None else ring.array([0] * _count(shape), shape)
    for party in held_by:
        if party != s.me:
            raw = await s.recv_bytes(party, "share", _count(shape) * ring.width)
            try:
                total = ring.reduce(total + ring.unpack(raw, shape))
            except UsageError:
                raise PeerError(
                    "the peer's share does not fit the ring", code="bad_share", party=party, stage=s.path,
                    remedy="check that both nodes run the same version, then ask again",
                ) from None  # fmt: skip
    return total


async def reveal(s: Session, x: Shared) -> Array:
    """Opens ``x`` to all parties; see `reveal_to`."""
    opened = await reveal_to(s, x, s.parties, ring=x.ring, shape=x.shape)
    if opened is None:  # not reachable: this party is a receiver
        raise UsageError("a receiver learns the value", code="bad_share")
    return opened


def _count(shape: tuple[int, ...]) -> int:
    out = 1
    for dimension in shape:
        out *= dimension
    return out
