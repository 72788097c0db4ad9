"""Which units of a union may be shown: enough people, enough holders, and nothing given away by what is left out.

A unit is shown only if each of its counts has enough contributors from enough holders. Whoever knows a total learns
the sum of what is not shown: so for the whole table and for each marginal of it (fix the values of some groupings, add
over the others) the units not shown have together nobody, or enough people from enough holders. Where a marginal leaves
one such unit, that unit is known and covers nothing in its other marginals; and so on, one unit after the other. Where
this gives something away, the last shown unit, in the public order of cells, of the line in question is left out too,
until it holds everywhere.

The contributors of several units are not disjoint: a person with many rows may stand in many cells, a holder in all.
So of a line counts its largest unit, or the sum over the most cells that one person can be in; of holders the unit
with the most. Both are never more than the truth, and one unit that was to be shown brings enough of both.

Source: the cell suppression problem, as in Hundepool et al., Statistical Disclosure Control (2012), chapter 4; here
with a greedy choice, and without what sums and differences of several marginals would give beyond single units.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations


@dataclass(frozen=True)
class Rule:
    """What has to hold of whatever is shown.

    Attributes:
        least: Per count of a unit, the fewest contributors.
        holders: The fewest holders of each count.
        cells_per_key: The most cells that one key can have rows in.
        axes: The number of values of each grouping of the units, the last one fastest.
    """

    least: tuple[int, ...]
    holders: int
    cells_per_key: int
    axes: tuple[int, ...]


Count = tuple[int, int]


def shown_units(counts: Sequence[int], rule: Rule) -> tuple[int, ...]:
    """The units that may be shown, ascending.

    Args:
        counts: Per unit and count of the unit: contributors, holders.
        rule: What has to hold.
    """
    width = 2 * len(rule.least)
    units = [
        [(counts[at], counts[at + 1]) for at in range(start, start + width, 2)]
        for start in range(0, len(counts), width)
    ]
    shown = {n for n, unit in enumerate(units) if _enough(unit, rule)}
    _Cover(units, shown, rule).complete()
    return tuple(sorted(shown))


def _enough(unit: Sequence[Count], rule: Rule) -> bool:
    return all(
        people >= least and holders >= rule.holders for (people, holders), least in zip(unit, rule.least, strict=True)
    )


class _Cover:
    """Leaves out units until what is left out tells nothing.

    Args:
        units: The counts of all units.
        shown: The units that are shown; changed.
        rule: What has to hold.
    """

    def __init__(self, units: Sequence[Sequence[Count]], shown: set[int], rule: Rule) -> None:
        self.units = units
        self.shown = shown
        self.rule = rule
        self.lines = list(_lines(rule.axes))
        self.lines_of: list[list[int]] = [[] for _ in units]
        for place, line in enumerate(self.lines):
            for n in line:
                self.lines_of[n].append(place)
        self.left_out: list[set[int]] = [set() for _ in self.lines]
        """By line, its units that are not shown, though somebody is in them."""
        for n, unit in enumerate(units):
            if n not in shown:
                self._note(n, unit)

    def complete(self) -> None:
        """Until there is nothing to leave out."""
        while self._directly() or self._step_by_step():
            pass

    def _note(self, n: int, unit: Sequence[Count]) -> None:
        if any(people for people, _ in unit):
            for place in self.lines_of[n]:
                self.left_out[place].add(n)

    def _leave_out(self, candidates: Iterable[int]) -> int | None:
        last = max((n for n in candidates if n in self.shown), default=None)
        if last is not None:
            self.shown.discard(last)
            self._note(last, self.units[last])
        return last

    def _tells(self, left_out: Collection[int]) -> bool:
        return bool(left_out) and _tells([self.units[n] for n in left_out], self.rule)

    def _directly(self) -> bool:
        """Covers the lines that tell something by themselves; whether there was one."""
        changed = False
        for line, left_out in zip(self.lines, self.left_out, strict=True):
            if self._tells(left_out):
                changed = self._leave_out(line) is not None or changed
        return changed

    def _known(self) -> dict[int, Sequence[int]]:
        """What becomes known one unit after the other, each with the line that gives it: the only one left there."""
        known: dict[int, Sequence[int]] = {}
        open_ = [len(left_out) for left_out in self.left_out]
        before = -1
        while len(known) > before:
            before = len(known)
            for place, line in enumerate(self.lines):
                if open_[place] == 1:
                    n = next(n for n in self.left_out[place] if n not in known)
                    known[n] = line
                    for crossed in self.lines_of[n]:
                        open_[crossed] -= 1
        return known

    def _step_by_step(self) -> bool:
        """Covers what becomes known one unit after the other; whether there was something."""
        source = self._known()
        known = set(source)
        small = {n for n in known if self._tells([n])}
        changed: set[int] = set()
        crossed: set[int] = set()  # lines with a unit that has changed
        for place, left_out in enumerate(self.left_out):
            # A small unit among the known ones is what its line gave when it was the only one left.
            if small.isdisjoint(left_out) and not self._tells(left_out - known):
                continue
            if place in crossed:
                continue  # covered in this pass already, perhaps
            sources = {m for n in left_out & known for m in source[n]}
            if not changed.isdisjoint(sources):
                continue
            last = self._leave_out(sources)
            last = self._leave_out(self.lines[place]) if last is None else last
            if last is not None:
                changed.add(last)
                crossed.update(self.lines_of[last])
        return bool(changed)


def _tells(left_out: Sequence[Sequence[Count]], rule: Rule) -> bool:
    """Whether the sum of these units would be one that may not be shown."""
    for place, least in enumerate(rule.least):
        people = [unit[place][0] for unit in left_out]
        total = sum(people)
        if not total:
            continue
        certain = max(max(people), -(-total // rule.cells_per_key))
        holders = max(unit[place][1] for unit in left_out)
        if certain < least or holders < rule.holders:
            return True
    return False


def _lines(axes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """The units of the whole table and of each marginal, the smallest sums first; none without a grouping."""
    strides = [1] * len(axes)
    for n in reversed(range(len(axes) - 1)):
        strides[n] = strides[n + 1] * axes[n + 1]
    for free in range(1, len(axes) + 1):
        for added in combinations(range(len(axes)), free):
            fixed = [n for n in range(len(axes)) if n not in added]
            inside = _offsets([(axes[n], strides[n]) for n in added])
            for start in _offsets([(axes[n], strides[n]) for n in fixed]):
                yield tuple(start + offset for offset in inside)


def _offsets(axes: Sequence[tuple[int, int]]) -> list[int]:
    found = [0]
    for size, stride in axes:
        found = [start + step * stride for start in found for step in range(size)]
    return found
