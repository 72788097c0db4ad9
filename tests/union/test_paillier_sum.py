"""Sums under Paillier's encryption with two roles, against plain sums; who leaves, and who cheats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from support.leaving import Leaving
from support.paillier_sum import BITS, KEEPER, PATIENCE, SHAPE, party, run
from support.union import COLLECTOR, SIGNATURE, KeyedIdentity, Sum

from privcompute.errors import IntegrityError, PeerError, PrivacyError
from privcompute.he.paillier import Blinded, Encryptor, PrivateKey, Values
from privcompute.randomness import system_stream
from privcompute.session import Session
from privcompute.session.session import HEADER
from privcompute.union import Receipt, SumShape, Totals
from privcompute.union import messages as m
from privcompute.union import paillier_collector as collector_file
from privcompute.union.paillier import ROUNDS
from privcompute.union.paillier_cost import paillier_sum_cost
from privcompute.union.paillier_messages import Layout, key_message, read_key


@pytest.mark.parametrize("key_holder", ["h01", KEEPER])
@pytest.mark.parametrize(("shape", "shown"), [(SHAPE, (0, 2)), (SHAPE, ()), (SumShape(0, (5, 3), 192), (1,))])
def test_the_plain_sum(key_holder: str, shape: SumShape, shown: tuple[int, ...]) -> None:
    about = Sum(4, shape, patience=PATIENCE)
    done = run(about, key_holder, shown=shown)
    totals = about.check(done, survivors=about.holders, shown=shown)
    assert totals.dropped == {}
    assert done.results[key_holder] == Receipt(about.holders, shown)
    assert about.admitted == {key_holder: about.holders}
    # A mere holder leaves before anything is opened.
    assert done.results["h00"] == Receipt((), ())
    assert done.rounds <= ROUNDS


@pytest.mark.parametrize("key_holder", ["h01", KEEPER])
def test_rounds_and_bytes_are_those_that_are_announced(key_holder: str) -> None:
    about = Sum(4, SHAPE, patience=PATIENCE)
    done = run(about, key_holder)
    assert done.rounds == ROUNDS if key_holder in about.holders else done.rounds <= ROUNDS
    holder, keyed = paillier_sum_cost(SHAPE, 4, (0, 2), signature=SIGNATURE, bits=BITS)
    meter = done.outcomes[COLLECTOR].meter
    links = [holder] * 4 + [keyed]
    assert meter.bytes_received == sum(one.by_holder + one.holder_messages * HEADER.size for one in links)
    assert meter.bytes_sent == sum(one.by_collector + one.collector_messages * HEADER.size for one in links)


# -- who leaves --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["break", "twice"])
@pytest.mark.parametrize("label", ["/ready", "/counts", "/values", "/signature"])
def test_a_holder_that_leaves_is_not_in_the_sum(label: str, how: str) -> None:
    about = Sum(4, SHAPE, patience=PATIENCE)
    wrap = lambda name, channel: Leaving(channel, label, how) if name == "h02" else channel  # noqa: E731
    done = run(about, wrap=wrap)
    survivors = [h for h in about.holders if h != "h02"]
    totals = about.check(done, survivors=survivors, shown=(0, 2))
    assert set(totals.dropped) == {"h02"}


def test_a_holder_may_leave_once_its_part_is_taken() -> None:
    about = Sum(3, SHAPE, patience=PATIENCE)
    order: list[str] = []

    async def admit(survivors: tuple[str, ...]) -> None:
        order.append("opening")

    async def leaves(s: Session) -> None:
        await party(about, "h02", "h01")(s)
        await s.close()
        order.append("gone")

    done = run(about, others={"h01": party(about, "h01", "h01", admit=admit), "h02": leaves})
    about.check(done, survivors=about.holders, shown=(0, 2))
    assert set(order) == {"opening", "gone"}


def test_too_few_holders() -> None:
    about = Sum(4, SHAPE, patience=PATIENCE, quorum=4)
    done = run(about, wrap=lambda name, channel: Leaving(channel, "/values", "break") if name == "h02" else channel)
    error = done.outcomes[COLLECTOR].error
    assert isinstance(error, PeerError)
    assert error.code == "quorum_lost_after_admission"
    assert about.admitted == {}


@pytest.mark.parametrize("label", ["/key", "/go", "/opened-counts", "/opened-values"])
def test_without_the_key_holder_nothing_goes(label: str) -> None:
    about = Sum(3, SHAPE, patience=PATIENCE)
    wrap = lambda name, channel: Leaving(channel, label, "break") if name == KEEPER else channel  # noqa: E731
    error = run(about, KEEPER, wrap=wrap).outcomes[COLLECTOR].error
    assert error is not None
    assert getattr(error, "party", None) == KEEPER


def test_an_owner_who_holds_the_key_refuses() -> None:
    async def admit(survivors: tuple[str, ...]) -> None:
        raise PrivacyError("these holders differ too little from earlier ones", code="differencing_holders")

    about = Sum(3, SHAPE, patience=PATIENCE)
    done = run(about, others={"h01": party(about, "h01", "h01", admit=admit)})
    assert isinstance(done.outcomes[COLLECTOR].error, PrivacyError)


# -- who cheats --------------------------------------------------------------------------------------------------------


def test_a_key_that_another_signed_is_not_used() -> None:
    about = Sum(3, SHAPE, patience=PATIENCE)
    done = run(about, others={"h01": party(about, "h01", "h01", identity=KeyedIdentity("h00"))})
    error = done.outcomes[COLLECTOR].error
    assert isinstance(error, IntegrityError)
    assert error.code == "signature"


def test_a_key_of_another_job_is_not_used() -> None:
    own, identity = PrivateKey.generate(BITS), KeyedIdentity("h01")
    about, other = Sum(3, SHAPE, patience=PATIENCE), Sum(3, SHAPE, patience=PATIENCE, attempt=2)
    raw = key_message(own, other.job, "h01", identity)
    with pytest.raises(IntegrityError):
        read_key(raw, about.job, "h01", identity, BITS)
    good = key_message(own, about.job, "h01", identity)
    assert read_key(good, about.job, "h01", identity, BITS) == own.public
    for bad in (good[:-1], good + b"\0", b"", good[:2]):
        with pytest.raises((PeerError, IntegrityError)):
            read_key(bad, about.job, "h01", identity, BITS)
    with pytest.raises(PeerError):
        read_key(good, about.job, "h01", identity, 3072)


@pytest.mark.parametrize("what", ["counts", "values", "signature"])
def test_garbage_in_place_of_a_submission(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    about = Sum(4, SHAPE, patience=PATIENCE)

    class Garbles(Leaving):
        async def send(self, label: str, parts: Sequence[Any]) -> None:
            if f"/{what}." in label:
                parts = [parts[0], b"\xff" * len(memoryview(parts[1]).cast("B"))]
            await self.inner.send(label, parts)

    done = run(about, wrap=lambda name, channel: Garbles(channel, "", "break") if name == "h02" else channel)
    totals = about.check(done, survivors=[h for h in about.holders if h != "h02"], shown=(0, 2))
    assert totals.dropped["h02"] in ("bad_ciphertext", "signature")


def test_the_key_holder_opens_no_sum_of_fewer_than_the_quorum() -> None:
    about = Sum(4, SHAPE, patience=PATIENCE, quorum=3)

    async def greedy(s: Session) -> Totals:
        """A collector that names two of four, as if the others had dropped out."""
        s = s.child("paillier_sum")
        me = collector_file.PaillierCollector(s, about.job, "h01", KeyedIdentity("nobody"), BITS)
        await me.take_key()
        await me.collect_submissions()
        for holder in (2, 3):
            del me._signed[holder]
        await me.name_survivors()
        raise AssertionError("the key holder went on")

    done = run(about, asks=greedy)
    error = done.outcomes["h01"].error
    assert isinstance(error, IntegrityError)
    assert error.code == "bad_survivors"


def test_the_key_holder_opens_each_part_once_and_no_more_than_named() -> None:
    about = Sum(3, SHAPE, patience=PATIENCE)

    async def greedy(s: Session) -> Totals:
        """A collector that names one unit and asks for two."""
        s = s.child("paillier_sum")
        me = collector_file.PaillierCollector(s, about.job, "h01", KeyedIdentity("nobody"), BITS)
        await me.take_key()
        await me.collect_submissions()
        await me.name_survivors()
        await me.open_counts()
        await s.send_bytes("h01", "shown", m.write_set((0,), 3))
        assert me._values is not None
        raw, _ = me._blind(me._values.select(me._layout.ciphertexts_of((0, 2))))
        await s.send_bytes("h01", "blinded-values", raw)
        await s.recv_bytes("h01", "opened-values", len(raw))
        raise AssertionError("the key holder went on")

    done = run(about, asks=greedy)
    assert getattr(done.outcomes["h01"].error, "code", "") == "oversize"


def test_a_key_holder_that_answers_at_random_is_found() -> None:
    about = Sum(3, SHAPE, patience=PATIENCE)

    class Lies(Leaving):
        async def send(self, label: str, parts: Sequence[Any]) -> None:
            if "/opened-counts." in label:
                size = len(memoryview(parts[1]).cast("B"))
                parts = [parts[0], (system_stream("test").bytes(size - 1) + b"\0")]
            await self.inner.send(label, parts)

    done = run(about, wrap=lambda name, channel: Lies(channel, "", "break") if name == "h01" else channel)
    assert getattr(done.outcomes[COLLECTOR].error, "code", "") in ("slot_out_of_bounds", "bad_plaintext")


# -- what the key holder sees ------------------------------------------------------------------------------------------


def _plaintexts(about: Sum, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the key holder decrypts in a run."""
    seen: list[bytes] = []
    real = PrivateKey.open_blinded

    def watch(self: PrivateKey, blinded: Blinded) -> bytes:
        seen.append(real(self, blinded))
        return seen[-1]

    with monkeypatch.context() as patch:
        patch.setattr(PrivateKey, "open_blinded", watch)
        about.check(run(about), survivors=about.holders, shown=(0, 2))
    return seen


