"""Holders that leave: at every stage, by a broken link or by silence. What is counted is counted whole and once."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.leaving import STAGES, Leaving, counted
from support.union import COLLECTOR, Sum

from privcompute.errors import PeerError
from privcompute.session import Channel
from privcompute.testing import Simulation
from privcompute.union import Roster, SumShape


def _run(about: Sum, leaving: Mapping[str, tuple[str, str]]) -> Simulation:
    def wrap(party: str, channel: Channel) -> Channel:
        if party in leaving:
            stage, how = leaving[party]
            return Leaving(channel, STAGES[stage], how)
        return channel

    return about.run(wrap=wrap, shown=(0, 2))


@pytest.mark.parametrize("how", ["break", "silent", "twice"])
@pytest.mark.parametrize("stage", STAGES)
def test_one_holder_leaves(stage: str, how: str) -> None:
    about = Sum(4, SumShape(2, (1, 3, 70), 128))
    run = _run(about, {"h02": (stage, how)})
    # Whoever sends the last part of its numbers twice is dropped before they are added.
    survivors = [h for h in about.holders if h != "h02" or counted(stage)]
    totals = about.check(run, survivors=survivors, shown=(0, 2))
    reason = {"break": "test_down", "silent": "late", "twice": "unclaimed"}[how]
    assert totals.dropped == {"h02": reason}
    for holder in set(about.holders) - {"h02"}:
        assert run.outcomes[holder].error is None
        assert run.outcomes[holder].result.survivors == tuple(survivors)


def test_too_few_are_left_once_ledgers_know_who_survived() -> None:
    """Those who are left cannot begin anew by themselves, and the error says so; nothing was opened."""
    about = Sum(3)
    run = _run(about, {"h02": ("after submission", "break")})
    error = run.outcomes[COLLECTOR].error
    assert isinstance(error, PeerError)
    assert error.code == "quorum_lost_after_admission"
    assert "the same holders" in error.remedy
    assert run.outcomes[COLLECTOR].result is None
    assert set(about.admitted) >= {"h00", "h01"}
    about.attempt = 2
    about.check(about.run(), survivors=about.holders)


def test_the_last_word_of_the_collector_finds_a_holder_gone() -> None:
    about = Sum(4)

    async def program(s: object) -> None:
        await about.holder("h02")(s)  # type: ignore[arg-type]  # a session
        raise RuntimeError("after the end")

    totals = about.check(about.run({"h02": program}), survivors=about.holders)
    assert totals.dropped == {}


@settings(max_examples=50)
@given(
    n=st.integers(3, 8),
    seed=st.integers(0, 2**32),
    data=st.data(),
)
def test_any_holders_leave_at_any_stages(n: int, seed: int, data: st.DataObject) -> None:
    """The sum is exact over exactly those whose numbers arrived whole, or the run ends with a named error."""
    about = Sum(n, SumShape(2, (1, 3, 70), 64), seed=seed)
    chosen = data.draw(st.lists(st.sampled_from([None, None, *STAGES]), min_size=n, max_size=n), label="stages")
    leaving = {h: (stage, "break") for h, stage in zip(about.holders, chosen, strict=True) if stage is not None}
    run = _run(about, leaving)
    survivors = [h for h, stage in zip(about.holders, chosen, strict=True) if counted(stage)]
    order = list(STAGES)

    def left_by(stage: str) -> int:
        """How many are there when the stage's message has been waited for."""
        return sum(s is None or order.index(s) > order.index(stage) for s in chosen)

    began = left_by("before advertise")
    t, least = Roster.threshold(began), Roster(about.holders, 2).least(began)
    lost = None
    whole = min(left_by("after advertise"), left_by("mid-submission"))
    if began < 2 or whole < least:
        lost = "quorum_lost"
    elif left_by("after submission") < t:
        lost = "quorum_lost_after_admission"
    elif left_by("half way through value opening") < t:
        lost = "quorum_lost_after_release"
    if lost is None:
        totals = about.check(run, survivors=survivors, shown=(0, 2))
        assert set(totals.dropped) == set(leaving)
        return
    error = run.outcomes[COLLECTOR].error
    assert isinstance(error, PeerError)
    assert error.code == lost
    assert run.outcomes[COLLECTOR].result is None


def test_more_than_one_leaves_in_each_of_the_last_stages() -> None:
    """Seven of 20 leave one by one while the values open: announced missing holders only grow, and the sum is whole."""
    about = Sum(20, SumShape(2, (1, 3, 70), 64))
    late = list(STAGES)[-5:]
    leaving = {f"h{i:02d}": (late[i % 5], "break") for i in range(3, 9)}
    about.check(_run(about, leaving), survivors=about.holders, shown=(0, 2))


def test_silence_costs_one_patience_however_many_are_silent() -> None:
    about = Sum(12)
    run = _run(about, dict.fromkeys(about.holders[:3], ("after share", "silent")))
    about.check(run, survivors=about.holders[3:], shown=(0, 2))
    assert about.waited == pytest.approx(about.patience)


def test_a_holder_that_only_shows_signs_of_life_is_late() -> None:
    """Progress keeps a link alive, but buys no time."""
    about = Sum(4, patience=0.3)

    async def lively(s: object) -> None:
        import asyncio

        for i in range(20):
            s.progress("busy", i, 20)  # type: ignore[attr-defined]  # a session
            await asyncio.sleep(0.05)

    totals = about.check(about.run({"h01": lively}), survivors=["h00", "h02", "h03"])
    assert totals.dropped == {"h01": "late"}
