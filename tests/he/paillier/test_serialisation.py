"""Ciphertexts as bytes: a round trip, and every class of bytes that is refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privcompute.errors import PeerError, UsageError
from privcompute.he.paillier import (
    Blinded,
    Encrypted,
    Encryptor,
    FixedPoint,
    Interval,
    Packing,
    PrivateKey,
    batch_bytes,
    blinded_bytes,
)

PACKING = Packing(FixedPoint(-10, 1000, 0.5), 2048, terms=10, slots=4)
HEAD = 8 + 32 + 8 + 4 + 2 + 2 + 32 + 32
C = 512
VALUES = [1, 2, 3.5, -10, 1000, 0]


@pytest.fixture(scope="module")
def good(encryptor: Encryptor) -> bytes:
    return encryptor.encrypt(VALUES, PACKING).to_bytes()


def refused(data: bytes, owner: PrivateKey, count: int = 6, packing: Packing = PACKING) -> None:
    with pytest.raises(PeerError) as caught:
        Encrypted.from_bytes(data, owner.public, packing, count)
    assert caught.value.code == "bad_ciphertext"


def test_round_trip(owner: PrivateKey, encryptor: Encryptor, good: bytes) -> None:
    assert len(good) == batch_bytes(PACKING, 6) == HEAD + 2 * C
    batch = Encrypted.from_bytes(memoryview(good), owner.public, PACKING, 6)
    assert list(owner.decrypt(batch)) == VALUES
    assert batch.to_bytes() == good
    total = (batch + batch).fresh(encryptor)
    back = Encrypted.from_bytes(total.to_bytes(), owner.public, PACKING, 6, PACKING.interval.times(2))
    assert list(owner.decrypt(back + batch)) == [3 * v for v in VALUES]
    empty = encryptor.encrypt([], PACKING).to_bytes()
    assert len(Encrypted.from_bytes(empty, owner.public, PACKING, 0)) == 0


def test_the_format_as_documented(owner: PrivateKey, good: bytes) -> None:
    fields = struct.unpack_from("<4sBBH32sQIHH", good)
    assert fields == (b"PCPA", 1, 2, 2048, owner.public.id, 6, 2, 4, PACKING.width)
    ends = [int.from_bytes(good[at : at + 32], "little", signed=True) for at in (56, 88)]
    assert ends == [-20, 2000]


def test_lengths(owner: PrivateKey, good: bytes) -> None:
    for bad in (b"", good[:7], good[:HEAD], good[:-1], good + b"\0", good[: HEAD + C], good + good[-C:]):
        refused(bad, owner)


@pytest.mark.parametrize("at", [0, 4, 5, 6, 7, 8, 39, 40, 47, 48, 52, 54, 56, 87, 88, 119])
def test_every_field_of_the_head(at: int, owner: PrivateKey, good: bytes) -> None:
    for bit in (1, 128):
        refused(good[:at] + bytes([good[at] ^ bit]) + good[at + 1 :], owner)


def test_what_the_reader_does_not_expect(owner: PrivateKey, encryptor: Encryptor, good: bytes) -> None:
    refused(good, owner, count=5)
    refused(good, owner, packing=Packing(FixedPoint(-10, 1000, 0.5), 2048, terms=100, slots=4))
    refused(good, owner, packing=Packing(FixedPoint(-10, 1000, 0.5), 2048, terms=10, slots=5))
    refused(good, PrivateKey.generate(2048))
    fresh = Encrypted.from_bytes(good, owner.public, PACKING, 6)
    refused((fresh + fresh).fresh(encryptor).to_bytes(), owner)
    refused(encryptor.blind(fresh)[0].to_bytes(), owner)
    refused(owner.public.to_bytes(), owner)


def test_ciphertexts_that_are_none(owner: PrivateKey, good: bytes) -> None:
    n, p = owner.public.n, owner.halves[0].prime
    square = n * n
    for bad in (
        0,
        1,
        n,
        n + 1,
        5 * n + 1,
        square - 1,
        n - 1,
        3 * n - 1,
        square,
        square + 2,
        p,
        7 * p,
        p * p,
        p * n,
        2**4096 - 1,
    ):
        for place in (0, 1):
            at = HEAD + place * C
            refused(good[:at] + bad.to_bytes(C, "little") + good[at + C :], owner)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=2000))
def test_noise(owner: PrivateKey, data: bytes) -> None:
    refused(data, owner)


def test_blinded(owner: PrivateKey, encryptor: Encryptor, good: bytes) -> None:
    blinded, _ = encryptor.blind(encryptor.encrypt(VALUES, PACKING))
    data = blinded.to_bytes()
    assert len(data) == blinded_bytes(2048, 2) == HEAD + 2 * C
    assert Blinded.from_bytes(data, owner.public, 2).to_bytes() == data
    changed = data[:HEAD] + bytes(C) + data[HEAD + C :]
    for bad in (data[:-1], data + b"\0", good, changed, b""):
        with pytest.raises(PeerError) as caught:
            Blinded.from_bytes(bad, owner.public, 2)
        assert caught.value.code == "bad_ciphertext"
    with pytest.raises(PeerError):
        Blinded.from_bytes(data, owner.public, 1)


def test_values_too_wide_to_travel(encryptor: Encryptor) -> None:
    packing = Packing(FixedPoint(0, 2**300), 2048, terms=1)
    with pytest.raises(UsageError) as caught:
        encryptor.encrypt([5], packing).to_bytes()
    assert caught.value.code == "too_wide"
    widest = Packing(FixedPoint(-(2**255), 2**255 - 1), 2048, terms=1)
    assert widest.interval == Interval(-(2**255), 2**255 - 1)
    assert encryptor.encrypt([5], widest).to_bytes()
