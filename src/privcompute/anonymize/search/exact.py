"""Exact search over a lattice that fits into memory.

Every node has a bound from below (of the metric) and a mark. The monotone part of the models (`monotone_part`) makes
marks spread: what lies above a node that passes it passes, what lies below one that fails can never be released. Two
moves alternate, always from the node of least bound that is still open:

- *Path* (after Flash): a path to the top is bisected for the border between failing and passing nodes; from the
  failing end the search climbs on to a node all of whose successors pass. There are few such nodes, and each marks all
  below it.
- *Best first*: a node that passes is looked at for all models and its cost. When no node is left whose bound is below
  the best cost found, that cost is the least there is.

With a metric that depends on levels alone, and monotone models, a good node needs no look above it, and paths do it
all.

Source: Kohlmayer, Prasser, Eckert, Kemper, Kuhn, "Flash", PASSAT 2012, for the paths; the rest is branch and bound.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from privcompute.anonymize.metrics import cost as price
from privcompute.anonymize.search.outcome import SLACK, Judged, Outcome, Task, judge, lowest, product
from privcompute.anonymize.search.tables import Node

OPEN, PASSES, BAD, DONE = 0, 1, 2, 3
"""Nothing is known; passes the monotone part; cannot be released; needs no look any more."""


class Exact:
    """One search; `run` it once."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._shape = tuple(height + 1 for height in task.heights)
        self._mark = np.zeros(self._shape, np.uint8)
        self._flat = self._mark.reshape(-1)
        self._whole = task.part == task.models
        self._total = self._bounds()
        self._bound = self._total.reshape(-1)
        self._told = price("entropy", task.tables).terms
        self._best: tuple[float, Node] | None = None
        self._checks = 0

    def run(self) -> Outcome:
        """Search until the best is proven, or time is up."""
        nodes = product(self._shape)
        for least, node in self._next():
            if self._task.late():
                cost, best = self._best or (None, None)
                return Outcome(best, cost, least if cost is None else min(least, cost), "gap", self._checks, nodes)
            if self._mark[node] == OPEN and self._task.part:
                self._path(node)
            if self._mark[node] in (OPEN, PASSES):
                self._look(node)
        if self._best is None:
            return Outcome(None, None, None, "infeasible", self._checks, nodes)
        node, more = lowest(self._task, self._best[1], self._best[0])
        return Outcome(node, self._best[0], self._best[0], "optimal", self._checks + more, nodes)

    def _bounds(self) -> npt.NDArray[np.float64]:
        """The bound of every node, in the metric's terms before `join`."""
        total = np.zeros(self._shape)
        for axis, term in enumerate(self._task.cost.terms):
            total += term.reshape([-1 if i == axis else 1 for i in range(len(self._shape))])
        return total

    def _next(self) -> Iterator[tuple[float, Node]]:
        """Nodes that may still be the best, by bound, then by place."""
        cost = self._task.cost
        if cost.separable:
            # The order never changes.
            for place in np.argsort(self._bound, kind="stable").tolist():
                least = cost.join(float(self._bound[place]))
                if not self._promising(least):
                    return
                if self._flat[place] in (OPEN, PASSES):
                    yield least, self._node(place)
            return
        while True:
            waiting = np.where((self._flat == OPEN) | (self._flat == PASSES), self._bound, np.inf)
            place = int(np.argmin(waiting))
            least = float(waiting[place])
            if not np.isfinite(least) or not self._promising(least):
                return
            yield least, self._node(place)

    def _promising(self, least: float) -> bool:
        return self._best is None or least < self._best[0] - SLACK * abs(self._best[0])

    def _node(self, place: int) -> Node:
        return tuple(int(level) for level in np.unravel_index(place, self._shape))

    def _path(self, node: Node) -> None:
        """Mark an open node, and with it as many others as a path from it can tell about."""
        path = [node]
        while (above := self._cheapest_above(path[-1])) is not None:
            path.append(above)
        low, high = 0, len(path) - 1
        while low <= high:
            middle = (low + high) // 2
            if self._fails(path[middle]):
                low = middle + 1
            else:
                high = middle - 1
        if low:
            self._climb(path[low - 1])

    def _climb(self, node: Node) -> None:
        """From a failing node to one all of whose successors pass: each column as high as it goes, in turn.

        Columns whose top says nearly as much as where they stand come first: raising them mends least.
        """
        told = [float(term[-1] - term[level]) for term, level in zip(self._told, node, strict=True)]
        for axis in sorted(range(len(node)), key=lambda one: (told[one], one)):
            low, high = node[axis], self._shape[axis] - 1
            while low < high:
                middle = (low + high + 1) // 2
                if self._fails((*node[:axis], middle, *node[axis + 1 :])):
                    low = middle
                else:
                    high = middle - 1
            node = (*node[:axis], low, *node[axis + 1 :])

    def _fails(self, node: Node) -> bool:
        if self._mark[node] == OPEN:
            self._look(node)
        return bool(self._mark[node] == BAD)

    def _above(self, node: Node) -> list[Node]:
        """The successors, the cheapest first."""
        found = [
            (*node[:axis], level + 1, *node[axis + 1 :])
            for axis, level in enumerate(node)
            if level + 1 < self._shape[axis]
        ]
        return sorted(found, key=self._total.__getitem__)

    def _cheapest_above(self, node: Node) -> Node | None:
        """The open successor of least bound; where all are marked, the path ends."""
        return next((above for above in self._above(node) if self._mark[above] == OPEN), None)

    def _look(self, node: Node) -> Judged:
        """Check a node, mark what follows from it, and keep it if it is the best."""
        cost = self._task.cost
        judged = judge(self._task, node)
        self._checks += 1
        if judged.passes:
            above = self._mark[tuple(slice(level, None) for level in node)]
            # With a cost of levels alone, what is above a good node is dearer.
            settled = judged.good and self._whole and cost.of_levels
            if self._task.part:
                above[above == OPEN] = DONE if settled else PASSES
            self._mark[node] = DONE
        else:
            self._mark[tuple(slice(None, level + 1) for level in node)] = BAD
        if judged.good and self._promising(cost.join(float(self._total[node]))):
            value = cost.value(judged.checked, judged.kept)
            if self._best is None or (value, node) < self._best:
                self._best = (value, node)
        if not cost.separable:
            higher = self._total[tuple(slice(level, None) for level in node)]
            np.maximum(higher, cost.bound_above(judged.checked), out=higher)
        return judged
