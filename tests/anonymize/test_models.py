"""Every model against a plain restatement of its definition, and small known answers."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privcompute.anonymize.classes import Classes, Sensitive, Tree, classes_by
from privcompute.anonymize.models import (
    AlphaKAnonymity,
    AverageRisk,
    BetaLikeness,
    DeltaDisclosure,
    DeltaPresence,
    DistinctLDiversity,
    EntropyLDiversity,
    EstimatedKMap,
    KAnonymity,
    KMap,
    Model,
    PopulationUniqueness,
    RecursiveCLDiversity,
    TCloseness,
    kept_by,
    monotone_part,
)
from privcompute.anonymize.models.t_closeness import Distance
from privcompute.errors import UsageError

VALUES = 4
TREE = Tree(np.array([[0, 1, 2, 3], [0, 0, 1, 1], [0, 0, 0, 0]]), (4, 2, 1))

tables_of_rows = st.lists(st.tuples(st.integers(0, 4), st.integers(0, VALUES - 1)), min_size=1, max_size=40)


def classes_of(rows: list[tuple[int, int]]) -> tuple[Classes, list[list[int]]]:
    """Classes of rows (class, value), and the values of each."""
    names = sorted({name for name, _ in rows})
    number = np.array([names.index(name) for name, _ in rows])
    held = Sensitive(np.array([value for _, value in rows]), VALUES, TREE)
    return classes_by(number, {"s": held}, {"s": held.totals()}), [[v for n, v in rows if n == name] for name in names]


def close(value: float) -> Any:
    return pytest.approx(value, rel=1e-9, abs=1e-12)


def part(values: list[int]) -> list[float]:
    return [values.count(v) / len(values) for v in range(VALUES)]


def distance(p: list[float], q: list[float], kind: str) -> float:
    """The earth mover's distance, by its definition for each ground distance."""
    off = [a - b for a, b in zip(p, q, strict=True)]
    if kind == "equal":
        return sum(abs(one) for one in off) / 2
    if kind == "ordered":
        return sum(abs(sum(off[: i + 1])) for i in range(VALUES)) / (VALUES - 1)
    pairs = [(off[0], off[1]), (off[2], off[3])]
    inside = sum(min(max(a, 0) + max(b, 0), max(-a, 0) + max(-b, 0)) for a, b in pairs)
    return inside / 2 + abs(off[0] + off[1])


@given(tables_of_rows)
def test_figures_are_those_of_the_definitions(rows: list[tuple[int, int]]) -> None:
    classes, parts = classes_of(rows)
    q = part([value for _, value in rows])
    p = [part(one) for one in parts]
    present = [(a, b) for one in p for a, b in zip(one, q, strict=True) if a > 0]
    assert KAnonymity(1).measure(classes) == {"k": min(map(len, parts))}
    assert AlphaKAnonymity("s", 1, 1).measure(classes) == {"alpha": close(max(map(max, p))), "k": min(map(len, parts))}
    assert DistinctLDiversity("s", 1).measure(classes) == {"l": min(len(set(one)) for one in parts)}
    entropy = min(-sum(a * math.log(a) for a in one if a) for one in p)
    assert EntropyLDiversity("s", 1).measure(classes) == {"l": close(math.exp(entropy))}
    kinds: tuple[Distance, ...] = ("equal", "ordered", "hierarchical")
    for kind in kinds:
        found = TCloseness("s", 1, kind).measure(classes)
        assert found == {"t": close(max(distance(one, q, kind) for one in p))}
    assert BetaLikeness("s", 1).measure(classes) == {"beta": close(max((a - b) / b for a, b in present))}
    assert DeltaDisclosure("s", 1, "e").measure(classes)["delta_ln"] == close(
        max(abs(math.log(a / b)) for a, b in present)
    )
    for l in (1, 2, 3):  # noqa: E741 - the parameter's name
        tails = []
        for one in parts:
            counts = sorted(Counter(one).values(), reverse=True)
            tails.append(counts[0] / sum(counts[l - 1 :]) if len(counts) >= l else math.inf)
        wanted = max(tails)
        found = RecursiveCLDiversity("s", 1, l).measure(classes)
        assert found["c_infimum"] == (None if math.isinf(wanted) else close(wanted))


