"""What an owner changes between the making of a table and its delivery, on both sides; two releases at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest
from support.deliveries import ANONYMOUS, MASK, ROWS, Deliveries, people

from privcompute.errors import ConsentNeeded, PrivacyError, PrivcomputeError, UsageError
from privcompute.node import operations
from privcompute.node.delivery import spool
from privcompute.session import Channel
from privcompute.testing.wrapper import ChannelWrapper

Change = Callable[[Deliveries], Any]


async def released(world: Deliveries, policy: str, consent: Callable[[Any], bool | Awaitable[bool]]) -> Any:
    """A release whose owner does something before agreeing."""
    file = world.place / f"policy{hash(policy)}.toml"
    if not file.exists():
        file.write_text(policy)
    call = {
        "op": "release",
        "dataset": "patients",
        "to": "insurer",
        "policy": str(file),
        "purpose": "research",
        "keys": str(world.place / "keys.toml"),
        "despite_earlier": False,
    }
    return await operations.perform(world.nodes["hospital"], call, consent, lambda news: None)


def _stricter(world: Deliveries) -> None:
    world.nodes["hospital"].store.database.run("UPDATE datasets SET grades = ?", (json.dumps({"name": "important"}),))


def _unshared(world: Deliveries) -> None:
    world.nodes["hospital"].store.database.run("UPDATE datasets SET partners = ?", ('["clinic"]',))


def _unpaired(world: Deliveries) -> None:
    world.nodes["hospital"].store.peers.remove("insurer")


def _removed(world: Deliveries) -> None:
    world.nodes["hospital"].store.datasets.remove("patients")


def _abroad(world: Deliveries) -> None:
    _graded(world)
    node = world.nodes["hospital"]
    node.config = replace(node.config, grades=replace(node.config.grades, abroad=("insurer",)))


def _graded(world: Deliveries) -> None:
    grades = {"id": "general-1/human-genetic-resources", "name": "general-1", "age": "general-1"}
    world.nodes["hospital"].store.database.run("UPDATE datasets SET grades = ?", (json.dumps(grades),))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (_stricter, "grade"),
        (_unshared, "not_shared"),
        (_unpaired, "no_peer"),
        (_removed, "no_dataset"),
        (_abroad, "grade"),
    ],
)
async def test_a_change_before_the_first_piece_counts(world: Deliveries, change: Change, code: str) -> None:
    def consent(plan: Any) -> bool:
        change(world)
        return True

    with pytest.raises(PrivcomputeError) as caught:
        await released(world, MASK, consent)
    assert caught.value.code == code
    assert world.events("hospital").count("table_sending") == 0
    assert world.events("hospital").count("release_refused") == (1 if isinstance(caught.value, PrivacyError) else 0)
    assert world.nodes["hospital"].store.sent.left("patients", "") == []
    assert not [one for one in world.nodes["insurer"].store.received.all() if one.state == "received"]


async def test_a_change_between_two_attempts_counts(world: Deliveries) -> None:
    """Grades are asked again when the link is made anew, not only for the first one."""
    from privcompute.errors import TransportError

    class Cut(ChannelWrapper):
        async def recv(self, label: str, limit: int, timeout: float) -> memoryview:
            if label.startswith("delivery/piece"):
                _stricter(world)
                raise TransportError("the link is gone", code="closed", party=self.peer)
            return await super().recv(label, limit, timeout)

    world.wrap = lambda party, asker, channel: Cut(channel)
    with pytest.raises(PrivacyError) as caught:
        await world.release()
    assert caught.value.code == "grade"
    assert "name" in caught.value.message


async def test_a_source_that_is_written_over_while_it_is_read(
    world: Deliveries, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, source = spool.write_stream, world.place / "hospital.parquet"
    world.nodes["hospital"].store.database.run("UPDATE datasets SET source = ?", (str(source),))

    def meanwhile(path: Path, tables: Any) -> Any:
        done = real(path, tables)
        parquet.write_table(people(ROWS - 1), source)
        return done

    monkeypatch.setattr(spool, "write_stream", meanwhile)
    with pytest.raises(UsageError) as caught:
        await world.release()
    assert caught.value.code == "stale_entry"
    assert not list((world.place / "hospital" / "spool").rglob("*.*"))


async def test_of_two_releases_at_once_one_delivers(world: Deliveries) -> None:
    """The second one takes the place of the first, which waits for consent: without a row in the ledger it stays."""
    other = ANONYMOUS

    async def consent(plan: Any) -> bool:
        await released(world, other, lambda plan: True)
        return True

    with pytest.raises(PrivcomputeError) as caught:
        await released(world, MASK, consent)
    assert caught.value.code in ("second_release", "superseded")
    (sent,) = world.nodes["hospital"].store.sent.all()
    assert (sent.manifest.kind, sent.state) == ("anonymized", "delivered")
    arrived = [one for one in world.nodes["insurer"].store.received.all() if one.state == "received"]
    assert [one.manifest.id for one in arrived] == [sent.manifest.id]


async def test_nothing_leaves_without_its_row_in_the_ledger(world: Deliveries) -> None:
    def consent(plan: Any) -> bool:
        assert world.nodes["hospital"].store.sent.drop(plan["delivery"]["id"])
        return True

    with pytest.raises(UsageError) as caught:
        await released(world, MASK, consent)
    assert caught.value.code == "superseded"
    assert not [one for one in world.nodes["insurer"].store.received.all() if one.state == "received"]


async def test_the_same_release_twice_at_once_delivers_once(world: Deliveries) -> None:
    async def consent(plan: Any) -> bool:
        await released(world, MASK, lambda plan: True)
        return True

    with pytest.raises(UsageError) as caught:
        await released(world, MASK, consent)
    assert caught.value.code == "superseded"
    assert world.received().num_rows == ROWS
    assert world.events("hospital").count("table_delivered") == 1
    assert [one.state for one in world.nodes["hospital"].store.sent.all()] == ["delivered"]


async def test_releases_side_by_side(world: Deliveries) -> None:
    outcomes = await asyncio.gather(
        *(released(world, MASK, lambda plan: True) for _ in range(3)), return_exceptions=True
    )
    codes = [one.code if isinstance(one, PrivcomputeError) else "delivered" for one in outcomes]
    assert "delivered" in codes
    assert set(codes) <= {"delivered", "superseded", "no_table", "busy"}
    # The sender's ledger knows every table that arrived.
    arrived = {one.manifest.id for one in world.nodes["insurer"].store.received.all() if one.state == "received"}
    assert arrived
    assert arrived <= {one.manifest.id for one in world.nodes["hospital"].store.sent.left("patients", "")}


async def test_the_owner_who_says_no_leaves_nothing_behind(world: Deliveries) -> None:
    with pytest.raises(ConsentNeeded):
        await world.release(agree=False)
    assert world.nodes["hospital"].store.sent.all() == []
    assert not list((world.place / "hospital" / "spool").rglob("*.*"))


async def test_an_approval_that_is_too_old_is_none(world: Deliveries) -> None:
    store = world.nodes["insurer"].store
    store.set_setting("accept_tables_from", [])
    with pytest.raises(ConsentNeeded):
        await world.release()
    (request,) = store.requests.all()
    store.requests.decide(request.id, approve=True)
    store.database.run("UPDATE requests SET decided = decided - 1e6")
    with pytest.raises(ConsentNeeded) as caught:
        await world.release()
    assert caught.value.code == "awaiting_consent"
    assert not list((world.place / "insurer").rglob("*.arrow"))


async def test_an_approval_is_for_one_table(world: Deliveries) -> None:
    store = world.nodes["insurer"].store
    store.set_setting("accept_tables_from", [])
    with pytest.raises(ConsentNeeded):
        await world.release()
    store.requests.decide(store.requests.all()[0].id, approve=True)
    with pytest.raises(ConsentNeeded) as caught:
        await world.release(MASK.replace("width = 10", "width = 5"))
    assert caught.value.code == "awaiting_consent"
    assert store.received.all() == []


@pytest.mark.parametrize("when", ["delivery/piece.1", "the check"])
async def test_a_table_that_its_receiver_forgets_while_it_comes(
    world: Deliveries, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing stays, nothing is signed for: `releases forget` is the owner's way to stop a table under way."""
    insurer = world.nodes["insurer"]

    def forget() -> None:
        for one in insurer.store.received.all():
            insurer.store.received.remove(one.id)
            spool.in_file(insurer.home, one.id).unlink()

    class Forgetful(ChannelWrapper):
        async def recv(self, label: str, limit: int, timeout: float) -> memoryview:
            if label == when:
                forget()
            return await super().recv(label, limit, timeout)

    if when == "the check":
        real = spool.check_table

        def check(path: Path, manifest: Any) -> None:
            real(path, manifest)
            forget()

        monkeypatch.setattr(spool, "check_table", check)
    world.wrap = lambda party, asker, channel: Forgetful(channel)
    with pytest.raises(ConsentNeeded) as caught:
        await world.release()
    assert caught.value.code == "forgotten"
    assert insurer.store.received.all() == []
    assert not list((world.place / "insurer").rglob("*.arrow"))
    assert "table_received" not in world.events("insurer")
    assert "table_delivered" not in world.events("hospital")


