"""Proof that a modulus shares no factor with phi of it, so that encryption under it is one to one.

The owner shows N-th roots of numbers that a hash makes of the modulus and a context. Where gcd(N, phi(N)) = 1 every
number has a root; where a prime d divides both, at most one number in d has. A common d below 2^16 would be a factor of
N below 2^16, which the verifier rules out, so each root that a cheat can show had a chance of at most 2^-16, and eight
of them 2^-128. Whoever knows no factor of N learns nothing: roots of random numbers could be made by raising random
numbers. It does not show that N has two factors only, nor how long they are; that harms nobody but the owner.

The challenge i is SHAKE-256 of a domain, the lengths and bytes of the context and of N, and i, read as a little-endian
number of 128 bits more than N has, modulo N.

Source: Goldberg, Reyzin, Sagga, Baldimtsi, "Efficient noninteractive certification of RSA moduli and beyond",
ASIACRYPT 2019, the proof of gcd(N, phi(N)) = 1 with alpha = 2^16 and eight repetitions.
"""

from __future__ import annotations

import hashlib
from typing import Final

import gmpy2

from privcompute.errors import PeerError
from privcompute.he.paillier.primes import small_factor

ROOTS: Final = 8
VERSION: Final = 1
_DOMAIN: Final = b"privcompute paillier gcd(N, phi(N)) = 1 v1"


def challenges(n: int, context: bytes) -> list[int]:
    """The numbers whose roots are asked for."""
    size = (n.bit_length() + 7) // 8
    parts = (_DOMAIN, context, n.to_bytes(size, "little"))
    prefix = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
    return [
        int.from_bytes(hashlib.shake_256(prefix + i.to_bytes(4, "little")).digest(size + 16), "little") % n
        for i in range(ROOTS)
    ]


def proof_bytes(bits: int) -> int:
    """The exact length of the proof for a modulus of that length."""
    return 1 + ROOTS * bits // 8


def prove(p: int, q: int, context: bytes) -> bytes:
    """The proof: a version byte and eight roots, little-endian, each as long as the modulus.

    The powers take the same time for all primes of a length (GMP's constant-time power, as gmpy2 offers it).
    """
    n = p * q
    size = (n.bit_length() + 7) // 8
    exponents = [int(gmpy2.invert(n, prime - 1)) for prime in (p, q)]
    inverse = int(gmpy2.invert(q, p))
    roots = []
    for challenge in challenges(n, context):
        at_p, at_q = (
            int(gmpy2.powmod_sec(challenge % prime, exponent, prime))
            for prime, exponent in zip((p, q), exponents, strict=True)
        )
        roots.append(at_q + q * ((at_p - at_q) * inverse % p))
    return bytes([VERSION]) + b"".join(root.to_bytes(size, "little") for root in roots)


def verify(n: int, proof: bytes, context: bytes) -> None:
    """Checks a proof of `prove`.

    Raises:
        PeerError: ``bad_key_proof``: the wrong length or version, or a root is none.
    """
    size = (n.bit_length() + 7) // 8
    if len(proof) != 1 + ROOTS * size or proof[0] != VERSION:
        raise _refused("it has the wrong length or version")
    if n < 2 or small_factor(n) is not None:
        raise _refused("the modulus has a small factor")
    for i, challenge in enumerate(challenges(n, context)):
        root = int.from_bytes(proof[1 + i * size : 1 + (i + 1) * size], "little")
        if not 0 < root < n or gmpy2.powmod(root, n, n) != challenge:
            raise _refused("a root is none; a proof counts for one key and one context")


def _refused(why: str) -> PeerError:
    return PeerError(
        f"the proof of the received Paillier key is refused: {why}",
        code="bad_key_proof",
        remedy="nothing was encrypted under it; ask its owner for a proof made for this session",
    )
