"""What a deviating peer, a bad link or a mistake in our own text would do: each ends in a named error or is caught."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from privcompute.errors import IntegrityError, PeerError, PrivcomputeError
from privcompute.psi import curve, dh_psi, reference, tag_bytes
from privcompute.psi import dh as dh_module
from privcompute.session import Channel, Limits, Session
from privcompute.session.session import HEADER
from privcompute.testing import Fault, FaultyChannel, Simulation, simulate
from privcompute.testing.wrapper import ChannelWrapper

P = reference.P
HEADER_BYTES = HEADER.size
MINE = [b"m%d" % i for i in range(60)]
THEIRS = MINE[:30] + [b"t%d" % i for i in range(40)]
SMALL = [
    0,
    1,
    P - 1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
]
LIMITS = Limits(step_seconds=1.5)


class Tap(ChannelWrapper):
    """Keeps what a party sends, whole."""

    def __init__(self, inner: Channel, kept: list[tuple[str, bytes]]) -> None:
        super().__init__(inner)
        self.kept = kept

    async def send(self, label: str, parts: Any) -> None:
        self.kept.append((label, b"".join(bytes(memoryview(part).cast("B")) for part in parts)))
        await super().send(label, parts)


async def program(s: Session) -> Any:
    mine, theirs = (MINE, THEIRS) if s.me == "alice" else (THEIRS, MINE)
    return await dh_psi(s, s.peer, mine, peer_items=len(theirs), workers=1)


def tapped(**options: Any) -> tuple[Simulation, dict[str, list[curve.Points]]]:
    """A run and the masked sets that each party sent, one array per message."""
    kept: dict[str, list[tuple[str, bytes]]] = {"alice": [], "bob": []}
    sim = simulate(program, wrap=lambda me, channel: Tap(channel, kept[me]), limits=LIMITS, **options)
    sets = {
        me: [
            np.frombuffer(data[HEADER_BYTES:], np.uint8).reshape(-1, 32)
            for label, data in messages
            if "/masked-" in label
        ]
        for me, messages in kept.items()
    }
    return sim, sets


def numbers(rows: curve.Points) -> list[int]:
    return [int.from_bytes(row.tobytes(), "little") for row in rows]


def hostile(label: str, change: Callable[[bytearray], bytearray]) -> Simulation:
    """Bob's first message under the label is changed after its header."""

    def replace(data: bytes) -> bytes:
        return data[:HEADER_BYTES] + bytes(change(bytearray(data[HEADER_BYTES:])))

    def wrap(me: str, channel: Channel) -> Channel:
        return FaultyChannel(channel, Fault("replace", label, replace=replace)) if me == "bob" else channel

    return simulate(program, wrap=wrap, limits=LIMITS)


def put(place: int, value: int) -> Callable[[bytearray], bytearray]:
    """Overwrites one element of a masked set."""

    def change(body: bytearray) -> bytearray:
        body[32 * place : 32 * place + 32] = value.to_bytes(32, "little")
        return body

    return change


def in_order(value: int) -> Callable[[bytearray], bytearray]:
    """Puts the value in place of another and sorts again, so that only its own rule can catch it."""

    def change(body: bytearray) -> bytearray:
        rows = [bytes(body[i : i + 32]) for i in range(0, len(body), 32)]
        rows[7] = value.to_bytes(32, "little")
        return bytearray(b"".join(sorted(rows)))

    return change


def duplicate(body: bytearray) -> bytearray:
    body[32:64] = body[0:32]
    return body


def swap(body: bytearray) -> bytearray:
    body[32:64], body[0:32] = body[0:32], body[32:64]
    return body


def honest_high_bit(body: bytearray) -> bytearray:
    """The same field element written as another string: bit 255 set, order kept."""
    rows = [bytes(body[i : i + 32]) for i in range(0, len(body), 32)]
    rows[3] = rows[3][:31] + bytes([rows[3][31] | 128])
    return bytearray(b"".join(sorted(rows)))


ELEMENTS = {
    "duplicate": duplicate,
    "unsorted": swap,
    "high bit": honest_high_bit,
    **{f"small order {i}": in_order(value) for i, value in enumerate(SMALL)},
    **{f"not canonical {name}": in_order(value) for name, value in (("p", P), ("p+9", P + 9), ("max", 2**255 - 1))},
    "all bits": in_order(2**256 - 1),
}


