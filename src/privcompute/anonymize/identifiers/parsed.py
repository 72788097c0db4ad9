"""What parsing an identifier gives: its canonical form, or the reasons why it is none. Never shown by accident."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, repr=False)
class Parsed:
    """One identifier as it was read.

    Attributes:
        kind: which type of identifier, such as `cn_id`.
        value: the canonical form: what two spellings of the same identifier share.
        reasons: why it is not valid, as stable words; empty for a valid one.
        warnings: what is unusual and yet allowed, such as `unknown_county`.
        parts: what it says of its holder, by name: `region`, `birth`, `issuer` …
    """

    kind: str
    value: str
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    parts: Mapping[str, str] = field(default_factory=dict)

    @property
    def valid(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons

    def __repr__(self) -> str:
        state = "valid" if self.valid else ", ".join(self.reasons)
        return f"Parsed({self.kind}: <hidden>, {state})"
