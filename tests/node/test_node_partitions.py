"""Partitions in the ledger against a brute-force rule; sets of holders; size and speed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from privcompute.errors import IntegrityError, PrivacyError
from privcompute.node import partitions
from privcompute.node.ledger import Selection
from privcompute.node.partitions import CellSets, sizes_of
from privcompute.node.store import Store
from privcompute.tables.cells import Partition

VERSION = "v" * 64
KEYS = 12


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "state.db")
    yield opened
    opened.close()


def family(pairs: Sequence[tuple[int, int]], keys: int = KEYS) -> CellSets:
    """The sets of (key, cell) pairs."""
    ordered = sorted(set(pairs))
    return CellSets.of(
        Partition(
            np.array([key for key, _ in ordered], dtype=np.int64),
            np.array([cell for _, cell in ordered], dtype=np.int32),
        ),
        keys,
    )


def cells(*sizes: int, keys: int = 200) -> CellSets:
    """Cells of these sizes, one after another over the first keys."""
    return family([(key, cell) for cell, key in enumerate_cells(sizes)], keys)


def enumerate_cells(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    key = 0
    for cell, size in enumerate(sizes):
        for _ in range(size):
            yield cell, key
            key += 1


def record(store: Store, *found: CellSets, minimum: int = 10, plain: Sequence[Selection] = ()) -> int:
    return store.ledger.record(
        version=VERSION,
        dataset="patients",
        peer="insurer",
        plan_digest="d",
        selections=plain,
        minimum=minimum,
        most_queries=1000,
        partitions=found,
    )


def refused(store: Store, *found: CellSets, minimum: int = 10, plain: Sequence[Selection] = ()) -> bool:
    """Whether check and record agree that it is."""
    said = []
    for ask in (
        lambda: store.ledger.check(VERSION, plain, minimum, found),
        lambda: record(store, *found, minimum=minimum, plain=plain),
    ):
        try:
            ask()
        except PrivacyError as error:
            said.append(error.code)
        else:
            said.append("")
    assert said in (["", ""], ["differencing", "differencing"])
    return bool(said[0])


@pytest.mark.parametrize(("difference", "no"), [(0, False), (1, True), (9, True), (10, False), (11, False)])
def test_both_ends_of_the_rule(store: Store, difference: int, no: bool) -> None:
    record(store, cells(50, 60))
    assert refused(store, cells(50 + difference, 20)) is no


def test_cells_of_one_partition_are_not_compared(store: Store) -> None:
    """Nor with themselves when the same question comes again; a key in several cells makes them meet."""
    near = family([(key, 0) for key in range(50)] + [(key, 1) for key in range(49)], 200)
    assert not refused(store, near)
    assert not refused(store, near)
    assert not refused(store, near, near)


def test_disjoint_cells_are_no_danger(store: Store) -> None:
    small = family([(key, 0) for key in range(3)], 200)
    other = family([(key, 5) for key in range(3, 6)], 200)
    assert not refused(store, small)
    assert not refused(store, other)
    assert refused(store, family([(2, 0), (3, 0)], 200))


def test_another_selection_of_the_same_query_counts(store: Store) -> None:
    assert refused(store, cells(50), cells(45))
    assert store.ledger.epoch(VERSION) == 0
    assert not refused(store, cells(50), cells(40))


def test_plain_sets_and_partitions_are_compared_both_ways(store: Store) -> None:
    everybody = np.arange(200)
    record(store, cells(50, 60))
    assert refused(store, plain=[everybody < 49])
    assert refused(store, plain=[(everybody >= 50) & (everybody < 115)])
    assert not refused(store, plain=[everybody < 100])
    assert refused(store, cells(101))
    assert not refused(store, cells(120))
    assert refused(store, cells(30), plain=[everybody < 31])


def test_everybody_is_no_set_of_a_union_by_itself(store: Store) -> None:
    assert not refused(store, cells(197))


def test_another_version_and_another_number_of_keys(store: Store) -> None:
    record(store, cells(50))
    store.ledger.check("w" * 64, [], 10, [cells(51)])
    with pytest.raises(IntegrityError) as error:
        store.ledger.check(VERSION, [], 10, [cells(51, keys=201)])
    assert error.value.code == "ledger_mismatch"


def test_the_refusal_names_no_number_of_people(store: Store) -> None:
    record(store, cells(57))
    with pytest.raises(PrivacyError) as error:
        record(store, cells(61))
    assert "57" not in str(error.value)
    assert "61" not in str(error.value)
    assert "4" not in str(error.value)


def test_it_outlives_the_process(tmp_path: Path) -> None:
    one = Store(tmp_path / "state.db")
    record(one, cells(50))
    one.close()
    two = Store(tmp_path / "state.db")
    assert refused(two, cells(51))
    two.close()


PAIRS = st.lists(st.tuples(st.integers(0, KEYS - 1), st.integers(0, 4)), max_size=30)
_SINGLE = st.dictionaries(st.integers(0, KEYS - 1), st.integers(0, 3)).map(lambda found: list(found.items()))


def sets_of(pairs: Sequence[tuple[int, int]]) -> frozenset[frozenset[int]]:
    """Brute force: the sets of a partition."""
    return frozenset(frozenset(key for key, cell in pairs if cell == wanted) for wanted in {cell for _, cell in pairs})


def brute(one: frozenset[frozenset[int]], other: frozenset[frozenset[int]], minimum: int) -> bool:
    return any(a & b and 0 < len(a ^ b) < minimum for a in one for b in other)


@given(one=PAIRS | _SINGLE, other=PAIRS | _SINGLE, minimum=st.integers(1, 6), data=st.data())
@settings(max_examples=300)
def test_near_against_brute_force(
    one: list[tuple[int, int]], other: list[tuple[int, int]], minimum: int, data: st.DataObject
) -> None:
    a, b = family(one), family(other)
    expected = brute(sets_of(one), sets_of(other), minimum)
    assert a.near(b, minimum) is expected
    assert b.near(a, minimum) is expected
    read = CellSets.from_bytes(b.to_bytes())
    assert read.digest == b.digest
    assert a.near(read, minimum) is expected
    assert sizes_of(b.to_bytes()).tolist() == b.sizes.tolist()
    # What the cells are called does not matter.
    names = data.draw(st.permutations(range(5)))
    assert family([(key, names[cell]) for key, cell in one]).digest == a.digest


@given(one=PAIRS, other=PAIRS)
@settings(max_examples=60)
def test_the_ways_of_counting_agree(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    """In small steps, and without a table of all pairs."""
    a, b = family(one), family(other)
    expected = a.near(b, 4)
    patch = pytest.MonkeyPatch()
    patch.setattr(partitions, "_AT_ONCE", 3)
    assert a.near(b, 4) is expected
    patch.setattr(partitions, "_DENSE", 0)
    assert a.near(b, 4) is expected
    patch.undo()


@given(
    queries=st.lists(
        st.tuples(st.lists(PAIRS | _SINGLE, max_size=2), st.lists(st.integers(0, 2**KEYS - 1), max_size=2)),
        min_size=1,
        max_size=5,
    ),
    minimum=st.integers(1, 4),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_ledger_against_a_naive_model(
    tmp_path_factory: pytest.TempPathFactory,
    queries: list[tuple[list[list[tuple[int, int]]], list[int]]],
    minimum: int,
) -> None:
    store = Store(tmp_path_factory.mktemp("ledger") / "state.db")
    released: set[frozenset[frozenset[int]]] = set()
    plain: set[int] = set()
    try:
        for groups, masks in queries:
            new = {sets_of(one) for one in groups}
            singles = {
                frozenset({frozenset(i for i in range(KEYS) if mask >> i & 1)} - {frozenset()}) for mask in masks
            }
            old_singles = {frozenset({frozenset(i for i in range(KEYS) if m >> i & 1)} - {frozenset()}) for m in plain}
            by_cells = any(a != b and brute(a, b, minimum) for a in new for b in new | released | singles | old_singles)
            by_cells |= any(brute(a, b, minimum) for a in singles for b in released)
            everybody = 2**KEYS - 1
            by_sets = any(0 < (a ^ b).bit_count() < minimum for a in masks for b in plain | set(masks) | {everybody})
            found = [family(one) for one in groups]
            selections = [np.array([mask >> i & 1 for i in range(KEYS)], dtype=np.bool_) for mask in masks]
            assert refused(store, *found, minimum=minimum, plain=selections) is (by_cells or by_sets)
            if not by_cells and not by_sets:
                released |= new
                plain |= set(masks)
    finally:
        store.close()


def test_what_came_meanwhile_is_seen(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process records between the long comparison and the transaction."""
    other = cells(51)
    epoch = store.ledger.epoch
    calls: list[int] = []

    def late(version: str) -> int:
        seen = epoch(version)
        if not calls:
            calls.append(seen)
            again = Store(Path(str(store.database.row("PRAGMA database_list")[2])))  # type: ignore[index]  # it has one
            record(again, other)
            again.close()
            # the long comparison is taken for one that ran before
            monkeypatch.setattr(CellSets, "near", lambda *_: False)
        return seen

    real = CellSets.near
    monkeypatch.setattr(store.ledger, "epoch", late)
    transaction = store.database.transaction

    def then() -> object:
        monkeypatch.setattr(CellSets, "near", real)
        return transaction()

    monkeypatch.setattr(store.database, "transaction", then)
    with pytest.raises(PrivacyError):
        record(store, cells(50))