@pytest.mark.parametrize("change", ELEMENTS.values(), ids=ELEMENTS)
def test_bad_elements_give_one_fixed_error(change: Callable[[bytearray], bytearray]) -> None:
    error = hostile("/masked-1", change).outcomes["alice"].error
    assert isinstance(error, PeerError)
    assert (error.code, error.party) == ("bad_elements", "bob")
    assert error.message == "the peer's masked set is not acceptable"


def test_no_tag_of_a_bad_chunk_is_sent() -> None:
    sim = hostile("/masked-1", duplicate)
    assert sim.outcomes["alice"].meter.bytes_sent == HEADER_BYTES + 32 * len(MINE)


def test_the_largest_canonical_element_is_accepted() -> None:
    """p - 2 is neither small nor beyond p: it passes the checks, and only the digest tells."""
    error = hostile("/masked-1", in_order(P - 2)).outcomes["alice"].error
    assert isinstance(error, IntegrityError)
    rows = dh_module.words(np.frombuffer((P - 2).to_bytes(32, "little"), np.uint8).reshape(1, 32))
    assert dh_module.acceptable(rows)


@pytest.mark.parametrize(("declared", "sent"), [(69, 70), (71, 70)])
def test_another_count_than_declared(declared: int, sent: int) -> None:
    async def counted(s: Session) -> Any:
        if s.me == "alice":
            return await dh_psi(s, "bob", MINE, peer_items=declared, workers=1)
        return await dh_psi(s, "alice", THEIRS[:sent], peer_items=len(MINE), workers=1)

    error = simulate(counted, limits=LIMITS).outcomes["alice"].error
    assert isinstance(error, PeerError)
    assert error.code in ("bad_frame", "oversize")
    assert "masked-1" in (error.stage or "")


def reorder_tags(body: bytearray) -> bytearray:
    width = len(body) // len(MINE)
    rows = [bytes(body[i : i + width]) for i in range(0, len(body), width)]
    return bytearray(b"".join(rows[1:] + rows[:1]))


@pytest.mark.parametrize(
    "change",
    [
        reorder_tags,
        lambda body: bytearray(b ^ 1 for b in body),
        lambda body: body[:-1] + bytes([body[-1] ^ 1]),
        lambda body: bytearray(np.random.default_rng(1).bytes(len(body))),
    ],
    ids=["reordered", "all flipped", "one bit", "random"],
)
def test_wrong_answers_end_in_the_digest(change: Callable[[bytearray], bytearray]) -> None:
    sim = hostile("/tags-1", change)
    error = sim.outcomes["alice"].error
    assert isinstance(error, IntegrityError)
    assert error.code == "psi_digest"
    assert sim.outcomes["bob"].error is not None


def test_repeated_answers_are_no_silent_restart() -> None:
    """Equal tags look like a collision, which the honest side does not see: the digests differ."""

    def repeat(body: bytearray) -> bytearray:
        width = len(body) // len(MINE)
        body[width : 2 * width] = body[:width]
        return body

    error = hostile("/tags-1", repeat).outcomes["alice"].error
    assert isinstance(error, IntegrityError)
    assert error.code == "psi_digest"


def test_an_echoed_digest_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Echo(ChannelWrapper):
        """Bob answers alice's digest with the same bytes."""

        seen: asyncio.Future[bytes]

        async def send(self, label: str, parts: Any) -> None:
            if "/digest-" in label:
                body = b"".join(bytes(memoryview(part).cast("B")) for part in parts)
                if self.peer == "bob":
                    Echo.seen.set_result(body)
                else:
                    parts = [await Echo.seen]
            await super().send(label, parts)

    async def run(s: Session) -> Any:
        if s.me == "alice":
            Echo.seen = asyncio.get_running_loop().create_future()
        return await program(s)

    error = simulate(run, wrap=lambda me, channel: Echo(channel), limits=LIMITS).outcomes["alice"].error
    assert isinstance(error, IntegrityError)


FAULTS = [
    (kind, label)
    for kind in ("flip", "drop", "truncate", "oversize", "replay")
    for label in ("/masked-1", "/tags-1", "/digest-1")
]


