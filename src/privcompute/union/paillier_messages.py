"""What travels in a Paillier sum, as bytes, and how a contribution lies in ciphertexts. Sizes are exact, or refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from privcompute.errors import IntegrityError
from privcompute.he.paillier import (
    Blinded,
    Encrypted,
    Encryptor,
    FixedPoint,
    Packing,
    PrivateKey,
    PublicKey,
    ReceivedKey,
    batch_bytes,
    blinded_bytes,
)
from privcompute.he.paillier.proof import proof_bytes
from privcompute.he.paillier.serialisation import key_bytes
from privcompute.union import messages as m
from privcompute.union.job import COUNT_LIMIT, Contribution, Identity, SumJob, SumShape, from_limbs
from privcompute.union.keys import HASH_BYTES, digest, packed

MOST_KEY: Final = 1 << 14
"""Most bytes of a key with its proof and its signature."""
_LENGTH: Final = 2


@dataclass(frozen=True)
class Layout:
    """How counts and values lie in ciphertexts: public, the same at all parties.

    Attributes:
        shape: What is added.
        counts: The packing of the counts.
        values: The packing of the values; each unit begins in a ciphertext of its own.
        firsts: Index of each unit's first ciphertext, and behind the last unit their number.
    """

    shape: SumShape
    counts: Packing
    values: Packing
    firsts: tuple[int, ...]

    @staticmethod
    def of(shape: SumShape, terms: int, bits: int) -> Layout:
        """The layout of a sum over so many holders under keys of that length."""
        counts = Packing(FixedPoint(0, COUNT_LIMIT - 1), bits, terms)
        half = 1 << (shape.bits - 1)
        values = Packing(FixedPoint(-half, half - 1), bits, terms)
        return Layout(shape, counts, values, (0, *accumulate(values.ciphertexts(one) for one in shape.units)))

    @property
    def count_ciphertexts(self) -> int:
        """Ciphertexts of the counts."""
        return self.counts.ciphertexts(self.shape.counts)

    @property
    def slots(self) -> int:
        """Slots of all units together."""
        return self.firsts[-1] * self.values.per_ciphertext

    def ciphertexts_of(self, units: Sequence[int]) -> list[int]:
        """The ciphertexts of these units, in order."""
        return [one for unit in units for one in range(self.firsts[unit], self.firsts[unit + 1])]

    def encrypt(self, encryptor: Encryptor, contribution: Contribution) -> tuple[bytes, bytes]:
        """The contribution as it travels."""
        values, size = from_limbs(contribution.values), self.values.per_ciphertext
        padded: list[int] = []
        for start, length in zip(self.shape.starts, self.shape.units, strict=False):
            padded += values[start : start + length]
            padded += [0] * (-length % size)
        counts = contribution.counts.tolist()
        first = encryptor.encrypt_integers(counts, self.counts).to_bytes() if counts else b""
        return first, encryptor.encrypt_integers(padded, self.values).to_bytes()

    @property
    def counts_bytes(self) -> int:
        """Bytes of the encrypted counts."""
        return batch_bytes(self.counts, self.shape.counts) if self.shape.counts else 0

    @property
    def values_bytes(self) -> int:
        """Bytes of the encrypted values."""
        return batch_bytes(self.values, self.slots)

    def read(self, key: PublicKey, counts: bytes, values: bytes) -> tuple[Encrypted | None, Encrypted]:
        """A submission, validated.

        Raises:
            PeerError: ``bad_ciphertext``, or ``bad_message``: counts where there are none.
        """
        if not self.shape.counts:
            if counts:
                raise m.refused("counts")
            return None, Encrypted.from_bytes(values, key, self.values, self.slots)
        read = Encrypted.from_bytes(counts, key, self.counts, self.shape.counts)
        return read, Encrypted.from_bytes(values, key, self.values, self.slots)

    def blinded_bytes(self, ciphertexts: int) -> int:
        """Bytes of so many ciphertexts under masks."""
        return blinded_bytes(self.values.bits, ciphertexts)

    def open_blinded(self, own: PrivateKey, raw: bytes, ciphertexts: int) -> bytes:
        """The key holder's answer to ciphertexts under masks.

        Raises:
            PeerError: ``bad_ciphertext``.
        """
        return own.open_blinded(Blinded.from_bytes(raw, own.public, ciphertexts))


# -- the key -----------------------------------------------------------------------------------------------------------


def _context(job: SumJob, key_holder: str) -> bytes:
    return packed("paillier key", job.id, key_holder.encode())


def key_message(own: PrivateKey, job: SumJob, key_holder: str, identity: Identity) -> bytes:
    """The public key, the proof for this job that it is well formed, and the key holder's signature."""
    context = _context(job, key_holder)
    key, proof = own.public.to_bytes(), own.prove(context)
    signature = identity.sign(packed("paillier key", context, key))
    return b"".join(len(part).to_bytes(_LENGTH, "little") + part for part in (key, proof, signature))


def key_message_bytes(bits: int, signature: int) -> int:
    """Bytes of a key with its proof and a signature of that length."""
    return 3 * _LENGTH + key_bytes(bits) + proof_bytes(bits) + signature


def read_key(raw: bytes, job: SumJob, key_holder: str, identity: Identity, bits: int) -> PublicKey:
    """The key, once signature, length and proof are right.

    Raises:
        PeerError: ``bad_message``, ``bad_key`` or ``bad_key_proof``.
        IntegrityError: ``signature``.
    """
    parts: list[bytes] = []
    at = 0
    while at < len(raw) and len(parts) < 3:
        length = int.from_bytes(raw[at : at + _LENGTH], "little")
        parts.append(raw[at + _LENGTH : at + _LENGTH + length])
        at += _LENGTH + length
    if len(parts) != 3 or at != len(raw):
        raise m.refused("a key")
    key, proof, signature = parts
    context = _context(job, key_holder)
    identity.verify(key_holder, packed("paillier key", context, key), signature)
    received = ReceivedKey.from_bytes(key)
    public = received.verify(proof, context)
    if public.bits != bits:
        raise m.refused("a key of another length")
    return public


# -- submissions -------------------------------------------------------------------------------------------------------


def submission_digest(job: SumJob, holder: str, key_id: bytes, counts: bytes, values: bytes) -> bytes:
    """What names a submission."""
    return digest("paillier submission", job.id, holder.encode(), key_id, counts, values)


def submission_text(job: SumJob, holder: str, named: bytes) -> bytes:
    """What a holder signs of its submission."""
    return packed("paillier submission", job.id, holder.encode(), named)


def read_submissions(raw: bytes, job: SumJob, identity: Identity) -> tuple[str, ...]:
    """The survivors by their signatures, as the collector lists them for the key holder.

    Raises:
        PeerError: ``bad_message``.
        IntegrityError: ``signature``; ``bad_survivors``: fewer than the quorum.
    """
    names = job.roster.holders
    listed = m.read_signatures(raw, len(names), HASH_BYTES)
    for holder, (signature, named) in listed.items():
        identity.verify(names[holder], submission_text(job, names[holder], named), signature)
    if len(listed) < job.roster.quorum:
        raise IntegrityError(
            "the collector wants a sum opened over fewer holders than the quorum",
            code="bad_survivors",
            remedy="nothing was opened; do not answer this collector before its owner has explained it",
        )
    return tuple(names[holder] for holder in sorted(listed))
