"""The disclosure report of a question over a union."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from privcompute.query.disclosure import Disclosure, Learned
from privcompute.tables.catalogue import DatasetEntry
from privcompute.union.job import Roster

if TYPE_CHECKING:
    from privcompute.query.union.plan import UnionPlan

COUNTS, VALUES, SHOWN = "counts", "values", "shown"
"""The names of what opens."""


def disclosure(plan: UnionPlan, entries: Sequence[DatasetEntry]) -> Disclosure:
    """What every holder, the collector, the key holder and every receiver learn."""
    holders = [m.party for m in plan.members]
    others = [plan.collector, *plan.receivers, *((plan.key_holder,) if plan.key_holder else ())]
    parties = []
    # Who opens what is shown: with masks every holder helps; with Paillier a holder sends once and may go.
    openers = holders if plan.scheme == "masks" else [plan.key_holder]
    for party in dict.fromkeys((*holders, *others)):
        known = [_query(), *_catalogue(party, entries)]
        if party in openers or party == plan.collector:
            known.append(_presence(plan))
        if party in openers:
            known.append(_shown(plan))
        if party in holders:
            known.append(_collusion(plan))
        if party == plan.collector or party in plan.receivers:
            known += _opened(plan, party)
        if party == plan.collector:
            known += _collects(plan)
        if party == plan.key_holder:
            known.append(_decrypts(plan))
        parties.append((party, (*known, _status(plan))))
    return Disclosure(tuple(parties))


def _query() -> Learned:
    what = "the query, who asks, who receives the result, who is asked to take part"
    return Learned("query", what, "every party checks the plan it takes part in")


def _catalogue(party: str, entries: Sequence[DatasetEntry]) -> list[Learned]:
    """Of all others together: a hundred holders would otherwise fill ten thousand lines."""
    others = [e for e in entries if e.party != party]
    if not others:
        return []
    names = ", ".join(f"{e.party}.{e.name}" for e in others)
    ranged = {c.name for e in others for c in e.columns if c.range_origin == "data-derived" and c.lo is not None}
    derived = f"; ranges of {', '.join(sorted(ranged))} were suggested from the data" if ranged else ""
    entry = (
        f"the catalogue entries of {names}: version, columns with types, public ranges and domains, the most rows of a "
        f"key, rules and minimums{derived}"
    )
    counts = ", ".join(f"{e.party}.{e.name} {e.distinct_keys}" for e in others)
    return [
        Learned("catalogue", entry, "all parties derive the same plan and its bounds from them"),
        Learned("peer_keys", f"the numbers of distinct keys: {counts}", "they bound the sums, so that none overflows"),
    ]


def _presence(plan: UnionPlan) -> Learned:
    what = f"which of the {len(plan.members)} holders take part, which drop out, and when"
    why = f"whose rows the sums hold is agreed before they open; {plan.quorum} are the fewest that may finish"
    return Learned("presence", what, why, size=len(plan.members))


def _shown(plan: UnionPlan) -> Learned:
    what = f"which of {plan.units} cell{'s are' if plan.units != 1 else ' is'} shown, of no cell how many people it has"
    return Learned("opened", what, "it takes part in opening the cells that are shown, and no other", SHOWN, plan.units)


def _opened(plan: UnionPlan, party: str) -> list[Learned]:
    inner = plan.cells_per_unit
    cells = f"each of {plan.units * inner} cell{'s' * (plan.units * inner != 1)}, also of those that are not shown,"
    whats = "; ".join(dict.fromkeys(o.what for o in plan.counts))
    counts = Learned(
        "opened",
        f"of {cells} the number of people, a person at two holders counted twice, and of holders that contribute to: "
        f"{whats}",
        f"checked against the minimums of {plan.minimum} people and {plan.min_holders} holders before the rest opens",
        COUNTS,
        plan.shape.counts * max(o.bound for o in plan.counts).bit_length(),
    )
    values = "; ".join(dict.fromkeys(o.what for o in plan.values))
    shown = Learned(
        "opened",
        f"of each cell that is shown: {values}",
        "the result is computed from it",
        VALUES,
        sum(plan.shape.units) * (max(o.bound for o in plan.values).bit_length() + 1),
    )
    return [counts, shown]


def _collects(plan: UnionPlan) -> list[Learned]:
    size = f"{len(plan.members)} messages of {plan.shape.bytes} bytes or a little more"
    return [
        Learned(
            "message",
            f"from every holder its integers, hidden: {size}, whatever the rows are",
            "it adds them" if plan.scheme == "masks" else f"it adds them encrypted for {plan.key_holder}",
            size=8 * plan.shape.bytes,
        ),
        Learned(
            "poisoning",
            "that the integers are sums of rows it takes from every holder on trust",
            "no proof goes with them: a holder that lies shifts every total and nobody sees it",
        ),
    ]


def _collusion(plan: UnionPlan) -> Learned:
    n = len(plan.members)
    if plan.scheme == "paillier":
        return Learned(
            "collusion",
            f"the collector {plan.collector} and the key holder {plan.key_holder} together learn every holder's own "
            f"counts and sums; a collector that cheats can have one holder's decrypted as if they were the total",
            "whoever holds both the ciphertexts and the key reads them",
        )
    # A collector that cheats can tell a holder that only the quorum came: that is the number a holder is sure of.
    t = Roster.threshold(plan.quorum)
    rest = "the part of each" if n - 2 >= t else "the sum of the two left"
    own = f" with {plan.collector} itself" if plan.collector in {m.party for m in plan.members} else ""
    but_two = f"; all but two of the holders, pooling theirs: {rest}" if n > 2 else ""
    return Learned(
        "collusion",
        f"the collector {plan.collector} and holders that pool what they have, fewer than {t}{own}, learn of the "
        f"others only their sum: the total less their own{but_two}; with {t} or more, or {2 * t - plan.quorum} if the "
        "collector cheats, every holder's own counts and sums",
        f"{t} of the {plan.quorum} that are sure to take part open a mask; a total less all but one part is that part",
    )


def _decrypts(plan: UnionPlan) -> Learned:
    what = f"{plan.shape.counts + plan.shape.values} integers, masked by the collector: their number and nothing else"
    return Learned("message", what, "it decrypts what the collector sends, and cannot see whose sum it is")


def _status(plan: UnionPlan) -> Learned:
    return Learned("status", "how the run ends, and how long it takes", "the run ends for everybody")
