"""Computing on encrypted columns, against the plain numbers; what a computed ciphertext may not do."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privcompute.errors import IntegrityError, PrivcomputeError, UsageError
from privcompute.he.paillier import (
    Batch,
    Blinded,
    Computed,
    Encrypted,
    Encryptor,
    FixedPoint,
    Interval,
    Packing,
    PrivateKey,
    add_all,
)
from privcompute.he.paillier.rows import Rows, from_rows, to_rows
from privcompute.he.paillier.serialisation import valid

LOW, HIGH = -1000, 5000
COLUMN = FixedPoint(LOW, HIGH)
ROOM = Packing(COLUMN, 2048, terms=4, factor=7, slots=5)
SINGLE = Packing(COLUMN, 2048, terms=20, factor=7, slots=1)
VALUES = st.lists(st.integers(LOW, HIGH), min_size=1, max_size=12)
EXTREMES = st.lists(st.sampled_from([LOW, HIGH]), min_size=1, max_size=12)
quickly = settings(max_examples=15, deadline=None)


def code(caught: pytest.ExceptionInfo[PrivcomputeError]) -> str:
    return caught.value.code


@quickly
@given(VALUES | EXTREMES, st.integers(-7, 7), st.randoms(use_true_random=False))
def test_linear_combinations(
    owner: PrivateKey, encryptor: Encryptor, values: list[int], scalar: int, random: Any
) -> None:
    others = [random.randint(LOW, HIGH) for _ in values]
    a, b = encryptor.encrypt(values, ROOM), encryptor.encrypt(others, ROOM)
    assert owner.decrypt(a).integers == tuple(values)
    assert owner.decrypt(a + b).integers == tuple(x + y for x, y in zip(values, others, strict=True))
    assert owner.decrypt(a - b).integers == tuple(x - y for x, y in zip(values, others, strict=True))
    assert owner.decrypt(scalar * a).integers == tuple(scalar * x for x in values)
    assert owner.decrypt((a * scalar).plus(others)).integers == tuple(
        scalar * x + y for x, y in zip(values, others, strict=True)
    )
    assert owner.decrypt(a.total()).sum() == sum(values)
    assert owner.decrypt((a + b).fresh(encryptor)).integers == owner.decrypt(a + b).integers


@quickly
@given(EXTREMES, st.sampled_from([-7, 7]))
def test_the_room_at_its_worst_case(owner: PrivateKey, encryptor: Encryptor, values: list[int], scalar: int) -> None:
    """All terms and the whole factor, with values at the ends of their range only."""
    a = encryptor.encrypt(values, ROOM)
    most = add_all([a] * ROOM.terms) * scalar
    assert owner.decrypt(most).integers == tuple(ROOM.terms * scalar * v for v in values)
    wanted = [ROOM.terms * 7 * v for v in values]
    assert owner.decrypt(add_all([a * 7] * ROOM.terms).fresh(encryptor)).integers == tuple(wanted)
    while most.interval.span < 1 << (ROOM.width - 1):
        most = most + most
    with pytest.raises(UsageError) as caught:
        _ = most + most
    assert code(caught) == "head_room"


@quickly
@given(st.lists(st.tuples(st.integers(LOW, HIGH), st.integers(-7, 7)), min_size=1, max_size=20))
def test_a_scalar_for_each_value(owner: PrivateKey, encryptor: Encryptor, pairs: list[tuple[int, int]]) -> None:
    column = encryptor.encrypt([v for v, _ in pairs], SINGLE)
    products = column.times([s for _, s in pairs])
    assert owner.decrypt(products).integers == tuple(v * s for v, s in pairs)
    if len(pairs) > 1:
        assert owner.decrypt((products + products).fresh(encryptor)).integers == tuple(2 * v * s for v, s in pairs)


def test_inner_product(owner: PrivateKey, encryptor: Encryptor) -> None:
    packing = Packing(COLUMN, 2048, terms=40, factor=7, slots=1)
    values, scalars = [LOW, HIGH, 5] * 3, [7, -7, 1] * 3
    total = encryptor.encrypt(values, packing).times(scalars).total()
    assert owner.decrypt(total).sum() == sum(v * s for v, s in zip(values, scalars, strict=True))


def test_known_values_whose_bounds_are_far_from_zero(owner: PrivateKey, encryptor: Encryptor) -> None:
    for low, high in ((100, 110), (-110, -100)):
        shifted = encryptor.encrypt([1, 2, 3], ROOM).plus([low, high, low + 1], Interval(low, high))
        assert owner.decrypt(shifted).integers == (1 + low, 2 + high, 4 + low)
        assert owner.decrypt(shifted.total()).sum() == 7 + 2 * low + high


def test_reals_end_to_end(owner: PrivateKey, encryptor: Encryptor) -> None:
    values = np.random.default_rng(4).normal(50, 20, 1000).clip(-200, 300)
    packing = Packing(FixedPoint(-200, 300, Fraction(1, 2**20)), 2048, terms=50)
    found = owner.decrypt(encryptor.encrypt(values, packing).total()).sum()
    assert found == sum(packing.encoding.decode(packing.encoding.encode(values)))
    assert abs(float(found) - values.sum()) <= 1000 * 2.0**-21


def test_the_owner_encrypts_too(owner: PrivateKey, encryptor: Encryptor) -> None:
    mine = Encryptor(owner)
    values = list(range(LOW, HIGH, 37))
    batch = mine.encrypt(values, ROOM)
    assert owner.decrypt(batch + encryptor.encrypt(values, ROOM)).integers == tuple(2 * v for v in values)
    assert valid(owner.public.n, from_rows(batch.rows))
    blinded, mask = mine.blind(batch)
    assert mask.remove(owner.open_blinded(blinded)).integers == tuple(values)


def test_a_stream_takes_one_chunk_at_a_time(owner: PrivateKey, encryptor: Encryptor) -> None:
    taken: list[int] = []

    def chunks() -> Any:
        for i in range(3):
            taken.append(i)
            yield [i, i + 1]

    stream = encryptor.encrypt_stream(chunks(), ROOM)
    assert owner.decrypt(next(stream)).integers == (0, 1)
    assert taken == [0]
    assert [owner.decrypt(batch).integers for batch in stream] == [(1, 2), (2, 3)]


def test_what_is_computed_does_not_leave(encryptor: Encryptor) -> None:
    a = encryptor.encrypt([1, 2, 3], ROOM)
    for computed in (a + a, a * 2, a - a, a.total(), a.plus([1, 1, 1]), -a):
        assert isinstance(computed, Computed)
        with pytest.raises(UsageError) as caught:
            computed.to_bytes()
        assert code(caught) == "not_fresh"
        assert isinstance(computed.fresh(encryptor), Encrypted)
    for batch in (a, a + a):
        with pytest.raises(TypeError):
            pickle.dumps(batch)


def test_fresh_ciphertexts_share_nothing(owner: PrivateKey, encryptor: Encryptor) -> None:
    n, a = owner.public.n, encryptor.encrypt([1, 2, 3], ROOM)
    batches = [a, a.fresh(encryptor), (a * 1).fresh(encryptor), (a * 0).fresh(encryptor), encryptor.encrypt([0], ROOM)]
    rows = [c for batch in batches for c in from_rows(batch.rows)]
    assert len({c % n for c in rows}) == len(rows)  # modulo n there is nothing but randomness
    assert valid(n, rows)
    # What the tests above are about: without it, a product by 1 or 0 is plain to see.
    assert from_rows((a * 1).rows) == from_rows(a.rows)
    assert from_rows((a * 0).rows) == [1]


class OwnersBase(Encryptor):
    """The broken variant: it takes h from the owner of the key, here of order two."""

    def __init__(self, key: PrivateKey) -> None:
        super().__init__(key.public)
        self._table = key.public.square.table(key.public.n**2 - 1, key.public.bits // 2)


def test_a_base_of_small_order_is_seen(owner: PrivateKey) -> None:
    batch = OwnersBase(owner).encrypt([7], ROOM)
    (c,) = from_rows(batch.rows)
    n = owner.public.n
    assert c % n in (1, n - 1)
    content = 7 - LOW + sum(-LOW << (ROOM.width * i) for i in range(1, 5))
    assert content in {(c - 1) // n, (n * n - c - 1) // n}  # anybody reads it
    assert not valid(n, [c])


def test_every_encryptor_has_its_own_base(owner: PrivateKey) -> None:
    """One and the same exponent and message give different ciphertexts."""
    one = to_rows([1], 16)
    message = to_rows([0], 32)
    bases = {from_rows(Encryptor(owner.public)._table.powers(one, message))[0] for _ in range(3)}
    assert len(bases) == 3


def test_exponents_have_half_the_length(owner: PrivateKey, monkeypatch: pytest.MonkeyPatch) -> None:
    encryptor = Encryptor(owner.public)
    seen: list[int] = []

    class Spy:
        def powers(self, exponents: Rows, messages: Rows) -> Rows:
            seen.extend(from_rows(exponents))
            return messages

    monkeypatch.setattr(encryptor, "_table", Spy())
    encryptor.encrypt([0] * 300, ROOM)
    assert len(set(seen)) == 60
    assert max(seen).bit_length() == 1024
    ones = np.mean([v.bit_count() for v in seen]) / 1024
    assert abs(ones - 0.5) < 0.02


def test_no_traps(encryptor: Encryptor) -> None:
    a = encryptor.encrypt([3, 4], ROOM)
    for batch in (a, a + a):
        with pytest.raises(TypeError, match="compared"):
            _ = batch == a
        with pytest.raises(TypeError, match="compared"):
            _ = batch != a
        with pytest.raises(TypeError, match="neither true"):
            bool(batch)
        with pytest.raises(TypeError):
            hash(batch)
        assert len(batch) == 2
        assert "2 values in 1 ciphertexts" in repr(batch)
        for other in (1, 1.5, "x", None):
            with pytest.raises(TypeError):
                _ = batch + other
            with pytest.raises(TypeError):
                _ = batch - other
        for scalar in (1.5, True, None, a):
            with pytest.raises(TypeError):
                _ = batch * scalar


def test_what_does_not_belong_together(owner: PrivateKey, encryptor: Encryptor) -> None:
    a = encryptor.encrypt([1, 2, 3], ROOM)
    other_key = Encryptor(PrivateKey.generate(2048))
    other_packing = Packing(COLUMN, 2048, terms=5, factor=7, slots=5)
    long = Packing(COLUMN, 3072, terms=5)
    things: list[Callable[[], object]] = [
        lambda: a + encryptor.encrypt([1, 2], ROOM),
        lambda: a + encryptor.encrypt([1, 2, 3], other_packing),
        lambda: a + other_key.encrypt([1, 2, 3], ROOM),
        lambda: encryptor.encrypt([1], long),
        lambda: Batch(owner.public, long, 1, long.interval, a.rows),
        lambda: a.fresh(other_key),
        lambda: other_key.blind(a),
        lambda: owner.decrypt(other_key.encrypt([1], ROOM)),
        lambda: owner.open_blinded(other_key.blind(other_key.encrypt([1], ROOM))[0]),
        lambda: a.plus([1, 2]),
        lambda: encryptor.encrypt([1, 2], SINGLE).times([1]),
    ]
    for thing in things:
        with pytest.raises(UsageError) as caught:
            thing()
        assert code(caught) == "mismatch"


def test_room_that_is_not_there(owner: PrivateKey, encryptor: Encryptor) -> None:
    a = encryptor.encrypt([1] * 300, ROOM)
    single = encryptor.encrypt([1, 2], SINGLE)
    full = Packing(COLUMN, 2048, terms=1)
    things: list[Callable[[], object]] = [
        lambda: a * 1000,
        lambda: a * -1000,
        lambda: a.total(),
        lambda: add_all([a] * 100),
        lambda: single.times([8, 1]),
        lambda: single.plus([1, 2], Interval(0, 1 << SINGLE.width)),
        lambda: encryptor.encrypt([1, 2], full).plus([5000, 5000], Interval(0, 5000)),
        lambda: Batch(owner.public, ROOM, 1, Interval(0, 1 << ROOM.width), a.rows),
    ]
    for thing in things:
        with pytest.raises(UsageError) as caught:
            thing()
        assert code(caught) == "head_room"


def test_small_refusals(encryptor: Encryptor) -> None:
    a = encryptor.encrypt([1, 2, 3], ROOM)
    things: list[tuple[Callable[[], object], str]] = [
        (lambda: add_all([]), "empty"),
        (lambda: encryptor.encrypt([], ROOM).total(), "empty"),
        (lambda: a.times([1, 2, 3]), "packed"),
        (lambda: encryptor.encrypt([HIGH + 1], ROOM), "range_exceeded"),
        (lambda: encryptor.encrypt([float("nan")], ROOM), "not_finite"),
        (lambda: encryptor.encrypt_integers([HIGH + 1], ROOM), "range_exceeded"),
        (lambda: a.plus([LOW - 1, 0, 0]), "range_exceeded"),
    ]
    for thing, wanted in things:
        with pytest.raises(UsageError) as caught:
            thing()
        assert code(caught) == wanted


def test_no_values(owner: PrivateKey, encryptor: Encryptor) -> None:
    empty = encryptor.encrypt([], ROOM)
    assert len(empty) == 0
    assert owner.decrypt(empty + empty).integers == ()
    assert owner.decrypt((empty * -2).fresh(encryptor)).integers == ()


def test_who_encrypts_beyond_the_bounds_is_found_out(owner: PrivateKey, encryptor: Encryptor) -> None:
    wide = Packing(FixedPoint(LOW, 10 * HIGH), 2048, terms=4, factor=7, slots=5)
    lie = encryptor.encrypt([10 * HIGH], wide)
    lie = Encrypted(owner.public, ROOM, 1, ROOM.interval, lie.rows)
    with pytest.raises(IntegrityError) as caught:
        owner.decrypt(lie)
    assert code(caught) == "slot_out_of_bounds"


@quickly
@given(VALUES)
def test_two_roles(owner: PrivateKey, encryptor: Encryptor, values: list[int]) -> None:
    total = add_all([encryptor.encrypt(values, ROOM)] * 3)
    blinded, mask = encryptor.blind(total)
    received = Blinded.from_bytes(blinded.to_bytes(), owner.public, len(total.rows))
    opened = owner.open_blinded(received)
    assert mask.remove(opened).integers == tuple(3 * v for v in values)


def test_what_is_opened_is_uniform(owner: PrivateKey, encryptor: Encryptor) -> None:
    """The mean of the opened numbers over n is 1/2 and of no use, whatever the column holds."""
    column = encryptor.encrypt([HIGH] * 600, SINGLE)
    blinded, mask = encryptor.blind(column)
    opened = owner.open_blinded(blinded)
    numbers = [int.from_bytes(opened[i : i + 256], "little") / owner.public.n for i in range(0, len(opened), 256)]
    assert abs(np.mean(numbers) - 0.5) < 6 / (12 * 600) ** 0.5
    assert abs(np.var(numbers) - 1 / 12) < 0.02
    for text in (repr(mask), repr(blinded)):
        assert str(HIGH) not in text
    for thing in (mask, blinded):
        with pytest.raises(TypeError):
            pickle.dumps(thing)


def test_answers_of_the_key_holder_that_are_none(owner: PrivateKey, encryptor: Encryptor) -> None:
    blinded, mask = encryptor.blind(encryptor.encrypt([1, 2, 3], ROOM))
    opened = owner.open_blinded(blinded)
    for bad in (b"", opened[:-1], opened + b"\0", b"\xff" * 256):
        with pytest.raises(PrivcomputeError) as caught:
            mask.remove(bad)
        assert code(caught) == "bad_plaintext"
    with pytest.raises(IntegrityError):
        mask.remove(bytes(256))
