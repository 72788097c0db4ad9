"""The proof of a key: complete, bound to its context, and the zoo of keys that must not pass."""

from __future__ import annotations

import math

import gmpy2
import pytest

from privcompute.errors import PeerError
from privcompute.he.paillier import PrivateKey, ReceivedKey, proof

CONTEXT = b"session 7"


def roots(n: int, phi: int, context: bytes) -> bytes:
    """The best a cheat with all factors can do: a root wherever phi lets one be computed, and a guess elsewhere."""
    size = (n.bit_length() + 7) // 8
    shared = math.gcd(n, phi)
    exponent = pow(n // shared if math.gcd(n // shared, phi) == 1 else 1, -1, phi) if shared > 1 else pow(n, -1, phi)
    found = [pow(c, exponent, n) for c in proof.challenges(n, context)]
    return bytes([proof.VERSION]) + b"".join(r.to_bytes(size, "little") for r in found)


def refused(n: int, data: bytes, context: bytes = CONTEXT) -> None:
    with pytest.raises(PeerError) as caught:
        proof.verify(n, data, context)
    assert caught.value.code == "bad_key_proof"


def test_an_honest_key(owner: PrivateKey) -> None:
    data = owner.prove(CONTEXT)
    proof.verify(owner.public.n, data, CONTEXT)
    assert len(data) == 1 + 8 * 256
    assert owner.prove(CONTEXT) == data
    assert roots(owner.public.n, math.prod(h.prime - 1 for h in owner.halves), CONTEXT) == data


def test_a_proof_counts_for_one_key_and_one_context(owner: PrivateKey) -> None:
    data = owner.prove(CONTEXT)
    refused(owner.public.n, data, b"session 8")
    refused(owner.public.n, data, b"")
    other = PrivateKey.generate(2048)
    refused(other.public.n, data)
    with pytest.raises(PeerError):
        ReceivedKey(other.public.n).verify(data, CONTEXT)


def test_a_changed_proof(owner: PrivateKey) -> None:
    data, n = owner.prove(CONTEXT), owner.public.n
    for at in (0, 1, 256, 257, len(data) - 1):
        refused(n, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    refused(n, data[:-1])
    refused(n, data + b"\0")
    refused(n, b"")
    root = int.from_bytes(data[1:257], "little")
    refused(n, data[:1] + bytes(256) + data[257:])
    if root + n < 2**2048:
        refused(n, data[:1] + (root + n).to_bytes(256, "little") + data[257:])


def prime_above(start: int) -> int:
    return int(gmpy2.next_prime(start))


def test_the_zoo() -> None:
    """Moduli that share a factor with their phi, made by somebody who knows all about them."""
    p, q = prime_above(2**680 + 77), prime_above(2**680 * 3 + 5)
    n = p * p * q
    refused(n, roots(n, p * (p - 1) * (q - 1), CONTEXT))
    # q = 1 modulo p: of unequal lengths, because it takes a multiple of p.
    p = prime_above(2**500 + 3)
    k = 2**1040
    while not gmpy2.is_prime(q := k * p + 1):
        k += 2
    n = p * q
    refused(n, roots(n, (p - 1) * (q - 1), CONTEXT))
    # A shared factor of 17 bits is the smallest that small factors do not show; eight challenges catch it.
    p = 65537
    k = 2**2000
    while not gmpy2.is_prime(q := k * p + 1):
        k += 2
    refused(p * q, roots(p * q, (p - 1) * (q - 1), CONTEXT))
    # A factor below 2^16 is seen at once, whatever the roots.
    n = 65521 * prime_above(2**2000)
    refused(n, roots(n, 65520 * (n // 65521 - 1), CONTEXT))


class OneRoot:
    """The broken variant: a verifier that looks at a single root."""

    @staticmethod
    def accepts(n: int, data: bytes) -> bool:
        size = (n.bit_length() + 7) // 8
        return pow(int.from_bytes(data[1 : 1 + size], "little"), n, n) == proof.challenges(n, CONTEXT)[0]


def test_every_root_counts(owner: PrivateKey) -> None:
    data, n = owner.prove(CONTEXT), owner.public.n
    for i in range(proof.ROOTS):
        at = 1 + i * 256
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        refused(n, changed)
        assert OneRoot.accepts(n, changed) == (i > 0)


def test_challenges_cover_the_modulus(owner: PrivateKey) -> None:
    n = owner.public.n
    found = proof.challenges(n, CONTEXT)
    assert len(set(found)) == proof.ROOTS
    assert all(0 < c < n for c in found)
    assert max(found) > n // 4
    assert set(found).isdisjoint(proof.challenges(n, b"other"))
    # A context and a modulus cannot borrow bytes from each other.
    assert proof.challenges(n, b"a") != proof.challenges(n, b"a\0")
