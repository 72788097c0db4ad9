"""All parties hold the same session digest before the first share.

Inputs: every party: digest, 32 bytes over everything that was agreed (plan, parameters, identities, nonces).
Needs: nothing.
Output: nothing.
Learned: nothing besides equality; the digest is public among the parties.
Source: transcript agreement, folklore; compare SIGMA (Krawczyk, CRYPTO 2003), section 2.
Steps:
    1. Send the digest to every other party.
    2. Receive theirs and compare in constant time; on any difference raise IntegrityError.
"""

from __future__ import annotations

from privcompute.errors import IntegrityError
from privcompute.randomness import equal
from privcompute.session.card import protocol
from privcompute.session.session import Session

DIGEST_BYTES = 32


@protocol("hello", source="SIGMA (Krawczyk, CRYPTO 2003), section 2", rounds=1)
async def hello(s: Session, digest: bytes) -> None:
    """Raises IntegrityError (code ``plan_mismatch``) unless every party sent the same digest."""
    # 1.
    for party in s.others:
        await s.send_bytes(party, "digest", digest)
    # 2.
    for party in s.others:
        theirs = await s.recv_bytes(party, "digest", DIGEST_BYTES)
        if not equal(theirs, digest):
            raise IntegrityError(
                "the parties did not agree on the same plan",
                code="plan_mismatch",
                party=party,
                stage="hello",
                remedy="check that both nodes run the same version and no dataset changed meanwhile, then ask again",
            )
