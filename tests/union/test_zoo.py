"""The zoo: holders weakened on purpose, a collector's attack that recovers one's numbers from each, and its failure.

Every attack runs against the real holder too, and there it is refused, or what it computes is not the victim's number.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from support.masked_world import World
from support.union import COLLECTOR, KeyedIdentity, Sum

from privcompute.errors import IntegrityError
from privcompute.randomness import Stream
from privcompute.testing import Outcome
from privcompute.union import Contribution, Roster, SumShape
from privcompute.union import holder as holder_module
from privcompute.union import messages as m
from privcompute.union.collector import Collector
from privcompute.union.holder import Holder
from privcompute.union.job import Words, from_limbs
from privcompute.union.keys import derived
from privcompute.union.streams import UnitMasks, apply_pair

VICTIM = 2


# -- single masking ----------------------------------------------------------------------------------------------------


class SingleMasks(Holder):
    """Adds the masks of pairs, but none of its own."""

    def mask(self, contribution: Contribution) -> tuple[Words, Words]:
        counts, values = contribution.counts.copy(), contribution.values.copy()
        for other in self._deals:
            if other != self._me:
                low, high = sorted((self._me, other))
                shared = self._secrets.masking.agree(self._adverts[other].masking)
                key = derived(shared, self._job.id, m.pair_info(self._view, "mask", low, high))
                apply_pair(counts, values, key, plus=self._me == low)
        return counts, values


def _call_a_slow_holder_dropped(kind: type[Holder]) -> tuple[World, list[int], list[int]]:
    """The collector keeps a submission that came late, says that it did not come, and is given the masking key."""
    world = World(Sum(7), kind)
    world.submit()
    survivors = [i for i in world.all if i != VICTIM]
    certificate = world.certify(survivors)
    rows = {}
    for i in survivors:
        world.holders[i].check_certificate(certificate)
        rows[i] = world.holders[i].shares()
    secret = world.recover(VICTIM, rows, Roster.threshold(7))
    counts, values = world.without_pairs(VICTIM, {VICTIM: secret})
    return world, [int(c) for c in counts], from_limbs(values)


def test_a_single_mask_shows_the_numbers_of_one_that_is_called_late() -> None:
    world, counts, values = _call_a_slow_holder_dropped(SingleMasks)
    victim = world.names[VICTIM]
    assert counts == world.about.counts[victim]
    assert values == world.about.values[victim]


def test_a_double_mask_does_not() -> None:
    world, counts, values = _call_a_slow_holder_dropped(Holder)
    victim = world.names[VICTIM]
    assert not set(counts) & set(world.about.counts[victim])
    assert not set(values) & set(world.about.values[victim])


# -- both kinds of shares ----------------------------------------------------------------------------------------------


def _ask_for_both_kinds(world: World) -> list[int]:
    """Two sets of survivors, one with the victim and one without, each certified: both of its secrets come out."""
    secrets = []
    for survivors in (list(world.all), [i for i in world.all if i != VICTIM]):
        certificate = world.certify(survivors)
        rows = {}
        for i in survivors:
            world.holders[i].check_certificate(certificate)
            rows[i] = world.holders[i].shares()
        secrets.append(world.recover(VICTIM, rows, Roster.threshold(7)))
    counts, _ = world.without_pairs(VICTIM, {VICTIM: secrets[1]})
    return world.without_own(counts, secrets[0])


class Forgetful(Holder):
    """Does not remember that it has signed a set of survivors."""

    def take_survivors(self, raw: bytes) -> tuple[str, ...]:
        self._survivors = ()
        return super().take_survivors(raw)


def test_both_kinds_of_shares_show_the_numbers() -> None:
    world = World(Sum(7), Forgetful)
    world.submit()
    assert _ask_for_both_kinds(world) == world.about.counts[world.names[VICTIM]]


def test_a_holder_signs_one_set_of_survivors() -> None:
    world = World(Sum(7))
    world.submit()
    with pytest.raises(IntegrityError) as caught:
        _ask_for_both_kinds(world)
    assert caught.value.code == "survivors_changed"


# -- lying lists of survivors ------------------------------------------------------------------------------------------


class AnySurvivors(Holder):
    """Agrees to any list of survivors, however short, itself in it or not."""

    def take_survivors(self, raw: bytes) -> tuple[str, ...]:
        self._survivors = m.read_set(raw, len(self._names))
        self._text = m.survivors_text(self._job, self._view, sorted(self._deals), self._survivors)
        return ()


def _name_the_victim_alone(world: World) -> list[int]:
    """All others are called dropped: their masking keys and the victim's own seed come out together."""
    survivors = [VICTIM]
    certificate = world.certify(survivors, signers=world.all)
    rows = {}
    for i in world.all:
        if world.kind is Holder:
            world.holders[i].check_certificate(certificate)
        rows[i] = world.holders[i].shares()
    t = Roster.threshold(7)
    seed = world.recover(VICTIM, rows, t)
    secrets = {i: world.recover(i, rows, t) for i in world.all if i != VICTIM}
    counts, _ = world.without_pairs(VICTIM, secrets)
    return world.without_own(counts, seed)


def test_a_short_list_of_survivors_shows_the_numbers_of_the_one_on_it() -> None:
    world = World(Sum(7), AnySurvivors)
    world.submit()
    assert _name_the_victim_alone(world) == world.about.counts[world.names[VICTIM]]


def test_a_short_list_is_refused() -> None:
    world = World(Sum(7))
    world.submit()
    with pytest.raises(IntegrityError) as caught:
        _name_the_victim_alone(world)
    assert caught.value.code == "bad_survivors"


