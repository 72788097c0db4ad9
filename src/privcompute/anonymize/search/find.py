"""The search that fits the lattice."""

from __future__ import annotations

from privcompute.anonymize.search.anytime import Anytime
from privcompute.anonymize.search.exact import Exact
from privcompute.anonymize.search.outcome import Outcome, Task, product

MAX_NODES = 1 << 24
"""Lattices of more nodes are searched without marks for all of them."""


def search(task: Task) -> Outcome:
    """The best node: proven, or with a certain gap when time is up."""
    small = product([height + 1 for height in task.heights]) <= MAX_NODES
    return Exact(task).run() if small else Anytime(task).run()
