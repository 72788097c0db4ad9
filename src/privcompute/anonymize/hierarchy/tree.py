"""A generalization hierarchy: what each value becomes, level by level, checked when it is made.

Level 0 is the value itself. A level is a function of the level below it: two values that were merged are never parted
again, which is what makes classes grow from level to level and the search over the lattice correct.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from privcompute.errors import UsageError

ROOT = "*"
"""The label of a top level that says nothing."""

Label = str | None
"""What a cell shows; None is a NULL."""


@dataclass(frozen=True)
class Hierarchy:
    """Labels of every leaf at every level.

    Attributes:
        levels: levels[l][i] is the label of leaf i at level l; levels[0] holds the leaves, each once.
        shares: per level, the part of the domain that a label covers, where it is not its share of the leaves
            (intervals of real numbers); None: counted in leaves, used or not.
        place: what the hierarchy is of, for messages.
        ordered: whether the order of the leaves means something (numbers, dates, ordered categories).
    """

    levels: tuple[tuple[Label, ...], ...] = field(repr=False)
    shares: tuple[Mapping[Label, float], ...] | None = field(default=None, repr=False)
    place: str = "the hierarchy"
    ordered: bool = False

    def __post_init__(self) -> None:
        """Check that levels are functions of the levels below.

        Raises:
            UsageError: `bad_hierarchy`, naming the line (the leaf, counted from 1) and the level.
        """
        if not self.levels:
            raise UsageError(f"{self.place} has no level", code="bad_hierarchy")
        seen: dict[Label, int] = {}
        for line, leaf in enumerate(self.levels[0], 1):
            if leaf in seen:
                raise self._fault(line, f"repeats the value of line {seen[leaf]}")
            seen[leaf] = line
        for level, (below, above) in enumerate(zip(self.levels, self.levels[1:], strict=False), 1):
            if len(above) != len(below):
                raise UsageError(f"{self.place}: level {level} has another number of lines", code="bad_hierarchy")
            parent: dict[Label, tuple[Label, int]] = {}
            for line, (low, high) in enumerate(zip(below, above, strict=True), 1):
                known, where = parent.setdefault(low, (high, line))
                if known != high:
                    raise self._fault(
                        line, f"parts at level {level} what level {level - 1} had merged with line {where}"
                    )

    def _fault(self, line: int, what: str) -> UsageError:
        return UsageError(
            f"{self.place}: line {line} {what}",
            code="bad_hierarchy",
            remedy="each label needs one parent, and each value one line",
        )

    @property
    def height(self) -> int:
        """The highest level; 0 if values can only stay what they are."""
        return len(self.levels) - 1

    @property
    def leaves(self) -> tuple[Label, ...]:
        """The values of level 0."""
        return self.levels[0]

    def share(self, level: int) -> dict[Label, float]:
        """The part of the domain under each label of a level, in (0, 1]."""
        if self.shares is not None:
            return dict(self.shares[level])
        counts: dict[Label, int] = {}
        for label in self.levels[level]:
            counts[label] = counts.get(label, 0) + 1
        return {label: count / len(self.leaves) for label, count in counts.items()}

    def with_null(self, *, wildcard: bool) -> Hierarchy:
        """The same with one more leaf for NULL.

        Args:
            wildcard: whether NULL reads as "any value" from level 0 on; else it is a value of its own, which only a
                single root takes in.
        """
        if None in self.leaves:
            return self
        top = set(self.levels[-1])
        root = next(iter(top)) if len(top) == 1 and self.height else None
        whole = (root or ROOT) if wildcard else None
        labels: list[Label] = [whole] * len(self.levels)
        if wildcard:
            labels[0] = None  # two leaves cannot share a label; the release shows the root for it
        elif root is not None:
            labels[-1] = root
        levels = tuple((*level, label) for level, label in zip(self.levels, labels, strict=True))
        shares = None
        if self.shares is not None or wildcard:
            grown = [dict(self.share(level)) for level in range(len(self.levels))]
            for one, label in zip(grown, labels, strict=True):
                one.setdefault(label, 1.0 if wildcard else 1.0 / (len(self.leaves) + 1))
            shares = tuple(grown)
        return Hierarchy(levels, shares, self.place, self.ordered)


def flat(values: Sequence[Label], place: str = "the hierarchy") -> Hierarchy:
    """Two levels: the value, and nothing."""
    return Hierarchy((tuple(values), (ROOT,) * len(values)), place=place)
