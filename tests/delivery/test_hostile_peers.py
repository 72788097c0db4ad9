"""A peer that lies in the words of a delivery, and a network that loses, repeats, reorders and shortens pieces."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.deliveries import MASK, ROWS, Deliveries

from privcompute.errors import IntegrityError, PeerError, PrivcomputeError, TransportError
from privcompute.node.delivery import messages, spool
from privcompute.node.delivery.manifest import Manifest
from privcompute.session import Channel
from privcompute.session.channel import Buffer
from privcompute.testing.wrapper import ChannelWrapper

Rewrite = Callable[[dict[str, Any]], None]


class Liar(ChannelWrapper):
    """The receiver's end of a link; what it says under a label is rewritten."""

    def __init__(self, inner: Channel, label: str, rewrite: Rewrite) -> None:
        super().__init__(inner)
        self._label, self._rewrite = label, rewrite

    async def send(self, label: str, parts: Sequence[Buffer]) -> None:
        if label == self._label:
            body = json.loads(b"".join(bytes(part) for part in parts))
            self._rewrite(body)
            parts = [json.dumps(body).encode()]
        await super().send(label, parts)


def lies(world: Deliveries, label: str, rewrite: Rewrite) -> None:
    world.wrap = lambda party, asker, channel: Liar(channel, label, rewrite)


@pytest.mark.parametrize(
    "held",
    [
        {"pieces": 10**6},
        {"pieces": -1},
        {"pieces": 0.5},
        {"pieces": True},
        {"pieces": "1"},
        {"digest": "0" * 63},
        {"digest": ["0" * 64]},
        {"pieces": None},
        {"more": 1},
    ],
)
async def test_a_receiver_that_says_nonsense_of_what_it_holds(world: Deliveries, held: dict[str, Any]) -> None:
    lies(world, "negotiate/held.1", lambda body: body.update(held))
    with pytest.raises(PeerError) as caught:
        await world.release()
    assert caught.value.code == "bad_negotiation"
    assert world.events("hospital").count("table_sending") == 0


async def test_a_receiver_that_claims_another_prefix_gets_all_of_it(world: Deliveries) -> None:
    """It says that it has the one piece, of other bytes: it is sent again, and nothing is signed for unsent."""
    lies(world, "negotiate/held.1", lambda body: body.update(pieces=1, digest="ab" * 32))
    await world.release()
    assert world.received().num_rows == ROWS


async def test_the_receipt_of_another_table_is_none(world: Deliveries) -> None:
    earlier = await world.release()
    lies(world, "negotiate/receipt.1", lambda body: body.update(signature=earlier["receipt"]))
    with pytest.raises(IntegrityError) as caught:
        await world.release(MASK.replace("width = 10", "width = 5"))
    assert caught.value.code == "signature"
    assert world.events("hospital").count("table_delivered") == 1


async def test_a_manifests_signature_is_no_receipt(world: Deliveries, monkeypatch: pytest.MonkeyPatch) -> None:
    """The receiver echoes what the sender signed."""
    said: list[str] = []
    real = messages.say_delivery

    async def overheard(channel: Channel, manifest: Manifest, signature: str) -> None:
        said.append(signature)
        await real(channel, manifest, signature)

    monkeypatch.setattr(messages, "say_delivery", overheard)
    lies(world, "negotiate/receipt.1", lambda body: body.update(signature=said[-1]))
    with pytest.raises(IntegrityError) as caught:
        await world.release()
    assert caught.value.code == "signature"


