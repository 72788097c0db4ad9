"""The disclosure report: for each party, every value and size that it learns by a query, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Item = Literal[
    "catalogue",
    "query",
    "peer_keys",
    "own_matches",
    "match_count",
    "timing",
    "opened",
    "status",
    "presence",
    "message",
    "collusion",
    "poisoning",
]


@dataclass(frozen=True)
class Learned:
    """One thing that one party learns.

    Attributes:
        item: The kind, for programs.
        what: For people.
        why: For people.
        name: The opening's name for "opened", else empty.
        size: How large it is, in bits, where that is known beforehand.
    """

    item: Item
    what: str
    why: str
    name: str = ""
    size: int | None = None

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


@dataclass(frozen=True)
class Disclosure:
    """What every party learns.

    Attributes:
        parties: (party, what it learns) in a fixed order: data holders, then other receivers, then the asker.
    """

    parties: tuple[tuple[str, tuple[Learned, ...]], ...]

    def of(self, party: str) -> tuple[Learned, ...]:
        """What a party learns; nothing for an unknown one."""
        return next((learned for name, learned in self.parties if name == party), ())

    def declares(self, party: str, item: Item, name: str = "") -> bool:
        """Whether it is declared that `party` learns this."""
        return any(one.item == item and one.name == name for one in self.of(party))

    def opened(self, party: str) -> frozenset[str]:
        """The names of the openings declared for a party."""
        return frozenset(one.name for one in self.of(party) if one.item == "opened")

    def without(self, party: str, item: Item, name: str = "") -> Disclosure:
        """The report with one declaration removed; tests show that a run then fails."""
        return Disclosure(
            tuple(
                (who, tuple(one for one in learned if (who, one.item, one.name) != (party, item, name)))
                for who, learned in self.parties
            )
        )

    def sentences(self) -> dict[str, tuple[str, ...]]:
        """By party, the report for people."""
        return {party: tuple(str(one) for one in learned) for party, learned in self.parties}