MODELS: list[Model] = [
    KAnonymity(3),
    AlphaKAnonymity("s", 0.6, 2),
    DistinctLDiversity("s", 2),
    EntropyLDiversity("s", 1.8),
    RecursiveCLDiversity("s", 2.0, 2),
    TCloseness("s", 0.3),
    TCloseness("s", 0.3, "ordered"),
    TCloseness("s", 0.3, "hierarchical"),
    BetaLikeness("s", 0.8),
    BetaLikeness("s", 3.0, enhanced=True),
    DeltaDisclosure("s", 1.0, "2"),
]


@pytest.mark.parametrize("model", MODELS, ids=str)
@given(rows=tables_of_rows, data=st.data())
def test_what_is_said_to_be_monotone_is(model: Model, rows: list[tuple[int, int]], data: st.DataObject) -> None:
    """Merging two classes keeps good rows good, with MERGEABLE models if all were; implied models hold."""
    classes, _ = classes_of(rows)
    merged, _ = classes_of([(0 if name == 1 else name, value) for name, value in rows])
    before, after = model.holds(classes), model.holds(merged)
    for implied in model.implied:
        assert (implied.holds(classes) | ~before).all()
    if model.monotone:
        assert int(classes.size[before].sum()) <= int(merged.size[after].sum())
    if before.all() and monotone_part([model], suppression=False) == (model,):
        assert after.all()


@pytest.mark.parametrize("model", MODELS, ids=str)
@given(rows=tables_of_rows)
def test_a_class_holds_alone_as_among_others(model: Model, rows: list[tuple[int, int]]) -> None:
    classes, _ = classes_of(rows)
    kept = kept_by([model], classes)
    assert (kept == model.holds(classes)).all()


def test_disclosure_is_not_kept_by_merging() -> None:
    """A value that one class lacks becomes rare in the union: why delta-disclosure is searched node by node."""
    rows = [(0, 0)] * 2 + [(0, 1)] * 2 + [(1, 0)] * 14 + [(2, 1)] * 12
    classes, _ = classes_of(rows)
    merged, _ = classes_of([(min(name, 1) * name, value) for name, value in [(0 if n == 1 else n, v) for n, v in rows]])
    model = DeltaDisclosure("s", 1.2, "2")
    assert model.holds(classes).all()
    assert not model.holds(merged).all()


def test_a_constant_sensitive_column() -> None:
    held = Sensitive(np.zeros(4, np.int64), 1)
    classes = classes_by(np.array([0, 0, 1, 1]), {"s": held}, {"s": held.totals()})
    assert TCloseness("s", 0, "ordered").measure(classes) == {"t": 0.0}
    assert BetaLikeness("s", 1, enhanced=True).measure(classes) == {"beta": 0.0}
    assert DeltaDisclosure("s", 1, "2").measure(classes) == {"delta_ln": 0.0, "delta_log2": 0.0}
    assert EntropyLDiversity("s", 1).holds(classes).all()


def test_no_class_at_all() -> None:
    held = Sensitive(np.empty(0, np.int64), VALUES, TREE)
    classes = classes_by(np.empty(0, np.int64), {"s": held}, {"s": held.totals()})
    for model in [*MODELS, AverageRisk(0.1), PopulationUniqueness(0.1, 100)]:
        assert set(model.measure(classes).values()) <= {None, 2}
        assert len(kept_by([model], classes)) == 0


def test_recursive_diversity_divides_by_the_tail() -> None:
    """Counts 5, 3, 1: at l = 2 the bound is 5 / (3 + 1), not 1 / 4 or 5 / 3."""
    classes, _ = classes_of([(0, 0)] * 5 + [(0, 1)] * 3 + [(0, 2)])
    assert RecursiveCLDiversity("s", 2, 2).measure(classes) == {"c_infimum": 1.25, "l": 2}
    assert RecursiveCLDiversity("s", 1.26, 2).holds(classes).all()
    assert not RecursiveCLDiversity("s", 1.25, 2).holds(classes).any()


