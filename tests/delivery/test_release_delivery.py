"""A table from node to node: everything real but the network."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support.deliveries import ANONYMOUS, MASK, ROWS, Deliveries, homes, people

from privcompute.errors import ConsentNeeded, IntegrityError, PeerError, PrivacyError, TransportError, UsageError
from privcompute.node.delivery import spool
from privcompute.session import Channel
from privcompute.session.channel import Buffer
from privcompute.testing.wrapper import ChannelWrapper


async def test_a_desensitized_table_arrives_as_the_policy_made_it(world: Deliveries) -> None:
    body = await world.release()
    table = world.received()
    assert table.column_names == ["id", "name", "age"]
    assert table.num_rows == ROWS == body["delivery"]["rows"]
    assert not set(table["id"].to_pylist()) & set(people()["id"].to_pylist())
    assert len(set(table["id"].to_pylist())) == ROWS
    assert all(str(name).startswith("S*") for name in table["name"].to_pylist())
    assert body["status"] == "delivered"
    assert [one["as"] for one in body["rules"]] == ["token", "mask", "mask"]


async def test_both_sides_keep_a_record(world: Deliveries) -> None:
    body = await world.release()
    assert world.events("hospital")[-2:] == ["table_sending", "table_delivered"]
    assert world.events("insurer")[-2:] == ["table_accepted", "table_received"]
    (sent,) = world.nodes["hospital"].store.sent.all()
    assert (sent.state, sent.manifest.sha256) == ("delivered", body["delivery"]["sha256"])
    assert not list((world.place / "hospital" / "spool" / "out").glob("*"))
    for party in ("hospital", "insurer"):
        world.nodes[party].store.audit.verify()


async def test_the_peer_sees_only_what_leaves(world: Deliveries) -> None:
    await world.release(ANONYMOUS)
    (one,) = world.nodes["insurer"].store.received.all()
    manifest = one.manifest
    assert [name for name, _ in manifest.columns] == ["age", "sex", "disease"]
    # Neither columns that stay nor the risks of the table as it was; the owner has them.
    assert "name" not in manifest.report_object()["columns"]
    assert "before" not in manifest.report
    assert not [name for name in ("id", "name") if f'"{name}"' in manifest.report]
    assert json.loads(manifest.report)["models"][0]["asked"] == {"k": 5}
    assert "before" in json.dumps(world.shown[0]["report"])
    spooled = b"".join(path.read_bytes() for path in (world.place / "insurer" / "spool").rglob("*.arrow"))
    assert b"Secretname" not in spooled
    assert b"P000" not in spooled


async def test_a_k_anonymous_table_is_k_anonymous_where_it_arrives(world: Deliveries) -> None:
    await world.release(ANONYMOUS)
    groups = world.received().group_by(["age", "sex"]).aggregate([("sex", "count")]).to_pylist()
    shown = [one["sex_count"] for one in groups if one["age"] != "[suppressed]"]
    assert min(shown) >= 5
    assert sum(shown) >= 0.95 * ROWS
    assert len(shown) > 4


async def test_the_owner_who_says_no_releases_nothing(world: Deliveries) -> None:
    with pytest.raises(ConsentNeeded, match="nothing left"):
        await world.release(agree=False)
    assert world.nodes["insurer"].store.received.all() == []
    assert world.nodes["hospital"].store.sent.left("patients", "") == []


async def test_a_table_waits_for_its_receivers_owner(world: Deliveries) -> None:
    insurer = world.nodes["insurer"].store
    insurer.set_setting("accept_tables_from", [])
    with pytest.raises(ConsentNeeded) as caught:
        await world.release()
    assert caught.value.code == "awaiting_consent"
    assert not list((world.place / "insurer").rglob("*.arrow"))
    (request,) = insurer.requests.all(state="waiting")
    assert request.plan["delivery"]["dataset"] == "patients"
    insurer.requests.decide(request.id, approve=True)
    body = await world.release()
    assert body["delivery"]["id"] == request.plan["delivery"]["id"]
    assert world.received().num_rows == ROWS
    assert insurer.requests.get(request.id).state == "used"


async def test_a_refused_table_stays_refused(world: Deliveries) -> None:
    insurer = world.nodes["insurer"].store
    insurer.set_setting("accept_tables_from", [])
    with pytest.raises(ConsentNeeded):
        await world.release()
    insurer.requests.decide(insurer.requests.all()[0].id, approve=False)
    with pytest.raises(ConsentNeeded) as caught:
        await world.release()
    assert caught.value.code == "refused"
    assert insurer.received.all() == []


async def test_two_different_releases_of_the_same_rows_are_refused(world: Deliveries) -> None:
    await world.release(ANONYMOUS)
    for other in (ANONYMOUS.replace("k = 5", "k = 7"), MASK):
        with pytest.raises(PrivacyError) as caught:
            await world.release(other)
        assert caught.value.code == "second_release"
    await world.release(ANONYMOUS.replace("k = 5", "k = 7"), despite=True)
    # The same table again is no other table.
    assert (await world.release(ANONYMOUS.replace("k = 5", "k = 5 # again"), despite=True))["notes"] == []


async def test_two_desensitized_tables_are_told_to_the_owner(world: Deliveries) -> None:
    await world.release()
    body = await world.release(MASK.replace("width = 10", "width = 5"))
    assert "together they may tell more" in body["notes"][0]


async def test_noise_is_not_drawn_twice(world: Deliveries) -> None:
    noisy = MASK.replace('{ op = "bucket", width = 10 }', '{ op = "noise", scale = 4 }')
    await world.release(noisy)
    with pytest.raises(PrivacyError) as caught:
        await world.release(noisy)
    assert caught.value.code == "second_release"


async def test_who_may_not_see_the_dataset_gets_no_table(world: Deliveries) -> None:
    world.nodes["hospital"].store.database.run("UPDATE datasets SET partners = ?", ('["clinic"]',))
    with pytest.raises(PrivacyError) as caught:
        await world.release()
    assert caught.value.code == "not_shared"


async def test_a_table_that_changed_is_not_released_under_its_old_version(world: Deliveries) -> None:
    import pyarrow.parquet as parquet

    hospital = world.nodes["hospital"].store
    changed = str(world.place / "changed.parquet")
    parquet.write_table(people(ROWS - 1), changed)
    hospital.database.run("UPDATE datasets SET source = ?", (changed,))
    with pytest.raises(UsageError) as caught:
        await world.release()
    assert caught.value.code == "stale_entry"


async def test_a_size_over_the_limit_is_refused_before_a_byte_comes(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "h")
    world = Deliveries(tmp_path / "h", delivery_mib=0)
    world.accept()
    with pytest.raises(PeerError) as caught:
        await world.release()
    assert caught.value.code == "too_large"
    assert not list((tmp_path / "h" / "insurer").rglob("*.arrow"))
    await world.close()


@pytest.mark.parametrize("party", ["hospital", "insurer"])
async def test_a_spool_that_cannot_be_written(world: Deliveries, party: str) -> None:
    place = world.nodes[party].home.spool
    if place.exists():
        shutil.rmtree(place)
    place.write_text("in the way")
    with pytest.raises((UsageError, PeerError)) as caught:
        await world.release()
    assert caught.value.code == "no_room"
    place.unlink()
    await world.release()
    assert world.received().num_rows == ROWS


class _Harmed(ChannelWrapper):
    """The receiver's end of a link, on which one thing goes wrong."""

    def __init__(self, inner: Channel, label: str, harm: Any) -> None:
        super().__init__(inner)
        self._label, self._harm = label, harm

    async def recv(self, label: str, limit: int, timeout: float) -> memoryview:
        message = await super().recv(label, limit, timeout)
        return memoryview(self._harm(bytes(message))) if label == self._label else message

    async def send(self, label: str, parts: Sequence[Buffer]) -> None:
        if label == self._label:
            parts = [self._harm(b"".join(bytes(part) for part in parts))]
        await super().send(label, parts)


