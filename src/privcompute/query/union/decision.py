"""What a run shows, decided once: deciding takes seconds of many cells, and several parts of a run ask."""

from __future__ import annotations

from collections.abc import Sequence

from privcompute.query.union.plan import UnionPlan


class Decision:
    """`UnionPlan.decide` of one run, which keeps its last answer.

    The collector decides, compares what opened with what was decided, and finishes; a receiver does the last two. All
    of them ask about the same counts, and get one answer; about other counts it is decided anew.

    Args:
        plan: The plan.
    """

    def __init__(self, plan: UnionPlan) -> None:
        self._plan = plan
        self._last: tuple[tuple[int, ...], tuple[int, ...]] | None = None

    def __repr__(self) -> str:
        return f"<Decision over {self._plan.units} units>"

    def __call__(self, counts: Sequence[int]) -> tuple[int, ...]:
        """The units that may be shown, given the opened counts."""
        asked = tuple(counts)
        if self._last is None or self._last[0] != asked:
            self._last = asked, self._plan.decide(asked)
        return self._last[1]
