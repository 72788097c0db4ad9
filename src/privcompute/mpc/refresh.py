"""Fresh shares of the same values: two holders shift by a common random number.

Inputs: both holders: their shares of x over a ring, of a public shape.
Needs: nothing.
Output: both holders: new shares of x, uniform for everybody but the holders.
Learned: nothing.
Source: re-randomisation of additive shares, folklore; compare Ostrovsky and Yung (PODC 1991), section 3.
Steps:
    1. The first holder draws r uniformly and sends it to the second.
    2. The first adds r to its share, the second subtracts it.
"""

from __future__ import annotations

from privcompute.errors import PeerError, UsageError
from privcompute.mpc.shared import Shared
from privcompute.session import Session, protocol


@protocol("refresh", source="Ostrovsky and Yung, PODC 1991, section 3", rounds=1)
async def refresh(s: Session, x: Shared, holders: tuple[str, str]) -> Shared:
    """My fresh share of ``x``; both ``holders`` call it, in the same order of names.

    Raises:
        PeerError: the first holder sent something that is no ring element.
    """
    first, second = holders
    count = x.values.size
    # 1.
    if s.me == first:
        shift = x.ring.array(s.rng.private("shift").bits(x.ring.bits, count), x.shape)
        await s.send_bytes(second, "shift", x.ring.pack(shift))
        # 2.
        return x + Shared(x.ring, shift, x.scale)
    raw = await s.recv_bytes(first, "shift", count * x.ring.width)
    try:
        shift = x.ring.unpack(raw, x.shape)
    except UsageError:
        raise PeerError(
            "the peer's random shift does not fit the ring",
            code="bad_share",
            party=first,
            stage=s.path,
            remedy="check that both nodes run the same version, then ask again",
        ) from None
    # 2.
    return x - Shared(x.ring, shift, x.scale)
