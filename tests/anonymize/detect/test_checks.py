"""The compiled rules against the plain ones of identifiers/: the same numbers hold."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privcompute.anonymize.detect import checks, scan_text
from privcompute.anonymize.detect.line import fold_line, workspace
from privcompute.anonymize.detect.rules import USCC_VALUES
from privcompute.anonymize.detect.tables import tables
from privcompute.anonymize.identifiers import normalise_with_places, parse
from privcompute.anonymize.identifiers.checksums import (
    USCC_ALPHABET,
    iban_holds,
    id_check,
    luhn_holds,
    organisation_check,
    uscc_check,
)


def signs(text: str) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(text.encode(), dtype=np.uint8).copy()


@given(st.text("0123456789", min_size=17, max_size=17), st.sampled_from("0123456789X"))
def test_identity_numbers(first: str, last: str) -> None:
    assert checks.id_holds(signs(first + last)) == (id_check(first) == last)
    assert checks.id_holds(signs(first + id_check(first)))


@given(st.text("0123456789", min_size=2, max_size=20))
def test_luhn(digits: str) -> None:
    assert checks.luhn_holds(signs(digits), len(digits)) == luhn_holds(digits)


@given(st.text(USCC_ALPHABET, min_size=17, max_size=17), st.sampled_from(USCC_ALPHABET))
def test_social_credit_codes(first: str, last: str) -> None:
    alphabet = USCC_VALUES
    assert checks.uscc_holds(signs(first + last), alphabet) == (uscc_check(first) == last)
    assert checks.uscc_holds(signs(first + uscc_check(first)), alphabet)
    assert not checks.uscc_holds(signs(first[:16] + "I" + last), alphabet)


@given(st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=8, max_size=8), st.sampled_from("0123456789X"))
def test_organisation_codes(first: str, last: str) -> None:
    assert checks.organisation_holds(signs(first + last), 0) == (organisation_check(first) == last)


@given(st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=15, max_size=34))
def test_ibans(code: str) -> None:
    assert checks.iban_holds(signs(code), len(code)) == iban_holds(code)


@given(st.integers(1800, 2400), st.integers(0, 14), st.integers(0, 33))
def test_days(year: int, month: int, day: int) -> None:
    try:
        dt.date(year, month, day)
        exists = True
    except ValueError:
        exists = False
    assert checks.day_exists(year, month, day) == exists


@given(st.text(max_size=40))
def test_folding(text: str) -> None:
    data = signs(text)
    line = workspace(6 * len(data))
    n, _, digits = fold_line(data, 0, len(data), tables(), line)
    expected = normalise_with_places(text)
    assert "".join(map(chr, line.points[:n])) == expected.text
    assert digits == sum(char in "0123456789" for char in expected.text)
    assert tuple(line.at[:n].tolist()) == expected.places


@pytest.mark.parametrize("seed", range(3))
def test_random_candidates_agree_with_the_parsers(seed: int) -> None:
    """What the scan calls a kind with certainty of form, that kind's parser takes, and the other way round."""
    rng = np.random.default_rng(seed)
    for _ in range(300):
        year, month, day = rng.integers(1900, 2020), rng.integers(1, 14), rng.integers(1, 33)
        first = f"{rng.choice(['110105', '991105', '330106'])}{year}{month:02d}{day:02d}{rng.integers(1000):03d}"
        number = first + (id_check(first) if rng.integers(2) else str(rng.integers(10)))
        scanned = [one.kind for one in scan_text(f"身份证{number}") if one.kind == "cn_id"]
        assert bool(scanned) == parse("cn_id", number).valid, first[:14]
