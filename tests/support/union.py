"""Runs of masked sums in one process, with keys of the test, plain sums beside them and holders that misbehave."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from privcompute.errors import IntegrityError
from privcompute.session import Session
from privcompute.testing import Simulation, arun_parties, simulate
from privcompute.union import (
    Contribution,
    Roster,
    SumJob,
    SumShape,
    Totals,
    collector_name,
    masked_sum_collector,
    masked_sum_holder,
)
from support.clock import run_jumping

COLLECTOR = collector_name("h00")
SIGNATURE = 32
"""Bytes of the test's signatures."""


@dataclass(frozen=True)
class KeyedIdentity:
    """Long-term keys of a test: a code under a key that the test gives each party; only `party` is signed for."""

    party: str

    @staticmethod
    def _code(party: str, message: bytes) -> bytes:
        return hmac.digest(hashlib.sha256(b"test key of " + party.encode()).digest(), message, "sha256")

    def sign(self, message: bytes) -> bytes:
        """See `privcompute.union.Identity.sign`."""
        return self._code(self.party, message)

    def verify(self, party: str, message: bytes, signature: bytes) -> None:
        """See `privcompute.union.Identity.verify`."""
        if not hmac.compare_digest(self._code(party, message), signature):
            raise IntegrityError("a signature is wrong", code="signature", party=party)


def names(n: int) -> tuple[str, ...]:
    """h00, h01 …"""
    return tuple(f"h{i:02d}" for i in range(n))


Program = Callable[[Session], Coroutine[Any, Any, Any]]


@dataclass
class Sum:
    """A sum to run: its job, everybody's numbers, and what happened.

    Args:
        n: Holders.
        shape: What is added.
        quorum: Fewest survivors.
        patience: Seconds a stage.
        seed: Of the numbers.
        bound: Values lie in [-bound, bound]; default: a sixteenth of the ring over the number of holders.
    """

    n: int
    shape: SumShape = field(default_factory=lambda: SumShape(3, (2, 1, 70), 64))
    quorum: int = 2
    patience: float = 5.0
    seed: int = 1
    attempt: int = 1

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self.holders = names(self.n)
        bound = (1 << self.shape.bits - 5) // self.n

        def draw(k: int) -> list[int]:
            return [int.from_bytes(rng.bytes(40), "little") % (2 * bound + 1) - bound for _ in range(k)]

        self.counts = {h: [int(c) for c in rng.integers(0, 1000, self.shape.counts)] for h in self.holders}
        self.values = {h: draw(self.shape.values) for h in self.holders}
        self.admitted: dict[str, tuple[str, ...]] = {}
        self.news: list[Any] = []
        self.waited = 0.0

    @property
    def job(self) -> SumJob:
        """What is agreed for this attempt."""
        about = hashlib.sha256(f"{self.n}|{self.shape}|{self.seed}|{self.attempt}".encode()).digest()
        return SumJob(about, Roster(self.holders, self.quorum), self.shape, self.patience)

    def contribution(self, holder: str) -> Contribution:
        """Of one holder."""
        return Contribution.of(self.shape, self.counts[holder], self.values[holder])

    def holder(self, name: str, **changed: Any) -> Program:
        """An honest holder's program; ``admit`` and ``check_shown`` can be replaced."""

        async def admit(survivors: tuple[str, ...]) -> None:
            self.admitted[name] = survivors

        async def program(s: Session) -> Any:
            return await masked_sum_holder(
                s, self.job, KeyedIdentity(name), self.contribution(name),
                changed.get("admit", admit), changed.get("check_shown", lambda shown: None),
            )  # fmt: skip

        return program

    def collector(self, decide: Callable[[Sequence[int]], Sequence[int]] | None = None) -> Program:
        """The honest collector's program."""

        async def program(s: Session) -> Totals:
            everything = range(len(self.shape.units))
            return await masked_sum_collector(
                s, self.job, KeyedIdentity("nobody"), decide or (lambda counts: everything)
            )

        return program

    def run(
        self,
        others: Mapping[str, Program] | None = None,
        *,
        collector: Program | None = None,
        shown: Sequence[int] | None = None,
        absent: Sequence[str] = (),
        real_time: bool = False,
        **options: Any,
    ) -> Simulation:
        """All parties in one process; ``others`` replace honest holders, ``shown`` is what the collector decides.

        Unless in ``real_time``, its clock jumps over waits, and ``waited`` then holds the seconds it has shown.
        """
        decide = None if shown is None else (lambda counts: shown)
        programs = {name: self.holder(name) for name in self.holders if name not in absent}
        programs |= dict(others or {})
        programs[COLLECTOR] = collector or self.collector(decide)
        if real_time:
            return simulate(programs, parties=tuple(programs), star=COLLECTOR, **options)
        run, self.waited = run_jumping(arun_parties(programs, parties=tuple(programs), star=COLLECTOR, **options))
        return run

    def plain_counts(self, survivors: Sequence[str]) -> tuple[int, ...]:
        """The oracle."""
        return tuple(sum(self.counts[h][i] for h in survivors) for i in range(self.shape.counts))

    def plain_values(self, survivors: Sequence[str], shown: Sequence[int]) -> dict[int, tuple[int, ...]]:
        """The oracle."""
        starts = self.shape.starts
        return {
            u: tuple(sum(self.values[h][i] for h in survivors) for i in range(starts[u], starts[u + 1])) for u in shown
        }

    def check(self, run: Simulation, *, survivors: Sequence[str], shown: Sequence[int] | None = None) -> Totals:
        """The collector's totals, after comparing them with the plain sums over exactly these survivors."""
        outcome = run.outcomes[COLLECTOR]
        if outcome.error is not None:
            raise outcome.error
        totals = outcome.result
        assert isinstance(totals, Totals)
        units = tuple(range(len(self.shape.units))) if shown is None else tuple(shown)
        assert totals.survivors == tuple(survivors)
        assert totals.shown == units
        assert totals.counts == self.plain_counts(survivors)
        assert totals.values == self.plain_values(survivors, units)
        return totals