def _found(about: Sum, seen: Sequence[bytes]) -> bool:
    """Whether the counts' sums stand in what the key holder saw: the attack on sums without masks."""
    layout = Layout.of(about.shape, about.n, BITS)
    low = int.from_bytes(seen[0], "little") % (1 << layout.counts.width)
    return low in set(about.plain_counts(about.holders))


def test_the_key_holder_sees_masked_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    about = Sum(3, SHAPE, patience=PATIENCE)
    seen = _plaintexts(about, monkeypatch)
    assert not _found(about, seen)
    again = _plaintexts(about, monkeypatch)
    assert all(one != other for one, other in zip(seen, again, strict=True))


def test_without_masks_the_key_holder_reads_the_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """The zoo: a collector that forgets the masks gives the sums away, and the attack above finds them."""

    class NoMask:
        def __init__(self, batch: Any) -> None:
            self.batch = batch

        def remove(self, opened: bytes) -> Values:
            size = BITS // 8
            rows = [int.from_bytes(opened[at : at + size], "little") for at in range(0, len(opened), size)]
            numbers = []
            for row in rows:
                for slot in range(self.batch.packing.per_ciphertext):
                    cut = row >> slot * self.batch.packing.width & (1 << self.batch.packing.width) - 1
                    numbers.append(cut + self.batch.interval.low)
            return Values(tuple(numbers[: len(self.batch)]), self.batch.packing.encoding.step)

    def careless(self: Encryptor, batch: Any) -> tuple[Blinded, Any]:
        fresh = batch.fresh(self)
        return Blinded(fresh.key, fresh.rows), NoMask(batch)

    monkeypatch.setattr(Encryptor, "blind", careless)
    about = Sum(3, SHAPE, patience=PATIENCE)
    assert _found(about, _plaintexts(about, monkeypatch))
