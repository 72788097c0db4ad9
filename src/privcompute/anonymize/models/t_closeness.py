"""t-closeness: the sensitive values of each class are distributed as in the whole table, within t.

The distance is the earth mover's: `equal` (all values equally far apart) is half the sum of |p - q|; `ordered` moves
mass along the order of the values, 1/(m-1) a step; `hierarchical` moves it up the column's hierarchy to the lowest
common label, at the cost of that level over the height.

Source: Li, Li, Venkatasubramanian, ICDE 2007, section 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np

from privcompute.anonymize.classes import Classes, Doubles, Histogram, Mask
from privcompute.anonymize.kernels.closeness import hierarchical_distance, ordered_distance
from privcompute.anonymize.models.model import CLOSE, Figures, OfColumn, in_range
from privcompute.errors import UsageError

Distance = Literal["equal", "ordered", "hierarchical"]


@dataclass(frozen=True)
class TCloseness(OfColumn):
    """An earth mover's distance of at most `t` between each class and the table."""

    t: float
    distance: Distance = "equal"

    kind: ClassVar[str] = "t-closeness"

    def __post_init__(self) -> None:
        """Check t and the distance."""
        in_range("t of t-closeness", self.t, 0, 1)
        if self.distance not in get_args(Distance):
            raise UsageError(f"a distance is one of {', '.join(get_args(Distance))}", code="bad_parameter")

    def holds(self, classes: Classes) -> Mask:
        """Classes near the table."""
        return self._distances(classes) <= self.t + CLOSE

    def measure(self, classes: Classes) -> Figures:
        """The smallest t that holds."""
        return {"t": float(self._distances(classes).max()) if len(classes) else None}

    def _distances(self, classes: Classes) -> Doubles:
        found = classes.histogram(self.column)
        if self.distance == "equal":
            return _equal(found)
        out = np.empty(len(classes), np.float64)
        if self.distance == "ordered":
            ordered_distance(found.start, found.value, found.share, found.everywhere, out)
            return out
        if found.tree is None:
            raise UsageError(
                f"the hierarchical distance needs a hierarchy of the sensitive column {self.column!r}",
                code="no_hierarchy",
                remedy="give the column a `hierarchy`, or use the distance `equal`",
            )
        tree = found.tree
        hierarchical_distance(
            found.start, found.value, found.share, found.everywhere, tree.maps, np.array(tree.width, np.int64), out
        )
        return out


def _equal(found: Histogram) -> Doubles:
    """Mass that must move is what a class has too much of: a value it lacks is no surplus."""
    return found.sums(np.maximum(found.share - found.everywhere[found.value], 0.0))
