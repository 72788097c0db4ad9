"""Mondrian, cell suppression, microaggregation: what they promise, and the published figures."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import Counter
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import adult

from privcompute.anonymize.cells import suppress_cells
from privcompute.anonymize.classes import Sensitive
from privcompute.anonymize.columns import QuasiIdentifier, quasi_identifier
from privcompute.anonymize.hierarchy import Hierarchy, flat, ordering
from privcompute.anonymize.microaggregation import information_loss, mdav, means
from privcompute.anonymize.models import AverageRisk, DistinctLDiversity, KAnonymity
from privcompute.anonymize.mondrian import boxes, mondrian
from privcompute.anonymize.shown import Shown, ncp, shown_numbers
from privcompute.errors import PrivacyError, UsageError


def coded(name: str, texts: list[str], hierarchy: Hierarchy | None = None) -> QuasiIdentifier:
    values = sorted(set(texts))
    return quasi_identifier(
        name, np.array([values.index(t) for t in texts], np.int64), values, hierarchy or flat(values)
    )


def labels(shown: Shown) -> list[tuple[str | None, ...]]:
    return list(zip(*([c.labels[i] for i in c.codes.tolist()] for c in shown.columns), strict=True))


table_rows = st.lists(st.tuples(st.integers(0, 12), st.sampled_from("abcd")), min_size=1, max_size=60)


def test_more_categories_than_sixteen_bits_count() -> None:
    values = [f"{n:06d}x" for n in range(70_000)]
    tree = Hierarchy((tuple(values), tuple(value[:4] for value in values), ("*",) * len(values)))
    shown = mondrian([quasi_identifier("c", np.arange(len(values)), values, tree)], {}, [KAnonymity(5)], 5, strict=True)
    (column,) = shown.columns
    found = [column.labels[code] or "" for code in column.codes.tolist()]
    assert min(Counter(found).values()) >= 5
    assert {len(label) for label in found} <= {1, 4}
    assert all(label in ("*", value[:4]) for label, value in zip(found, values, strict=True))
    assert sum(label != "*" for label in found) > 60_000


@settings(max_examples=80)
@given(table_rows, st.integers(1, 6), st.booleans())
def test_boxes_are_large_enough_and_hold_their_rows(rows: list[tuple[int, str]], k: int, strict: bool) -> None:
    columns = [coded("n", [str(n) for n, _ in rows]), coded("c", [c for _, c in rows])]
    if len(rows) < k:
        with pytest.raises(PrivacyError):
            mondrian(columns, {}, [KAnonymity(k)], k, strict=strict)
        return
    shown = mondrian(columns, {}, [KAnonymity(k)], k, strict=strict)
    found = labels(shown)
    assert min(Counter(found).values()) >= k
    for (number, letter), (interval, letters) in zip(rows, found, strict=True):
        assert interval is not None
        assert letters is not None
        low, _, high = interval.partition("-")
        assert int(low) <= number <= int(high or low)
        assert letter in letters.split("|")


@given(st.lists(st.integers(0, 6), min_size=4, max_size=60), st.integers(1, 5))
def test_strict_boxes_do_not_overlap_and_relaxed_ones_are_finer(values: list[int], k: int) -> None:
    place = np.array(values, np.uint8)
    scale = [np.linspace(0, 1, 7)]
    strict = boxes([place], scale, k, strict=True)
    order = np.argsort(place, kind="stable")
    relaxed = boxes([place[order]], scale, k, strict=False)
    assert int(strict.box.max()) <= int(relaxed.box.max())
    if len(values) >= k:
        assert np.bincount(strict.box).min() >= k
        assert np.bincount(relaxed.box).min() >= k
    spans = sorted(
        (int(place[strict.box == b].min()), int(place[strict.box == b].max())) for b in set(strict.box.tolist())
    )
    assert all(high < low for (_, high), (low, _) in pairwise(spans))


def test_ties_at_the_median_do_not_stop_a_strict_cut() -> None:
    """Half of the rows and more have one value: the cut moves to the nearest border that leaves k on both sides."""
    columns = [coded("n", ["5"] * 7 + ["6"] * 2 + ["9"] * 2)]
    shown = mondrian(columns, {}, [KAnonymity(2)], 2, strict=True)
    assert Counter(labels(shown)) == {("5",): 7, ("6",): 2, ("9",): 2}


def test_what_a_box_shows() -> None:
    ordered = ordering(["none", "primary", "secondary", "bachelor"], [2])
    tree = Hierarchy((("Köln", "Bonn", "Ōsaka"), ("Rhein", "Rhein", "Kansai"), ("*", "*", "*")))
    columns = [
        coded("n", ["-1", "-1", "4", "4"]),
        coded("o", ["none", "secondary", "none", "secondary"], ordered),
        coded("t", ["Köln", "Bonn", "Köln", "Bonn"], tree),
    ]
    shown = mondrian(columns, {}, [KAnonymity(2)], 2, strict=True)
    assert set(labels(shown)) == {("-1", "none..secondary", "Rhein"), ("4", "none..secondary", "Rhein")}
    assert ncp(shown) == pytest.approx(100 * (0 + 3 / 4 + 2 / 3) / 3)


def test_boxes_hold_other_models_too() -> None:
    rng = np.random.default_rng(4)
    columns = [coded("n", [str(n) for n in rng.integers(0, 40, 200)])]
    held = Sensitive(rng.integers(0, 3, 200), 3)
    for strict in (True, False):
        tie = rng.permutation(200)
        shown = mondrian(columns, {"s": held}, [KAnonymity(3), DistinctLDiversity("s", 3)], 3, strict=strict, tie=tie)
        number = shown_numbers(shown)
        assert all(len(set(held.codes[number == one].tolist())) == 3 for one in set(number.tolist()))
        assert number.max() > 5
    with pytest.raises(PrivacyError) as error:
        mondrian(columns, {"s": held}, [DistinctLDiversity("s", 4)], 1, strict=True)
    assert error.value.code == "infeasible"
    with pytest.raises(UsageError):
        mondrian(columns, {}, [AverageRisk(0.5)], 2, strict=True)


def test_two_threads_cut_the_same_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    from privcompute.anonymize import mondrian as module

    rng = np.random.default_rng(5)
    places = [rng.integers(0, 50, 3000).astype(np.uint8) for _ in range(3)]
    scales = [np.linspace(0, 1, 50)] * 3
    alone = boxes(places, scales, 7, strict=True)
    monkeypatch.setattr(module, "_ALONE", 10)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    both = boxes(places, scales, 7, strict=True)
    assert (alone.box == both.box).all()
    assert (alone.low == both.low).all()


@adult.needed
def test_mondrian_on_adult() -> None:
    """30,162 rows, the eight usual quasi-identifiers, k = 10: at most the 11.24 % and 15.85 % of the known script."""
    path = adult.DATA / "adult_raw" / "adult_raw.csv.gz"
    rows = [
        [cell.strip() for cell in row] for row in csv.reader(io.StringIO(gzip.decompress(path.read_bytes()).decode()))
    ]
    body = [row for row in rows[1:] if row and "?" not in row]
    assert len(body) == 30_162
    columns = [coded(rows[0][i], [row[i] for row in body]) for i in (0, 1, 4, 5, 6, 8, 9, 13)]
    for strict, most in ((True, 11.24), (False, 15.85)):
        shown = mondrian(columns, {}, [KAnonymity(10)], 10, strict=strict)
        assert np.bincount(shown_numbers(shown)).min() >= 10
        assert ncp(shown) <= most


@settings(max_examples=80)
@given(table_rows, st.integers(1, 5))
def test_cells_that_are_hidden_make_classes_large_enough(rows: list[tuple[int, str]], k: int) -> None:
    columns = [coded("n", [str(n) for n, _ in rows]), coded("c", [c for _, c in rows])]
    shown = suppress_cells(columns, {}, [KAnonymity(k)], 1.0)
    seen = [
        tuple("hidden" if shown.hidden[i][place] else rows[place][i] for i in range(2))
        for place in np.flatnonzero(~shown.suppressed).tolist()
    ]
    assert all(size >= k for size in Counter(seen).values())
    whole = Counter(rows)
    for place, row in enumerate(rows):
        if whole[row] >= k:  # nothing is hidden of a class that may be released
            assert not any(one[place] for one in shown.hidden)
            assert not shown.suppressed[place]
    assert not (shown.hidden[0] & shown.hidden[1]).any()


def test_fewer_cells_than_rows() -> None:
    """Rows that differ in one column lose that column alone; the limit counts cells."""
    texts = [("1", "a"), ("1", "b"), ("2", "c"), ("2", "c")]
    columns = [coded("n", [n for n, _ in texts]), coded("c", [c for _, c in texts])]
    shown = suppress_cells(columns, {}, [KAnonymity(2)], 0.25)
    assert [one.tolist() for one in shown.hidden] == [[False] * 4, [True, True, False, False]]
    with pytest.raises(PrivacyError) as error:
        suppress_cells(columns, {}, [KAnonymity(2)], 0.2)
    assert error.value.code == "infeasible"


def plain_mdav(values: npt.NDArray[np.float64], k: int) -> list[set[int]]:
    """MDAV as its papers say it, one distance at a time, on columns that are already comparable."""
    left, found = list(range(len(values))), []

    def nearest(row: int) -> set[int]:
        return set(sorted(left, key=lambda i: float(((values[i] - values[row]) ** 2).sum()))[:k])

    def farthest(point: npt.NDArray[np.float64]) -> int:
        return max(left, key=lambda i: float(((values[i] - point) ** 2).sum()))

    while len(left) >= 2 * k:
        twice = len(left) >= 3 * k
        first = farthest(values[left].mean(axis=0))
        second = farthest(values[first]) if twice else None
        for row in (first, second):
            if row is not None:
                found.append(nearest(row))
                left = [i for i in left if i not in found[-1]]
    return [*found, set(left)] if left else found


def test_mdav_against_the_plain_algorithm() -> None:
    values = np.random.default_rng(6).normal(size=(60, 3))
    values = (values - values.mean(axis=0)) / values.std(axis=0, ddof=1)
    for k in (1, 2, 3, 7):
        groups = mdav(values, k)
        found = {frozenset(np.flatnonzero(groups == g).tolist()) for g in range(groups.max() + 1)}
        assert found == set(map(frozenset, plain_mdav(values, k)))


@adult.needed
def test_mdav_on_the_census_file() -> None:
    folder = adult.DATA / "microaggregation"
    with (folder / "CASCrefmicrodata.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if row][1:]
    values = np.array(rows, np.float64)
    for one in json.loads((folder / "expected.json").read_text())["values"]:
        groups = mdav(values, one["k"])
        assert groups.max() + 1 == one["groups"]
        assert information_loss(values, groups) == pytest.approx(one["il"], rel=1e-4)


@given(
    st.lists(st.tuples(st.floats(-1e3, 1e3), st.integers(0, 2)), max_size=30),
    st.integers(1, 5),
    st.randoms(use_true_random=False),
)
def test_groups_have_k_to_2k_rows_whatever_their_order(rows: list[tuple[float, int]], k: int, random: object) -> None:
    values = np.array(rows, np.float64).reshape(-1, 2)
    groups = mdav(values, k)
    assert len(groups) == len(rows)
    if len(rows) >= k:
        assert all(k <= size < 2 * k for size in np.bincount(groups).tolist()) or len(rows) < 2 * k
    order = list(range(len(rows)))
    random.shuffle(order)  # type: ignore[attr-defined]  # Hypothesis's random.Random
    tie = np.arange(len(rows))
    groups, again = mdav(values, k, tie), mdav(values[order], k, tie[order])
    assert np.allclose(means(values, groups)[order], means(values[order], again))


def test_constant_columns_and_no_rows() -> None:
    same = np.ones((5, 2))
    assert information_loss(same, mdav(same, 2)) == 0.0
    assert len(mdav(np.empty((0, 2)), 3)) == 0
    shown = mondrian([coded("n", ["1"] * 5)], {}, [KAnonymity(2)], 2, strict=False)
    assert labels(shown) == [("1",)] * 5
