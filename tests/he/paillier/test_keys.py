"""Keys: what they must be, what they show, where they may not go."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import gmpy2
import pytest

from privcompute.errors import PeerError, UsageError
from privcompute.he import paillier
from privcompute.he.paillier import Encryptor, PrivateKey, PublicKey, ReceivedKey
from privcompute.he.paillier.primes import prime_pair, small_factor


def test_a_generated_key() -> None:
    key = PrivateKey.generate(2048)
    p, q = (half.prime for half in key.halves)
    assert key.public.n == p * q
    assert key.public.bits == 2048
    assert p.bit_length() == q.bit_length() == 1024
    assert p % 4 == q % 4 == 3
    assert gmpy2.is_prime(p, 10)
    assert gmpy2.is_prime(q, 10)
    assert math.gcd(p - 1, q - 1) == 2
    assert math.gcd(key.public.n, (p - 1) * (q - 1)) == 1
    assert (p - q).bit_length() > 900


@pytest.mark.parametrize("bits", [1024, 2047, 2049, 2100, 4352, 0, -1])
def test_sizes_that_are_not_offered(bits: int) -> None:
    with pytest.raises(UsageError) as caught:
        PrivateKey.generate(bits)
    assert caught.value.code == "bad_key_size"


def next_prime(start: int, residue: int = 3) -> int:
    found = int(gmpy2.next_prime(start))
    while found % 4 != residue:
        found = int(gmpy2.next_prime(found))
    return found


def test_primes_that_make_no_key(iso: dict[str, int]) -> None:
    p, q = iso["p"], iso["q"]
    one_mod_4 = next_prime(p - 2**1020, 1)
    neighbour = next_prime(p + 2)
    cases = {
        "same length": (p << 3 | 3, next_prime(q >> 3)),
        "far apart": (p, neighbour),
        "primes": (p, q + 4),
        "3 modulo 4": (p, one_mod_4),
        "bits": (next_prime(p >> 8), next_prime(q >> 8)),
        "share only the factor 2": (p, q),
    }
    for text, (a, b) in cases.items():
        with pytest.raises(UsageError) as caught:
            PrivateKey.from_primes(a, b)
        assert caught.value.code == "bad_key"
        assert text in caught.value.message
        assert str(a) not in caught.value.message
    with pytest.raises(UsageError):
        PrivateKey.from_primes(p, p)
    assert PrivateKey.from_primes(p, one_mod_4, elsewhere=True).public.n == p * one_mod_4


def test_primes_whose_predecessors_share_a_factor() -> None:
    """p = q = 1 modulo 3 and 3 modulo 4: gcd(p - 1, q - 1) is a multiple of 6."""
    found: list[int] = []
    candidate = 3 * 2**1022 + 2**1000
    candidate += 7 - candidate % 12
    while len(found) < 2:
        if gmpy2.is_prime(candidate):
            found.append(candidate)
            candidate += 12 * 2**1010
        candidate += 12
    with pytest.raises(UsageError, match="share only the factor 2"):
        PrivateKey.from_primes(*found)


def test_a_generated_pair_differs_from_the_next() -> None:
    assert len({prime for _ in range(2) for prime in prime_pair(512)}) == 4


def test_nothing_secret_is_shown_or_copied(owner: PrivateKey, encryptor: Encryptor) -> None:
    p, q = (half.prime for half in owner.halves)
    for thing in (owner, owner.public, encryptor, *owner.halves):
        text = repr(thing) + str(thing)
        assert all(str(x)[:12] not in text and f"{x:x}"[:12] not in text for x in (p, q, owner.public.n))
        with pytest.raises(TypeError):
            pickle.dumps(thing)
    for thing in (owner, encryptor, owner.halves[0]):
        with pytest.raises(TypeError):
            copy.copy(thing)
        with pytest.raises(TypeError):
            copy.deepcopy(thing)


def test_a_public_key_is_not_made_of_a_number(owner: PrivateKey) -> None:
    with pytest.raises(TypeError, match="verify"):
        PublicKey()
    received: Any = ReceivedKey(owner.public.n)
    with pytest.raises(AttributeError):
        Encryptor(received)


def test_keys_travel(owner: PrivateKey) -> None:
    data = owner.public.to_bytes()
    assert len(data) == 8 + 256
    received = ReceivedKey.from_bytes(data)
    assert received.id == owner.public.id
    key = received.verify(owner.prove(b"session 1"), b"session 1")
    assert key == owner.public
    assert hash(key) == hash(owner.public)
    assert key != 5
    for thing in (received, key):
        with pytest.raises(TypeError):
            pickle.dumps(thing)


def broken_keys(n: int) -> dict[str, bytes]:
    good = b"PCPA\x01\x01\x00\x08" + n.to_bytes(256, "little")
    return {
        "empty": b"",
        "short": good[:-1],
        "long": good + b"\0",
        "magic": b"X" + good[1:],
        "version": good[:4] + b"\x02" + good[5:],
        "kind": good[:5] + b"\x02" + good[6:],
        "bits": good[:6] + b"\x01\x08" + good[8:],
        "top bit": good[:-1] + b"\x00",
        "even": good[:8] + (n - 1).to_bytes(256, "little"),
    }


@pytest.mark.parametrize("case", list(broken_keys(1)))
def test_broken_keys(case: str, owner: PrivateKey) -> None:
    with pytest.raises(PeerError) as caught:
        ReceivedKey.from_bytes(broken_keys(owner.public.n)[case])
    assert caught.value.code == "bad_key"


def test_moduli_that_are_none(iso: dict[str, int]) -> None:
    p = iso["p"]
    prime = next_prime(2**2047 + 12345)
    small = 65521 * next_prime(2**2032)
    for n in (p * p, prime, small, iso["p"], 3**1292):
        with pytest.raises(PeerError) as caught:
            ReceivedKey(n)
        assert caught.value.code == "bad_key"


def test_small_factors() -> None:
    assert small_factor(65521 * (2**521 - 1)) == 65521
    assert small_factor(2**521 - 1) is None
    assert small_factor(65537 * (2**521 - 1)) is None


def test_the_names_of_the_package() -> None:
    assert all(getattr(paillier, name) is not None for name in paillier.__all__)
    with pytest.raises(AttributeError):
        paillier.nonsense  # noqa: B018  # the access is the test
    from privcompute import he

    assert he.paillier is paillier
