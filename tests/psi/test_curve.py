"""Hash to the curve and X25519: published answers, both engines, the integers as oracle."""

from __future__ import annotations

import functools
import json
import logging
import os
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from privcompute.errors import IntegrityError
from privcompute.psi import curve, reference, warm_up
from privcompute.psi.vector import VectorEngine

ENGINES: list[curve.Engine] = [curve.SodiumEngine(), VectorEngine()]
P = reference.P


def points(*values: int) -> curve.Points:
    return np.frombuffer(b"".join(v.to_bytes(32, "little") for v in values), np.uint8).reshape(-1, 32)


def numbers(rows: curve.Points) -> list[int]:
    return [int.from_bytes(row.tobytes(), "little") for row in rows]


def random_rows(count: int, width: int, seed: int) -> curve.Points:
    return np.random.default_rng(seed).integers(0, 256, (count, width), dtype=np.uint8)


# RFC 9380 appendix J.4.2 (curve25519_XMD:SHA-512_ELL2_NU_): message, u, Q.x.
J42_DST = b"QUUX-V01-CS02-with-curve25519_XMD:SHA-512_ELL2_NU_"
J42 = [
    (
        b"",
        0x608D892B641F0328523802A6603427C26E55E6F27E71A91A478148D45B5093CD,
        0x51125222DA5E763D97F3C10FCC92EA6860B9CCBBD2EB1285728F566721C1E65B,
    ),
    (
        b"abc",
        0x46F5B22494BFEAA7F232CC8D054BE68561AF50230234D7D1D63D1D9ABECA8DA5,
        0x7D56D1E08CB0CCB92BAF069C18C49BB5A0DCD927EFF8DCF75CA921EF7F3E6EEB,
    ),
    (
        b"abcdef0123456789",
        0x235FE40C443766CE7E18111C33862D66C3B33267EFA50D50F9E8E5D252A40AAA,
        0x3FBE66B9C9883D79E8407150E7C2A1C8680BEE496C62FABE4619A72B3CABE90F,
    ),
]


@pytest.mark.parametrize(("message", "u", "x"), J42, ids=["empty", "abc", "sixteen"])
def test_rfc9380_published_answers(message: bytes, u: int, x: int) -> None:
    assert reference.hash_to_field(message, J42_DST) == u
    assert reference.elligator2(u) == x
    uniform = curve.uniform_bytes([message], J42_DST)
    assert int.from_bytes(uniform.tobytes(), "big") % P == u
    for engine in ENGINES:
        assert numbers(engine.elligator2(uniform)) == [x]


@pytest.mark.parametrize("engine", ENGINES, ids=lambda e: e.name)
def test_rfc7748_published_answers(engine: curve.Engine) -> None:
    """Section 5.2: the iterated ladder from k = u = 9, once and a thousand times."""
    k = u = bytes([9]) + bytes(31)
    for step in range(1, 1001):
        k, u = engine.x25519(k, np.frombuffer(u, np.uint8).reshape(1, 32)).tobytes(), k
        if step == 1:
            assert k.hex() == "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"
    assert k.hex() == "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"


def test_rfc9380_file(vectors: Path) -> None:
    suite = json.loads((vectors / "hash_to_curve" / "curve25519_XMD_SHA-512_ELL2_NU_.json").read_text())
    messages = [case["msg"].encode() for case in suite["vectors"]]
    wanted = [int(case["Q"]["x"], 16) for case in suite["vectors"]]
    uniform = curve.uniform_bytes(messages, suite["dst"].encode())
    for engine in ENGINES:
        assert numbers(engine.elligator2(uniform)) == wanted


def test_expand_message_file(vectors: Path) -> None:
    suite = json.loads((vectors / "hash_to_curve" / "expand_message_xmd_SHA512_38.json").read_text())
    assert len(suite["tests"]) >= 8
    for case in suite["tests"]:
        length = int(case["len_in_bytes"], 16)
        got = reference.expand_message_xmd(case["msg"].encode(), suite["DST"].encode(), length)
        assert got.hex() == case["uniform_bytes"]


@pytest.mark.parametrize("engine", ENGINES, ids=lambda e: e.name)
def test_wycheproof_file(engine: curve.Engine, vectors: Path) -> None:
    """Every case: RFC 7748 gives an output for each input, also where a caller must then refuse it."""
    suite = json.loads((vectors / "wycheproof" / "x25519_test.json").read_text())
    cases = [case for group in suite["testGroups"] for case in group["tests"]]
    assert len(cases) == suite["numberOfTests"] > 300
    for case in cases:
        public = np.frombuffer(bytes.fromhex(case["public"]), np.uint8).reshape(1, 32)
        shared = engine.x25519(bytes.fromhex(case["private"]), public)
        assert shared.tobytes().hex() == case["shared"], case["tcId"]


def test_fast_hash_equals_the_reference() -> None:
    messages = [os.urandom(length) for length in (0, 1, 63, 64, 65, 127, 128, 129, 300, 5000)]
    dst = b"some|tag|" + bytes(32)
    want = b"".join(reference.expand_message_xmd(message, dst, 48) for message in messages)
    assert curve.uniform_bytes(messages, dst).tobytes() == want
    with pytest.raises(ValueError, match="255"):
        curve.uniform_bytes([b""], bytes(256))


