"""Runs of Paillier sums in one process, with a short key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from privcompute.session import Session
from privcompute.testing import Simulation, simulate
from privcompute.union import Receipt, SumShape, Totals
from privcompute.union.paillier import paillier_sum_collector, paillier_sum_holder
from support.union import COLLECTOR, KeyedIdentity, Program, Sum

BITS = 2048
SHAPE = SumShape(3, (2, 1, 40), 64)
PATIENCE = 60.0
"""Drawing keys takes seconds on a busy machine."""
KEEPER = "keeper"
"""A key holder without rows."""


def party(about: Sum, name: str, key_holder: str, **changed: Any) -> Program:
    async def admit(survivors: tuple[str, ...]) -> None:
        about.admitted[name] = survivors

    async def program(s: Session) -> Receipt:
        own = about.contribution(name) if name in about.holders else None
        return await paillier_sum_holder(
            s, about.job, key_holder, changed.get("identity", KeyedIdentity(name)), own,
            changed.get("admit", admit), changed.get("check_shown", lambda shown: None), bits=BITS,
        )  # fmt: skip

    return program


def collector(about: Sum, key_holder: str, shown: Sequence[int]) -> Program:
    async def program(s: Session) -> Totals:
        return await paillier_sum_collector(
            s, about.job, key_holder, KeyedIdentity("nobody"), lambda counts: shown, bits=BITS
        )

    return program


def run(
    about: Sum,
    key_holder: str = "h01",
    *,
    shown: Sequence[int] = (0, 2),
    others: Mapping[str, Program] | None = None,
    asks: Program | None = None,
    **options: Any,
) -> Simulation:
    programs = {name: party(about, name, key_holder) for name in dict.fromkeys((*about.holders, key_holder))}
    programs |= dict(others or {})
    programs[COLLECTOR] = asks or collector(about, key_holder, shown)
    return simulate(programs, parties=tuple(programs), star=COLLECTOR, **options)
