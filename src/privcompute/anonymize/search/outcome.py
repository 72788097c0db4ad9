"""What a search says: the node, what it costs, what is known about all others."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from privcompute.anonymize.classes import Mask
from privcompute.anonymize.metrics import Cost
from privcompute.anonymize.models import Model, kept_by, monotone_part
from privcompute.anonymize.search.tables import Checked, Node, Tables

State = Literal["optimal", "gap", "infeasible"]

SLACK = 1e-12
"""Costs this near, relatively, are equal: sums of doubles in another order."""


@dataclass(frozen=True)
class Outcome:
    """The end of a search.

    Attributes:
        node: the best node found; None: there is none, or none was found in time.
        cost: its cost.
        bound: no node costs less; equal to `cost` if `state` is `optimal`.
        state: `optimal`: proven; `gap`: time ran out, `cost` - `bound` is certain; `infeasible`: no node will do.
        checks: nodes whose classes were computed.
        nodes: nodes of the lattice.
    """

    node: Node | None
    cost: float | None
    bound: float | None
    state: State
    checks: int
    nodes: int


@dataclass(frozen=True)
class Task:
    """What is searched for.

    Attributes:
        tables: the data.
        models: that have to hold together.
        cost: to be made small.
        limit: rows that may be suppressed.
        deadline: `time.monotonic` after which the search stops; None: never.
    """

    tables: Tables = field(repr=False)
    models: tuple[Model, ...]
    cost: Cost
    limit: int
    deadline: float | None = None

    @property
    def heights(self) -> Node:
        """The highest level of each quasi-identifier."""
        return tuple(column.height for column in self.tables.columns)

    @cached_property
    def part(self) -> tuple[Model, ...]:
        """The monotone part of the models."""
        return monotone_part(self.models, suppression=self.limit > 0)

    def late(self) -> bool:
        """Whether time is up."""
        return self.deadline is not None and time.monotonic() >= self.deadline


@dataclass(frozen=True)
class Judged:
    """A checked node.

    Attributes:
        checked: its classes.
        kept: (classes,), which are released.
        suppressed: rows of the others.
        good: whether that is within the limit.
        passes: whether the monotone part of the models is within the limit; what is not, is so with all nodes below.
    """

    checked: Checked = field(repr=False)
    kept: Mask = field(repr=False)
    suppressed: int
    good: bool
    passes: bool


def judge(task: Task, node: Node) -> Judged:
    """Compute a node's classes and hold the models against them, the monotone ones first."""
    part = task.part
    checked = task.tables.check(node)
    classes = checked.classes
    # Sizes first: most nodes that fail do so by them, and no histogram is made for those.
    kept = kept_by([model for model in part if not model.columns and not model.of_table], classes)
    suppressed = classes.rows - int(classes.size[kept].sum())
    if suppressed > task.limit:
        return Judged(checked, kept, suppressed, good=False, passes=False)
    kept = kept_by(part, classes)
    suppressed = classes.rows - int(classes.size[kept].sum())
    passes = suppressed <= task.limit and not any(model.forbids(classes) for model in part)
    if not passes or part == task.models:
        return Judged(checked, kept, suppressed, passes, passes)
    kept = kept_by(task.models, classes)
    suppressed = classes.rows - int(classes.size[kept].sum())
    good = suppressed <= task.limit and not any(model.forbids(classes) for model in task.models)
    return Judged(checked, kept, suppressed, good, passes)


def lowest(task: Task, node: Node, least: float) -> tuple[Node, int]:
    """The node, or one below it that is as good and costs the same; and how many nodes were checked for that.

    Levels that change nothing in the data (or nothing that the metric sees) are not raised without need.
    """
    slack = SLACK * abs(least)
    checks = 0
    for axis in range(len(node)):
        while node[axis]:
            lower = (*node[:axis], node[axis] - 1, *node[axis + 1 :])
            if task.cost.bound(lower) > least + slack:
                break
            judged = judge(task, lower)
            checks += 1
            if not judged.good or task.cost.value(judged.checked, judged.kept) > least + slack:
                break
            node = lower
    return node, checks


def product(sizes: Sequence[int]) -> int:
    """The number of nodes."""
    found = 1
    for size in sizes:
        found *= size
    return found