@pytest.mark.parametrize(("kind", "label"), FAULTS)
def test_faults_of_the_link_are_named(kind: Any, label: str) -> None:
    """A mended message is impossible; a replayed one is never taken for another."""

    def wrap(me: str, channel: Channel) -> Channel:
        return FaultyChannel(channel, Fault(kind, label)) if me == "bob" else channel

    sim = simulate(program, wrap=wrap, limits=Limits(step_seconds=0.5))
    for outcome in sim.outcomes.values():
        if outcome.error is None:
            assert len(outcome.result) == 30
        else:
            assert isinstance(outcome.error, PrivcomputeError)
            assert outcome.error.code not in ("internal", "error")
    assert any(outcome.error for outcome in sim.outcomes.values()) or kind == "replay"


# -- collisions --------------------------------------------------------------------------------------------------------


def test_a_tag_collision_starts_again_with_fresh_scalars(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sides see it: the first attempt's tags are cut to nothing, so they collide, the second's are not."""
    true_width = tag_bytes(len(MINE), len(THEIRS))
    real = dh_module._Attempt._tag_chunk

    def blunt(self: Any, scalar: bytes, points: Any, last: Any) -> Any:
        tags = real(self, scalar, points, last)
        if self.number == 1:
            tags[:] = 7
        return tags

    monkeypatch.setattr(dh_module._Attempt, "_tag_chunk", blunt)
    sim, sets = tapped()
    a, b = sim.results["alice"], sim.results["bob"]
    assert [MINE[i] for i in a] == [THEIRS[i] for i in b]
    assert len(a) == 30
    assert true_width == 7
    for sent in sets.values():
        assert len(sent) == 2
        assert not set(numbers(sent[0])) & set(numbers(sent[1]))  # one dst, so only the scalar makes them differ


def test_collisions_without_end_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dh_module, "tag_bytes", lambda nx, ny: 1)

    async def many(s: Session) -> Any:
        items = [b"%d" % i for i in range(400)]  # more keys than tags of one byte
        return await dh_psi(s, s.peer, items, peer_items=400, workers=1)

    for outcome in simulate(many).outcomes.values():
        assert isinstance(outcome.error, IntegrityError)
        assert outcome.error.code == "psi_collisions"


def test_align_sees_a_collision_on_either_side() -> None:
    def tags(*values: int) -> Any:
        return np.array(values, np.uint8).reshape(-1, 1)

    for mine, theirs in (((1, 1), (2,)), ((1,), (2, 2)), ((1, 1), (1,)), ((1,), (1, 1))):
        assert dh_module.align(tags(*mine), tags(*theirs)) == (None, None)
    places, common = dh_module.align(tags(9, 4, 7), tags(7, 3, 9))
    assert places is not None
    assert common is not None
    assert places.tolist() == [2, 0]
    assert common.reshape(-1).tolist() == [7, 9]


# -- the zoo: mistakes that others made, and the test that catches each ------------------------------------------------


def all_on_curve(sets: dict[str, list[curve.Points]]) -> bool:
    return all(reference.on_curve(x) for sent in sets.values() for rows in sent for x in numbers(rows))


def ladder(k: int, x: int) -> int:
    """x of [k] times the point with this x, for any k: the attacker's tool."""
    x2, z2, x3, z3 = 1, 0, x, 1
    for bit in range(k.bit_length() - 1, -1, -1):
        if k >> bit & 1:
            x2, z2, x3, z3 = x3, z3, x2, z2
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % P, b * b % P, d * a % P, c * b % P
        e = aa - bb
        x3, z3 = pow(da + cb, 2, P), x * pow(da - cb, 2, P) % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
        if k >> bit & 1:
            x2, z2, x3, z3 = x3, z3, x2, z2
    return x2 * pow(z2, -1, P) % P


ORDER = 2**252 + 27742317777372353535851937790883648493


def scalar_hash(item: bytes) -> int:
    return 8 * (int.from_bytes(hashlib.sha512(item).digest(), "little") % ORDER)


def enumerate_from(masked: set[int], known: bytes, candidates: list[bytes]) -> set[bytes]:
    """If H(x) = hash(x)·G: from one masked key that it knows, a peer computes the mask of any other.

    It does not know which element is the known key's, so it tries each as that and keeps the best guess.
    """
    inverse = pow(scalar_hash(known), -1, ORDER)
    best: set[bytes] = set()
    for anchor in masked:
        found = {c for c in candidates if ladder(scalar_hash(c) * inverse % ORDER, anchor) in masked}
        best = max(best, found, key=len)
    return best


def test_zoo_hash_times_base_point_is_broken_and_ours_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    members = [b"id-%d" % i for i in range(6)]
    absent = [b"id-%d" % i for i in range(100, 104)]
    scalar = b"\x42" * 32
    ours = curve.SodiumEngine().x25519(scalar, curve.SodiumEngine().elligator2(curve.uniform_bytes(members, b"tag")))
    weak_points = b"".join(ladder(scalar_hash(item), 9).to_bytes(32, "little") for item in members)
    weak = curve.SodiumEngine().x25519(scalar, np.frombuffer(weak_points, np.uint8).reshape(-1, 32))
    assert enumerate_from(set(numbers(weak)), members[0], members + absent) == set(members)
    assert len(enumerate_from(set(numbers(ours)), members[0], members + absent)) <= 1


def test_masked_keys_never_lie_on_the_twist() -> None:
    """130 elements of a real run; of a hash that ignores the curve, half would fail."""
    _, sets = tapped()
    assert sum(len(rows) for sent in sets.values() for rows in sent) == 130
    assert all_on_curve(sets)


def test_zoo_plain_hash_as_coordinate_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain:
        name = "mutant"

        def elligator2(self, uniform: curve.Points) -> curve.Points:
            return np.frombuffer(b"".join(hashlib.sha256(row.tobytes()).digest() for row in uniform), np.uint8).reshape(
                -1, 32
            )

        def x25519(self, scalar: bytes, points: curve.Points) -> curve.Points:
            return curve.SodiumEngine().x25519(scalar, points)

    monkeypatch.setattr(curve, "engine", Plain)
    _, sets = tapped()
    assert not all_on_curve(sets)
    with pytest.raises(IntegrityError):
        curve.self_test(Plain())


def test_zoo_unsorted_sending_is_caught_by_the_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    real = dh_module._Attempt.mask_sorted

    def unsorted(self: Any, *args: Any) -> Any:
        masked, order = real(self, *args)
        if self.s.me == "alice":
            return masked, order
        back = np.argsort(order)
        return masked[back], order[back]  # in the order of bob's table

    monkeypatch.setattr(dh_module._Attempt, "mask_sorted", unsorted)
    error = tapped()[0].outcomes["alice"].error
    assert isinstance(error, PeerError)
    assert error.code == "bad_elements"


def test_sent_sets_ascend() -> None:
    _, sets = tapped()
    for sent in sets.values():
        rows = [row.tobytes() for row in sent[0]]
        assert rows == sorted(set(rows))


def test_scalars_are_fresh_and_the_hash_is_bound_to_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    scalars: list[bytes] = []
    tags: set[bytes] = set()
    real = curve.mask_keys

    def spy(items: Any, scalar: bytes, dst: bytes, **options: Any) -> Any:
        scalars.append(scalar)
        tags.add(dst)
        return real(items, scalar, dst, **options)

    monkeypatch.setattr(curve, "mask_keys", spy)
    one = tapped(session_id=b"a" * 32)[1]
    two = tapped(session_id=b"a" * 32)[1]
    tapped(session_id=b"b" * 32)
    assert len(set(scalars)) == len(scalars) == 6
    assert all(len(scalar) == 32 for scalar in scalars)
    assert len(tags) == 2
    # Same keys, same session id, hence the same points: only a fresh scalar makes the two runs differ.
    assert not set(numbers(one["alice"][0])) & set(numbers(two["alice"][0]))


def test_zoo_reused_scalar_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the comparison of two runs above would see if the scalar were kept."""
    real = curve.mask_keys
    monkeypatch.setattr(curve, "mask_keys", lambda items, scalar, dst, **kw: real(items, b"\x11" * 32, dst, **kw))
    one, two = (tapped(session_id=b"a" * 32)[1] for _ in range(2))
    assert set(numbers(one["alice"][0])) == set(numbers(two["alice"][0]))