def test_models_of_a_population() -> None:
    classes = Classes(np.array([1, 2]), np.array([4, 2]), np.array([7]), {}, sampled=True)
    assert KMap(4).holds(classes).tolist() == [True, False]
    assert DeltaPresence(0, 0.5).holds(classes).tolist() == [True, False]
    assert DeltaPresence(0, 1).measure(classes) == {"low": 0.0, "high": 1.0}
    assert DeltaPresence(0.1, 1).forbids(classes)
    assert not DeltaPresence(0, 1).forbids(classes)
    alone = Classes(np.array([1]), np.array([1]), np.empty(0, np.int64))
    with pytest.raises(UsageError) as error:
        KMap(1).holds(alone)
    assert error.value.code == "no_population"


def poisson(mean: float, rows: int) -> float:
    return math.exp(-mean) * mean**rows / math.factorial(rows)


@given(
    k=st.integers(1, 60),
    sample=st.integers(1, 400),
    times=st.integers(1, 50),
    percent=st.sampled_from([0.01, 1, 5, 50]),
)
def test_estimated_k_map_by_its_definition(k: int, sample: int, times: int, percent: float) -> None:
    population, significance = sample * times, percent / 100
    mean = k / times
    for estimator, first, more in (("zero-truncated-poisson", 1, 1), ("poisson", 0, 2)):
        there = sum(poisson(mean, rows) for rows in range(first, 150))
        part = [sum(poisson(mean, rows) for rows in range(first, c + 1)) / there for c in range(first, k)]
        wanted = next((c + more for c, share in enumerate(part, first) if share >= 1 - significance), k)
        model = EstimatedKMap(k, population, significance, estimator)  # type: ignore[arg-type]  # one of the two
        assert model.rows_for(sample) == min(wanted, k, sample)


def test_estimated_k_map_counts_suppressed_rows_as_sampled() -> None:
    """A half of the population, of which half is shown: a class of 20 there shows about 10 here, not 5."""
    model = EstimatedKMap(20, 2000)
    size = np.array([18, 17])
    assert model.rows_for(1000) == 19
    assert model.holds(Classes(size, size, size[:0], table_rows=1000)).tolist() == [False, False]
    assert model.measure(Classes(size, size, size[:0], table_rows=1000)) == {"rows": 17, "rows_asked": 19}
    assert model.rows_for(10**9) == 20
    assert EstimatedKMap(1 << 24, 1 << 25).rows_for(1 << 24) == pytest.approx((1 << 23) + 2.326 * 2896, abs=5)


def test_models_of_the_table_drop_the_smallest_classes() -> None:
    classes = Classes(np.array([1, 1, 2, 8]), np.array([1, 1, 2, 8]), np.empty(0, np.int64))
    assert AverageRisk(0.34).holds(classes).tolist() == [True] * 4
    assert AverageRisk(0.25).holds(classes).tolist() == [False, False, True, True]
    assert AverageRisk(0.11).holds(classes).tolist() == [False] * 4
    assert PopulationUniqueness(0.01, 120).holds(classes).tolist() == [False, False, True, True]
    assert kept_by([KAnonymity(2), AverageRisk(0.15)], classes).tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    "make",
    [
        lambda: KAnonymity(0),
        lambda: KMap(0),
        lambda: AlphaKAnonymity("s", 0, 2),
        lambda: DistinctLDiversity("s", 0),
        lambda: EntropyLDiversity("s", 0.5),
        lambda: RecursiveCLDiversity("s", 0, 2),
        lambda: TCloseness("s", 1.5),
        lambda: TCloseness("s", 0.5, "euclidean"),  # type: ignore[arg-type]  # refused
        lambda: TCloseness("s", math.nan),
        lambda: DeltaPresence(0.5, 0.4),
        lambda: BetaLikeness("s", 0),
        lambda: DeltaDisclosure("s", 1, "10"),  # type: ignore[arg-type]  # refused
        lambda: AverageRisk(0),
        lambda: PopulationUniqueness(2, 10),
        lambda: EstimatedKMap(0, 100),
        lambda: EstimatedKMap(3, 0),
        lambda: EstimatedKMap(3, 100, 0.0),
        lambda: EstimatedKMap(3, 100, 0.01, "binomial"),  # type: ignore[arg-type]  # refused
    ],
)
def test_parameters_out_of_range(make: Any) -> None:
    with pytest.raises(UsageError) as error:
        make()
    assert error.value.code == "bad_parameter"
