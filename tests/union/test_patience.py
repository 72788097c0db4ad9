"""How long who waits: a collector that decides for long is not taken for dead, and one that only seems alive is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest
from support.paillier_sum import BITS
from support.paillier_sum import run as run_paillier
from support.union import COLLECTOR, KeyedIdentity, Sum

from privcompute.errors import TransportError
from privcompute.session import Limits, Progress, Session
from privcompute.union import Totals
from privcompute.union.paillier import paillier_sum_collector


class Slowly:
    """Decides, and takes its time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.asked = 0

    def __call__(self, counts: Sequence[int]) -> Sequence[int]:
        self.asked += 1
        time.sleep(self.seconds)
        return (0, 2)


@pytest.fixture(autouse=True)
def fast_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("privcompute.union.stages.BEAT", 0.05)


def test_deciding_for_longer_than_the_holders_bear_silence() -> None:
    about, decide = Sum(3), Slowly(3.0)
    run = about.run(collector=about.collector(decide), limits=Limits(step_seconds=1.5), real_time=True)
    about.check(run, survivors=about.holders, shown=(0, 2))
    assert decide.asked == 1


def test_the_key_holder_hears_that_the_collector_decides() -> None:
    about, decide = Sum(3, patience=60.0), Slowly(0.5)
    heard: set[str] = set()

    async def asks(s: Session) -> Totals:
        return await paillier_sum_collector(s, about.job, "h01", KeyedIdentity("nobody"), decide, bits=BITS)

    def observe(party: str, news: Progress) -> None:
        if party == "h01" and news.party == COLLECTOR:
            heard.add(news.stage)

    about.check(run_paillier(about, asks=asks, observer=observe), survivors=about.holders, shown=(0, 2))
    assert decide.asked == 1
    assert "deciding what may show" in heard


def test_a_collector_that_only_shows_signs_of_life_holds_nobody_beyond_the_run() -> None:
    about = Sum(3)

    async def lively(s: Session) -> None:
        for _ in range(30):
            s.progress("busy", 0, 1)
            await asyncio.sleep(0.05)

    run = about.run(collector=lively, limits=Limits(step_seconds=5.0, run_seconds=0.5), real_time=True)
    for holder in about.holders:
        error = run.outcomes[holder].error
        assert isinstance(error, TransportError)
        assert (error.code, error.party) == ("deadline", COLLECTOR)
        assert error.stage is not None
        assert "adverts" in error.stage
