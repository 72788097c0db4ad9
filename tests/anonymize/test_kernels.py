"""The compiled loops against plain counting, on both of the ways that each of them has."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privcompute.anonymize.columns import quasi_identifier
from privcompute.anonymize.hierarchy import intervals
from privcompute.anonymize.kernels.closeness import class_histograms, descending_tail
from privcompute.anonymize.search.tables import Tables


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(-1, 5), st.integers(0, 6), st.integers(1, 9)), min_size=1, max_size=50),
    st.sampled_from([7, 40_000]),
)
def test_histograms_by_class(entries: list[tuple[int, int, int]], values: int) -> None:
    """Few values: a table of all counts; many: a counting sort. Both leave out class -1 and give values in order."""
    classes = sorted({one for one, _, _ in entries} - {-1})
    slot = np.array([classes.index(one) if one >= 0 else -1 for one, _, _ in entries], np.int32)
    spread = values // 7
    value = np.array([v * spread for _, v, _ in entries], np.int64)
    count = np.array([n for _, _, n in entries], np.int64)
    start = np.empty(len(classes) + 1, np.int64)
    found_value, found_count = np.empty_like(value), np.empty_like(count)
    holder = np.arange(len(entries), dtype=np.int32)
    written = class_histograms(slot, holder, value, count, values, start, found_value, found_count)
    wanted: list[tuple[int, int, int]] = []
    for number, one in enumerate(classes):
        total: Counter[int] = Counter()
        for owner, v, n in entries:
            if owner == one:
                total[v * spread] += n
        wanted += [(number, v, total[v]) for v in sorted(total)]
    owners = np.repeat(np.arange(len(classes)), np.diff(start)).tolist()
    assert list(zip(owners, found_value[:written].tolist(), found_count[:written].tolist(), strict=True)) == wanted


@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=50), min_size=1, max_size=4), st.integers(1, 6))
def test_tails_of_short_and_long_classes(counts: list[list[int]], place: int) -> None:
    start = np.concatenate([[0], np.cumsum([len(one) for one in counts])]).astype(np.int64)
    first, tail = np.empty(len(counts), np.int64), np.empty(len(counts), np.int64)
    descending_tail(start, np.array([n for one in counts for n in one], np.int64), place, first, tail)
    ordered = [sorted(one, reverse=True) for one in counts]
    assert first.tolist() == [one[0] for one in ordered]
    assert tail.tolist() == [sum(one[place - 1 :]) for one in ordered]


@pytest.mark.parametrize("limit", ["_DENSE", "_KEYS"])
@settings(max_examples=40)
@given(
    rows=st.lists(st.tuples(*[st.integers(0, 7)] * 3), min_size=1, max_size=40),
    node=st.tuples(*[st.integers(0, 3)] * 3),
)
def test_tables_hashing_and_stages_number_classes_alike(
    limit: str, rows: list[tuple[int, int, int]], node: tuple[int, int, int]
) -> None:
    """`_DENSE` = 0: all keys are hashed. `_KEYS` = 400: two columns fit into one key, three do not."""
    tree = intervals(range(8), [2, 4], (0, 7))
    columns = [
        quasi_identifier(str(i), np.array(part), tree.leaves, tree) for i, part in enumerate(zip(*rows, strict=True))
    ]
    usual = Tables(columns).check(node)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"privcompute.anonymize.search.tables.{limit}", {"_DENSE": 0, "_KEYS": 400}[limit])
        other = Tables(columns).check(node)
    assert (usual.slot == other.slot).all()
    assert (usual.classes.size == other.classes.size).all()
    labels = [tuple(int(c.maps[n][v]) for c, n, v in zip(columns, node, row, strict=True)) for row in rows]
    assert sorted(Counter(labels).values()) == sorted(usual.classes.size.tolist())
