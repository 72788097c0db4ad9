"""One attempt's keys of one holder: agreement, encryption between holders, commitments. All are drawn anew each time.

X25519 (RFC 7748) agrees; HKDF-SHA256 (RFC 5869) derives, with the job in its salt and the purpose, the view and both
names in its info, so that no two uses share a key; AES-256-GCM encrypts one message under one key, hence with a fixed
nonce. Every hash and every signed text begins with its own word and is unambiguous: each part carries its length.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from privcompute.errors import IntegrityError
from privcompute.randomness import Stream

KEY_BYTES: Final = 32
HASH_BYTES: Final = 32
TAG_BYTES: Final = 16
_DOMAIN: Final = b"privcompute-v1|masked-sum|"
_NONCE: Final = bytes(12)  # each key encrypts one message
_FIELD: Final = 2**255 - 19
_SMALL_ORDER: Final = frozenset(  # canonical x of the points of order 1, 2, 4 and 8, of the curve and of its twist
    {
        0,
        1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
        2**255 - 20,
    }
)


def packed(word: str, *parts: bytes) -> bytes:
    """The parts as one text that begins with what it is for, each with its length."""
    return _DOMAIN + b"".join(struct.pack("<I", len(part)) + part for part in (word.encode(), *parts))


def digest(word: str, *parts: bytes) -> bytes:
    """SHA-256 of `packed`."""
    return hashlib.sha256(packed(word, *parts)).digest()


def acceptable(public: bytes) -> bool:
    """Whether a public key is canonical and of large order."""
    x = int.from_bytes(public, "little")
    return len(public) == KEY_BYTES and x < _FIELD and x not in _SMALL_ORDER


class KeyPair:
    """An X25519 key of one attempt.

    Args:
        secret: 32 bytes.

    Attributes:
        secret: Those bytes.
        public: 32 bytes.
    """

    __slots__ = ("_key", "public", "secret")

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self._key = X25519PrivateKey.from_private_bytes(secret)
        self.public = self._key.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return "KeyPair(<hidden>)"

    def __reduce__(self) -> Any:
        raise TypeError("a KeyPair cannot be copied or pickled: it serves one attempt")

    @staticmethod
    def draw(stream: Stream) -> KeyPair:
        """A fresh pair."""
        return KeyPair(stream.bytes(KEY_BYTES))

    def agree(self, public: bytes) -> bytes:
        """The secret shared with the holder of another pair, 32 bytes; its key must be `acceptable`."""
        return self._key.exchange(X25519PublicKey.from_public_bytes(public))


@dataclass(frozen=True, eq=False, repr=False)
class Secrets:
    """All that a holder draws for one attempt.

    Args:
        channel: For messages between holders.
        masking: For pairwise masks; its secret is shared out.
        counts: Seed of the own mask of the counts; shared out.
        values: Seed of the own masks of the values; shared out.
    """

    channel: KeyPair
    masking: KeyPair
    counts: bytes
    values: bytes

    def __repr__(self) -> str:
        return "Secrets(<hidden>)"

    @staticmethod
    def draw(stream: Stream) -> Secrets:
        """Fresh ones."""
        return Secrets(KeyPair.draw(stream), KeyPair.draw(stream), stream.bytes(KEY_BYTES), stream.bytes(KEY_BYTES))


def commitment(job: bytes, holder: str, what: str, seed: bytes) -> bytes:
    """Binds a holder to a seed of 32 uniform bytes, and hides it."""
    return digest("commitment", job, holder.encode(), what.encode(), seed)


def derived(shared: bytes, job: bytes, info: bytes) -> bytes:
    """A 32-byte key of an agreed secret."""
    return HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=job, info=info).derive(shared)


def own_key(seed: bytes, job: bytes, what: str) -> bytes:
    """The key, 16 bytes, of a holder's own mask of its counts or of its values."""
    return derived(seed, job, packed("own mask", what.encode()))[:16]


def seal(key: bytes, view: bytes, text: bytes) -> bytes:
    """The text encrypted, under a key that encrypts nothing else."""
    return AESGCM(key).encrypt(_NONCE, text, view)


def unseal(key: bytes, view: bytes, sealed: bytes) -> bytes:
    """What was sealed.

    Raises:
        IntegrityError: ``bad_seal``: not under this key, for this view, or changed on its way.
    """
    try:
        return AESGCM(key).decrypt(_NONCE, sealed, view)
    except InvalidTag:
        raise IntegrityError("a message between two holders was changed", code="bad_seal") from None
