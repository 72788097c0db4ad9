"""The search against trying every node, on random small tables; and what it says when time is up."""

from __future__ import annotations

import itertools
import math
import time
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privcompute.anonymize.classes import Sensitive
from privcompute.anonymize.columns import QuasiIdentifier, quasi_identifier
from privcompute.anonymize.hierarchy import Hierarchy, intervals, ordering
from privcompute.anonymize.metrics import Metric, cost
from privcompute.anonymize.models import (
    AverageRisk,
    DeltaPresence,
    DistinctLDiversity,
    EntropyLDiversity,
    KAnonymity,
    KMap,
    Model,
    TCloseness,
)
from privcompute.anonymize.search.anytime import Anytime
from privcompute.anonymize.search.exact import Exact
from privcompute.anonymize.search.find import search
from privcompute.anonymize.search.outcome import Outcome, Task, judge
from privcompute.anonymize.search.tables import Tables
from privcompute.errors import UsageError

A = intervals(range(8), [2, 4])
B = ordering("abcdef", [3])
C = Hierarchy((("x", "y", "z"), ("*", "*", "*")))


def column(name: str, codes: list[int], hierarchy: Hierarchy) -> QuasiIdentifier:
    return quasi_identifier(name, np.array(codes, np.int64), hierarchy.leaves, hierarchy)


def tables(rows: list[tuple[int, int, int, int]], members: list[bool] | None = None) -> Tables:
    one, two, three, value = (list(part) for part in zip(*rows, strict=True))
    columns = [column("a", one, A), column("b", two, B), column("c", three, C)]
    mask = None if members is None else np.array(members)
    return Tables(columns, {"s": Sensitive(np.array(value), 3)}, mask)


many_rows = st.lists(
    st.tuples(st.integers(0, 7), st.integers(0, 5), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30
)
some_models = st.sampled_from(
    [
        (KAnonymity(2),),
        (KAnonymity(5),),
        (KAnonymity(3), DistinctLDiversity("s", 2)),
        (EntropyLDiversity("s", 1.5),),
        (TCloseness("s", 0.3), KAnonymity(2)),
        (AverageRisk(0.3),),
    ]
)


def every_node(task: Task) -> float | None:
    """The least cost by trying all nodes."""
    costs = []
    for node in itertools.product(*(range(height + 1) for height in task.heights)):
        judged = judge(task, node)
        if judged.good:
            costs.append(task.cost.value(judged.checked, judged.kept))
    return min(costs, default=None)


@settings(max_examples=150)
@given(many_rows, some_models, st.sampled_from(get_args(Metric)), st.sampled_from([0.0, 0.1, 0.3, 1.0]))
def test_exact_and_anytime_find_the_best_of_all_nodes(
    rows: list[tuple[int, int, int, int]], models: tuple[Model, ...], metric: Metric, share: float
) -> None:
    data = tables(rows)
    task = Task(data, models, cost(metric, data), math.floor(share * len(rows)))
    wanted = every_node(task)
    for outcome in (Exact(task).run(), Anytime(task).run()):
        if wanted is None:
            assert outcome.state == "infeasible"
            assert outcome.node is None
        else:
            assert outcome.state == "optimal"
            assert outcome.cost == pytest.approx(wanted, rel=1e-9, abs=1e-9)
            assert outcome.node is not None
            assert judge(task, outcome.node).good


@settings(max_examples=60)
@given(many_rows, st.data(), st.sampled_from([0.0, 0.2]))
def test_a_sample_of_a_population(rows: list[tuple[int, int, int, int]], data: st.DataObject, share: float) -> None:
    members = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    found = tables(rows, members)
    choices: list[tuple[Model, ...]] = [
        (KMap(3),),
        (DeltaPresence(0.0, 0.6),),
        (DeltaPresence(0.2, 0.8), KMap(2)),
    ]
    models = data.draw(st.sampled_from(choices))
    task = Task(found, models, cost("loss", found), math.floor(share * sum(members)))
    wanted = every_node(task)
    outcome = Exact(task).run()
    assert (outcome.cost is None) == (wanted is None)
    assert wanted is None or outcome.cost == pytest.approx(wanted, rel=1e-9, abs=1e-9)


@settings(max_examples=60)
@given(many_rows, st.sampled_from(get_args(Metric)))
def test_bounds_are_bounds(rows: list[tuple[int, int, int, int]], metric: Metric) -> None:
    """No node costs less than its bound, nor than the bound of a node below it."""
    data = tables(rows)
    price = cost(metric, data)
    task = Task(data, (KAnonymity(3),), price, len(rows))
    nodes = list(itertools.product(*(range(height + 1) for height in task.heights)))
    found = {node: judge(task, node) for node in nodes}
    value = {node: price.value(one.checked, one.kept) for node, one in found.items()}
    for node, one in found.items():
        slack = 1e-9 * max(1.0, abs(value[node]))
        assert price.bound(node) <= value[node] + slack
        above = [other for other in nodes if all(a >= b for a, b in zip(other, node, strict=True))]
        assert price.bound_above(one.checked) <= min(value[other] for other in above) + slack


@given(many_rows, st.randoms(use_true_random=False))
def test_the_order_of_rows_decides_nothing(rows: list[tuple[int, int, int, int]], random: object) -> None:
    again = list(rows)
    random.shuffle(again)  # type: ignore[attr-defined]  # Hypothesis's random.Random
    outcomes = []
    for some in (rows, again):
        data = tables(some)
        outcomes.append(Exact(Task(data, (KAnonymity(3),), cost("loss", data), 2)).run())
    assert outcomes[0] == outcomes[1]


@given(many_rows, st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 1)), min_size=1, max_size=12))
def test_rolled_up_classes_are_those_of_the_rows(
    rows: list[tuple[int, int, int, int]], nodes: list[tuple[int, int, int]]
) -> None:
    """Whatever tables earlier checks left behind, a node's classes are those of plain grouping."""
    for eager in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("privcompute.anonymize.search.tables._EAGER", 1000 if eager else 0)
            _compare_with_plain_grouping(tables(rows), rows, nodes)


