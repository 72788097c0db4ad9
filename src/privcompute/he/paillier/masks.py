"""Two roles: a collector that has sums and no key, and a key holder that opens them blinded and learns nothing.

The mask is uniform modulo n in every ciphertext, so what the key holder opens is uniform, whatever the sums are. What
the collector gets back is the mask plus the packed sums modulo n. A collector that cheats can have a single submission
opened that way, and the two together can open all; docs/paillier.md says so.
"""

from __future__ import annotations

from typing import NoReturn

from privcompute.errors import PeerError
from privcompute.he.paillier.keys import PublicKey
from privcompute.he.paillier.packing import Interval, Packing
from privcompute.he.paillier.rows import Rows, to_rows, words_of
from privcompute.he.paillier.values import Values


class Blinded:
    """Fresh ciphertexts of masked sums, for the key holder."""

    __slots__ = ("key", "rows")

    def __init__(self, key: PublicKey, rows: Rows) -> None:
        self.key, self.rows = key, rows

    def __repr__(self) -> str:
        return f"Blinded({len(self.rows)} ciphertexts of {self.key.bits} bits)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("blinded ciphertexts are not pickled: to_bytes() is the way out")

    def to_bytes(self) -> bytes:
        """As they travel; see docs/paillier.md for the format."""
        from privcompute.he.paillier.serialisation import blinded_to_bytes

        return blinded_to_bytes(self)

    @staticmethod
    def from_bytes(data: bytes | memoryview, key: PublicKey, ciphertexts: int) -> Blinded:
        """Reads so many ciphertexts under that key.

        Raises:
            PeerError: ``bad_ciphertext``.
        """
        from privcompute.he.paillier.serialisation import blinded_from_bytes

        return blinded_from_bytes(data, key, ciphertexts)


class Mask:
    """What takes the mask off; used once, by who made it."""

    __slots__ = ("_count", "_interval", "_key", "_masks", "_packing")

    def __init__(self, key: PublicKey, packing: Packing, count: int, interval: Interval, masks: list[int]) -> None:
        self._key, self._packing, self._count, self._interval, self._masks = key, packing, count, interval, masks

    def __repr__(self) -> str:
        return f"Mask({len(self._masks)} ciphertexts, <hidden>)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Mask is not pickled or copied: it is used once")

    def remove(self, opened: bytes | memoryview) -> Values:
        """The values, from what the key holder opened.

        Args:
            opened: From `PrivateKey.open_blinded`: one number a ciphertext, each as long as the modulus.

        Raises:
            PeerError: ``bad_plaintext``: the wrong length, or a number that is not below the modulus.
            IntegrityError: ``slot_out_of_bounds``.
        """
        n, size = self._key.n, self._key.bits // 8
        data = bytes(opened)
        if len(data) != size * len(self._masks):
            raise PeerError("the key holder's answer has the wrong length", code="bad_plaintext")
        numbers = [int.from_bytes(data[i : i + size], "little") for i in range(0, len(data), size)]
        if any(number >= n for number in numbers):
            raise PeerError("the key holder's answer is out of range", code="bad_plaintext")
        rows = to_rows(((v - m) % n for v, m in zip(numbers, self._masks, strict=True)), words_of(self._key.bits))
        found = self._packing.unpack(rows, self._count, self._interval)
        return Values(tuple(found), self._packing.encoding.step)
