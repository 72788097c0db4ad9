"""Identifiers: published specimens, every value of the public list, spellings, reasons."""

from __future__ import annotations

import csv
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.anonymize_data import folder

from privcompute.anonymize.identifiers import KINDS, Parsed, cn_id, normalise, normalise_with_places, parse
from privcompute.anonymize.identifiers.checksums import id_check, luhn_check, luhn_holds, uscc_check
from privcompute.anonymize.identifiers.divisions import county_codes, known_county, prefectures
from privcompute.errors import UsageError

VALID = [
    ("cn_id", "11010519491231002X", "11010519491231002X"),  # specimen printed in GB 11643-1999
    ("cn_id", "440524188001010014", "440524188001010014"),  # as above
    ("cn_id", " １１０１０５ 19491231-002x", "11010519491231002X"),
    ("cn_id", "110105\u200b19491231\u2011002Ⅹ".replace("Ⅹ", "ｘ"), "11010519491231002X"),
    ("cn_id15", "530324790710863", "530324197907108638"),
    ("hk_mo_tw_residence", "81000019900101001" + id_check("81000019900101001"), None),
    ("foreign_permanent", "91112419810803002" + id_check("91112419810803002"), None),
    ("cn_mobile", "+86 138-0013-8000", "13800138000"),
    ("cn_mobile", "0086１３８００１３８０００", "13800138000"),
    ("cn_mobile", "1064812345678", "1064812345678"),
    ("bank_card", "4111 1111 1111 1111", "4111111111111111"),
    ("cn_uscc", "91110000600037341l", "91110000600037341L"),
    ("cn_uscc", "91350100M000100Y43", "91350100M000100Y43"),
    ("cn_org_code", "60003734-1", "600037341"),
    ("cn_plate", "京A·12345", "京A12345"),
    ("cn_plate", "粤B1234港", "粤B1234港"),
    ("cn_plate_nev", "京ad12345", "京AD12345"),
    ("cn_plate_nev", "粤B12345D", "粤B12345D"),
    ("cn_passport", "e12345678", "E12345678"),
    ("hk_mo_permit", "H1234567801", "H12345678"),
    ("tw_permit", "12345678", "12345678"),
    ("mainland_permit", "C12345678", "C12345678"),
    ("cn_name", "欧阳 修", "欧阳修"),
    ("cn_name", "阿卜杜拉•买买提", "阿卜杜拉·买买提"),
    ("cn_name", "𠮷田", "𠮷田"),
    ("cn_address", "浙江省 杭州市西湖区文三路１号", "浙江省杭州市西湖区文三路1号"),
    ("email", "Some.One@Example.COM", "Some.One@example.com"),
    ("ip", "192.168.0.1", "192.168.0.1"),
    ("ip", "2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
    ("iban", "GB82 WEST 1234 5698 7654 32", "GB82WEST12345698765432"),
    ("phone", "+44 20 7946 0958", "+442079460958"),
    ("phone", "010-65541234", "+861065541234"),
]
INVALID = [
    ("cn_id", "110105194912310021", "check_digit"),
    ("cn_id", "230522199002300111", "birth_date"),
    ("cn_id", "230522210001010117", "birth_in_future"),
    ("cn_id", "999999199001010112", "region"),
    ("cn_id", "11010519491231002", "length"),
    ("cn_id", "1101051949123100X2", "characters"),
    ("cn_mobile", "12783997403", "segment"),
    ("cn_mobile", "157839974030", "length"),
    ("cn_mobile", "1380013800o", "characters"),
    ("bank_card", "4111111111111112", "luhn"),
    ("cn_uscc", "93230103KNIJEUW518", "characters"),
    ("cn_uscc", "91350100M000100Y40", "check_digit"),
    ("cn_plate", "京I12345", "characters"),
    ("cn_plate", "美A12345", "province"),
    ("cn_passport", "EI1234567", "characters"),
    ("email", "a@b", "characters"),
    ("ip", "1.2.3.456", "form"),
    ("iban", "GB82WEST12345698765433", "check_digit"),
    ("iban", "GB82WEST1234569876543", "length"),
    ("phone", "+99912345678", "country"),
]


@pytest.mark.parametrize(("kind", "text", "canonical"), VALID)
def test_valid_ones_have_one_canonical_form(kind: str, text: str, canonical: str | None) -> None:
    found = parse(kind, text)
    assert (found.kind, found.reasons) == (kind, ())
    assert found.value == (canonical or text)
    assert parse(kind, found.value).value == found.value


@pytest.mark.parametrize(("kind", "text", "reason"), INVALID)
def test_invalid_ones_say_why(kind: str, text: str, reason: str) -> None:
    found = parse(kind, text)
    assert not found.valid
    assert reason in found.reasons


def test_every_value_of_the_public_list() -> None:
    with (folder("cn") / "identifiers.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 250
    for row in rows:
        found = parse(row["type"], row["value"])
        assert found.valid == (row["valid"] == "1"), row
        if found.valid:
            assert found.kind == row["type"], row
        if row["note"].startswith("upgrade="):
            assert found.value == row["note"].removeprefix("upgrade=")


def test_an_unknown_county_is_a_warning_and_an_unknown_province_a_fault() -> None:
    old = "11022119491231002"
    assert not known_county("110221")
    assert parse("cn_id", old + id_check(old)).warnings == ("unknown_county",)
    assert "110105" in county_codes()
    assert prefectures()["3301"] == "杭州市"


def test_the_parts_of_an_identity_number() -> None:
    parts = parse("cn_id", "11010519491231002X").parts
    assert parts == {"region": "110105", "order": "002", "sex": "f", "birth": "1949-12-31"}


def test_today_is_the_callers() -> None:
    number = "11010520300101001"
    number += id_check(number)
    assert cn_id.parse(number, dt.date(2029, 12, 31)).reasons == ("birth_in_future",)
    assert cn_id.parse(number, dt.date(2030, 1, 1)).valid


def test_no_value_shows() -> None:
    found = parse("cn_id", "11010519491231002X")
    assert "110105" not in repr(found) + str(found)
    assert "hidden" in repr(Parsed("cn_id", "1"))


def test_an_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(UsageError) as raised:
        parse("cn_idd", "1")
    assert raised.value.code == "no_such_kind"
    assert "cn_id" in raised.value.remedy


@given(st.sampled_from(KINDS), st.text())
def test_any_text_is_read_without_an_accident(kind: str, text: str) -> None:
    found = parse(kind, text)
    if found.valid:
        again = parse(kind, found.value)
        assert again.valid
        assert again.value == found.value


@given(st.text())
def test_folding_is_stable_and_knows_its_places(text: str) -> None:
    folded = normalise_with_places(text)
    assert folded.text == normalise(text)
    assert len(folded.places) == len(folded.text)
    assert list(folded.places) == sorted(folded.places)
    assert all(0 <= place < len(text) for place in folded.places)


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("１２３", "123"),
        ("٣٤", "34"),
        ("a\u200bb\ufeff", "ab"),
        ("A\ufe0f", "A"),
        ("—−－", "---"),
        ("\u3000\u00a0", "  "),
    ],
)
def test_what_folds_to_what(text: str, folded: str) -> None:
    assert normalise(text) == folded


@given(st.text("0123456789", min_size=1, max_size=30))
def test_luhn_digits_hold_and_see_every_single_change(digits: str) -> None:
    whole = digits + luhn_check(digits)
    assert luhn_holds(whole)
    changed = str((int(whole[0]) + 1) % 10) + whole[1:]
    assert not luhn_holds(changed)


@given(st.text("0123456789ABCDEFGHJKLMNPQRTUWXY", min_size=17, max_size=17), st.integers(0, 16))
def test_a_social_credit_code_sees_every_single_change(first: str, place: int) -> None:
    changed = first[:place] + ("0" if first[place] != "0" else "1") + first[place + 1 :]
    assert uscc_check(first) != uscc_check(changed)
