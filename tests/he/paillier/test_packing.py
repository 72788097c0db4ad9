"""Slots: room at its worst case, what is refused, what a decrypted plaintext cannot hold."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privcompute.errors import IntegrityError, UsageError
from privcompute.he.paillier import FixedPoint, Interval, Packing
from privcompute.he.paillier.rows import from_rows, to_rows

RANGES = st.tuples(st.integers(-(2**40), 2**40), st.integers(0, 2**40))


@settings(deadline=None)
@given(RANGES, st.integers(1, 1000), st.integers(1, 50), st.data())
def test_the_widest_sum_fits_and_nothing_touches_its_neighbour(
    bounds: tuple[int, int], terms: int, factor: int, data: st.DataObject
) -> None:
    low, high = bounds[0], bounds[0] + bounds[1]
    packing = Packing(FixedPoint(low, high), 2048, terms, factor)
    interval = packing.interval.times(terms * factor)
    assert packing.fits(interval)
    assert not packing.fits(Interval(interval.low, interval.low + (1 << packing.width)))
    assert packing.per_ciphertext * packing.width <= 2047
    ends = [interval.low, interval.high]
    integers = data.draw(st.lists(st.sampled_from(ends), min_size=1, max_size=2 * packing.per_ciphertext))
    rows = packing.pack(integers, interval)
    assert max(from_rows(rows)) < 2**2047
    assert packing.unpack(rows, len(integers), interval) == integers


@given(st.lists(st.integers(-100, 1000), max_size=300), st.integers(1, 60))
def test_packing_is_adding(integers: list[int], slots: int) -> None:
    packing = Packing(FixedPoint(-100, 1000), 2048, terms=3, slots=slots)
    rows = packing.pack(integers, packing.interval)
    assert len(rows) == packing.ciphertexts(len(integers))
    thrice = to_rows([3 * v for v in from_rows(rows)], rows.shape[1])
    assert packing.unpack(thrice, len(integers), packing.interval.times(3)) == [3 * v for v in integers]


def test_zero_is_always_inside_and_fills_up() -> None:
    packing = Packing(FixedPoint(100, 200), 2048, terms=10)
    assert packing.interval == Interval(0, 200)
    assert Packing(FixedPoint(-200, -100), 2048, terms=10).interval == Interval(-200, 0)
    assert packing.unpack(packing.pack([150], packing.interval), 5, packing.interval) == [150, 0, 0, 0, 0]
    assert Packing(FixedPoint(0, 0), 2048, terms=1).width == 1


@pytest.mark.parametrize(
    "change", [{"terms": 0}, {"factor": 0}, {"bits": 1024}, {"slots": 0}, {"slots": 1000}, {"terms": 2**2048}]
)
def test_packings_that_are_none(change: dict[str, int]) -> None:
    with pytest.raises(UsageError) as caught:
        Packing(**{"encoding": FixedPoint(0, 1000), "bits": 2048, "terms": 5} | change)  # type: ignore[arg-type]  # mixed
    assert caught.value.code == "bad_packing"


def test_integers_outside_of_their_interval() -> None:
    packing = Packing(FixedPoint(0, 1000), 2048, terms=5)
    for bad in (-1, 1001):
        with pytest.raises(UsageError) as caught:
            packing.pack([5, bad], packing.interval)
        assert caught.value.code == "range_exceeded"


def test_slots_out_of_bounds() -> None:
    packing = Packing(FixedPoint(0, 1000), 2048, terms=5, slots=3)
    top = 1 << (packing.width * 3)
    for bad in (1001, 1001 << packing.width, 1001 << 2 * packing.width, top, top << 500):
        with pytest.raises(IntegrityError) as caught:
            packing.unpack(to_rows([bad], 32), 3, packing.interval)
        assert caught.value.code == "slot_out_of_bounds"
    assert packing.unpack(to_rows([1000 | 1000 << 2 * packing.width], 32), 3, packing.interval) == [1000, 0, 1000]
