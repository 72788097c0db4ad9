"""The primes of a Paillier key, and the search for small factors of somebody else's modulus."""

from __future__ import annotations

import functools
from typing import Any, Final

import gmpy2

from privcompute.randomness import Stream, system_stream

_ROUNDS: Final = 40
SMALL: Final = 1 << 16
"""Primes below this are searched for in a received modulus; the proof's soundness counts on it."""


def prime_pair(bits: int) -> tuple[int, int]:
    """Two random primes of bits/2 each whose product has exactly ``bits``; see `keys` for the other conditions."""
    stream = system_stream("paillier primes")
    half = bits // 2
    while True:
        p, q = _prime(half, stream), _prime(half, stream)
        if abs(p - q).bit_length() > half - 100 and gmpy2.gcd(p - 1, q - 1) == 2:
            return p, q


def _prime(bits: int, stream: Stream) -> int:
    """A uniform one of the primes that are 3 modulo 4 and have their two highest bits set."""
    shape = (3 << (bits - 2)) | 3
    while True:
        for candidate in stream.bits(bits, 64):
            value = candidate | shape
            if gmpy2.gcd(value, _primorial(1 << 12)) == 1 and gmpy2.is_prime(value, _ROUNDS):
                return value


@functools.cache
def _primorial(bound: int) -> Any:
    """The product of all primes below the bound."""
    return gmpy2.primorial(bound - 1)


def small_factor(n: int) -> int | None:
    """A factor of n below 2^16 other than 1, or None."""
    common = gmpy2.gcd(n, _primorial(SMALL))
    return None if common == 1 else int(common)
