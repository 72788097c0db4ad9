"""Every protocol card runs on a metered loopback: declared rounds, and bytes where a cost function declares them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import paillier_sum, small_query
from support.union import SIGNATURE, Sum

from privcompute.he import CrossShape, cross_cost, cross_product_evaluator, cross_product_key_owner
from privcompute.mpc import Shared, deal, refresh, reveal
from privcompute.psi import dh_psi, psi_cost
from privcompute.ring import Ring
from privcompute.session import Session
from privcompute.session.hello import hello
from privcompute.session.session import HEADER
from privcompute.testing import Simulation, simulate
from privcompute.testing.protocol_docs import all_cards, box_of
from privcompute.union import SumShape, masked_sum_cost
from privcompute.union.paillier_cost import paillier_sum_cost

RING = Ring(96)
SHAPE = CrossShape(
    rows=300, x_bounds=(1000, 1), y_bounds=(5000,), entries=((0, 0), (1, 0)), modulus_bits=None
)  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """A run of one card, and the bytes it should have cost; None where only rounds are declared."""

    run: Simulation
    bytes_sent: int | None


def _hello(_: Path) -> Measured:
    async def program(s: Session) -> None:
        await hello(s, bytes(32))

    return Measured(simulate(program, parties=3), 6 * (HEADER.size + 32))


def _deal(_: Path) -> Measured:
    async def program(s: Session) -> None:
        mine = RING.array([5, -5]) if s.me == "alice" else None
        await deal(s, "alice", mine, ring=RING, shape=(2,))

    return Measured(simulate(program), HEADER.size + 2 * RING.width)


def _reveal(_: Path) -> Measured:
    async def program(s: Session) -> None:
        await reveal(s, Shared(RING, RING.array([1, 2, 3])))

    return Measured(simulate(program), 2 * (HEADER.size + 3 * RING.width))


def _refresh(_: Path) -> Measured:
    async def program(s: Session) -> None:
        await refresh(s, Shared(RING, RING.array([1, 2, 3])), ("alice", "bob"))

    return Measured(simulate(program), HEADER.size + 3 * RING.width)


def _dh_psi(_: Path) -> Measured:
    items = {"alice": [b"%d" % n for n in range(50)], "bob": [b"%d" % n for n in range(30, 60)]}

    async def program(s: Session, mine: list[bytes]) -> None:
        await dh_psi(s, s.peer, mine, peer_items=len(items[s.peer]), workers=1)

    cost = psi_cost(50, 30)
    return Measured(simulate(program, inputs=items), cost.sent_by_x + cost.sent_by_y)


def _cross_product(_: Path) -> Measured:
    rng = np.random.default_rng(4)
    columns = {
        "alice": [rng.integers(-b, b, SHAPE.rows, endpoint=True) for b in SHAPE.x_bounds],
        "bob": [rng.integers(-b, b, SHAPE.rows, endpoint=True) for b in SHAPE.y_bounds],
    }

    async def program(s: Session, mine: list[Any]) -> None:
        role = cross_product_key_owner if s.me == "alice" else cross_product_evaluator
        await role(s, s.peer, mine, SHAPE)

    cost = cross_cost(SHAPE)
    headers = sum(cost.messages) * HEADER.size
    return Measured(simulate(program, inputs=columns), cost.total_bytes + headers)


def _masked_sum(_: Path) -> Measured:
    about = Sum(4, SumShape(3, (2, 1, 12), 128))
    run = about.run(shown=(0, 2))
    about.check(run, survivors=about.holders, shown=(0, 2))
    cost = masked_sum_cost(about.shape, about.n, (0, 2), signature=SIGNATURE)
    each = cost.by_holder + cost.by_collector + (cost.holder_messages + cost.collector_messages) * HEADER.size
    return Measured(run, about.n * each)


def _paillier_sum(_: Path) -> Measured:
    about = Sum(3, SumShape(3, (2, 1, 12), 128), patience=paillier_sum.PATIENCE)
    run = paillier_sum.run(about, shown=(0, 2))
    about.check(run, survivors=about.holders, shown=(0, 2))
    holder, keyed = paillier_sum_cost(about.shape, about.n, (0, 2), signature=SIGNATURE, bits=paillier_sum.BITS)
    links = [holder] * about.n + [keyed]
    sent = sum(one.by_holder + one.by_collector for one in links)
    messages = sum(one.holder_messages + one.collector_messages for one in links)
    return Measured(run, sent + messages * HEADER.size)


def _private_query(place: Path) -> Measured:
    # Both receive: then the last values depend on the last counts, whichever side owns the key.
    ready = small_query.prepare(place, receivers=("hospital", "insurer"))
    run = simulate(ready.program, parties=("hospital", "insurer"))
    assert ready.rows(run.results["insurer"]) == ready.expected
    return Measured(run, None)


PROGRAMS: dict[str, Callable[[Path], Measured]] = {
    "hello": _hello,
    "deal": _deal,
    "reveal": _reveal,
    "refresh": _refresh,
    "dh_psi": _dh_psi,
    "cross_product": _cross_product,
    "masked_sum": _masked_sum,
    "paillier_sum": _paillier_sum,
    "private_query": _private_query,
}


def test_every_card_has_a_program() -> None:
    assert set(all_cards()) == set(PROGRAMS)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_card_costs_what_it_declares(name: str, tmp_path: Path) -> None:
    card = all_cards()[name]
    measured = PROGRAMS[name](tmp_path)
    assert measured.run.results is not None  # raises the error of a party, if there was one
    assert measured.run.rounds == card.rounds
    if measured.bytes_sent is not None:
        assert measured.run.bytes_sent == measured.bytes_sent
    assert box_of(card).parts["Source"]
    assert card.source
    assert card.learned


def test_a_query_for_a_third_party_takes_at_most_the_shares_refreshed_more(tmp_path: Path) -> None:
    ready = small_query.prepare(tmp_path, receivers=("auditor",))
    run = simulate(ready.program, parties=("auditor", "hospital", "insurer"))
    assert ready.rows(run.results["auditor"]) == ready.expected
    assert run.results["hospital"].values.keys() == {o.name for o in ready.plan.openings if o.phase == "count"}
    assert run.rounds <= all_cards()["private_query"].rounds + all_cards()["refresh"].rounds
