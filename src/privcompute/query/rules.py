"""The owners' rules: each node checks the plan against them before anything is sent."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping

from privcompute.errors import PrivacyError, UsageError
from privcompute.grades.words import Technique
from privcompute.query.plan import Plan
from privcompute.tables.catalogue import DatasetEntry

_WORDS = {
    "aggregate": "in COUNT, SUM, AVG",
    "filter": "in WHERE or a CASE condition",
    "product": "in a product with the other party's column",
    "group": "in GROUP BY",
}
_LEVELS = ("nothing", "size", "matches")


def shell(text: str) -> str:
    """A word as a shell takes it."""
    return shlex.quote(text)


def check_rules(plan: Plan, entries: Mapping[str, DatasetEntry]) -> None:
    """Check that each owner's rules allow what the plan does.

    Args:
        plan: The plan.
        entries: The datasets by "party.dataset".

    Raises:
        PrivacyError: `not_allowed`, `grade` or `reveal_not_allowed`, naming rule, column and the smallest change;
            `too_few` if the plan's minimum is below an owner's.
        UsageError: `unknown_dataset`.
    """
    for side in plan.sides:
        entry = entries.get(f"{side.party}.{side.dataset}")
        if entry is None or entry.version != side.version:
            raise UsageError(
                f"the plan is not about the known {side.party}.{side.dataset}", code="unknown_dataset", stage="plan"
            )
        check_uses(entry, side.uses, _WORDS)
        sums = Technique.HIDDEN_JOIN if plan.reveal == "nothing" else Technique.SUM
        # Who matched is told of a key, too: it takes part in the join like a column in its sums.
        check_floors(entry, (*side.uses, *((key, "join") for key in entry.keys)), sums)
        if _LEVELS.index(plan.reveal) > _LEVELS.index(entry.reveal):
            raise PrivacyError(
                f"the owner of {side.party}.{side.dataset} lets the join reveal {entry.reveal!r} at most",
                code="reveal_not_allowed",
                party=side.party,
                stage="plan",
                remedy=f"{side.party} runs `privcompute dataset edit {shell(side.dataset)} --reveal {plan.reveal}`",
            )
        if plan.minimum < entry.min_cell:
            raise PrivacyError(
                f"the owner of {side.party}.{side.dataset} wants cells of {entry.min_cell} or more contributors",
                code="too_few",
                party=side.party,
                stage="plan",
            )


def check_uses(entry: DatasetEntry, uses: Iterable[tuple[str, str]], words: Mapping[str, str]) -> None:
    """Check that an owner allows each use of its columns.

    Args:
        entry: The dataset.
        uses: (column, use) pairs.
        words: What each use is, for people.

    Raises:
        PrivacyError: `not_allowed`.
    """
    needed: dict[str, set[str]] = {}
    for column, use in uses:
        if use not in entry.allow.get(column, frozenset()):
            needed.setdefault(column, set()).add(use)
    if not needed:
        return
    column = min(needed)
    allowed = entry.allow.get(column, frozenset())
    where = " and ".join(words[use] for use in sorted(needed[column]))
    rule = f"its rule allows {', '.join(sorted(allowed))}" if allowed else "no rule names it, so it may not be used"
    options = " ".join(
        "--allow " + shell(f"{name}={','.join(sorted(entry.allow.get(name, frozenset()) | more))}")
        for name, more in sorted(needed.items())
    )
    raise PrivacyError(
        f"{entry.party}.{entry.name}: column {column} is used {where}; {rule}",
        code="not_allowed",
        party=entry.party,
        stage="plan",
        remedy=f"{entry.party} runs `privcompute dataset edit {shell(entry.name)} {options}`",
    )


def check_floors(entry: DatasetEntry, uses: Iterable[tuple[str, str]], sums: Technique) -> None:
    """Check that each column is carried by a technique that its grade permits.

    Args:
        entry: The dataset, with the floors that its owner's grades set.
        uses: (column, use) pairs.
        sums: What carries the columns that enter sums: the groups' own values are shown, of so many people each.

    Raises:
        PrivacyError: `grade`.
    """
    for column, use in sorted(uses):
        carried = min(sums, Technique.K_ANONYMOUS) if use == "group" else sums
        word = entry.floors.get(column, Technique.PLAIN.value)
        # A word that this version does not know is a rule that it cannot keep.
        least = next((one for one in Technique if one.value == word), Technique.FORBIDDEN)
        if carried < least or least is Technique.FORBIDDEN:
            asked = "forbids it" if least is Technique.FORBIDDEN else f"asks for {least.words}"
            how = "as the groups' values" if use == "group" else f"by {sums.words}"
            raise PrivacyError(
                f"{entry.party}.{entry.name}: column {column} would be carried {how}; its grade {asked}",
                code="grade",
                party=entry.party,
                stage="plan",
                remedy=_floor_remedy(entry, column, use, least),
            )


def _floor_remedy(entry: DatasetEntry, column: str, use: str, least: Technique) -> str:
    owner = f"{entry.party} may look at its grade with `privcompute dataset list`"
    if least is Technique.HIDDEN_JOIN:
        return f"ask a query with --reveal nothing, or without {column}; {owner}"
    if use == "group" and least is Technique.SUM:
        return f"sum over {column} or filter by it, and group by something else; {owner}"
    return f"ask without {column}; {owner}"