def _two_lists(world: World, threshold: int) -> list[int]:
    """Half of the holders hear that the victim survived, the others that it did not; each half signs its list."""
    everyone, without = list(world.all), [i for i in world.all if i != VICTIM]
    secrets = []
    for survivors, half in ((everyone, everyone[:4]), (without, everyone[4:])):
        certificate = world.certify(survivors, signers=half)
        rows = {}
        for i in half:
            world.holders[i].check_certificate(certificate)
            rows[i] = world.holders[i].shares()
        secrets.append(world.recover(VICTIM, rows, threshold))
    counts, _ = world.without_pairs(VICTIM, {VICTIM: secrets[1]})
    return world.without_own(counts, secrets[0])


def test_two_lists_show_the_numbers_where_half_of_the_holders_suffice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Roster, "threshold", staticmethod(lambda n: n // 2))
    world = World(Sum(8))
    world.submit()
    assert _two_lists(world, 4) == world.about.counts[world.names[VICTIM]]


def test_two_lists_find_too_few_signatures() -> None:
    world = World(Sum(8))
    world.submit()
    with pytest.raises(IntegrityError) as caught:
        _two_lists(world, 4)
    assert caught.value.code == "certificate"


# -- one seed for several units ----------------------------------------------------------------------------------------


class SameMasks(UnitMasks):
    """Starts the stream anew for every unit."""

    def items(self, seed: bytes) -> Words:
        return np.concatenate([Stream(seed).uint64(2) for _ in range(self.words // 2)])


def _open_the_suppressed(monkeypatch: pytest.MonkeyPatch, masks: type[UnitMasks]) -> tuple[Sum, list[int]]:
    """Takes the masks of the unit that was shown off the one that was not."""
    about = Sum(5, SumShape(1, (2, 2), 64))
    seen: list[Collector] = []
    given: list[Words] = []

    class Curious(Collector):
        async def open_values(self, shown: tuple[int, ...]) -> dict[int, tuple[int, ...]]:
            self.hidden = self._values[2:].reshape(-1).copy()
            seen.append(self)
            return await super().open_values(shown)

    def keep(self: UnitMasks, values: Words, items: Iterable[Words], *, plus: bool) -> None:
        given.extend(items := list(items))
        change(self, values, items, plus=plus)

    change = UnitMasks.change
    monkeypatch.setattr("privcompute.union.collector.UnitMasks.change", keep)
    monkeypatch.setattr(holder_module, "UnitMasks", masks)
    monkeypatch.setattr("privcompute.union.masks.Collector", Curious)
    about.check(about.run(shown=(0,)), survivors=about.holders, shown=(0,))
    (collector,) = seen
    hidden = collector.hidden  # type: ignore[attr-defined]  # set above
    opened = [items for items in given if len(items) == 2]  # of one unit: the collector's; a holder's are of both
    assert len(opened) == about.n
    for items in opened:
        hidden = hidden - items
    return about, from_limbs(hidden.reshape(-1, 1))


def test_one_stream_for_all_units_shows_what_was_suppressed(monkeypatch: pytest.MonkeyPatch) -> None:
    about, hidden = _open_the_suppressed(monkeypatch, SameMasks)
    assert tuple(hidden) == about.plain_values(about.holders, (1,))[1]


def test_units_have_masks_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    about, hidden = _open_the_suppressed(monkeypatch, UnitMasks)
    assert not set(hidden) & set(about.plain_values(about.holders, (1,))[1])


# -- keys that nobody signed -------------------------------------------------------------------------------------------


class Credulous(KeyedIdentity):
    """Takes any signature for good."""

    def verify(self, party: str, message: bytes, signature: bytes) -> None:
        return None


class Impostor(KeyedIdentity):
    """Of the collector's making: has not got the long-term key of the party it plays."""

    def sign(self, message: bytes) -> bytes:
        return bytes(32)

    def verify(self, party: str, message: bytes, signature: bytes) -> None:
        return None


def _play_all_others(monkeypatch: pytest.MonkeyPatch, victim: KeyedIdentity) -> tuple[Sum, dict[str, Outcome]]:
    """The collector plays every other holder, all with zeros: the sum is the victim's contribution."""
    about = Sum(5)
    for name in set(about.holders) - {"h02"}:
        about.counts[name] = [0] * about.shape.counts
        about.values[name] = [0] * about.shape.values
    identities = {name: Impostor(name) for name in about.holders} | {"h02": victim}
    monkeypatch.setattr("support.union.KeyedIdentity", lambda name: identities.get(name, Impostor(name)))
    return about, about.run().outcomes


def test_keys_that_nobody_signed_let_the_collector_play_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    about, outcomes = _play_all_others(monkeypatch, Credulous("h02"))
    assert outcomes[COLLECTOR].result.counts == tuple(about.counts["h02"])


def test_a_holder_looks_at_the_signatures_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    _, outcomes = _play_all_others(monkeypatch, KeyedIdentity("h02"))
    error = outcomes["h02"].error
    assert isinstance(error, IntegrityError)
    assert error.code == "signature"
    assert "h02" not in outcomes[COLLECTOR].result.survivors


def test_the_attacks_take_what_holders_give() -> None:
    """The tools of the attacks are right: with every secret of the victim they find its numbers."""
    world = World(Sum(7))
    world.submit()
    own = world.holders[VICTIM]._secrets
    counts, _ = world.without_pairs(VICTIM, {VICTIM: own.masking.secret})
    assert world.without_own(counts, own.counts) == world.about.counts[world.names[VICTIM]]
