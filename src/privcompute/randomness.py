"""The one module that makes randomness. Everything else asks here; lint forbids the usual doors.

A `Stream` is the AES-128-CTR key stream of OpenSSL under a key drawn from the operating system (private) or derived
from a public seed (common: both parties compute the same stream; it hides nothing). An `Rng` hands out streams by
label and hands out no label twice, so that no two masks ever share a key stream within a session; and a session's
keys are drawn anew for every attempt, so that nothing of an aborted run is used again.

Source: AES-CTR as in NIST SP 800-38A section 6.5; key derivation HKDF-SHA256, RFC 5869.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from privcompute.errors import UsageError

_PIECE: Final = 1 << 18  # OpenSSL is fastest on pieces that stay in the second-level cache
_ZEROS: Final = bytes(_PIECE)
_BLOCK: Final = 16


class Stream:
    """An AES-128-CTR key stream; every byte is handed out once. Not safe for two threads at once.

    Args:
        key: 16 bytes, unique to this stream.
    """

    __slots__ = ("_encryptor",)

    def __init__(self, key: bytes) -> None:
        if len(key) != _BLOCK:
            raise UsageError("a stream key has 16 bytes", code="bad_key")
        self._encryptor = Cipher(algorithms.AES(key), modes.CTR(bytes(_BLOCK))).encryptor()

    def __repr__(self) -> str:
        return "Stream(<hidden>)"

    def __reduce__(self) -> Any:
        raise TypeError("a Stream cannot be copied or pickled: its bytes are used once")

    def fill(self, out: Any) -> None:
        """Overwrites ``out``, a writable contiguous buffer, with key stream."""
        view = memoryview(out).cast("B")
        zeros = memoryview(_ZEROS)
        for start in range(0, len(view), _PIECE):
            piece = view[start : start + _PIECE]
            self._encryptor.update_into(zeros[: len(piece)], piece)

    def bytes(self, n: int) -> bytes:
        """The next ``n`` bytes."""
        return self._encryptor.update(bytes(n))

    def uint64(self, shape: int | tuple[int, ...]) -> npt.NDArray[np.uint64]:
        """Uniform 64-bit words, an array of the given shape."""
        out = np.empty(shape, dtype="<u8")
        if out.size:
            self.fill(out.reshape(-1).view(np.uint8))
        return out

    def bits(self, k: int, n: int) -> list[int]:
        """``n`` independent uniform integers in [0, 2**k)."""
        width = (k + 7) // 8
        raw = self.bytes(width * n)
        keep = (1 << k) - 1
        return [int.from_bytes(raw[i * width : (i + 1) * width], "little") & keep for i in range(n)]

    def below(self, bound: int) -> int:
        """One uniform integer in [0, bound), by rejection."""
        if bound <= 0:
            raise UsageError("the bound of a uniform integer is positive", code="bad_bound")
        k = max(1, (bound - 1).bit_length())
        while True:
            (value,) = self.bits(k, 1)
            if value < bound:
                return value

    def permutation(self, n: int) -> npt.NDArray[np.int64]:
        """A uniform permutation of 0 … n-1: the order of n random 128-bit keys.

        Two equal keys, which would make it non-uniform, have a chance below n² / 2¹²⁹.
        """
        keys = self.uint64((2, n))
        return np.lexsort((keys[0], keys[1])).astype(np.int64)


def token_bytes(n: int) -> bytes:
    """``n`` fresh bytes of the operating system."""
    return secrets.token_bytes(n)


def equal(a: bytes, b: bytes) -> bool:
    """Constant-time comparison."""
    return hmac.compare_digest(a, b)


def _derive(key: bytes, info: str) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=_BLOCK, salt=None, info=info.encode()).derive(key)


def system_stream(domain: str) -> Stream:
    """A stream under a fresh key of the operating system; ``domain`` says what it is for."""
    return Stream(_derive(os.urandom(32), "privcompute v1 private|" + domain))


def public_stream(seed: bytes, domain: str) -> Stream:
    """The expansion of a *public* seed: whoever knows the seed computes the same bytes; it hides nothing."""
    return Stream(_derive(seed, "privcompute v1 public|" + domain))


class Rng:
    """One attempt's randomness: streams by label, none twice.

    Args:
        common_seed: A seed that all parties of the session agreed on; not secret among them.
        master: Draws the private master key; tests that record a wire trace pass their own. None: the operating
            system, once per Rng.
    """

    __slots__ = ("_common", "_master", "_used")

    def __init__(self, common_seed: bytes, *, master: Callable[[], bytes] | None = None) -> None:
        self._common = common_seed
        self._master = os.urandom(32) if master is None else master()
        self._used: set[tuple[str, str]] = set()

    def __repr__(self) -> str:
        return "Rng(<hidden>)"

    def __reduce__(self) -> Any:
        raise TypeError("an Rng cannot be copied or pickled: its streams are used once")

    def _once(self, kind: str, label: str) -> None:
        if (kind, label) in self._used:
            raise UsageError(f"the {kind} randomness of label {label!r} was already used", code="label_reused")
        self._used.add((kind, label))

    def private(self, label: str) -> Stream:
        """This party's own stream for that label.

        Raises:
            UsageError: the label was used before.
        """
        self._once("private", label)
        return Stream(_derive(self._master, "privcompute v1 session private|" + label))

    def common(self, label: str) -> Stream:
        """The stream that every party of the session computes alike for that label.

        Raises:
            UsageError: the label was used before.
        """
        self._once("common", label)
        return public_stream(self._common, "session|" + label)