async def _under(world: Deliveries, monkeypatch: pytest.MonkeyPatch, change: Callable[[Manifest], Manifest]) -> str:
    """Releases with a manifest that its sender changed before it signed; the code of the refusal."""
    real = messages.say_delivery
    identity = world.nodes["hospital"].identity

    async def lying(channel: Channel, manifest: Manifest, signature: str) -> None:
        changed = change(manifest)
        await real(channel, changed, changed.sign(identity))

    with monkeypatch.context() as patch:
        patch.setattr(messages, "say_delivery", lying)
        with pytest.raises(PrivcomputeError) as caught:
            await world.release()
    return caught.value.code


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda m: replace(m, columns=tuple(reversed(m.columns))), "bad_table"),
        (lambda m: replace(m, columns=(("name", "string"), *m.columns[1:])), "bad_manifest"),
        (lambda m: replace(m, columns=(("id\x1b[2J", "string"), *m.columns[1:])), "bad_manifest"),
        (lambda m: replace(m, columns=(("id\u202e", "string"), *m.columns[1:])), "bad_manifest"),
        (lambda m: replace(m, columns=m.columns[:-1]), "bad_table"),
        (lambda m: replace(m, rows=m.rows + 1), "bad_table"),
        (lambda m: replace(m, bytes=m.bytes - 8), "oversize"),
        (lambda m: replace(m, sha256="0" * 64), "digest"),
        (lambda m: replace(m, id="../../etc/passwd"), "bad_manifest"),
        (lambda m: replace(m, dataset="../patients"), "bad_manifest"),
        (lambda m: replace(m, purpose="world-domination"), "bad_manifest"),
        (lambda m: replace(m, receiver="clinic"), "bad_manifest"),
        (lambda m: replace(m, report="[" * 100_000), "bad_manifest"),
        (lambda m: replace(m, report='{"a": NaN}'), "bad_manifest"),
        (lambda m: replace(m, report='{"a": ' + "9" * 5000 + "}"), "bad_manifest"),
        (lambda m: replace(m, report='{"a": "' + "x" * (128 << 10) + '"}'), "bad_manifest"),
        (lambda m: replace(m, report='{"a": ' + "[" * 600 + "]" * 600 + "}"), "bad_manifest"),
        (lambda m: replace(m, report='{"a": "ä"}'), "bad_manifest"),
        (lambda m: replace(m, report='{"a": "\ud800"}'), "bad_negotiation"),
        (lambda m: replace(m, columns=(("\ud800", "string"), *m.columns[1:])), "bad_negotiation"),
        (lambda m: replace(m, bytes=1 << 40), "too_large"),
    ],
)
async def test_a_sender_that_signs_lies(
    world: Deliveries, monkeypatch: pytest.MonkeyPatch, change: Callable[[Manifest], Manifest], code: str
) -> None:
    assert await _under(world, monkeypatch, change) == code
    insurer = world.nodes["insurer"]
    assert not [one for one in insurer.store.received.all() if one.state == "received"]
    if code in ("bad_table", "digest"):
        assert insurer.store.received.all() == []
        assert not list((world.place / "insurer").rglob("*.arrow"))
    if code != "oversize":  # there its id stands for the lie, until the owner forgets it
        await world.release()
        assert [one.state for one in insurer.store.received.all()].count("received") == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda m: replace(m, policy="f" * 64),
        lambda m: replace(m, purpose="operations"),
        lambda m: replace(m, sha256="f" * 64),
        lambda m: replace(m, report="{}"),
    ],
)
async def test_an_id_is_for_one_table(
    world: Deliveries, monkeypatch: pytest.MonkeyPatch, change: Callable[[Manifest], Manifest]
) -> None:
    """A sender that goes on with another table, or under another policy, than the one whose pieces are here."""
    world.wrap = lambda party, asker, channel: Pieces(channel, lambda n, data: None)
    with pytest.raises(TransportError):
        await world.release()
    world.wrap = None
    assert await _under(world, monkeypatch, change) == "bad_manifest"
    await world.release()
    assert world.received().num_rows == ROWS


class Pieces(ChannelWrapper):
    """A network between the two: what becomes of piece n; None: the link breaks there."""

    def __init__(self, inner: Channel, fate: Callable[[int, bytes], bytes | None]) -> None:
        super().__init__(inner)
        self._fate = fate

    async def recv(self, label: str, limit: int, timeout: float) -> memoryview:
        message = await super().recv(label, limit, timeout)
        if not label.startswith("delivery/piece"):
            return message
        data = self._fate(int(label.rpartition(".")[2]) - 1, bytes(message))
        if data is None:
            raise TransportError("the link is gone", code="closed", party=self.peer)
        return memoryview(data)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> int:
    for module in ("manifest", "spool", "receive", "send"):
        monkeypatch.setattr(f"privcompute.node.delivery.{module}.PIECE", 1024)
    return 1024


