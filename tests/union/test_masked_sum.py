"""Double-masked sums against plain ones: shapes, subsets shown, many holders, two attempts, labels, progress."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.leaving import Leaving
from support.union import COLLECTOR, KeyedIdentity, Sum, names

from privcompute.errors import PeerError, PrivacyError, PrivcomputeError, UsageError
from privcompute.randomness import Rng
from privcompute.session import Buffer, Channel, Progress, Session, local_pair
from privcompute.testing import Entry, RecordingChannel
from privcompute.testing.wrapper import ChannelWrapper
from privcompute.transport.identity import NAME_PATTERN
from privcompute.union import (
    Contribution,
    Receipt,
    Roster,
    SumJob,
    SumShape,
    Totals,
    collector_name,
    masked_sum_collector,
    masked_sum_holder,
)
from privcompute.union.collector import GRANTS

shapes = st.builds(
    SumShape,
    counts=st.integers(0, 4),
    units=st.lists(st.integers(1, 20) | st.just(80), min_size=1, max_size=6).map(tuple),
    bits=st.sampled_from([64, 128, 192, 256]),
)


@settings(max_examples=40)
@given(n=st.integers(3, 8), shape=shapes, seed=st.integers(0, 2**32), data=st.data())
def test_a_masked_sum_is_the_plain_sum(n: int, shape: SumShape, seed: int, data: st.DataObject) -> None:
    about = Sum(n, shape, seed=seed)
    shown = sorted(data.draw(st.sets(st.integers(0, len(shape.units) - 1)), label="shown"))
    run = about.run(shown=shown)
    totals = about.check(run, survivors=about.holders, shown=shown)
    assert totals.dropped == {}
    for holder in about.holders:
        assert run.results[holder] == Receipt(about.holders, tuple(shown))
        assert about.admitted[holder] == about.holders


def test_sums_reach_both_ends_of_the_ring() -> None:
    for bits in (64, 128, 192, 256):
        about = Sum(4, SumShape(1, (2,), bits))
        # The sum of the first value is the ring's least number, of the second its greatest.
        for k, holder in enumerate(about.holders):
            about.values[holder] = [-(1 << bits - 3), (1 << bits - 3) - (k == 0)]
        totals = about.check(about.run(), survivors=about.holders)
        assert totals.values[0] == (-(1 << bits - 1), (1 << bits - 1) - 1)


def test_the_collectors_rule_sees_the_opened_counts() -> None:
    about = Sum(3)
    seen: list[Any] = []

    def decide(counts: Any) -> list[int]:
        seen.append(tuple(counts))
        return [2]

    about.check(about.run(collector=about.collector(decide)), survivors=about.holders, shown=(2,))
    assert seen == [about.plain_counts(about.holders)]


@pytest.mark.parametrize("units", [[3], [-1], [0, 0]], ids=["beyond", "negative", "twice"])
def test_a_rule_that_names_no_unit_of_the_sum_is_the_callers_error(units: list[int]) -> None:
    run = Sum(3).run(shown=units)
    error = run.outcomes[COLLECTOR].error
    assert isinstance(error, UsageError)
    assert error.code == "bad_units"


def test_a_hundred_holders_and_a_second_attempt_without_those_that_left() -> None:
    """Half leave after sharing: nothing can open; a new attempt, with fresh keys, sums over those who are there."""
    about = Sum(100)
    leaving = set(about.holders[::2])

    def wrap(party: str, channel: Channel) -> Channel:
        return Leaving(channel, "/ready", "break") if party in leaving else channel

    error = about.run(wrap=wrap).outcomes[COLLECTOR].error
    assert isinstance(error, PeerError)
    assert error.code == "quorum_lost"
    about.attempt = 2
    stay = [h for h in about.holders if h not in leaving]
    totals = about.check(about.run(absent=sorted(leaving)), survivors=stay)
    assert totals.dropped == dict.fromkeys(sorted(leaving), "absent")


def test_fewer_than_the_quorum_do_not_even_begin() -> None:
    about = Sum(5, quorum=4)
    run = about.run(absent=("h01", "h03"))
    for party in ("h00", "h02", "h04", COLLECTOR):
        error = run.outcomes[party].error
        assert isinstance(error, PrivcomputeError)
        assert error.code == "quorum_lost"


def test_nothing_of_an_attempt_is_used_again() -> None:
    """Same numbers, same job, two attempts: no message that carries keys, shares or masked numbers repeats."""
    about, logs = Sum(4), []
    for _ in range(2):
        log: list[Entry] = []
        about.check(about.run(wrap=lambda party, c: RecordingChannel(c, party, log)), survivors=about.holders)  # noqa: B023 - used in this turn
        logs.append(log)
    fresh = r"advert deal deals adverts counts values shares items"
    for name in fresh.split():
        first, second = ({e.sha256 for e in log if f"/{name}." in e.label} for log in logs)
        assert len(first) == len(second)
        assert first
        assert not first & second


def test_labels_are_stable() -> None:
    about, log = Sum(4), list[Entry]()
    about.run(wrap=lambda party, c: RecordingChannel(c, party, log))
    sent = [entry.label.removeprefix("run/masked_sum.1/") for entry in log if entry.sender == "h02"]
    received = [entry.label.removeprefix("run/masked_sum.1/") for entry in log if entry.receiver == "h02"]
    assert sent == [
        "advert.1", "deal.1", "ready.1", "counts.1", "values.1", "survivors-signature.1", "shares.1",
        "turn-1-signature.1", "items.1", "late-shares.1",
    ]  # fmt: skip
    assert received == [
        "adverts.1", "deals.1", "grant.1", "survivors.1", "certificate.1", "turn-1.1", "turn-2.1", "turn-3.1",
    ]  # fmt: skip


def test_every_stage_tells_how_far_it_is() -> None:
    about, news = Sum(3), list[Progress]()
    about.run(observer=lambda party, one: news.append(one) if party == COLLECTOR else None)
    stages = list(dict.fromkeys(one.stage for one in news))
    assert stages == [
        "gathering", "sharing keys", "submitting", "signing", "opening counts", "opening values", "finishing",
    ]  # fmt: skip
    assert all(one.total == 3 and one.done <= 3 for one in news)


def test_few_submissions_and_openings_are_on_their_way_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What bounds the collector's memory: of 15 holders at most four have a grant whose answer is not added yet."""
    about, open_grants, most = Sum(15), set[tuple[str, str]](), list[int]()

    class Counting(ChannelWrapper):
        async def send(self, label: str, parts: Sequence[Buffer]) -> None:
            name = label.rpartition("/")[2]
            if name in ("grant.1", "turn-2.1"):
                open_grants.add((self.peer, name))
                most.append(len(open_grants))
            await super().send(label, parts)

        async def recv(self, label: str, limit: int, timeout: float) -> memoryview:
            message = await super().recv(label, limit, timeout)
            name = {"values.1": "grant.1", "late-shares.1": "turn-2.1"}.get(label.rpartition("/")[2])
            if name:
                # The message is held until it is added, which the next grant waits for.
                asyncio.get_running_loop().call_soon(open_grants.discard, (self.peer, name))
            return message

    about.check(
        about.run(wrap=lambda party, c: Counting(c) if party == COLLECTOR else c), survivors=about.holders
    )  # fmt: skip
    assert len(most) == 30
    assert max(most) == GRANTS


