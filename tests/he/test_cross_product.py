"""The protocol over sessions, against Python integers: exactness, both roles, hostile peers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.he_kernel import Columns, integers, products, wide

from privcompute.errors import PeerError, UsageError
from privcompute.he import CrossShape, cross_cost, cross_product_evaluator, cross_product_key_owner
from privcompute.he.layout import choose_layout
from privcompute.mpc import Shared
from privcompute.session import Session
from privcompute.session.session import HEADER
from privcompute.testing import Simulation, simulate

Role = Callable[..., Coroutine[Any, Any, Shared]]


def run(shape: CrossShape, x: Columns, y: Columns, **options: Any) -> Simulation:
    async def program(s: Session, mine: Columns) -> Shared:
        role: Role = cross_product_key_owner if s.me == "alice" else cross_product_evaluator
        return await role(s, s.peer, mine, shape)

    return simulate(program, inputs={"alice": x, "bob": y}, **options)


def opened(done: Simulation) -> list[int]:
    total = done.results["alice"] + done.results["bob"]
    sums: list[int] = total.ring.signed(total.values)
    return sums


def full(p: int, q: int) -> tuple[tuple[int, int], ...]:
    return tuple((i, j) for i in range(p) for j in range(q))


def column(bound: int, rows: int, seed: int) -> npt.NDArray[Any]:
    """Values up to the bound in size, both ends among them; limbs where 64 bits do not hold them."""
    rng = np.random.default_rng(seed)
    values = [int.from_bytes(rng.bytes(17), "little") % (2 * bound + 1) - bound for _ in range(rows)]
    values[: min(2, rows)] = [bound, -bound][:rows]
    return np.array(values, np.int64) if bound < 2**63 else wide(values)


bounds = st.sampled_from([0, 1, 3, 2**15, 2**16, 2**31, 2**40, 2**63 - 1, 2**64, 2**100])


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(0, 40),
    x=st.lists(bounds, min_size=1, max_size=4),
    y=st.lists(bounds, min_size=1, max_size=4),
    seed=st.integers(0, 2**32),
    data=st.data(),
)
def test_sums_are_exact(rows: int, x: list[int], y: list[int], seed: int, data: st.DataObject) -> None:
    every = full(len(x), len(y))
    entries = tuple(data.draw(st.permutations(every))[: data.draw(st.integers(1, len(every)))])
    shape = CrossShape(rows, tuple(x), tuple(y), entries)
    mine = [column(b, rows, seed + i) for i, b in enumerate(x)]
    theirs = [column(b, rows, seed + 50 + j) for j, b in enumerate(y)]
    assert opened(run(shape, mine, theirs)) == products(mine, theirs, entries)


@pytest.mark.parametrize("rows", [8191, 8192, 8193, 20000])
@pytest.mark.parametrize("columns", [1, 3])
def test_blocks_end_where_they_may(rows: int, columns: int) -> None:
    shape = CrossShape(rows, (2**31,) * columns, (2**31, 1), full(columns, 2))
    mine = [column(2**31, rows, i) for i in range(columns)]
    theirs = [column(2**31, rows, 7), column(1, rows, 8)]
    assert opened(run(shape, mine, theirs)) == products(mine, theirs, shape.entries)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("x", "y", "k"), [(2**31, 2**31, 96), (2**40, 2**80, None), (2**63 - 1, 1, 128), (1, 1, None)])
def test_the_largest_possible_sums(x: int, y: int, k: int | None, sign: int) -> None:
    rows = 9000
    shape = CrossShape(rows, (x,), (y,), ((0, 0),), k)
    mine = np.full(rows, sign * x, np.int64)
    theirs = np.full(rows, y, np.int64) if y < 2**63 else wide([y] * rows)
    assert opened(run(shape, [mine], [theirs])) == [sign * rows * x * y]


def test_fewer_rows_than_agreed_count_as_zeros() -> None:
    shape = CrossShape(20000, (100,), (100,), ((0, 0),))
    mine, theirs = column(100, 11, 1), column(100, 11, 2)
    assert opened(run(shape, [mine], [theirs])) == products([mine], [theirs], shape.entries)


def test_roles_swapped_give_the_same_sums() -> None:
    shape = CrossShape(500, (2**20, 3), (2**31, 1, 7), ((0, 2), (1, 0), (0, 0)))
    x, y = [column(b, 500, b) for b in shape.x_bounds], [column(b, 500, b) for b in shape.y_bounds]
    assert opened(run(shape, x, y)) == opened(run(shape.swapped(), y, x)) == products(x, y, shape.entries)


@pytest.mark.parametrize("rows", [100, 30000])
def test_bytes_and_rounds_are_as_declared(rows: int) -> None:
    shape = CrossShape(rows, (2**31,) * 2, (2**31,) * 3, full(2, 3))
    done = run(shape, [column(2**31, rows, i) for i in range(2)], [column(2**31, rows, i) for i in range(3)])
    cost = cross_cost(shape)
    sent = {party: outcome.meter.bytes_sent for party, outcome in done.outcomes.items()}
    assert opened(done)
    assert sent["alice"] == cost.key_owner_sends + cost.messages[0] * HEADER.size
    assert sent["bob"] == cost.evaluator_sends + cost.messages[1] * HEADER.size
    assert done.rounds == cost.rounds


def test_each_share_alone_is_uniform() -> None:
    """A thousand shares of products of zeros and ones, at each side: no bit of them leans."""
    shape = CrossShape(3, (1,) * 25, (1,) * 40, full(25, 40), 64)
    done = run(shape, [np.ones(3, np.int64)] * 25, [np.array([0, 1, 1])] * 40, seed=b"uniform")
    assert opened(done) == [2] * 1000
    for party in ("alice", "bob"):
        shares = done.results[party].values
        for bit in range(64):
            ones = int(((shares >> np.uint64(bit)) & np.uint64(1)).sum())
            assert abs(ones - 500) < 5 * np.sqrt(250)
        assert len(set(shares.tolist())) == 1000


@pytest.mark.parametrize(
    ("x", "code"),
    [
        ([np.array([5, 101])], "range_exceeded"),
        ([np.array([-(2**63), 0])], "range_exceeded"),
        ([wide([0, 2**90])], "range_exceeded"),
        ([np.array([1.0, 2.0])], "bad_columns"),
        ([np.arange(4)], "bad_columns"),
        ([np.arange(2), np.arange(2)], "bad_columns"),
    ],
)
@pytest.mark.parametrize("side", ["alice", "bob"])
def test_columns_are_checked_before_anything_is_sent(x: Columns, code: str, side: str) -> None:
    shape = CrossShape(3, (100,), (100,), ((0, 0),))
    good: Columns = [np.array([1, 2])]
    done = run(shape, x if side == "alice" else good, x if side == "bob" else good)
    error = done.outcomes[side].error
    assert isinstance(error, UsageError)
    assert error.code == code
    assert "101" not in str(error)
    assert done.outcomes[side].meter.bytes_sent == 0


SHAPE = CrossShape(20000, (2**20,), (2**20,), ((0, 0),))
X, Y = [column(2**20, 20000, 1)], [column(2**20, 20000, 2)]


def hostile(replace: dict[str, Callable[[npt.NDArray[Any]], npt.NDArray[Any]]], cheat: str) -> Simulation:
    """The real text at both parties; the cheat's arrays of these names pass through a function before they are sent."""

    async def program(s: Session, mine: Columns) -> Shared:
        role: Role = cross_product_key_owner if s.me == "alice" else cross_product_evaluator
        if s.me == cheat:
            child, send = s.child, Session.send

            def bent(name: str) -> Session:
                new = child(name)

                async def crooked(to: str, what: str, array: npt.NDArray[Any]) -> None:
                    await send(new, to, what, replace[what](array) if what in replace else array)

                new.send = crooked  # type: ignore[method-assign,assignment]  # the cheat
                return new

            s.child = bent  # type: ignore[method-assign]  # the cheat
        return await role(s, s.peer, mine, SHAPE)

    return simulate(program, inputs={"alice": X, "bob": Y})


