"""The ledger against differencing, against a naive model; and what a kill leaves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from privcompute.errors import PrivacyError
from privcompute.node.ledger import Selection
from privcompute.node.store import Store

VERSION = "v" * 64


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "state.db")
    yield opened
    opened.close()


def record(store: Store, *selections: Selection, minimum: int = 10, peer: str = "insurer", most: int = 1000) -> int:
    return store.ledger.record(
        version=VERSION,
        dataset="patients",
        peer=peer,
        plan_digest="d",
        selections=selections,
        minimum=minimum,
        most_queries=most,
    )


def first(count: int, of: int = 100) -> Selection:
    return np.arange(of) < count


@pytest.mark.parametrize(("difference", "refused"), [(0, False), (1, True), (9, True), (10, False), (11, False)])
def test_both_ends_of_the_rule(store: Store, difference: int, refused: bool) -> None:
    record(store, first(50))
    if refused:
        with pytest.raises(PrivacyError) as error:
            record(store, first(50 + difference))
        assert error.value.code == "differencing"
        assert error.value.exit_status == 5
    else:
        record(store, first(50 + difference))


def test_the_difference_counts_both_directions(store: Store) -> None:
    """Same size, five keys swapped for five others: ten keys differ; four for four: eight."""
    base = first(50)
    record(store, base)
    swapped = base.copy()
    swapped[:5], swapped[-5:] = False, True
    record(store, swapped)
    near = base.copy()
    near[10:14], near[60:64] = False, True
    with pytest.raises(PrivacyError):
        record(store, near)


def test_another_set_of_the_same_query_counts(store: Store) -> None:
    with pytest.raises(PrivacyError):
        record(store, first(50), first(51))
    assert store.ledger.epoch(VERSION) == 0


@pytest.mark.parametrize(("left_out", "refused"), [(0, False), (1, True), (9, True), (10, False)])
def test_the_first_question_is_compared_with_everybody(store: Store, left_out: int, refused: bool) -> None:
    if refused:
        with pytest.raises(PrivacyError) as error:
            record(store, first(100 - left_out))
        assert error.value.code == "differencing"
        assert "everybody" in error.value.message
        assert store.ledger.epoch(VERSION) == 0
    else:
        assert record(store, first(100 - left_out)) == 1


def test_who_asked_does_not_matter(store: Store) -> None:
    record(store, first(50), peer="insurer")
    with pytest.raises(PrivacyError):
        record(store, first(51), peer="bank")


def test_a_refused_query_leaves_nothing(store: Store) -> None:
    number = record(store, first(50))
    with pytest.raises(PrivacyError):
        record(store, first(20), first(51))
    assert store.ledger.epoch(VERSION) == number
    record(store, first(21))  # near first(20), which was never recorded


def test_another_version_has_its_own_ledger(store: Store) -> None:
    record(store, first(50))
    store.ledger.check("w" * 64, [first(51)], 10)
    assert store.ledger.epoch("w" * 64) == 0


def test_check_records_nothing(store: Store) -> None:
    store.ledger.check(VERSION, [first(50)], 10)
    store.ledger.check(VERSION, [first(51)], 10)
    assert store.ledger.entries() == []


def test_the_number_of_queries_is_capped_by_peer(store: Store) -> None:
    for _ in range(3):
        record(store, first(50), most=3)
    with pytest.raises(PrivacyError) as error:
        record(store, first(50), most=3)
    assert error.value.code == "queries_spent"
    record(store, first(50), peer="bank", most=3)
    assert store.ledger.queries(VERSION, "insurer") == 3


def test_the_refusal_names_no_number_of_people(store: Store) -> None:
    record(store, first(57))
    with pytest.raises(PrivacyError) as error:
        record(store, first(60))
    assert "57" not in str(error.value)
    assert "3" not in str(error.value)


def test_the_ledger_outlives_the_process(tmp_path: Path) -> None:
    one = Store(tmp_path / "state.db")
    record(one, first(50))
    one.close()
    two = Store(tmp_path / "state.db")
    with pytest.raises(PrivacyError):
        record(two, first(51))
    two.close()


_QUERIES = st.lists(st.lists(st.integers(0, 2**12 - 1), min_size=1, max_size=3), min_size=1, max_size=6)


@given(queries=_QUERIES, minimum=st.integers(1, 5))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_against_a_naive_model(
    tmp_path_factory: pytest.TempPathFactory, queries: list[list[int]], minimum: int
) -> None:
    store = Store(tmp_path_factory.mktemp("ledger") / "state.db")
    everybody = {2**12 - 1}
    released: set[int] = set()
    try:
        for query in queries:
            chosen = set(query)
            near = any(0 < (a ^ b).bit_count() < minimum for a in chosen for b in released | chosen | everybody)
            selections = [np.array([mask >> i & 1 for i in range(12)], dtype=np.bool_) for mask in query]
            if near:
                with pytest.raises(PrivacyError):
                    record(store, *selections, minimum=minimum)
            else:
                record(store, *selections, minimum=minimum)
                released |= chosen
    finally:
        store.close()