@pytest.mark.parametrize("count", [1, 7, 8, 9, 255, 257, 520])
def test_engines_agree(count: int) -> None:
    """Counts around a vector's lanes and a block's groups."""
    scalar, rows, uniform = os.urandom(32), random_rows(count, 32, count), random_rows(count, 48, count + 1)
    sodium, vector = ENGINES
    assert np.array_equal(vector.x25519(scalar, rows), sodium.x25519(scalar, rows))
    assert np.array_equal(vector.elligator2(uniform), sodium.elligator2(uniform))


@pytest.mark.parametrize("engine", ENGINES, ids=lambda e: e.name)
def test_edges_of_the_field(engine: curve.Engine) -> None:
    """Field elements around 0, p, 2^255 and single bits, for the ladder and for the map."""
    edges = [0, 1, 2, 9, P - 1, P, P + 1, P + 18, 2**255 - 1, 2**255, 2**256 - 1, 2**254, 486662, P - 486662]
    edges += [1 << bit for bit in range(0, 255, 17)] + [P - (1 << bit) for bit in range(0, 255, 17)]
    for scalar in (bytes(32), b"\xff" * 32, bytes([8]) + bytes(31)):
        want = [reference.x25519(scalar, x & (2**255 - 1)) for x in edges]
        assert numbers(engine.x25519(scalar, points(*edges))) == want
    wide = [*edges, P << 129, 2**384 - 1, 2**384 - 38, 2**383, (2**128 - 1) << 256]
    uniform = np.frombuffer(b"".join(v.to_bytes(48, "big") for v in wide), np.uint8).reshape(-1, 48)
    assert numbers(engine.elligator2(uniform)) == [reference.elligator2(v % P) for v in wide]


@pytest.mark.parametrize("engine", ENGINES, ids=lambda e: e.name)
def test_small_order_gives_zeros_and_spares_its_neighbours(engine: curve.Engine) -> None:
    """A zero among the denominators must not spoil the batched inversion of the others."""
    small = [
        0,
        1,
        P - 1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
    ]
    good = [9, 5, 77, 12345]
    mixed = [value for pair in zip(small, [*good, 9], strict=True) for value in pair] * 30
    scalar = os.urandom(32)
    got = numbers(engine.x25519(scalar, points(*mixed)))
    assert got[0::2] == [0] * (len(mixed) // 2)
    assert got[1::2] == [reference.x25519(scalar, x) for x in [*good, 9]] * 30


def test_masks_commute_and_stay_on_the_curve() -> None:
    a, b = os.urandom(32), os.urandom(32)
    keys = pa.array([b"%d" % i for i in range(400)], pa.large_binary())
    one, two = curve.mask_keys(keys, a, b"tag", workers=2), curve.mask_keys(keys, b, b"tag", workers=1)
    assert np.array_equal(curve.multiply(b, one, workers=1), curve.multiply(a, two, workers=2))
    assert all(reference.on_curve(x) for x in numbers(one))


def test_order_and_progress_survive_the_threads() -> None:
    keys = pa.array([b"%d" % i for i in range(3000)], pa.large_binary())
    scalar, seen = os.urandom(32), list[int]()
    many = curve.mask_keys(keys, scalar, b"tag", workers=4, progress=seen.append)
    assert np.array_equal(many, curve.mask_keys(keys, scalar, b"tag", workers=1))
    assert max(seen) == 3000
    assert np.array_equal(curve.mask_keys(keys.slice(1000, 10), scalar, b"tag"), many[1000:1010])


def test_the_vector_engine_releases_the_gil() -> None:
    """While one call computes, another thread advances."""
    engine, rows, done = VectorEngine(), random_rows(4096, 32, 1), threading.Event()
    engine.x25519(bytes(32), rows[:8])
    ticks = 0

    def work() -> None:
        engine.x25519(bytes(32), rows)
        done.set()

    worker = threading.Thread(target=work)
    worker.start()
    while not done.is_set():
        ticks += 1
    worker.join()
    assert ticks > 100


# -- the choice of an engine -------------------------------------------------------------------------------------------


def test_an_engine_with_wrong_answers_is_never_taken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    right = VectorEngine.x25519

    def wrong(self: VectorEngine, scalar: bytes, rows: curve.Points) -> curve.Points:
        out = right(self, scalar, rows).copy()
        out[-1, 0] ^= 1
        return out

    monkeypatch.setattr(VectorEngine, "x25519", wrong)
    with pytest.raises(IntegrityError):
        curve.self_test(VectorEngine())
    choose = functools.partial(curve.engine.__wrapped__)
    with caplog.at_level(logging.WARNING):
        assert choose().name == "libsodium"
    assert "IntegrityError" in caplog.text


def test_the_chosen_engine_is_the_faster_one(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = {"libsodium": 2.0, "vector": 1.0}
    monkeypatch.setattr(curve, "rate", lambda engine: speeds[engine.name])
    assert curve.engine.__wrapped__().name == "libsodium"
    speeds["vector"] = 3.0
    chosen = curve.engine.__wrapped__()
    assert chosen.name == "vector"
    assert warm_up() in speeds
    curve.self_test(chosen)