def _all_ones(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    out = array.copy()
    out.reshape(-1)[:] = np.uint64(2**64 - 1)
    return out


def _last_residue_too_large(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    out = array.copy()
    out[..., -1] = np.uint64(2**64 - 1)
    return out


@pytest.mark.parametrize(
    ("cheat", "name", "change", "code"),
    [
        ("alice", "key", _all_ones, "bad_ciphertext"),
        ("alice", "key", _last_residue_too_large, "bad_ciphertext"),
        ("alice", "ciphertexts", _last_residue_too_large, "bad_ciphertext"),
        ("alice", "key", lambda a: a[:-1], "bad_frame"),
        ("alice", "key", lambda a: a.view(np.int64), "bad_frame"),
        ("alice", "ciphertexts", lambda a: np.concatenate([a, a]), "oversize"),
        ("alice", "ciphertexts", lambda a: a.reshape(a.shape[::-1]), "bad_frame"),
        ("bob", "replies", lambda a: a[:, :-1], "bad_frame"),
        ("bob", "constants", _all_ones, "bad_ciphertext"),
        ("bob", "constants", lambda a: a[:0], "bad_frame"),
    ],
)
def test_a_hostile_message_is_refused_by_name(
    cheat: str, name: str, change: Callable[[npt.NDArray[Any]], npt.NDArray[Any]], code: str
) -> None:
    done = hostile({name: change}, cheat)
    victim = "bob" if cheat == "alice" else "alice"
    error = done.outcomes[victim].error
    assert isinstance(error, PeerError)
    assert (error.code, error.party) == (code, cheat)
    assert "cross_product" in (error.stage or "")
    assert done.outcomes[victim].result is None


def test_the_cheat_s_harness_is_honest_when_nothing_is_replaced() -> None:
    assert opened(hostile({}, "alice")) == products(X, Y, SHAPE.entries)


@pytest.mark.parametrize("rows", [10**4, 10**6, 10**8])
@pytest.mark.parametrize(("p", "q"), [(5, 5), (10, 10), (3, 40)])
def test_memory_beside_the_columns_is_bounded(rows: int, p: int, q: int) -> None:
    """What a run holds beside the caller's columns; the bench measures whole processes."""
    layout = choose_layout(CrossShape(rows, (2**31,) * p, (2**31,) * q, full(p, q)))
    assert layout.memory <= 300 << 20
    assert layout.chunk * layout.groups * layout.ciphertext_words * 8 <= 5 << 20


def test_integers_of_limbs_is_its_own_inverse() -> None:
    values = [0, -1, 2**126, -(2**126), 2**64, -(2**64)]
    assert integers(wide(values)) == values