def _swapped(kept: dict[int, bytes]) -> Callable[[int, bytes], bytes]:
    """Pieces 1 and 2 hold each other's bytes; both are full ones."""

    def fate(n: int, data: bytes) -> bytes:
        kept[n] = data
        return kept[1] if n == 2 else (b"\0" * len(data) if n == 1 else data)

    return fate


@pytest.mark.parametrize(
    ("fate", "code"),
    [
        (_swapped({}), "digest"),
        (lambda n, data: b"\0" * len(data) if n == 3 else data, "digest"),
        (lambda n, data: data[:-1] if n == 3 else data, "bad_frame"),
        (lambda n, data: data + b"x" if n == 3 else data, "bad_frame"),
        (lambda n, data: b"" if n == 3 else data, "bad_frame"),
    ],
)
@pytest.mark.usefixtures("small_pieces")
async def test_pieces_that_arrive_otherwise(
    world: Deliveries, fate: Callable[[int, bytes], bytes | None], code: str
) -> None:
    world.wrap = lambda party, asker, channel: Pieces(channel, fate)
    with pytest.raises(PrivcomputeError) as caught:
        await world.release()
    assert caught.value.code == code
    world.wrap = None
    await world.release()
    assert world.received().num_rows == ROWS


@pytest.mark.usefixtures("small_pieces")
async def test_a_prefix_that_was_changed_on_the_disk_is_sent_again(world: Deliveries) -> None:
    insurer = world.nodes["insurer"]
    first: list[bool] = []

    def wrap(party: str, asker: str, channel: Channel) -> Channel:
        if not first:
            first.append(True)
            return Pieces(channel, lambda n, data: data if n < 3 else None)
        (one,) = insurer.store.received.all()
        path = spool.in_file(insurer.home, one.id)
        assert path.stat().st_size == 3 * 1024
        path.write_bytes(b"\0" * 3 * 1024)
        return channel

    world.wrap = wrap
    await world.release()
    assert world.received().num_rows == ROWS


