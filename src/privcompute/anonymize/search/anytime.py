"""Search over a lattice too large for a mark at every node: a good node soon, a certain gap always.

Nodes wait in a heap by their bound; each is reached once, from the predecessor that differs in its last raised column.
What is known to fail (for the monotone part) is kept as a list of highest failing nodes. From time to time the search
dives: from the node of least bound it climbs to a good node by a bisected path, and then down again, a level at a
time, as long as the node stays good and becomes cheaper. The least bound that still waits is a certain bound of the
best cost; when it reaches the best cost found, that is proven.
"""

from __future__ import annotations

import heapq

import numpy as np

from privcompute.anonymize.metrics import cost as price
from privcompute.anonymize.search.outcome import SLACK, Judged, Outcome, State, Task, judge, lowest, product
from privcompute.anonymize.search.tables import Node

_DIVE_EVERY = 64
_MOST_WAITING = 4_000_000


class Anytime:
    """One search; `run` it once."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._heights = task.heights
        self._told = price("entropy", task.tables).terms
        self._failing = np.empty((0, len(self._heights)), np.int64)
        self._judged: dict[Node, tuple[bool, bool, float]] = {}
        self._best: tuple[float, Node] | None = None
        self._checks = 0

    def run(self) -> Outcome:
        """Search until the best is proven, or time or memory is up."""
        task, ground = self._task, (0,) * len(self._heights)
        heap: list[tuple[float, Node, int]] = [(task.cost.bound(ground), ground, 0)]
        self._look(self._heights)
        steps, least = 0, heap[0][0]
        while heap:
            least, node, column = heap[0]
            if not self._promising(least):
                break
            if task.late() or len(heap) > _MOST_WAITING:
                return self._end("gap", least)
            heapq.heappop(heap)
            passes = not self._known_failing(node)
            if passes and steps % _DIVE_EVERY == 0:
                self._dive(node)
            steps += 1
            settled = False
            if passes:
                good, _, _ = self._look(node)
                settled = good and task.cost.of_levels
            if not settled:
                for axis in range(column, len(node)):
                    if node[axis] < self._heights[axis]:
                        above = (*node[:axis], node[axis] + 1, *node[axis + 1 :])
                        bound = task.cost.bound(above)
                        if self._promising(bound):
                            heapq.heappush(heap, (bound, above, axis))
        return self._end("infeasible" if self._best is None else "optimal", least)

    def _end(self, state: State, least: float) -> Outcome:
        cost, node = self._best or (None, None)
        if node is not None and cost is not None and state == "optimal":
            node, more = lowest(self._task, node, cost)
            self._checks += more
        bound = cost if state == "optimal" else None if state == "infeasible" else least
        if bound is not None and cost is not None:
            bound = min(bound, cost)
        return Outcome(node, cost, bound, state, self._checks, product([h + 1 for h in self._heights]))

    def _promising(self, least: float) -> bool:
        return self._best is None or least < self._best[0] - SLACK * abs(self._best[0])

    def _known_failing(self, node: Node) -> bool:
        return bool((self._failing >= np.array(node, np.int64)).all(axis=1).any())

    def _look(self, node: Node) -> tuple[bool, bool, float]:
        """Whether a node is good, whether it passes the monotone part, and its cost."""
        if node in self._judged:
            return self._judged[node]
        judged: Judged = judge(self._task, node)
        self._checks += 1
        value = self._task.cost.value(judged.checked, judged.kept) if judged.good else float("inf")
        if judged.good and (self._best is None or (value, node) < self._best):
            self._best = (value, node)
        if not judged.passes:
            below = (self._failing <= np.array(node, np.int64)).all(axis=1)
            self._failing = np.vstack([self._failing[~below], np.array([node], np.int64)])
        self._judged[node] = (judged.good, judged.passes, value)
        return self._judged[node]

    def _dive(self, node: Node) -> None:
        """Improve the best cost from here: up to a good node, then down while it pays."""
        path = [node]
        while path[-1] != self._heights:
            here = path[-1]
            told = [
                (float(self._told[axis][level + 1] - self._told[axis][level]), axis)
                for axis, level in enumerate(here)
                if level < self._heights[axis]
            ]
            axis = min(told)[1]
            path.append((*here[:axis], here[axis] + 1, *here[axis + 1 :]))
        low, high = 0, len(path) - 1
        while low < high and not self._task.late():
            middle = (low + high) // 2
            if not self._known_failing(path[middle]) and self._look(path[middle])[0]:
                high = middle
            else:
                low = middle + 1
        here = path[high]
        good, _, value = self._look(here)
        while good and not self._task.late():
            lower = [(*here[:axis], level - 1, *here[axis + 1 :]) for axis, level in enumerate(here) if level > 0]
            tried = [(self._look(one)[2], one) for one in lower if not self._known_failing(one)]
            if not tried or min(tried)[0] >= value:
                return
            value, here = min(tried)
