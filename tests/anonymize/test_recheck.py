"""The second look catches whatever the first gets wrong, model by model; and both compute alike what is right."""

from __future__ import annotations

import ast
import contextlib
import inspect
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privcompute.anonymize import Policy, recheck, recheck_uniqueness
from privcompute.anonymize.models import EstimatedKMap, PopulationUniqueness
from privcompute.anonymize.models.estimated_k_map import smallest_class
from privcompute.anonymize.policy import MARKER
from privcompute.anonymize.recheck import Recheck
from privcompute.anonymize.recheck_uniqueness import uniqueness_again
from privcompute.anonymize.uniqueness import population_uniqueness
from privcompute.errors import IntegrityError, UsageError

BROKEN = {
    "k-anonymity": "k = 3",
    "estimated-k-map": "k = 9\npopulation = 120",
    "alpha-k-anonymity": "alpha = 0.4\nk = 1",
    "distinct-l-diversity": "l = 3",
    "entropy-l-diversity": "l = 2.9",
    "recursive-cl-diversity": "c = 1.0\nl = 2",
    "t-closeness": "t = 0.05",
    "beta-likeness": "beta = 0.1",
    "delta-disclosure": 'delta = 0.1\nlog = "2"',
    "average-risk": "threshold = 0.05",
    "population-uniqueness": "threshold = 0.001\npopulation = 600",
}
"""Models that the raw table below does not hold. Those of a whole population stand in test_release.py."""


def table() -> pa.Table:
    rng = np.random.default_rng(4)
    columns: dict[str, Any] = {
        "age": rng.integers(20, 60, 60),
        "sex": rng.choice(["f", "m"], 60).tolist(),
        "illness": rng.choice(["flu", "none", "asthma"], 60).tolist(),
    }
    return pa.table(columns)


def policy(kind: str, more: str) -> Policy:
    return Policy.from_text(
        "version = 1\n[columns]\n"
        'age = { role = "qi", hierarchy = { type = "interval", widths = [20], range = [0, 99] } }\n'
        f'sex = {{ role = "qi" }}\nillness = {{ role = "sensitive" }}\n[[models]]\ntype = "{kind}"\n{more}\n'
    )


@pytest.mark.parametrize("kind", BROKEN)
def test_a_search_that_keeps_everything_is_caught(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken variant: the judgement says yes to every class, in the search and in what is suppressed."""
    from privcompute.anonymize import release
    from privcompute.anonymize.search import outcome

    def everything(models: object, classes: Any) -> Any:
        return np.ones(len(classes), np.bool_)

    monkeypatch.setattr(outcome, "kept_by", everything)
    monkeypatch.setattr(release, "kept_by", everything)
    with pytest.raises(IntegrityError) as error:
        policy(kind, BROKEN[kind]).apply(table())
    assert error.value.code == "recheck"
    assert kind in error.value.message


@pytest.mark.parametrize("estimator", ["dankar", "pitman", "zayatz", "snb"])
def test_an_estimator_that_tells_too_little_is_caught(estimator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken variant: the search's estimate is always small."""
    from privcompute.anonymize.models import population_uniqueness as module

    monkeypatch.setattr(module, "population_uniqueness", lambda *given: 0.001)
    with pytest.raises(IntegrityError, match="population-uniqueness"):
        policy("population-uniqueness", f'threshold = 0.05\npopulation = 90\nestimator = "{estimator}"').apply(table())


def test_an_estimated_class_that_is_too_small_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EstimatedKMap, "rows_for", lambda self, sample: 1)
    with pytest.raises(IntegrityError, match="estimated-k-map"):
        policy("estimated-k-map", "k = 9\npopulation = 120").apply(table())


def test_the_second_look_imports_nothing_that_judges() -> None:
    allowed = {"models", "recheck_uniqueness", "encode"}
    for module in (recheck, recheck_uniqueness):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("privcompute.anonymize"):
                assert (node.module or "").split(".")[2] in allowed
                assert all(one.name[0].isupper() or one.name in ("text_of", "uniqueness_again") for one in node.names)