def test_an_owner_that_refuses_the_survivors_ends_the_run_before_anything_opens() -> None:
    about = Sum(7)

    async def admit(survivors: tuple[str, ...]) -> None:
        raise PrivacyError("these holders differ from an earlier union's by one", code="differencing_holders")

    opened: list[Any] = []

    def decide(counts: Any) -> list[int]:
        opened.append(counts)
        return []

    run = about.run({"h03": about.holder("h03", admit=admit)}, collector=about.collector(decide))
    error = run.outcomes[COLLECTOR].error
    assert isinstance(error, PrivacyError)
    assert error.code == "differencing_holders"
    assert error.party == "h03"
    assert not opened


def test_an_owner_that_refuses_the_units_ends_the_run() -> None:
    about = Sum(7)

    def check_shown(shown: Any) -> None:
        raise PrivacyError("not these", code="test_units")

    run = about.run({"h03": about.holder("h03", check_shown=check_shown)})
    assert isinstance(run.outcomes[COLLECTOR].error, PrivacyError)


async def test_a_node_that_asks_and_holds_runs_both_roles() -> None:
    """The collector's own holder has a link within the process; the sessions differ in how they name the collector."""
    about = Sum(3)
    asker = "h01"
    mine = collector_name(asker)
    assert not NAME_PATTERN.match(mine)
    at_collector, sessions = {}, []
    for holder in about.holders:
        # Others know the collector by its party's name.
        known_as = mine if holder == asker else asker
        there, here = local_pair(known_as, holder)
        at_collector[holder] = there
        sessions.append(Session(holder, {known_as: here}, id=about.job.id))
    s = Session(mine, at_collector, id=about.job.id, rng=Rng(about.job.id))
    programs = [about.holder(one.me)(one) for one in sessions]
    totals, *receipts = await asyncio.gather(about.collector()(s), *programs)
    await asyncio.gather(*(one.close() for one in (s, *sessions)))
    assert totals.counts == about.plain_counts(about.holders)
    assert [r.survivors for r in receipts] == [about.holders] * 3
    assert isinstance(totals, Totals)


