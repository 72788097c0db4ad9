"""The ideal run: what a plan opens when a trusted party computes the sums. For tests and demonstrations.

It takes both parties' plaintext, which no protocol does; it is the definition that the protocols are tested against.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from privcompute.errors import IntegrityError
from privcompute.query.disclosure import Disclosure
from privcompute.query.plan import Opening, Plan


@dataclass(frozen=True, repr=False)
class Holding:
    """One side's per-key features.

    Attributes:
        keys: The distinct keys; equal keys of both sides are equal values.
        columns: One list of integers a feature, in the order of `keys`.
    """

    keys: Sequence[Hashable]
    columns: Sequence[Sequence[int]]

    def __repr__(self) -> str:
        return f"Holding({len(self.keys)} keys, {len(self.columns)} columns)"


@dataclass(frozen=True, repr=False)
class Transcript:
    """What each party saw.

    Attributes:
        opened: By party, the opened integers by name, in order.
        suppressed: Whether a contributor count was too small.
    """

    opened: Mapping[str, dict[str, int]]
    suppressed: bool

    def __repr__(self) -> str:
        return f"Transcript(suppressed={self.suppressed})"


def run(plan: Plan, sides: tuple[Holding, Holding]) -> Transcript:
    """Open what the plan declares, in its order.

    Raises:
        IntegrityError: `undeclared` if something would open that the disclosure does not list.
    """
    aligned = _aligned(sides)
    parties = tuple(dict.fromkeys((*(s.party for s in plan.sides), *plan.receivers)))
    opened: dict[str, dict[str, int]] = {party: {} for party in parties}
    for party in parties:
        _check(plan.disclosure, party, frozenset(o.name for o in plan.openings if party in o.receivers))
    products = [sum(x * y for x, y in zip(aligned[0][i], aligned[1][j], strict=True)) for i, j in plan.products]
    locals_ = [sum(aligned[one.side][one.feature]) for one in plan.locals]
    counts_open = [o for o in plan.openings if o.phase == "count"]
    suppressed = any(_value(o, products, locals_) < plan.minimum for o in counts_open)
    for opening in counts_open if suppressed else plan.openings:
        for party in opening.receivers:
            opened[party][opening.name] = _value(opening, products, locals_)
    return Transcript(opened, suppressed)


def _value(opening: Opening, products: list[int], locals_: list[int]) -> int:
    return sum(t.coef * (products if t.kind == "product" else locals_)[t.index] for t in opening.terms)


def _aligned(sides: tuple[Holding, Holding]) -> tuple[list[list[int]], list[list[int]]]:
    places = {key: n for n, key in enumerate(sides[1].keys)}
    pairs = [(n, places[key]) for n, key in enumerate(sides[0].keys) if key in places]
    return (
        [[column[a] for a, _ in pairs] for column in sides[0].columns],
        [[column[b] for _, b in pairs] for column in sides[1].columns],
    )


def _check(disclosure: Disclosure, party: str, names: frozenset[str]) -> None:
    if disclosure.opened(party) != names:
        raise IntegrityError("the plan opens something else than it declares", code="undeclared", party=party)