def _compare_with_plain_grouping(
    data: Tables, rows: list[tuple[int, int, int, int]], nodes: list[tuple[int, int, int]]
) -> None:
    columns = data.columns
    for node in nodes:
        checked = data.check(tuple(min(n, c.height) for n, c in zip(node, columns, strict=True)))
        labels = [c.maps[n][c.codes].tolist() for n, c in zip(checked.node, columns, strict=True)]
        groups: dict[tuple[int, ...], list[int]] = {}
        for place, row in enumerate(zip(*labels, strict=True)):
            groups.setdefault(row, []).append(rows[place][3])
        assert sorted(map(len, groups.values())) == sorted(checked.classes.size.tolist())
        held = checked.classes.histogram("s")
        assert (held.size == checked.classes.size).all()
        counts = sorted(
            tuple(sorted(zip(held.value[a:b].tolist(), held.count[a:b].tolist(), strict=True)))
            for a, b in itertools.pairwise(held.start.tolist())
        )
        assert counts == sorted(tuple(sorted((v, g.count(v)) for v in set(g))) for g in groups.values())


def wide(columns: int, rows: int) -> Tables:
    """A table whose lattice has 3 ** columns nodes."""
    rng = np.random.default_rng(7)
    return Tables([column(f"q{i}", rng.integers(0, 8, rows).tolist(), A) for i in range(columns)])


def test_anytime_gives_a_certain_gap_when_time_is_up() -> None:
    data = wide(18, 400)
    task = Task(data, (KAnonymity(5),), cost("loss", data), 20, time.monotonic() + 1.0)
    begin = time.monotonic()
    outcome = search(task)
    assert time.monotonic() - begin < 3.0
    assert outcome.nodes == 4**18
    assert outcome.state == "gap"
    assert outcome.node is not None
    assert outcome.cost is not None
    assert outcome.bound is not None
    assert 0 <= outcome.bound <= outcome.cost
    judged = judge(task, outcome.node)
    assert judged.good
    assert task.cost.value(judged.checked, judged.kept) == pytest.approx(outcome.cost)


def test_exact_stops_in_time_too() -> None:
    data = wide(7, 200)
    outcome = Exact(Task(data, (KAnonymity(5),), cost("loss", data), 10, time.monotonic() - 1)).run()
    assert outcome == Outcome(None, None, outcome.bound, "gap", 0, 4**7)


def test_keys_beyond_64_bits() -> None:
    """Thirty columns of eight values make 90 bits of key: classes are found in stages."""
    data = wide(30, 300)
    checked = data.check((0,) * 30)
    assert len(checked.classes) == len({tuple(int(c.codes[i]) for c in data.columns) for i in range(300)})
    assert int(checked.classes.size.sum()) == 300
    assert len(data.check((3,) * 30).classes) == 1


def test_a_table_without_rows() -> None:
    empty = Tables([column("a", [], A)])
    for metric in get_args(Metric):
        outcome = search(Task(empty, (KAnonymity(5),), cost(metric, empty), 0))
        assert outcome.node == (0,)


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(UsageError) as error:
        cost("beauty", wide(1, 3))  # type: ignore[arg-type]  # refused
    assert error.value.code == "bad_metric"
