"""What the collector sees is noise: a submission is uniform, and a suppressed unit's sum could be any number."""

from __future__ import annotations

import numpy as np
import pytest
from support.leaving import STAGES, Leaving
from support.masked_world import World
from support.union import COLLECTOR, Sum

from privcompute.session import Channel
from privcompute.testing import Entry, RecordingChannel, Simulation
from privcompute.union import Contribution, SumShape
from privcompute.union.holder import Holder
from privcompute.union.job import Words


def _chi_square(values: np.ndarray, bins: int) -> float:
    counts = np.bincount(values, minlength=bins)
    expected = len(values) / bins
    return float(((counts - expected) ** 2).sum() / expected)


@pytest.mark.parametrize("value", [0, -1, 2**40])
def test_one_submission_is_uniform_whatever_is_in_it(value: int) -> None:
    """The bytes of one holder's masked counts and values: 255 degrees of freedom, mean 255, deviation 22.6."""
    about = Sum(3, SumShape(20_000, (1,) * 3000 + (7000,) * 2, 64))
    for holder in about.holders:
        about.counts[holder] = [abs(value)] * 20_000
        about.values[holder] = [value] * 17_000
    world = World(about)
    world.submit()
    for counts, values in world.submitted.values():
        for array in (counts, values):
            assert abs(_chi_square(array.view(np.uint8).reshape(-1), 256) - 255) < 7 * 22.6
            # Low and high halves of a word, and neighbours, go with each other by chance only.
            bits = np.unpackbits(array.reshape(-1).view(np.uint8)).reshape(-1, 64).astype(np.int64)
            same = (bits[:-1] == bits[1:]).mean()
            assert abs(same - 0.5) < 7 * 0.5 / np.sqrt(bits[1:].size)


def test_submissions_of_one_value_over_many_attempts_are_uniform() -> None:
    """The first word of the same holder with the same numbers, by attempts: 15 degrees of freedom, deviation 5.5."""
    words = []
    for attempt in range(160):
        about = Sum(3, SumShape(1, (1,), 128), attempt=attempt)
        world = World(about)
        world.submit()
        counts, values = world.submitted[1]
        words += [int(counts[0]) >> 60, int(values[0, 0]) >> 60, int(values[0, 1]) >> 60]
    assert _chi_square(np.array(words), 16) < 15 + 6 * 5.5


class _Shifted(Holder):
    """As if its own mask of the second unit were less by one, and its number more by one."""

    def mask(self, contribution: Contribution) -> tuple[Words, Words]:
        changed = contribution.values.copy()
        changed[self._job.shape.starts[1], 0] += np.uint64(1)
        counts, values = super().mask(Contribution(contribution.counts, changed))
        values[self._job.shape.starts[1], 0] -= np.uint64(1)
        return counts, values


def _seen_by_the_collector(about: Sum, shown: tuple[int, ...]) -> tuple[Simulation, list[Entry]]:
    """A run with fixed randomness in which one holder goes missing between the openings; what the collector gets."""
    log: list[Entry] = []

    def wrap(party: str, channel: Channel) -> Channel:
        recording = RecordingChannel(channel, party, log)
        return Leaving(recording, STAGES["between the openings"], "break") if party == "h04" else recording

    run = about.run(wrap=wrap, shown=shown, seed=b"one view, two worlds")
    return run, [entry for entry in log if entry.receiver == COLLECTOR]


def test_a_suppressed_sum_is_not_determined_by_all_that_the_collector_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two worlds whose suppressed sums differ and whose views are the same, byte by byte, with a missing holder too.

    The second world has another own mask of the suppressed unit at one holder that stays. That mask comes from a
    pseudo-random stream that nothing in the view depends on, so both worlds are equally likely.
    """
    about = Sum(5, SumShape(2, (2, 3, 1), 64))
    run, view = _seen_by_the_collector(about, (0, 2))
    about.check(run, survivors=about.holders, shown=(0, 2))
    monkeypatch.setattr("privcompute.union.masks.Holder", _of_one)
    run, other = _seen_by_the_collector(about, (0, 2))
    about.check(run, survivors=about.holders, shown=(0, 2))
    assert len(view) > 40
    assert sorted(view, key=str) == sorted(other, key=str)


def test_a_shown_sum_is_determined(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: what opens the unit opens the number under the mask that it was."""
    about = Sum(5, SumShape(2, (2, 3, 1), 64))
    monkeypatch.setattr("privcompute.union.masks.Holder", _of_one)
    run, _ = _seen_by_the_collector(about, (1,))
    # As if the holder's number were the plain one: the shift of the mask was only claimed.
    about.check(run, survivors=about.holders, shown=(1,))
    monkeypatch.setattr(_Shifted, "mask", _really_more)
    run, _ = _seen_by_the_collector(about, (1,))
    with pytest.raises(AssertionError):
        about.check(run, survivors=about.holders, shown=(1,))


def _really_more(self: Holder, contribution: Contribution) -> tuple[Words, Words]:
    changed = contribution.values.copy()
    changed[self._job.shape.starts[1], 0] += np.uint64(1)
    return Holder.mask(self, Contribution(contribution.counts, changed))


def _of_one(s: object, *rest: object) -> Holder:
    return (_Shifted if s.me == "h01" else Holder)(s, *rest)  # type: ignore[attr-defined,arg-type]  # as they came