@given(
    kind=st.sampled_from(["geometric", "negative binomial", "zipf"]),
    seed=st.integers(0, 1 << 30),
    classes=st.integers(1, 150),
    times=st.sampled_from([1.0, 1.2, 2.0, 9.0, 11.0, 1000.0]),
)
def test_both_ways_estimate_alike(kind: str, seed: int, classes: int, times: float) -> None:
    rng = np.random.default_rng(seed)
    if kind == "geometric":
        size = rng.geometric(rng.uniform(0.05, 0.95), classes)
    elif kind == "negative binomial":
        size = 1 + rng.negative_binomial(rng.uniform(0.05, 2), rng.uniform(0.02, 0.95), classes)
    else:
        size = np.minimum(rng.zipf(rng.uniform(1.3, 3), classes), 5000)
    size = size.astype(np.int64)
    population = int(size.sum() * times)
    for estimator in ("dankar", "pitman", "zayatz", "snb"):
        first: float | None = None
        with contextlib.suppress(UsageError):  # no solution, which the other way has to say too
            first = population_uniqueness(size, population, estimator)
        again = uniqueness_again(size, population, estimator)
        assert again == (None if first is None else pytest.approx(first, abs=1e-8))


@pytest.mark.parametrize("size", [[1] * 6 + [3] * 2, [1] * 4 + [6]])
def test_pitmans_summit_is_found_where_it_is_hard_to_see(size: list[int]) -> None:
    """Near alpha = 0, where digammas lose all digits, and near theta = 0: no other pair on a grid is likelier."""
    held = np.array(size, np.int64)
    rows, classes = int(held.sum()), len(held)

    def likelihood(t: float, a: float) -> float:
        up = np.log(t + a * np.arange(1, classes)).sum() - np.log(t + np.arange(1, rows)).sum()
        return float(up + sum(np.log(np.arange(1, s) - a).sum() for s in size))

    pairs = [(t, a) for t in np.exp(np.linspace(-6, 9, 151)) for a in np.linspace(0.005, 0.995, 100)]
    t, a = max(pairs, key=lambda pair: likelihood(*pair))
    population = rows * 20
    about = math.exp(math.lgamma(t + 1) - math.lgamma(t + a) - (1 - a) * math.log(population))
    found = population_uniqueness(held, population, "pitman")
    assert found == pytest.approx(about, rel=0.1)
    assert uniqueness_again(held, population, "pitman") == pytest.approx(found, abs=1e-9)


def test_what_grows_up_to_a_border_has_no_summit() -> None:
    held = np.array([1, 1, 1, 1, 2, 2])
    assert uniqueness_again(held, 160, "pitman") is None
    with pytest.raises(UsageError):
        population_uniqueness(held, 160, "pitman")


@given(
    k=st.integers(1, 40),
    sample=st.integers(2, 300),
    times=st.integers(1, 60),
    percent=st.sampled_from([0.01, 1.0, 5.0, 50.0]),
    estimator=st.sampled_from(["poisson", "zero-truncated-poisson"]),
)
def test_both_ways_ask_for_the_same_class(k: int, sample: int, times: int, percent: float, estimator: Any) -> None:
    """A table of one class of that size holds the model, one row less does not."""
    model = EstimatedKMap(k, sample * times, percent / 100, estimator)
    least = model.rows_for(sample)
    before = pa.table({"a": ["x"] * sample})
    for rows in {max(1, least - 1), least, least + 1}:
        if rows <= sample:
            again = Recheck(before.slice(0, rows), ["a"], MARKER, before)
            assert again.holds(model) == (rows >= least)
    assert smallest_class(k, 1 / times, percent / 100, estimator) <= k


def test_an_estimator_without_a_solution_does_not_hold() -> None:
    shown = pa.table({"a": ["x", "y", "z"]})
    assert not Recheck(shown, ["a"], MARKER, shown).holds(PopulationUniqueness(1.0, 100, "pitman"))
