"""The one module of randomness: known answers, single use, uniformity."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from privcompute.errors import UsageError
from privcompute.randomness import Rng, Stream, public_stream, system_stream


def test_known_answer_of_aes_ctr() -> None:
    # FIPS 197 appendix B's cipher on a zero counter block: AES-128(key, 0), computed with OpenSSL;
    # NIST SP 800-38A F.1.1 key.
    stream = Stream(bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c"))
    assert stream.bytes(16).hex() == "7df76b0c1ab899b33e42f047b91b546f"


def test_fill_and_bytes_are_one_stream() -> None:
    a, b = public_stream(b"seed", "x"), public_stream(b"seed", "x")
    out = np.empty(100_001, dtype=np.uint8)
    a.fill(out)
    assert out.tobytes() == b.bytes(100_001)
    assert public_stream(b"seed", "y").bytes(16) != public_stream(b"seed", "x").bytes(16)


def test_system_streams_differ() -> None:
    assert system_stream("x").bytes(16) != system_stream("x").bytes(16)


def test_a_label_is_used_once() -> None:
    rng = Rng(b"common")
    rng.private("a")
    rng.common("a")
    with pytest.raises(UsageError):
        rng.private("a")
    with pytest.raises(UsageError):
        rng.common("a")


def test_common_is_common_and_private_is_not() -> None:
    assert Rng(b"c").common("a").bytes(16) == Rng(b"c").common("a").bytes(16)
    assert Rng(b"c").private("a").bytes(16) != Rng(b"c").private("a").bytes(16)


def test_nothing_shows_or_copies() -> None:
    rng = Rng(b"common")
    assert "hidden" in repr(rng)
    assert "hidden" in repr(rng.private("a"))
    with pytest.raises(TypeError):
        copy.deepcopy(rng)
    with pytest.raises(TypeError):
        copy.copy(rng.private("b"))


def test_uniform_integers() -> None:
    stream = public_stream(b"seed", "uniform")
    counts = np.bincount([stream.below(10) for _ in range(20_000)], minlength=10)
    assert counts.max() - counts.min() < 300
    assert sorted(stream.permutation(1000).tolist()) == list(range(1000))
    values = stream.bits(13, 4000)
    assert max(values) < 8192
    assert 3900 < np.mean(values) < 4300
