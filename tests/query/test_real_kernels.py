"""Random plans with the real intersection and the real kernel: they open exactly what the ideal run opens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support import query_ideal
from support.query_grammar import JOIN, Grammar
from support.query_tables import World, world

from privcompute import query
from privcompute.errors import IntegrityError, UsageError
from privcompute.psi import encode_keys
from privcompute.query import Plan, ideal
from privcompute.query.run import Holding, Opened, run_plan, total
from privcompute.session import Session
from privcompute.tables.features import WIDE
from privcompute.testing import Simulation, simulate

WORLDS = 6
PLANS = 9
ARROW: dict[str, Any] = {"VARCHAR": pa.string(), "BIGINT": pa.int64()}


def plans(here: World, seed: int, receivers: tuple[str, ...]) -> list[Plan]:
    """Random plans that need the kernel."""
    grammar = Grammar(np.random.default_rng(seed))
    found: list[Plan] = []
    while len(found) < PLANS:
        outputs = ", ".join(grammar.aggregate().sql for _ in range(3))
        try:
            plan = query.plan(
                f"SELECT {outputs} {JOIN} WHERE {grammar.condition(0, 2).sql}", here.entries, "insurer", receivers
            )
        except UsageError:
            continue
        if plan.kernel is not None:
            found.append(plan)
    return found


def limbs(values: list[int], wide: bool) -> Any:
    """A feature as the tables hand it over."""
    if not wide:
        return np.array(values, dtype=np.int64)
    mask = (1 << 64) - 1
    return np.array([[v & mask, (v >> 64) & mask] for v in values], dtype=np.uint64).reshape(-1, 2)


def tuple_of(key: Any) -> tuple[Any, ...]:
    """A key as the ideal run keeps it: a tuple of its components."""
    assert isinstance(key, tuple)
    return key


def holding(plan: Plan, side: int, known: ideal.Holding) -> Holding:
    """The ideal run's features as a real holder brings them."""
    one = plan.sides[side]
    names = [f"k{i}" for i in range(len(one.keys))]
    table = pa.table(
        {
            name: pa.array([tuple_of(key)[i] for key in known.keys], ARROW[kind])
            for i, (name, kind) in enumerate(zip(names, one.key_types, strict=True))
        }
    )
    columns = tuple(
        limbs(list(values), feature.per_key(one.rows_per_key) >= WIDE)
        for values, feature in zip(known.columns, one.features, strict=True)
    )
    return Holding(encode_keys(table, one.key_types), columns)


def run(plan: Plan, known: tuple[ideal.Holding, ideal.Holding]) -> Simulation:
    """The real run, in one process."""
    parties = tuple(dict.fromkeys((*(s.party for s in plan.sides), *plan.receivers)))

    async def program(s: Session) -> Opened:
        async def commit() -> None:
            return None

        side = plan.side_of(s.me)
        mine = None if side is None else holding(plan, side, known[side])
        return await run_plan(s, plan, b"d" * 32, mine, commit=commit)

    return simulate(program, parties=parties)


@pytest.mark.parametrize("seed", range(WORLDS))
def test_the_real_run_opens_what_the_ideal_run_opens(seed: int) -> None:
    here = world(500 + seed, rows=30, cap=1 if seed % 3 == 0 else 3)
    receivers = (("insurer",), ("hospital", "insurer"), ("auditor",))[seed % 3]
    for plan in plans(here, seed, receivers):
        known = (
            query_ideal.holding(here.connection, plan.sides[0]),
            query_ideal.holding(here.connection, plan.sides[1]),
        )
        expected = ideal.run(plan, known)
        found = run(plan, known).results
        assert {p: o.values for p, o in found.items()} == dict(expected.opened)
        assert {o.suppressed for o in found.values()} == {expected.suppressed}


@pytest.mark.parametrize("party", ["hospital", "insurer"])
def test_a_declaration_less_and_the_run_fails_before_anything_is_sent(party: str) -> None:
    here = world(7, rows=30, cap=3)
    plan = plans(here, 7, ("hospital", "insurer"))[0]
    known = (query_ideal.holding(here.connection, plan.sides[0]), query_ideal.holding(here.connection, plan.sides[1]))
    for name in sorted(plan.disclosure.opened(party)):
        poorer = replace(plan, disclosure=plan.disclosure.without(party, "opened", name))
        out = run(poorer, known)
        errors = [o.error for o in out.outcomes.values()]
        assert all(isinstance(e, IntegrityError) and e.code == "undeclared" for e in errors)
        assert out.bytes_sent == 0


def test_nothing_but_counts_opens_below_the_minimum() -> None:
    here = world(9, rows=30, cap=3)
    plan = replace(plans(here, 9, ("hospital", "insurer"))[0], minimum=10_000)
    known = (query_ideal.holding(here.connection, plan.sides[0]), query_ideal.holding(here.connection, plan.sides[1]))
    for opened in run(plan, known).results.values():
        assert opened.suppressed
        assert set(opened.values) == {o.name for o in plan.openings if o.phase == "count"}


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_exact_totals(dtype: Any) -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        if dtype is np.int64:
            values = [int(v) for v in rng.integers(-(2**63), 2**63 - 1, size=200, dtype=np.int64)]
        else:
            values = [int(a) << 62 | int(b) for a, b in rng.integers(-(2**62), 2**62, size=(200, 2))]
        assert total(limbs(values, dtype is np.uint64)) == sum(values)