@pytest.mark.parametrize("harm", ["gone", "changed", "longer"])
async def test_a_receipt_is_not_given_for_what_is_not_here_any_more(world: Deliveries, harm: str) -> None:
    """The receipt was lost, then the file: the table comes once more instead of being signed for unseen."""
    from privcompute.errors import TransportError

    insurer = world.nodes["insurer"]
    links: list[Channel] = []

    class Lost(ChannelWrapper):
        async def send(self, label: str, parts: Any) -> None:
            if label == "negotiate/receipt.1":
                (one,) = insurer.store.received.all()
                path = spool.in_file(insurer.home, one.id)
                data = path.read_bytes()
                path.unlink()
                if harm != "gone":
                    path.write_bytes(data[:-1] + b"x" if harm == "changed" else data + b"x" * (1 << 20))
                raise TransportError("the link is gone", code="closed", party=self.peer)
            await super().send(label, parts)

    def wrap(party: str, asker: str, channel: Channel) -> Channel:
        links.append(channel)
        return Lost(channel) if len(links) == 1 else channel

    world.wrap = wrap
    body = await world.release()
    (one,) = insurer.store.received.all()
    assert spool.digest_of(spool.in_file(insurer.home, one.id)) == body["delivery"]["sha256"]
    assert world.received().num_rows == ROWS


async def test_a_receipt_under_a_renewed_certificate_counts(world: Deliveries) -> None:
    """The peer renewed between consent and receipt: what is pinned when the receipt comes is what counts."""
    from privcompute.transport.book import Peer
    from privcompute.transport.identity import Identity

    renewed = Identity.create("insurer")

    def consent(plan: Any) -> bool:
        peers = world.nodes["hospital"].store.peers
        old = peers.get("insurer")
        assert old is not None
        peers.replace(Peer("insurer", (*old.certificates, renewed.certificate), old.addresses))
        world.nodes["insurer"].identity = renewed
        return True

    body = await released(world, MASK, consent)
    assert body["status"] == "delivered"