def _changed(old: str, new: str) -> Any:
    return lambda text: text.replace(old.encode(), new.encode())


@pytest.mark.parametrize(
    ("label", "harm", "code"),
    [
        ("delivery/piece.1", lambda data: data[:999] + bytes([data[999] ^ 1]) + data[1000:], "digest"),
        ("delivery/piece.1", lambda data: data[:-1], "bad_frame"),
        ("negotiate/delivery.1", _changed('"purpose":"research"', '"purpose":"operations"'), "signature"),
        ("negotiate/delivery.1", _changed('"sender":"hospital"', '"sender":"clinic"'), "bad_manifest"),
        ("negotiate/delivery.1", _changed('"receiver":"insurer"', '"receiver":"clinic"'), "bad_manifest"),
        ("negotiate/delivery.1", _changed('"rows":400', '"rows":-1'), "bad_manifest"),
        ("negotiate/delivery.1", _changed('"rows":400', '"rows":4.5'), "bad_negotiation"),
        ("negotiate/delivery.1", _changed('"string"', '"list<string>"'), "bad_manifest"),
        ("negotiate/from.1", _changed('"piece":0', '"piece":1'), "bad_negotiation"),
        ("negotiate/receipt.1", _changed('"signature":"30', '"signature":"31'), "signature"),
    ],
)
async def test_what_is_changed_on_the_way_is_noticed(world: Deliveries, label: str, harm: Any, code: str) -> None:
    world.wrap = lambda party, asker, channel: _Harmed(channel, label, harm)
    with pytest.raises((PeerError, IntegrityError)) as caught:
        await world.release()
    assert caught.value.code == code
    world.wrap = None
    received = world.nodes["insurer"].store.received.all()
    assert all(one.state == "received" for one in received) or code == "bad_frame" or label == "negotiate/from.1"
    # The same release later is none the worse for it.
    await world.release()
    assert world.received().num_rows == ROWS