async def test_a_link_in_the_spools_place_is_not_followed(
    world: Deliveries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever could put a link there owns the home; the node still writes through none."""
    outside = tmp_path / "outside"
    outside.write_text("precious")
    (world.place / "insurer" / "spool" / "in").mkdir(parents=True)
    real = spool.in_file

    def planted(home: Any, identifier: str) -> Path:
        path = real(home, identifier)
        if not path.is_symlink():
            path.symlink_to(outside)
        return path

    monkeypatch.setattr(spool, "in_file", planted)
    with pytest.raises(PeerError) as caught:
        await world.release()
    assert caught.value.code == "no_room"
    assert outside.read_text() == "precious"


async def test_what_goes_wrong_is_told_without_a_value(
    world: Deliveries, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Arrow's and the machine's errors may quote what they were about; what is told and logged does not."""

    def failing(*given: Any) -> Any:
        raise pa.ArrowInvalid("could not convert Secretname7 to int64")

    monkeypatch.setattr(spool, "_cleaned", failing)
    with pytest.raises(PrivcomputeError) as caught:
        await world.release()
    told = f"{caught.value.message} {caught.value.remedy} {caplog.text}"
    assert caught.value.code == "bad_type"
    assert "Secretname" not in told
    assert caught.value.__cause__ is None
    monkeypatch.undo()
    monkeypatch.setattr("privcompute.node.delivery.spool.check_frames", failing)
    with pytest.raises(PrivcomputeError) as caught:
        await world.release()
    assert "Secretname" not in f"{caught.value.message} {caplog.text}"


async def test_a_full_disk_is_named_on_both_sides(world: Deliveries, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: Any, **named: Any) -> Any:
        raise OSError(28, "No space left on device")

    for place, holder in (("out", "hospital"), ("in", "insurer")):
        with monkeypatch.context() as patch:
            if place == "out":
                patch.setattr("privcompute.node.delivery.spool.pa.ipc.new_stream", full)
            else:
                patch.setattr("privcompute.node.delivery.receive.os.fsync", full)
            with pytest.raises(PrivcomputeError) as caught:
                await world.release()
        assert caught.value.code == "no_room", holder
    await world.release()
    assert world.received().num_rows == ROWS


async def test_a_spool_that_vanishes_while_it_is_sent(world: Deliveries) -> None:
    def wrap(party: str, asker: str, channel: Channel) -> Channel:
        for path in (world.place / "hospital" / "spool" / "out").glob("*.arrow"):
            path.unlink()
        return channel

    world.wrap = wrap
    with pytest.raises(PrivcomputeError) as caught:
        await world.release()
    assert caught.value.code == "no_table"
    world.wrap = None
    await world.release()
    # The same rows under another id: the one that broke off waits at the receiver, with nothing of it there.
    arrived = world.nodes["insurer"].store.received.all()
    assert sorted(one.state for one in arrived) == ["received", "receiving"]


def test_a_million_rows_in_little_memory(tmp_path: Path) -> None:
    """Both ends hold some batches and never the table."""
    rows, peak = 1_000_000, 0
    base = pa.total_allocated_bytes()
    part = pa.table({"id": [f"{i:032d}" for i in range(50_000)], "n": range(50_000)}).combine_chunks()

    def parts() -> Any:
        nonlocal peak
        for _ in range(rows // part.num_rows):
            peak = max(peak, pa.total_allocated_bytes() - base)
            yield part

    columns, count = spool.write_stream(tmp_path / "t.arrow", parts())
    digest = spool.digest_of(tmp_path / "t.arrow")
    size = (tmp_path / "t.arrow").stat().st_size
    about = Manifest("0" * 32, "h", "i", "p", "research", "desensitized", "0" * 64, columns, count, size, digest, "{}")
    spool.check_table(tmp_path / "t.arrow", about)
    for batch in spool.batches(tmp_path / "t.arrow", about):
        peak = max(peak, pa.total_allocated_bytes() - base)
        assert batch.nbytes <= 9 << 20
    assert count == rows
    assert size > 40 << 20
    assert peak < 24 << 20


async def test_a_table_that_is_one_piece_long_to_the_byte(world: Deliveries, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last piece is a full one."""
    body = await world.release()
    size = body["delivery"]["bytes"]
    assert size % 8 == 0
    for module in ("manifest", "spool", "receive", "send"):
        monkeypatch.setattr(f"privcompute.node.delivery.{module}.PIECE", size // 8)
    later = await world.release()
    assert later["delivery"]["bytes"] == size
    assert Manifest.from_object({**later["delivery"], "report": "{}"}, party="x").pieces == 8


@pytest.mark.parametrize("stage", ["delivery/piece.1", "negotiate/receipt.1"])
async def test_a_peer_that_only_ever_says_that_it_lives(
    world: Deliveries, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signs of life put the end by silence off for ever, here 20 s; how long one link may take does not heed them."""

    class Endless(ChannelWrapper):
        async def recv(self, label: str, limit: int, timeout: float) -> memoryview:
            if label == stage:
                await self._live()
            return await super().recv(label, limit, timeout)

        async def send(self, label: str, parts: Sequence[Buffer]) -> None:
            if label == stage:
                await self._live()
            await super().send(label, parts)

        async def _live(self) -> None:
            await asyncio.Event().wait()

    for node in world.nodes.values():
        limits = replace(node.config.limits, step_seconds=20.0, run_seconds=0.3)
        node.config = replace(node.config, limits=limits)
    world.wrap = lambda party, asker, channel: Endless(channel)
    monkeypatch.setattr("privcompute.node.delivery.send.ATTEMPTS", 0)
    with pytest.raises(TransportError) as caught:
        await world.release()
    assert caught.value.code == "run_timeout"
