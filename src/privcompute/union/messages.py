"""The messages of a masked sum as bytes, and what is signed. Every reader takes exactly what its step has, or refuses.

Holders are numbered as in the roster; sets of holders and of units are bitmaps, lowest bit first. Sizes are exact:
nothing may follow, no number may repeat, and lists ascend.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from privcompute.errors import PeerError
from privcompute.union.job import SumJob
from privcompute.union.keys import HASH_BYTES, KEY_BYTES, TAG_BYTES, acceptable, digest, packed
from privcompute.union.shamir import SHARE_BYTES

MOST_SIGNATURE: Final = 255
DEAL_BYTES: Final = 3 * SHARE_BYTES + TAG_BYTES
"""An encrypted triple of shares, from one holder to another: of its masking key, seed of counts, seed of values."""
ADVERT_BYTES: Final = 2 * KEY_BYTES + 2 * HASH_BYTES
SHOW: Final = b"\x01"
SIGNED: Final = b"\x02"
OVER: Final = b"\x00"
"""First byte of what the collector says in steps 6 and 7: units to show follow, signatures do, or it is over."""
_ENTRY: Final = struct.Struct("<HB")


def refused(what: str) -> PeerError:
    """The one error of a message that breaks the rules of its step; which rule is nobody's business."""
    return PeerError(
        f"the peer sent {what} that is not acceptable",
        code="bad_message",
        remedy="check that both nodes run the same version, then ask again",
    )


# -- sets --------------------------------------------------------------------------------------------------------------


def set_bytes(size: int) -> int:
    """Bytes of a set of numbers below ``size``."""
    return (size + 7) // 8


def write_set(members: Iterable[int], size: int) -> bytes:
    """A set of numbers below ``size``."""
    bits = np.zeros(size, np.uint8)
    bits[np.fromiter(members, np.int64)] = 1
    return np.packbits(bits, bitorder="little").tobytes()


def read_set(raw: bytes, size: int) -> tuple[int, ...]:
    """The members, ascending; PeerError if the length is another or a bit behind the last is set."""
    if len(raw) != set_bytes(size):
        raise refused("a set")
    bits = np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")
    if bits[size:].any():
        raise refused("a set")
    return tuple(np.flatnonzero(bits).tolist())


# -- signatures --------------------------------------------------------------------------------------------------------


def write_signatures(signatures: Mapping[int, bytes], texts: Mapping[int, bytes] | None = None) -> bytes:
    """Signatures by holder, each before the text it belongs to, if there are texts."""
    out = []
    for holder in sorted(signatures):
        signature = signatures[holder]
        out += [_ENTRY.pack(holder, len(signature)), signature, texts[holder] if texts else b""]
    return b"".join(out)


def read_signatures(raw: bytes, holders: int, text_bytes: int = 0) -> dict[int, tuple[bytes, bytes]]:
    """Signature and text by holder; PeerError unless the list ascends and nothing is cut short or follows."""
    found: dict[int, tuple[bytes, bytes]] = {}
    at, last = 0, -1
    while at < len(raw):
        if at + _ENTRY.size > len(raw):
            raise refused("a list of signatures")
        holder, length = _ENTRY.unpack_from(raw, at)
        text = at + _ENTRY.size + length
        at = text + text_bytes
        if not last < holder < holders or not length or at > len(raw):
            raise refused("a list of signatures")
        found[holder], last = (raw[text - length : text], raw[text:at]), holder
    return found


def signatures_bytes(holders: int, signature: int, text: int = 0) -> int:
    """Bytes of a list of signatures, all of one length, and their texts."""
    return holders * (_ENTRY.size + signature + text)


# -- what a holder says of itself --------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Advert:
    """The public half of a holder's secrets of one attempt.

    Args:
        channel: Public key for messages between holders, 32 bytes.
        masking: Public key for pairwise masks, 32 bytes.
        counts: Commitment to the seed of the counts' own mask.
        values: Commitment to the seed of the values' own masks.
    """

    channel: bytes
    masking: bytes
    counts: bytes
    values: bytes

    def write(self) -> bytes:
        """128 bytes."""
        return self.channel + self.masking + self.counts + self.values

    @staticmethod
    def read(raw: bytes) -> Advert:
        """PeerError unless the length is right and both keys are canonical, of large order and different."""
        if len(raw) != ADVERT_BYTES:
            raise refused("a public key")
        advert = Advert(*(raw[at : at + KEY_BYTES] for at in range(0, ADVERT_BYTES, KEY_BYTES)))
        if not acceptable(advert.channel) or not acceptable(advert.masking) or advert.channel == advert.masking:
            raise refused("a public key")
        return advert


def distinct(adverts: Iterable[Advert]) -> bool:
    """Whether no key of a holder is also another's."""
    keys = [key for advert in adverts for key in (advert.channel, advert.masking)]
    return len(set(keys)) == len(keys)


# -- what is signed ----------------------------------------------------------------------------------------------------


def advert_text(job: SumJob, holder: str, advert: bytes) -> bytes:
    """What a holder signs in step 1."""
    return packed("advert", job.id, holder.encode(), advert)


def view_digest(job: SumJob, listed: bytes) -> bytes:
    """What all later steps are bound to: the job, the roster and the list of adverts as the collector sent it."""
    return digest("view", job.id, *(name.encode() for name in job.roster.holders), listed)


def survivors_text(job: SumJob, view: bytes, dealers: Sequence[int], survivors: Sequence[int]) -> bytes:
    """What a holder signs in step 4."""
    n = len(job.roster.holders)
    return packed("survivors", job.id, view, write_set(dealers, n), write_set(survivors, n))


def shown_text(job: SumJob, view: bytes, survivors: Sequence[int], shown: bytes, gone: bytes) -> bytes:
    """What a holder signs in step 6."""
    return packed("shown", job.id, view, write_set(survivors, len(job.roster.holders)), shown, gone)


def pair_info(view: bytes, word: str, first: int, second: int) -> bytes:
    """What the key of two holders is derived for: ``first`` deals to ``second``, or ``first`` < ``second`` mask."""
    return packed(word, view, struct.pack("<HH", first, second))
