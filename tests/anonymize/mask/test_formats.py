"""Numbers that stay such numbers: golds, validity, round trips, the refusal of small domains."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.anonymize_data import folder

from privcompute.anonymize.identifiers import parse
from privcompute.anonymize.identifiers.checksums import id_check, luhn_check
from privcompute.anonymize.mask.ff1 import FF1
from privcompute.anonymize.mask.formats import Card, Format, Identity, Mobile
from privcompute.anonymize.mask.fpe import Fpe
from privcompute.anonymize.mask.keys import Keys
from privcompute.errors import PrivacyError, UsageError

KEYS = Keys({"k1": bytes(32), "k2": bytes([1]) * 32})
GOLD_KEY = bytes.fromhex("2B7E151628AED2A6ABF7158809CF4F3C")
GOLDS: list[tuple[Format, bytes, str, str]] = [
    (Mobile(3, bound=False), b"cn_mobile|v1", "17458073021", "17413959208"),
    (Mobile(3, bound=False), b"cn_mobile|v1", "14129972200", "14193989080"),
    (Card(6), b"bank_card|v1", "6228483681930364264", "6228485412376167864"),
    (Card(6), b"bank_card|v1", "6214832245383232", "6214830026055235"),
]


def permuted(form: Format, label: bytes, value: str) -> str:
    signs = np.frombuffer(value.encode(), dtype=np.uint8).reshape(1, -1)
    return form.permute(FF1(GOLD_KEY), signs, label, forward=True).tobytes().decode()


@pytest.mark.parametrize(("form", "label", "plain", "sealed"), GOLDS)
def test_golds(form: Format, label: bytes, plain: str, sealed: str) -> None:
    assert permuted(form, label, plain) == sealed


def test_all_golds_of_the_public_file() -> None:
    vectors = json.loads((folder("cn") / "fpe_cn_formats.json").read_text())["vectors"]
    assert len(vectors) == 20
    for one in vectors:
        tweak = bytes.fromhex(one["tweak_hex"])
        form: Format = Mobile(3, bound=False) if len(one["plain"]) == 11 else Card(6)
        label = tweak if len(one["plain"]) == 11 else tweak[:-6]
        assert permuted(form, label, one["plain"]) == one["cipher"]


def apply(operator: Fpe, cells: list[str | None], *, forward: bool = True) -> list[str | None]:
    done = operator.bind("x", KEYS, forward=forward)(pa.array(cells), {})
    values: list[str | None] = done.column.to_pylist()
    return values


@st.composite
def identity_numbers(draw: st.DrawFn) -> str:
    birth = draw(st.dates(dt.date(1900, 1, 1), dt.date(2025, 12, 31)))
    first = f"{draw(st.sampled_from(['110105', '440524', '810000', '911124', '620100']))}{birth:%Y%m%d}"
    first += f"{draw(st.integers(0, 999)):03d}"
    return first + id_check(first)


@st.composite
def cards(draw: st.DrawFn) -> str:
    first = draw(st.text("0123456789", min_size=12, max_size=18))
    return first + luhn_check(first)


mobiles = st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True)


@pytest.mark.parametrize(
    ("kind", "values"), [("cn_id", identity_numbers()), ("bank_card", cards()), ("cn_mobile", mobiles)]
)
def test_there_and_back_and_still_valid(kind: str, values: st.SearchStrategy[str]) -> None:
    @given(st.lists(st.none() | values, min_size=1, max_size=6))
    def check(cells: list[str | None]) -> None:
        operator = Fpe(key="k1", type=kind)
        sealed = apply(operator, cells)
        assert [one is None for one in sealed] == [one is None for one in cells]
        for before, after in zip(cells, sealed, strict=True):
            if before is not None and after is not None:
                assert parse(kind, after).valid
                assert parse(kind, after).kind == parse(kind, before).kind
                kept = 3 if kind == "cn_mobile" else 6
                assert after[:kept] == before[:kept]
                assert len(after) == len(before)
        assert apply(operator, sealed, forward=False) == cells
        assert apply(operator, cells) == sealed

    check()


def test_identity_numbers_of_one_region_are_permuted() -> None:
    """All numbers of a short span of birth dates: the walk ends within the span, and nothing comes twice."""
    since, until = dt.date(2000, 2, 1), dt.date(2002, 11, 30)
    days = (until - since).days + 1
    firsts = [
        f"110105{since + dt.timedelta(days=d):%Y%m%d}{order:03d}"
        for d in range(0, days, 40)
        for order in range(0, 1000, 7)
    ]
    numbers = [first + id_check(first) for first in firsts]
    operator = Fpe(key="k1", type="cn_id", since=since.isoformat(), until=until.isoformat())
    sealed = [str(one) for one in apply(operator, list(numbers))]
    assert len(set(sealed)) == len(numbers)
    assert all(since <= dt.date.fromisoformat(parse("cn_id", one).parts["birth"]) <= until for one in sealed)
    assert sum(a == b for a, b in zip(numbers, sealed, strict=True)) < 3


def test_sex_can_stay() -> None:
    numbers = [first + id_check(first) for first in (f"11010519800101{n:03d}" for n in range(40))]
    sealed = apply(Fpe(key="k1", type="cn_id", keep_sex=True), list(numbers))
    assert [parse("cn_id", str(one)).parts["sex"] for one in sealed] == ["f", "m"] * 20
    assert apply(Fpe(key="k1", type="cn_id", keep_sex=True), sealed, forward=False) == numbers


def test_spellings_of_one_number_encrypt_alike() -> None:
    cells: list[str | None] = ["13800138000", "+86 138-0013-8000", "１３８００１３８０００", None]
    first, second, third, null = apply(Fpe(key="k1", type="cn_mobile"), cells)
    assert first == second == third
    assert null is None
    short, long = apply(Fpe(key="k1", type="cn_id"), ["530324790710863", "530324197907108638"])
    assert short == long


def test_prefix_domain_and_key_separate() -> None:
    def last(operator: Fpe, cell: str) -> str:
        return str(apply(operator, [cell])[0])[3:]

    plain = Fpe(key="k1", type="cn_mobile")
    assert last(plain, "13800138000") != last(plain, "13900138000")
    loose = Fpe(key="k1", type="cn_mobile", bind_prefix=False)
    assert last(loose, "13800138000") == last(loose, "13900138000")
    others = [Fpe(key="k2", type="cn_mobile"), Fpe(key="k1", type="cn_mobile", domain="other")]
    assert len({last(one, "13800138000") for one in (plain, *others)}) == 3


@pytest.mark.parametrize(
    "operator",
    [
        Fpe(key="k1", type="cn_mobile", keep_prefix=6),  # five digits are left
        Fpe(key="k1", type="cn_mobile", keep_prefix=7),
        Fpe(key="k1", type="bank_card", keep_prefix=13),
        Fpe(key="k1", type="cn_id", since="2000-01-01", until="2002-09-25"),  # 1,000 days less one
    ],
)
def test_small_domains_are_refused_before_any_row_is_read(operator: Fpe) -> None:
    with pytest.raises(PrivacyError) as raised:
        operator.bind("x", KEYS)
    assert raised.value.code == "small_domain"


def test_the_smallest_domains_that_are_allowed() -> None:
    assert apply(Fpe(key="k1", type="cn_mobile", keep_prefix=5), ["13800138000"])[0] != "13800138000"
    least = Fpe(key="k1", type="cn_id", since="2000-01-01", until="2002-09-26")
    number = "11010520010101001" + id_check("11010520010101001")
    assert parse("cn_id", str(apply(least, [number])[0])).valid
    assert apply(Fpe(key="k1", alphabet="digits"), ["123456"])[0] != "123456"


def test_a_short_cell_of_an_alphabet_ends_the_run() -> None:
    with pytest.raises(PrivacyError) as raised:
        apply(Fpe(key="k1", alphabet="digits", keep_prefix=2), ["12345678", "1234567"])
    assert raised.value.code == "small_domain"
    assert "1234567" not in str(raised.value)


@given(st.lists(st.text("0123456789abcdefghijklmnopqrstuvwxyz", min_size=8, max_size=60), min_size=1, max_size=5))
def test_alphabets_there_and_back(cells: list[str | None]) -> None:
    operator = Fpe(key="k1", alphabet="lower", keep_prefix=2, keep_suffix=1)
    sealed = apply(operator, cells)
    assert [len(str(one)) for one in sealed] == [len(str(one)) for one in cells]
    assert [(str(one)[:2], str(one)[-1]) for one in sealed] == [(str(one)[:2], str(one)[-1]) for one in cells]
    assert apply(operator, sealed, forward=False) == cells


def test_cells_that_are_no_such_number() -> None:
    cells: list[str | None] = ["13800138000", "hello", None]
    with pytest.raises(UsageError) as raised:
        apply(Fpe(key="k1", type="cn_mobile"), cells)
    assert raised.value.code == "invalid_value"
    assert "hello" not in str(raised.value)
    done = Fpe(key="k1", type="cn_mobile", invalid="null").bind("x", KEYS)(pa.array(cells), {})
    assert done.invalid == 1
    assert done.column.to_pylist()[1:] == [None, None]
    before = Identity(since=dt.date(1990, 1, 1))
    assert not before.fits(np.frombuffer(b"11010519491231002X", dtype=np.uint8).reshape(1, 18)).any()
