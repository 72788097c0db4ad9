"""The words of the rules: techniques in their order, purposes, recipients."""

from __future__ import annotations

from enum import Enum
from functools import total_ordering
from typing import Final

PURPOSES: Final = ("joint-statistics", "research", "operations", "development")
"""What the data is used for. A query is for joint statistics; a release says what it is for."""

RECIPIENTS: Final = ("own", "peer", "public", "cross-border")
"""Who gets it: a node of one's own organisation, a paired peer, anybody, a party abroad."""

PROFILES: Final = ("gbt43697", "jrt0197")
"""The shipped rule tables."""


@total_ordering
class Technique(Enum):
    """How a column is carried to a recipient, from the weakest to the strongest; `FORBIDDEN` carries nothing.

    A rule names the weakest technique that will do, and every stronger one will do as well.
    """

    PLAIN = "plain"
    MASK = "mask"
    TOKEN = "token"  # noqa: S105 - a technique's word
    K_ANONYMOUS = "k-anonymous"
    SUM = "sum"
    HIDDEN_JOIN = "hidden-join"
    FORBIDDEN = "forbidden"

    @property
    def strength(self) -> int:
        """Its place in the order."""
        return _ORDER[self]

    @property
    def words(self) -> str:
        """For people."""
        return _WORDS[self]

    def __lt__(self, other: object) -> bool:
        """Whether it is weaker."""
        return self.strength < other.strength if isinstance(other, Technique) else NotImplemented


_ORDER: Final = {one: place for place, one in enumerate(Technique)}
_WORDS: Final = {
    Technique.PLAIN: "plain values",
    Technique.MASK: "masked values",
    Technique.TOKEN: "tokens",
    Technique.K_ANONYMOUS: "a k-anonymous release",
    Technique.SUM: "sums on shares or under encryption",
    Technique.HIDDEN_JOIN: "sums over a join that hides who matched",
    Technique.FORBIDDEN: "nothing at all",
}
