"""Decryption by the Chinese remainder theorem, for many ciphertexts at once.

Modulo p^2 a ciphertext to the power of p - 1 is 1 + p L, and the plaintext modulo p is L / (-q). The powers run in
kernels whose time depends on lengths alone; putting the halves together, a dozen operations a ciphertext, runs in
gmpy2, whose time does depend on numbers. Source: Paillier, EUROCRYPT 1999, section 7.
"""

from __future__ import annotations

import gmpy2

from privcompute.errors import UsageError
from privcompute.he.paillier.batch import Batch
from privcompute.he.paillier.keys import PrivateKey
from privcompute.he.paillier.masks import Blinded
from privcompute.he.paillier.rows import Rows, from_rows, to_rows, words_of
from privcompute.he.paillier.values import Values

_PIECE = 4096
"""Ciphertexts at a time, so that memory stays bounded by the batch and not by its intermediate numbers."""


def plaintexts(key: PrivateKey, rows: Rows) -> Rows:
    """Numbers below n, one a row, as long as the modulus."""
    found: list[int] = []
    for start in range(0, len(rows), _PIECE):
        found += _piece(key, rows[start : start + _PIECE])
    return to_rows(found, words_of(key.public.bits))


def _piece(key: PrivateKey, rows: Rows) -> list[int]:
    halves = key.halves
    residues = []
    for half in halves:
        quotients = from_rows(half.square.quotients(rows, half.prime - 1))
        residues.append([gmpy2.mpz(x) * half.factor % half.prime for x in quotients])
    p, q = halves[0].prime, halves[1].prime
    inverse = gmpy2.invert(q, p)
    return [int(b + q * ((a - b) * inverse % p)) for a, b in zip(*residues, strict=True)]


def decrypt(key: PrivateKey, batch: Batch) -> Values:
    """The values of a batch under this key.

    Raises:
        UsageError: ``mismatch``: a batch under another key.
        IntegrityError: ``slot_out_of_bounds``.
    """
    if batch.key != key.public:
        raise UsageError("this batch is under another key", code="mismatch")
    found = batch.packing.unpack(plaintexts(key, batch.rows), batch.count, batch.interval)
    return Values(tuple(found), batch.packing.encoding.step)


def open_blinded(key: PrivateKey, blinded: Blinded) -> bytes:
    """The masked plaintexts, each as long as the modulus, little-endian: for the collector, who has the mask.

    Raises:
        UsageError: ``mismatch``: blinded under another key.
    """
    if blinded.key != key.public:
        raise UsageError("this batch is under another key", code="mismatch")
    return plaintexts(key, blinded.rows).tobytes()
