"""Keys and ciphertexts as bytes: fixed lengths, nothing taken from the message that the reader does not expect.

All numbers are little-endian. See docs/paillier.md for the tables of the format.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import gmpy2
import numpy as np

from privcompute.errors import PeerError, UsageError
from privcompute.he.paillier.keys import PublicKey, is_size
from privcompute.he.paillier.masks import Blinded
from privcompute.he.paillier.packing import Interval, Packing
from privcompute.he.paillier.rows import Rows, from_rows, words_of

if TYPE_CHECKING:
    from privcompute.he.paillier.batch import Encrypted

_MAGIC: Final = b"PCPA"
VERSION: Final = 1
_KEY, _BATCH, _BLINDED = 1, 2, 3
_HEAD: Final = struct.Struct("<4sBBH")
"""Magic, version, kind, bits of the key."""
_SHAPE: Final = struct.Struct("<32sQIHH32s32s")
"""Key id, values, ciphertexts, slots per ciphertext, bits of a slot, low and high end of the interval."""
_INTERVAL_BYTES: Final = 32


def key_to_bytes(n: int) -> bytes:
    """Head, then the modulus."""
    bits = n.bit_length()
    return _HEAD.pack(_MAGIC, VERSION, _KEY, bits) + n.to_bytes(bits // 8, "little")


def key_bytes(bits: int) -> int:
    """The exact length of a key as it travels."""
    return _HEAD.size + bits // 8


def key_from_bytes(data: bytes) -> int:
    """The modulus; its own conditions are checked by `ReceivedKey`.

    Raises:
        PeerError: ``bad_key``.
    """
    bits = _bits_of(data, _KEY, "bad_key")
    if len(data) != _HEAD.size + bits // 8:
        raise PeerError("the received Paillier key has the wrong length", code="bad_key")
    n = int.from_bytes(data[_HEAD.size :], "little")
    if n.bit_length() != bits:
        raise PeerError("the received Paillier key is not as long as it says", code="bad_key")
    return n


def batch_bytes(packing: Packing, count: int) -> int:
    """The exact length of a batch of so many values."""
    return _HEAD.size + _SHAPE.size + packing.ciphertexts(count) * packing.bits // 4


def blinded_bytes(bits: int, ciphertexts: int) -> int:
    """The exact length of so many blinded ciphertexts."""
    return _HEAD.size + _SHAPE.size + ciphertexts * bits // 4


def batch_to_bytes(batch: Encrypted) -> bytes:
    """Head, shape, ciphertexts of twice the key's length each."""
    shape = _shape(batch.key, batch.packing, batch.count, len(batch.rows), batch.interval)
    return _HEAD.pack(_MAGIC, VERSION, _BATCH, batch.key.bits) + shape + batch.rows.tobytes()


def batch_from_bytes(
    data: bytes | memoryview, key: PublicKey, packing: Packing, count: int, interval: Interval | None
) -> Encrypted:
    """See `Encrypted.from_bytes`."""
    from privcompute.he.paillier.batch import Encrypted

    interval = packing.interval if interval is None else interval
    shape = _shape(key, packing, count, packing.ciphertexts(count), interval)
    return Encrypted(key, packing, count, interval, _ciphertexts(data, _BATCH, key, shape, packing.ciphertexts(count)))


def blinded_to_bytes(blinded: Blinded) -> bytes:
    """As a batch, with nothing about values in its shape."""
    shape = _shape(blinded.key, None, 0, len(blinded.rows), Interval(0, 0))
    return _HEAD.pack(_MAGIC, VERSION, _BLINDED, blinded.key.bits) + shape + blinded.rows.tobytes()


def blinded_from_bytes(data: bytes | memoryview, key: PublicKey, ciphertexts: int) -> Blinded:
    """See `Blinded.from_bytes`."""
    shape = _shape(key, None, 0, ciphertexts, Interval(0, 0))
    return Blinded(key, _ciphertexts(data, _BLINDED, key, shape, ciphertexts))


def _shape(key: PublicKey, packing: Packing | None, count: int, ciphertexts: int, interval: Interval) -> bytes:
    try:
        ends = [end.to_bytes(_INTERVAL_BYTES, "little", signed=True) for end in (interval.low, interval.high)]
        slots = (0, 0) if packing is None else (packing.per_ciphertext, packing.width)
        return _SHAPE.pack(key.id, count, ciphertexts, *slots, *ends)
    except (OverflowError, struct.error) as error:
        raise UsageError("values beyond 255 bits, or too many of them, do not travel", code="too_wide") from error


def _bits_of(data: bytes | memoryview, kind: int, code: str) -> int:
    if len(data) < _HEAD.size:
        raise PeerError("the received Paillier message is too short", code=code)
    magic, version, found, bits = _HEAD.unpack_from(data)
    if magic != _MAGIC or version != VERSION or found != kind or not is_size(bits):
        raise PeerError("the received bytes are no Paillier message of this kind and version", code=code)
    return int(bits)


def _ciphertexts(data: bytes | memoryview, kind: int, key: PublicKey, shape: bytes, ciphertexts: int) -> Rows:
    """The validated rows.

    Raises:
        PeerError: ``bad_ciphertext``; one text for all rows, so that it tells nothing about which.
    """
    bits = _bits_of(data, kind, "bad_ciphertext")
    if bits != key.bits or len(data) != _HEAD.size + _SHAPE.size + ciphertexts * bits // 4:
        raise PeerError("the received ciphertexts have the wrong length", code="bad_ciphertext")
    if bytes(data[_HEAD.size : _HEAD.size + _SHAPE.size]) != shape:
        raise PeerError("the received ciphertexts have another key, packing or size", code="bad_ciphertext")
    rows = np.frombuffer(data, "<i8", offset=_HEAD.size + _SHAPE.size).reshape(ciphertexts, words_of(2 * bits)).copy()
    if not valid(key.n, from_rows(rows)):
        raise PeerError("a received ciphertext is none", code="bad_ciphertext")
    return rows


def valid(n: int, numbers: list[int]) -> bool:
    """Whether all are units modulo n^2, in range, and none has randomness 1 or -1: those anybody can read."""
    modulus = gmpy2.mpz(n)
    square = modulus * modulus
    together = gmpy2.mpz(1)
    for c in numbers:
        if not 0 < c < square:
            return False
        residue = c % modulus
        if residue in (0, 1, modulus - 1):
            return False
        together = together * residue % modulus
    return bool(gmpy2.gcd(together, modulus) == 1)