def test_strangers_to_the_roster_are_the_callers_error() -> None:
    about = Sum(3)

    async def stranger(s: Session) -> None:
        await masked_sum_holder(
            s, SumJob(bytes(32), Roster(names(2), 2), about.shape, 1.0), KeyedIdentity("h02"),
            about.contribution("h02"), _admit_all, lambda shown: None,
        )  # fmt: skip

    async def collector(s: Session) -> None:
        await masked_sum_collector(
            s, SumJob(bytes(32), Roster(names(2), 2), about.shape, 1.0), KeyedIdentity("x"), lambda counts: []
        )

    run = about.run({"h02": stranger}, collector=collector)
    codes = {p: getattr(run.outcomes[p].error, "code", None) for p in ("h02", COLLECTOR)}
    assert codes == {"h02": "bad_roster", COLLECTOR: "bad_parties"}


async def _admit_all(survivors: tuple[str, ...]) -> None:
    return None


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: SumShape(1, (), 64),
        lambda: SumShape(1, (0,), 64),
        lambda: SumShape(1, (1,), 96),
        lambda: SumShape(-1, (1,), 64),
        lambda: SumShape(1, (1 << 26, 1 << 26), 128),
        lambda: Roster(("b", "a"), 2),
        lambda: Roster(("a", "a"), 2),
        lambda: Roster(("a",), 2),
        lambda: Roster(("a", "b"), 1),
        lambda: Roster(("a", "b"), 3),
        lambda: SumJob(bytes(31), Roster(("a", "b"), 2), SumShape(1, (1,), 64), 1.0),
        lambda: SumJob(bytes(32), Roster(("a", "b"), 2), SumShape(1, (1,), 64), 0.0),
        lambda: Contribution.of(SumShape(1, (1,), 64), [1], []),
        lambda: Contribution.of(SumShape(1, (1,), 64), [-1], [1]),
        lambda: Contribution.of(SumShape(1, (1,), 64), [1 << 63], [1]),
        lambda: Contribution.of(SumShape(1, (1,), 64), [1], [1 << 63]),
        lambda: Contribution.of(SumShape(1, (1,), 128), [1], np.ones((1, 2), np.int64)),
        lambda: Contribution.of(SumShape(1, (2,), 64), [1], [1, 2]).check(SumShape(1, (2,), 128)),
    ],
)
def test_what_cannot_be_a_sum_is_refused(wrong: Any) -> None:
    with pytest.raises(UsageError):
        wrong()


def test_thresholds_are_above_two_thirds() -> None:
    assert [Roster.threshold(n) for n in (2, 3, 4, 5, 6, 7, 10, 100)] == [2, 3, 3, 4, 5, 5, 7, 67]
    for n in range(2, 200):
        t = Roster.threshold(n)
        assert 3 * t > 2 * n >= 3 * (t - 1)
        assert 2 * t - n >= 1
