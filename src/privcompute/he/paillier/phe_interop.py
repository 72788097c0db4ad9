"""Keys and ciphertexts to and from `phe` (python-paillier), which is imported at the first use.

phe encrypts one number a ciphertext, negative ones as n - |x|, with an exponent of base 16 that travels beside it.
Batches with one slot a ciphertext convert: the offset of our slots is taken off or put on, and the step has to be a
whole multiple of a power of 16.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import gmpy2

from privcompute.errors import UsageError
from privcompute.he.paillier.batch import Batch, Computed
from privcompute.he.paillier.keys import PrivateKey, PublicKey, ReceivedKey
from privcompute.he.paillier.packing import Packing
from privcompute.he.paillier.rows import from_rows, to_rows, words_of

_BASE = 16


def public_key_to_phe(key: PublicKey) -> Any:
    """A phe.PaillierPublicKey."""
    return _phe().PaillierPublicKey(key.n)


def public_key_from_phe(key: Any) -> ReceivedKey:
    """A phe.PaillierPublicKey as a key that is not trusted yet.

    phe makes no proofs: verify one that the owner made with `PrivateKey.prove`, or, for a key of your own,
    say `assume_well_formed`.

    Raises:
        PeerError: ``bad_key``.
    """
    return ReceivedKey(int(key.n))


def private_key_to_phe(key: PrivateKey) -> Any:
    """A phe.PaillierPrivateKey; the secret leaves this library's care."""
    p, q = (half.prime for half in key.halves)
    return _phe().PaillierPrivateKey(public_key_to_phe(key.public), p, q)


def private_key_from_phe(key: Any) -> PrivateKey:
    """A phe.PaillierPrivateKey, whose primes need not be 3 modulo 4.

    Raises:
        UsageError: ``bad_key``: a length that is not offered, or primes too close.
    """
    return PrivateKey.from_primes(int(key.p), int(key.q), elsewhere=True)


def to_encrypted_numbers(batch: Batch) -> list[Any]:
    """phe.EncryptedNumbers of a batch with one slot a ciphertext; phe re-randomises them before they leave.

    Raises:
        UsageError: ``packed``: several slots; ``bad_encoding``: a step that is no multiple of a power of 16.
    """
    _one_slot(batch.packing)
    exponent, factor = _exponent(batch.packing.encoding.step)
    n, square = batch.key.n, gmpy2.mpz(batch.key.n) ** 2
    shift = 1 + n * (batch.interval.low % n)
    key, phe = public_key_to_phe(batch.key), _phe()
    return [
        phe.EncryptedNumber(key, int(gmpy2.powmod(c * shift % square, factor, square)), exponent)
        for c in from_rows(batch.rows)
    ]


def from_encrypted_numbers(key: PublicKey, numbers: Sequence[Any], packing: Packing) -> Computed:
    """A batch of phe.EncryptedNumbers under this key; their values are taken to lie in the packing's range.

    What does not is found when the batch is decrypted (``slot_out_of_bounds``), if it was not added up before.

    Args:
        key: The key that the numbers are under.
        numbers: phe.EncryptedNumbers.
        packing: With one slot a ciphertext, and a step that every number's exponent is a multiple of.

    Raises:
        UsageError: ``mismatch``, ``packed``, ``bad_encoding`` or ``bad_ciphertext``.
    """
    _one_slot(packing)
    n, square, low = key.n, gmpy2.mpz(key.n) ** 2, packing.interval.low
    shift, found = 1 + n * (-low % n), []
    for number in numbers:
        if int(number.public_key.n) != n:
            raise UsageError("an EncryptedNumber is under another key", code="mismatch")
        factor = Fraction(_BASE) ** int(number.exponent) / packing.encoding.step
        if factor.denominator != 1:
            raise UsageError(
                "an EncryptedNumber is finer than the packing's step",
                code="bad_encoding",
                remedy="take a smaller step, or a fixed precision in phe",
            )
        c = int(number.ciphertext(be_secure=False))
        if not 0 < c < square or gmpy2.gcd(c, n) != 1:
            raise UsageError("an EncryptedNumber holds no ciphertext", code="bad_ciphertext")
        found.append(int(gmpy2.powmod(c, factor.numerator, square) * shift % square))
    rows = to_rows(found, words_of(2 * key.bits))
    return Computed(key, packing, len(found), packing.interval, rows)


def _one_slot(packing: Packing) -> None:
    if packing.per_ciphertext != 1:
        raise UsageError("phe holds one number a ciphertext", code="packed", remedy="pack with slots=1")


def _exponent(step: Fraction) -> tuple[int, int]:
    """The largest e, and k, with step = k 16^e."""
    if step.denominator & (step.denominator - 1):
        raise UsageError(
            "phe knows steps of whole multiples of powers of 16 only",
            code="bad_encoding",
            remedy="take a step that is a power of two",
        )
    exponent = -(-(step.denominator.bit_length() - 1) // 4) * -1
    return exponent, int(step / Fraction(_BASE) ** exponent)


def _phe() -> Any:
    try:
        import phe
    except ImportError as error:
        raise UsageError("phe is not installed", code="no_phe", remedy="install it: pip install phe") from error
    return phe
