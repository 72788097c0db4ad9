"""Encryption with short exponents and a table of the encryptor's own base.

A ciphertext is h^a (1 + n m) modulo n^2 with h = (-y^2)^n for a random y, and a of half the key's length. Each
encryptor draws its own y: an h from the owner of the key could have a tiny order and give plaintexts away to
everybody. The powers of h stand in a table; every entry of it is read for every exponent (`pairs`). The owner computes
modulo the squares of its primes, which is faster.

Source: Damgård, Jurik, Nielsen, Int. J. Inf. Secur. 2010, section 4.2 (short exponents); ciphertexts hide their
plaintexts if, besides Paillier's assumption, h^a with short a looks like h^a with a long one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

import gmpy2

from privcompute.errors import IntegrityError, UsageError
from privcompute.he.paillier.batch import Batch, Encrypted
from privcompute.he.paillier.keys import PrivateKey, PublicKey
from privcompute.he.paillier.masks import Blinded, Mask
from privcompute.he.paillier.packing import Packing
from privcompute.he.paillier.rows import Rows, from_rows, to_rows, words_of
from privcompute.he.paillier.squares import Table
from privcompute.randomness import system_stream


class Encryptor:
    """Encrypts under one key; builds its table, of some megabytes, when it is made. Safe for several threads.

    Args:
        key: A public key, or one's own private key, which is faster.
    """

    def __init__(self, key: PublicKey | PrivateKey) -> None:
        self.key = key.public if isinstance(key, PrivateKey) else key
        self._lock = threading.Lock()
        self._stream = system_stream("paillier encryption")
        n = gmpy2.mpz(self.key.n)
        y = 0
        while gmpy2.gcd(y, n) != 1:
            y = self._stream.below(self.key.n)
        base = int(gmpy2.powmod(-y * y, n, n * n))
        if base == 1:
            raise IntegrityError("the base of an encryptor is 1: this is no Paillier key", code="bad_key")
        self._exponent_bits = self.key.bits // 2
        if isinstance(key, PrivateKey):
            self._table: Table = _OwnersTable(key, base, self._exponent_bits)
        else:
            self._table = self.key.square.table(base, self._exponent_bits)

    def __repr__(self) -> str:
        return f"Encryptor({self.key!r}, <hidden>)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an Encryptor is not pickled or copied: each process draws its own base")

    def encrypt(self, values: Iterable[Any], packing: Packing) -> Encrypted:
        """A column.

        Args:
            values: Numbers; a numpy array is fastest. All are encoded and checked before the first is encrypted.
            packing: Range, step and room for sums.

        Raises:
            UsageError: ``not_finite``, ``range_exceeded``, ``mismatch``.
        """
        if packing.bits != self.key.bits:
            raise UsageError("this packing is for keys of another length", code="mismatch")
        return self.encrypt_integers(packing.encoding.encode(values), packing)

    def encrypt_integers(self, integers: list[int], packing: Packing) -> Encrypted:
        """A column of integers in steps of the packing's encoding; as `encrypt`."""
        messages = packing.pack(integers, packing.interval)
        rows = self._powers(messages)
        return Encrypted(self.key, packing, len(integers), packing.interval, rows)

    def encrypt_stream(self, chunks: Iterable[Iterable[Any]], packing: Packing) -> Iterator[Encrypted]:
        """A batch for each chunk of values, one at a time: memory is that of one chunk."""
        for chunk in chunks:
            yield self.encrypt(chunk, packing)

    def refresh(self, batch: Batch) -> Encrypted:
        """The same values in fresh ciphertexts.

        Raises:
            UsageError: ``mismatch``: a batch under another key.
        """
        messages = to_rows([0] * len(batch.rows), words_of(self.key.bits))
        rows = self._rerandomised(batch, messages)
        return Encrypted(self.key, batch.packing, batch.count, batch.interval, rows)

    def blind(self, batch: Batch) -> tuple[Blinded, Mask]:
        """The batch plus a uniform random plaintext in every ciphertext, fresh, and what takes it off again.

        For two roles: who holds the key opens the blinded batch and learns nothing; who has the mask learns the values.

        Raises:
            UsageError: ``mismatch``: a batch under another key.
        """
        n = self.key.n
        with self._lock:
            masks = [self._stream.below(n) for _ in range(len(batch.rows))]
        rows = self._rerandomised(batch, to_rows(masks, words_of(self.key.bits)))
        return Blinded(self.key, rows), Mask(self.key, batch.packing, batch.count, batch.interval, masks)

    def _powers(self, messages: Rows) -> Rows:
        with self._lock:
            exponents = self._stream.uint64((len(messages), words_of(self._exponent_bits))).view("<i8")
        return self._table.powers(exponents, messages)

    def _rerandomised(self, batch: Batch, messages: Rows) -> Rows:
        if batch.key != self.key:
            raise UsageError("this batch is under another key", code="mismatch")
        return self.key.square.multiply([batch.rows, self._powers(messages)])


class _OwnersTable:
    """Tables modulo p^2 and q^2, put together by the Chinese remainder theorem."""

    def __init__(self, key: PrivateKey, base: int, bits: int) -> None:
        self._n, self._bits = key.public.n, key.public.bits
        self._halves = key.halves
        self._squares = [gmpy2.mpz(half.prime) ** 2 for half in self._halves]
        self._tables = [
            half.square.table(base % int(square), bits)
            for half, square in zip(self._halves, self._squares, strict=True)
        ]
        self._inverse = gmpy2.invert(self._squares[1], self._squares[0])

    def powers(self, exponents: Rows, messages: Rows) -> Rows:
        plain = from_rows(messages)
        found = []
        for half, table in zip(self._halves, self._tables, strict=True):
            # 1 + n m modulo p^2 is 1 + p (n/p m modulo p).
            other = self._n // half.prime
            mine = to_rows((other * m % half.prime for m in plain), words_of(half.prime.bit_length()))
            found.append(from_rows(table.powers(exponents, mine)))
        p2, q2 = self._squares
        joined = (int(b + q2 * ((a - b) * self._inverse % p2)) for a, b in zip(*found, strict=True))
        return to_rows(joined, words_of(2 * self._bits))