def test_a_hundred_thousand_keys_in_many_cells_against_many_partitions(store: Store) -> None:
    keys = 100_000
    rng = np.random.default_rng(3)

    def made() -> CellSets:
        return CellSets.of(Partition(np.arange(keys, dtype=np.int64), rng.integers(0, 200, keys, dtype=np.int32)), keys)

    for _ in range(20):
        record(store, made())
    began = time.perf_counter()
    record(store, made())
    spent = time.perf_counter() - began
    stored = store.database.row("SELECT max(length(body)) FROM ledger_partitions")
    assert stored is not None
    assert stored[0] < 2 * keys
    assert spent < 10


@pytest.mark.parametrize(
    ("holders", "least", "no"),
    [
        ("abcde", 3, False),
        ("abcd", 3, True),
        ("abcdf", 3, True),
        ("abcdef", 3, True),
        ("abc", 3, True),
        ("ab", 3, False),
        ("abcfg", 3, False),
        ("abcd", 2, True),
        ("abcdf", 2, False),
        ("abcd", 1, False),
        ("bcde", 3, True),
    ],
)
def test_sets_of_holders(store: Store, holders: str, least: int, no: bool) -> None:
    def go(names: str, version: str = VERSION) -> None:
        store.ledger.record_holders(version, peer="a", plan_digest="d", holders=list(names), least=least)

    go("abcde")
    if no:
        with pytest.raises(PrivacyError) as error:
            go(holders)
        assert error.value.code == "differencing_holders"
        with pytest.raises(PrivacyError):
            go(holders)
    else:
        go(holders)
    go(holders, "w" * 64)
    go("edcba")


def test_the_holders_of_several_owners_are_recorded_together_or_not_at_all(store: Store) -> None:
    def go(names: str, wanted: dict[str, int]) -> None:
        store.ledger.record_holders_for(wanted, peer="a", plan_digest="d", holders=list(names))

    other = "w" * 64
    go("abcde", {VERSION: 3})
    with pytest.raises(PrivacyError):
        go("abcd", {other: 3, VERSION: 3})
    go("abcde", {other: 3, VERSION: 3})  # nothing of the refused ones was kept
    go("abcd", {VERSION: 1})
    with pytest.raises(PrivacyError):
        go("abcd", {VERSION: 1, other: 2})


def test_nothing_shows_in_a_repr() -> None:
    assert "array" not in repr(cells(3))
