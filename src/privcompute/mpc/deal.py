"""Splits one party's integers into uniform shares held by all.

Inputs: the owner: integers v_1 … v_n; all: the ring, the shape, the owner's name.
Needs: nothing.
Output: every party: its share of v.
Learned: nothing: each share but the owner's is uniform and independent of v.
Source: additive secret sharing, folklore; compare Ben-Or, Goldwasser, Wigderson (STOC 1988), section 2.
Steps:
    1. The owner draws a uniform share for each other party and sends it.
    2. The owner keeps v minus their sum.
"""

from __future__ import annotations

from privcompute.errors import PeerError, UsageError
from privcompute.mpc.shared import Shared
from privcompute.ring import Array, Ring
from privcompute.session import Session, protocol


@protocol("deal", source="additive secret sharing, folklore", rounds=1)
async def deal(s: Session, owner: str, values: Array | None, *, ring: Ring, shape: tuple[int, ...]) -> Shared:
    """My share of ``owner``'s integers.

    Args:
        s: The session.
        owner: Whose values they are.
        values: The integers at the owner, None elsewhere.
        ring: Where they are shared.
        shape: Their public shape.

    Raises:
        UsageError: the owner brings no values of that shape, or another party brings some.
        PeerError: the owner sent something that is no share.
    """
    count = 1
    for dimension in shape:
        count *= dimension
    if s.me != owner:
        if values is not None:
            raise UsageError("only the owner brings values", code="bad_share")
        # 1.
        raw = await s.recv_bytes(owner, "share", count * ring.width)
        try:
            return Shared(ring, ring.unpack(raw, shape))
        except UsageError:
            raise PeerError(
                "the peer's share does not fit the ring", code="bad_share", party=owner, stage=s.path,
                remedy="check that both nodes run the same version, then ask again",
            ) from None  # fmt: skip
    if values is None or values.shape != shape:
        raise UsageError("the owner brings values of the agreed shape", code="bad_share")
    mine = ring.array(values)
    for party in s.others:
        # 1.
        theirs = ring.array(s.rng.private(f"share for {party}").bits(ring.bits, count), shape)
        await s.send_bytes(party, "share", ring.pack(theirs))
        # 2.
        mine = ring.reduce(mine - theirs)
    return Shared(ring, mine)
