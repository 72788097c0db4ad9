"""The card a protocol carries: its name, source, rounds, and what each party learns.

`protocol` turns a coroutine over a `Session` into one that runs in a child session, entered before any await, so
that all parties number their calls alike. One test runs every card on a metered loopback and compares.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

from privcompute.errors import UsageError
from privcompute.session.session import Session

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Card:
    """What a protocol declares.

    Args:
        name: A word; both roles of an asymmetric protocol use the same.
        source: Paper and section.
        rounds: The longest chain of messages that depend on each other.
        learned: What a party learns besides its output; "nothing" where that is so.
        module: Where its box stands.
    """

    name: str
    source: str
    rounds: int
    learned: str
    module: str


_CARDS: dict[str, Card] = {}


def cards() -> dict[str, Card]:
    """All cards of the protocols imported so far, by name."""
    return dict(_CARDS)


def protocol(
    name: str, *, source: str, rounds: int, learned: str = "nothing"
) -> Callable[
    [Callable[Concatenate[Session, P], Coroutine[Any, Any, R]]],
    Callable[Concatenate[Session, P], Coroutine[Any, Any, R]],
]:
    """Declares a protocol; see `Card` for the arguments."""

    def decorate(
        function: Callable[Concatenate[Session, P], Coroutine[Any, Any, R]],
    ) -> Callable[Concatenate[Session, P], Coroutine[Any, Any, R]]:
        card = Card(name, source, rounds, learned, function.__module__)
        known = _CARDS.setdefault(name, card)
        if known != card:
            raise UsageError(f"two different cards are named {name!r}", code="bad_card")

        def enter(s: Session, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
            return function(s.child(name), *args, **kwargs)

        functools.update_wrapper(enter, function)
        enter.card = card  # type: ignore[attr-defined]  # read by docs and tests
        return enter

    return decorate