async def test_a_signed_table_of_another_form_is_refused(world: Deliveries, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sender is the liar here: everything is signed, and the stream is not what the manifest says."""
    real = spool.write_stream

    def lying(path: Path, tables: Any) -> Any:
        columns, rows = real(path, tables)
        return columns, rows + 1

    monkeypatch.setattr("privcompute.node.delivery.send.spool.write_stream", lying)
    with pytest.raises(PeerError) as caught:
        await world.release()
    assert caught.value.code == "bad_table"
    assert world.nodes["insurer"].store.received.all() == []
    assert not list((world.place / "insurer").rglob("*.arrow"))


class _Cut(ChannelWrapper):
    """The sender's link is gone after so many pieces."""

    def __init__(self, inner: Channel, pieces: int, seen: list[str]) -> None:
        super().__init__(inner)
        self._left, self._seen = pieces, seen

    async def recv(self, label: str, limit: int, timeout: float) -> memoryview:
        if label.startswith("delivery/piece"):
            if not self._left:
                raise TransportError("the link is gone", code="closed", party=self.peer)
            self._left -= 1
            self._seen.append(label)
        return await super().recv(label, limit, timeout)


async def test_a_delivery_continues_where_it_was_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from privcompute.node.delivery import send

    monkeypatch.setattr(send, "_PAUSE", 0.01)
    monkeypatch.setattr(send, "PIECE", 4096)
    for module in ("manifest", "spool", "receive"):
        monkeypatch.setattr(f"privcompute.node.delivery.{module}.PIECE", 4096)
    homes(tmp_path)
    world = Deliveries(tmp_path)
    world.accept()
    seen: list[str] = []
    world.wrap = lambda party, asker, channel: _Cut(channel, 2, seen)
    await world.release()
    (one,) = world.nodes["insurer"].store.received.all()
    # Every piece came once: each attempt began behind the last one's two.
    assert seen == [f"delivery/piece.{i + 1}" for i in range(one.manifest.pieces)]
    assert one.manifest.pieces > 4
    assert world.received().num_rows == ROWS
    await world.close()


async def test_a_peer_that_is_away_is_asked_again_later(world: Deliveries, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("privcompute.node.delivery.send._PAUSE", 0.01)
    world.away = {"insurer"}
    with pytest.raises(TransportError) as caught:
        await world.release()
    assert "continues where it ended" in caught.value.remedy
    world.away = set()
    first = world.shown[-1]["delivery"]["id"]
    assert (await world.release())["delivery"]["id"] == first


async def test_a_lost_receipt_is_given_again(world: Deliveries) -> None:
    class Lost(ChannelWrapper):
        async def send(self, label: str, parts: Sequence[Buffer]) -> None:
            if label == "negotiate/receipt.1":
                raise TransportError("the link is gone", code="closed", party=self.peer)
            await super().send(label, parts)

    attempts: list[int] = []

    def wrap(party: str, asker: str, channel: Channel) -> Channel:
        attempts.append(1)
        return Lost(channel) if len(attempts) == 1 else channel

    world.wrap = wrap
    body = await world.release()
    assert len(attempts) == 2
    assert body["status"] == "delivered"
    assert world.events("insurer").count("table_received") == 1
