"""Selections hidden in values of a union's cells, against a naive model."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from privcompute.node.level_cells import hidden_partitions, shared_values
from privcompute.node.levels import MOST_VALUES
from privcompute.node.partitions import CellSets
from privcompute.tables.cells import LevelCells
from privcompute.tables.features import Level

KEYS = 60


def level_cells(seen: dict[tuple[int, int], tuple[int, int]]) -> LevelCells:
    """From (key, cell) to the least and the greatest hash."""
    pairs = sorted(seen)
    return LevelCells(
        np.array([key for key, _ in pairs], dtype=np.int64),
        np.array([cell for _, cell in pairs], dtype=np.int32),
        np.array([seen[pair][0] for pair in pairs], dtype=np.uint64),
        np.array([seen[pair][1] for pair in pairs], dtype=np.uint64),
    )


def sets_of(family: CellSets) -> set[frozenset[int]]:
    return {frozenset(family.members[family.sets == one].tolist()) for one in range(len(family.sizes))}


_HASHES = st.sampled_from([0, 1, 2**64 - 1])
_SEEN = st.dictionaries(
    st.tuples(st.integers(0, 11), st.integers(0, 2)),
    st.tuples(_HASHES, _HASHES).map(lambda ends: (min(ends), max(ends))),
)


@given(seen=_SEEN, least=st.integers(1, 4))
@settings(max_examples=150)
def test_shared_values_against_a_model(seen: dict[tuple[int, int], tuple[int, int]], least: int) -> None:
    family = CellSets.of(shared_values(level_cells(seen), least), KEYS)
    expected = set()
    for cell in range(3):
        single = sum(c == cell and low == high for (_, c), (low, high) in seen.items())
        for value in {low for low, _ in seen.values()}:
            people = frozenset(k for (k, c), ends in seen.items() if c == cell and ends == (value, value))
            if len(people) >= max(least, single / MOST_VALUES):
                expected.add(people)
    assert sets_of(family) == expected


def test_the_most_frequent_values_of_each_cell() -> None:
    """Cell 0 has values of 1, 2, 3, … keys, of which some have an eighth of all; cell 5 has one."""
    seen = {}
    key = 0
    for value in range(1, MOST_VALUES + 3):
        for _ in range(value):
            seen[key, 0] = (value, value)
            key += 1
    assert key <= KEYS
    for one in range(4):
        seen[one, 5] = (9, 9)
    found = shared_values(level_cells(seen), 1)
    sizes = Counter(Counter(found.cells.tolist()).values())
    expected = Counter(range(7, MOST_VALUES + 3))
    expected[4] += 1
    assert sizes == expected


def test_of_two_nearly_equal_sets_of_one_group_one_stands_for_both() -> None:
    def of(first: int, last: int) -> LevelCells:
        return level_cells({(key, 0): (7, 7) for key in range(first, last)})

    values = [of(0, 20), of(0, 21), of(0, 40)]
    together = [Level("a", 0, 0), Level("b", 0, 0), Level("c", 0, 0)]
    found = hidden_partitions(together, values, KEYS, 5)
    assert [sorted(map(len, sets_of(one))) for one in found] == [[20], [40]]
    apart = [Level("a", 0, 0), Level("b", 0, 1), Level("c", 0, 0)]
    assert [one.sizes.tolist() for one in hidden_partitions(apart, values, KEYS, 5)] == [[20], [40], [21]]
    assert hidden_partitions([], [], KEYS, 5) == []
    assert hidden_partitions(together, [level_cells({})] * 3, KEYS, 5) == []
