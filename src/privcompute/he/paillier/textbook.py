"""Paillier as in the paper, one number at a time and of any size: the oracle of the tests. Hazardous.

Nothing is checked, nothing is packed, the caller brings the randomness, and the time depends on the numbers. The
library itself does not use it.

Source: Paillier, EUROCRYPT 1999, scheme 1 with g = n + 1.
"""

from __future__ import annotations


def encrypt(n: int, m: int, r: int) -> int:
    """(1 + n)^m r^n modulo n^2."""
    return (1 + n * m) * pow(r, n, n * n) % (n * n)


def decrypt(p: int, q: int, c: int) -> int:
    """The plaintext modulo n."""
    n, phi = p * q, (p - 1) * (q - 1)
    return (pow(c, phi, n * n) - 1) // n * pow(phi, -1, n) % n


def add(n: int, c: int, d: int) -> int:
    """A ciphertext of the sum."""
    return c * d % (n * n)
