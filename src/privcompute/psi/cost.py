"""What a private set intersection costs, exactly, from the two public sizes alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from privcompute.errors import PrivacyError, UsageError
from privcompute.session.session import HEADER

POINT: Final = 32
CHUNK: Final = 1 << 15
"""Points a message: 1 MiB."""
DIGEST: Final = 32
STATISTICAL: Final = 40
"""A false match has a chance of at most 2**-40 in the whole run."""


@dataclass(frozen=True)
class PsiLimits:
    """What a data holder lets one intersection be.

    Args:
        max_items: Most keys on either side.
        max_ratio: Most keys of the larger side per key of the smaller: a peer that brings the whole domain of, say,
            phone numbers against a small table is enumerating it.
        free_items: Below this many keys on the larger side the ratio is not looked at.
    """

    max_items: int = 20_000_000
    max_ratio: int = 1000
    free_items: int = 100_000

    def check(self, mine: int, theirs: int) -> None:
        """Raises `PrivacyError`, ``psi_size`` or ``psi_ratio``, where the declared sizes go beyond it."""
        if mine < 0 or theirs < 0:
            raise UsageError("a set has no negative size", code="psi_size")
        larger, smaller = max(mine, theirs), min(mine, theirs)
        if larger > self.max_items:
            raise PrivacyError(
                f"a set of {larger} keys is above the limit of {self.max_items}",
                code="psi_size",
                remedy=f"raise the limit to {larger} on both nodes, or split the table",
            )
        if smaller and larger > self.free_items and larger > self.max_ratio * smaller:
            raise PrivacyError(
                f"the sets have {mine} and {theirs} keys; one is more than {self.max_ratio} times the other",
                code="psi_ratio",
                remedy=f"raise the ratio limit to {-(-larger // smaller)} if this peer may ask about so many keys",
            )


@dataclass(frozen=True)
class PsiCost:
    """Cost of one run without a restart; x is one party, y the other. Symmetric but for the sizes.

    Args:
        sent_by_x, sent_by_y: Bytes of session messages, headers included; the transport's frames come on top.
        messages_x, messages_y: Messages each sends.
        rounds: Longest chain of messages that depend on each other.
        ladders: X25519 operations of both parties together; each does half.
        maps: Hashes to the curve of both parties together.
        memory_x, memory_y: Bytes each holds at its peak beyond the encoded keys, upper estimate.
    """

    sent_by_x: int
    sent_by_y: int
    messages_x: int
    messages_y: int
    rounds: int
    ladders: int
    maps: int
    memory_x: int
    memory_y: int


def tag_bytes(nx: int, ny: int) -> int:
    """Bytes of a truncated tag: ceil((40 + log2(nx * ny)) / 8), exactly."""
    pairs = max(1, nx * ny)
    return -(-(STATISTICAL + (pairs - 1).bit_length()) // 8)


def chunks(count: int) -> int:
    """Messages that a set of this size takes."""
    return -(-count // CHUNK)


def psi_cost(nx: int, ny: int) -> PsiCost:
    """Bytes, messages, rounds and operations of `dh_psi` on sets of nx and ny keys."""
    if not nx or not ny:
        return PsiCost(0, 0, 0, 0, 0, 0, 0, 0, 0)
    width = tag_bytes(nx, ny)
    messages = chunks(nx) + chunks(ny) + 1

    def sent(own: int, other: int) -> int:
        return own * POINT + other * width + DIGEST + messages * HEADER.size

    # While aligning: both lists of tags twice, their words before and after sorting, the order and the sort's scratch.
    # Otherwise: chunks on their way in both directions and at work, and a thread's piece of keys.
    align = (nx + ny) * (2 * width + 56)
    buffers = 16 * CHUNK * POINT + (2 << 20)
    return PsiCost(
        sent_by_x=sent(nx, ny),
        sent_by_y=sent(ny, nx),
        messages_x=messages,
        messages_y=messages,
        rounds=3,
        ladders=2 * (nx + ny),
        maps=nx + ny,
        memory_x=max(nx * (2 * POINT + 24), nx * (POINT + 8) + align) + buffers,
        memory_y=max(ny * (2 * POINT + 24), ny * (POINT + 8) + align) + buffers,
    )
