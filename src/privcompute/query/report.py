"""Writes the disclosure report of a plan."""

from __future__ import annotations

from privcompute.query.disclosure import Disclosure, Learned
from privcompute.query.parse import Statement
from privcompute.query.plan import Opening, Side


def disclosure(
    statement: Statement,
    sides: tuple[Side, Side],
    openings: tuple[Opening, ...],
    receivers: tuple[str, ...],
    asker: str,
    reveal: str,
    minimum: int,
) -> Disclosure:
    """What each data holder, each further receiver and the asker learn."""
    holders = (sides[0].party, sides[1].party)
    others = tuple(p for p in dict.fromkeys((*receivers, asker)) if p not in holders)
    parties = []
    for n, party in enumerate(holders):
        known = (*_public(statement, (1 - n,)), *_alignment(sides, n, reveal), *_opened(party, openings, minimum))
        parties.append((party, (*known, _status(minimum))))
    for party in others:
        known = (*_public(statement, (0, 1)), *_opened(party, openings, minimum))
        parties.append((party, (*known, _status(minimum))))
    return Disclosure(tuple(parties))


def _public(statement: Statement, which: tuple[int, ...]) -> tuple[Learned, ...]:
    found = [
        Learned("query", "the query, who asks, who receives the result", "every party checks the plan it takes part in")
    ]
    for n in which:
        entry = statement.tables[n].entry
        name = f"{entry.party}.{entry.name}"
        origin = [c.name for c in entry.columns if c.range_origin == "data-derived" and c.lo is not None]
        derived = f"; the ranges of {', '.join(origin)} were suggested from the data" if origin else ""
        why = "both nodes derive the same plan and its bounds from it"
        what = (
            f"the catalogue entry of {name}: version, {len(entry.columns)} columns with types and public ranges"
            f"{derived}; at most {_rows(entry.rows_per_key)} a key; rules and minimum count"
        )
        found.append(Learned("catalogue", what, why, name))
        count = f"the number of distinct keys of {name}: {entry.distinct_keys}"
        found.append(Learned("peer_keys", count, "the sizes of the messages show it", name))
    return tuple(found)


def _alignment(sides: tuple[Side, Side], own: int, reveal: str) -> tuple[Learned, ...]:
    peer = sides[1 - own].party
    most = min(s.distinct_keys for s in sides)
    return (
        Learned(
            "own_matches",
            f"which of its own keys {peer} has too (of all keys, whatever the filters select)",
            f"reveal = {reveal}: the tables are aligned by their keys",
        ),
        Learned(
            "match_count", f"the number of common keys, at most {most}", f"reveal = {reveal}", size=most.bit_length()
        ),
    )


def _opened(party: str, openings: tuple[Opening, ...], minimum: int) -> tuple[Learned, ...]:
    found = []
    for one in openings:
        if party not in one.receivers:
            continue
        bits = one.bound.bit_length() + 1
        if one.phase == "count":
            what = f"the number of keys that contribute to {one.what}"
            why = f"checked against the minimum of {minimum} before anything else opens"
        else:
            what, why = one.what, "the result is computed from it"
        found.append(Learned("opened", what, why, one.name, bits))
    return tuple(found)


def _status(minimum: int) -> Learned:
    what = f"whether the result is shown (no contributor count below {minimum}), and how long the run takes"
    return Learned("status", what, "the run ends for everybody")


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"
