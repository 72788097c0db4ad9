"""FF1 against NIST's samples, Project Wycheproof's cases and itself: one string and whole columns, there and back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.anonymize_data import folder

from privcompute.anonymize.mask.ff1 import FF1
from privcompute.errors import PrivacyError, PrivcomputeError, UsageError

K128 = "2B7E151628AED2A6ABF7158809CF4F3C"
K192 = K128 + "EF4359D8D580AA4F"
K256 = K192 + "7F036D6F04FC6A94"
LONG = "39383736353433323130"
LETTERS = "3737373770717273373737"
TEXT = "0123456789abcdefghi"
SAMPLES = [  # NIST, FF1samples.pdf of SP 800-38G
    (K128, 10, "", "0123456789", "2433477484"),
    (K128, 10, LONG, "0123456789", "6124200773"),
    (K128, 36, LETTERS, TEXT, "a9tv40mll9kdu509eum"),
    (K192, 10, "", "0123456789", "2830668132"),
    (K192, 10, LONG, "0123456789", "2496655549"),
    (K192, 36, LETTERS, TEXT, "xbj3kv35jrawxv32ysr"),
    (K256, 10, "", "0123456789", "6657667009"),
    (K256, 10, LONG, "0123456789", "1001623463"),
    (K256, 36, LETTERS, TEXT, "xs8a0azh2avyalyzuwd"),
]


def both_ways(key: str, radix: int, tweak: str, plain: list[int], sealed: list[int]) -> None:
    ff1, t = FF1(bytes.fromhex(key), radix), bytes.fromhex(tweak)
    assert ff1.encrypt(plain, t) == sealed
    assert ff1.decrypt(sealed, t) == plain
    matrix = np.array([plain, sealed, plain], dtype=np.uint8)
    column = ff1.column(matrix, [b"another", t], np.array([1, 0, 1]))
    assert column[0].tolist() == column[2].tolist() == sealed
    assert ff1.column(column, [b"another", t], np.array([1, 0, 1]), forward=False).tolist() == matrix.tolist()


@pytest.mark.parametrize(("key", "radix", "tweak", "plain", "sealed"), SAMPLES)
def test_nist_samples(key: str, radix: int, tweak: str, plain: str, sealed: str) -> None:
    both_ways(key, radix, tweak, [int(c, 36) for c in plain], [int(c, 36) for c in sealed])


def test_the_samples_of_the_public_file() -> None:
    vectors = json.loads((folder("fpe") / "ff1_nist.json").read_text())["vectors"]
    assert len(vectors) == 9
    for one in vectors:
        plain, sealed = ([one["alphabet"].index(c) for c in one[name]] for name in ("plaintext", "ciphertext"))
        both_ways(one["key"], one["radix"], one["tweak"], plain, sealed)


def wycheproof() -> list[dict[str, Any]]:
    document = json.loads((folder("fpe") / "ff1_wycheproof_sample.json").read_text())
    return [case for cases in document["sets"].values() for case in cases]


def test_wycheproof_valid_cases() -> None:
    cases = [case for case in wycheproof() if case["result"] == "valid"]
    assert len(cases) > 200
    for case in cases:
        if case["flags"] == ["SmallMessageSize"]:
            ff1, tweak = FF1(bytes.fromhex(case["key"]), case["radix"]), bytes.fromhex(case["tweak"])
            for use in (ff1.encrypt, ff1.decrypt):
                with pytest.raises(PrivacyError, match="fewer than"):
                    use(case["msg"], tweak)
            # What is refused would be right: the arithmetic has these edges, too.
            assert ff1._one(case["msg"], tweak, forward=True) == case["ct"]
        else:
            both_ways(case["key"], case["radix"], case["tweak"], case["msg"], case["ct"])


def test_wycheproof_invalid_cases() -> None:
    cases = [case for case in wycheproof() if case["result"] == "invalid"]
    assert {flag for case in cases for flag in case["flags"]} == {
        "InvalidKeySize",
        "InvalidMessageSize",
        "InvalidPlaintext",
    }
    for case in cases:
        with pytest.raises(PrivcomputeError):
            FF1(bytes.fromhex(case["key"]), case["radix"]).encrypt(case["msg"], bytes.fromhex(case["tweak"]))


@given(st.integers(2, 256), st.data())
def test_a_column_is_its_rows(radix: int, data: st.DataObject) -> None:
    shortest = next(n for n in range(2, 30) if radix**n >= 10**6)
    length = data.draw(st.integers(shortest, shortest + 20))
    rows = data.draw(
        st.lists(st.lists(st.integers(0, radix - 1), min_size=length, max_size=length), min_size=1, max_size=4)
    )
    tweaks = data.draw(st.lists(st.binary(max_size=40), min_size=1, max_size=3))
    codes = np.array([i % len(tweaks) for i in range(len(rows))])
    ff1 = FF1(bytes(range(16)), radix)
    column = ff1.column(np.array(rows, dtype=np.uint8), tweaks, codes)
    assert column.tolist() == [ff1.encrypt(row, tweaks[code]) for row, code in zip(rows, codes, strict=True)]
    assert ff1.column(column, tweaks, codes, forward=False).tolist() == rows


def test_a_permutation_of_its_whole_domain() -> None:
    numbers = np.arange(10**6)
    digits = (numbers[:, None] // 10 ** np.arange(5, -1, -1) % 10).astype(np.uint8)
    sealed = FF1(b"k" * 16).column(digits).astype(np.int64) @ 10 ** np.arange(5, -1, -1)
    assert np.array_equal(np.sort(sealed), numbers)


@pytest.mark.parametrize(("radix", "length"), [(10, 5), (2, 19), (36, 3), (10, 1), (10, 0)])
def test_small_domains_are_refused_everywhere(radix: int, length: int) -> None:
    ff1 = FF1(bytes(16), radix)
    for use in (
        lambda: ff1.encrypt([0] * length),
        lambda: ff1.decrypt([0] * length),
        lambda: ff1.column(np.zeros((3, length), dtype=np.uint8)),
    ):
        with pytest.raises(PrivacyError) as raised:
            use()
        assert raised.value.code == "small_domain"


def test_what_cannot_be_is_named() -> None:
    for make, code in (
        (lambda: FF1(bytes(15)), "bad_key"),
        (lambda: FF1(bytes(16), 1), "bad_radix"),
        (lambda: FF1(bytes(16)).encrypt([10] * 6), "bad_digit"),
        (lambda: FF1(bytes(16)).encrypt([-1] * 6), "bad_digit"),
        (lambda: FF1(bytes(16)).column(np.full((1, 6), 10, dtype=np.uint8)), "bad_digit"),
        (lambda: FF1(bytes(16)).encrypt([1] * 6, bytes(1 << 16)), "bad_tweak"),
    ):
        with pytest.raises(UsageError) as raised:
            make()
        assert raised.value.code == code
    assert "hidden" in repr(FF1(b"secret secret 16"))
    assert "secret" not in repr(FF1(b"secret secret 16"))
