"""Detection in text: exact spans, borders, context, spellings, what is none; blocks and threads do not show."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.anonymize_data import folder

from privcompute.anonymize.detect import KINDS, REASONS, Finding, scan, scan_text, warm_up
from privcompute.anonymize.detect.context import of_column
from privcompute.anonymize.detect.kinds import C_CONTRARY, C_ID, C_PHONE
from privcompute.errors import UsageError

FOUND = [
    ("手机13800138000微信", [("cn_mobile", "13800138000")]),
    ("tel: +86 138-0013-8000.", [("cn_mobile", "+86 138-0013-8000")]),
    ("13800138000 13900139000", [("cn_mobile", "13800138000"), ("cn_mobile", "13900139000")]),
    ("号码１３８００１３８０００。", [("cn_mobile", "１３８００１３８０００")]),
    ("138\u200b0013\u200b8000", [("cn_mobile", "138\u200b0013\u200b8000")]),
    ("身份证110105 19491231 002x", [("cn_id", "110105 19491231 002x")]),
    ("身份证号：530324790710863", [("cn_id15", "530324790710863")]),
    ("卡号 6222 0226 7556 3921，谢谢", [("bank_card", "6222 0226 7556 3921")]),
    ("卡号6217000395476200751", [("bank_card", "6217000395476200751")]),
    ("pay 4111-1111-1111-1111 now", [("bank_card", "4111-1111-1111-1111")]),
    ("税号91350100M000100Y43", [("cn_uscc", "91350100M000100Y43")]),
    ("组织机构代码60003734-1", [("cn_org_code", "60003734-1")]),
    ("停着京A·12345和粤BD12345", [("cn_plate", "京A·12345"), ("cn_plate_nev", "粤BD12345")]),
    ("通行证H12345678", [("hk_mo_permit", "H12345678")]),
    ("台胞证12345678", [("tw_permit", "12345678")]),
    ("Passport E12345678", [("cn_passport", "E12345678")]),
    ("mail me@sub.example.co.uk.", [("email", "me@sub.example.co.uk")]),
    ("写给13800138000@139.com吧", [("email", "13800138000@139.com")]),
    ("服务器10.0.0.12:8080", [("ip", "10.0.0.12")]),
    ("from 2001:db8::8a2e:370:7334 came", [("ip", "2001:db8::8a2e:370:7334")]),
    ("IBAN GB82 WEST 1234 5698 7654 32", [("iban", "GB82 WEST 1234 5698 7654 32")]),
    ("call +44 20 7946 0958", [("phone", "+44 20 7946 0958")]),
    ("座机010-65541234", [("phone", "010-65541234")]),
    ("姓名：诸葛孔明，男", [("cn_name", "诸葛孔明")]),
    ("患者阿卜杜拉·买买提今日入院", [("cn_name", "阿卜杜拉·买买提")]),
    ("家住浙江省杭州市西湖区文三路138号2单元301室，电话", [("cn_address", "浙江省杭州市西湖区文三路138号2单元301室")]),
]
NOTHING = [
    "订单号13800138000",
    "快递单号 62220226755639211",
    "序列号6222022675563921",
    "版本1.2.3.4567",
    "金额13800138000.50元",
    "A13800138000",
    "13800138000B",
    "138001380001",
    "12345678",
    "E12345678",
    "550e8400-e29b-41d4-a716-446655440000",
    "2023-11-22 15:04:05",
    "15:04:05.123",
    "std::vector<ab::cd>",
    "客户方便时请回电",
    "某某路过北京路",
    "川A座12345室",
    "a@b",
    "@example.com",
    "",
]


@pytest.mark.parametrize(("text", "expected"), FOUND)
def test_found_with_exact_spans(text: str, expected: list[tuple[str, str]]) -> None:
    assert [(one.kind, text[one.start : one.end]) for one in scan_text(text)] == expected


@pytest.mark.parametrize("text", NOTHING)
def test_nothing_is_found(text: str) -> None:
    assert scan_text(text) == []


def test_every_sentence_of_the_public_sample() -> None:
    lines = (folder("cn") / "text_pii_sample.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert len(records) == 50
    found = scan([one["text"] for one in records])
    for row, record in enumerate(records):
        spans = [(one.start, one.end, one.kind) for one in found.of_row(row)]
        assert spans == [(one["start"], one["end"], one["type"]) for one in record["spans"]], record["text"]


def test_every_value_of_the_public_list_as_a_cell_of_a_named_column() -> None:
    import csv

    names = {
        "cn_id": "身份证",
        "cn_id15": "身份证",
        "bank_card": "卡号",
        "cn_mobile": "手机",
        "cn_passport": "护照",
        "hk_mo_permit": "通行证",
    }
    with (folder("cn") / "identifiers.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        found = list(scan([row["value"]], column=names.get(row["type"], "")))
        whole = [one.kind for one in found if (one.start, one.end) == (0, len(row["value"]))]
        assert (row["type"] in whole) == (row["valid"] == "1"), row


def test_context_raises_and_contrary_context_lowers() -> None:
    def confidence(text: str) -> int:
        return max((one.confidence for one in scan([text], threshold=1)), default=0)

    assert confidence("手机13800138000") > confidence("13800138000") > confidence("订单号13800138000")
    assert confidence("身份证530324790710863") > 50 > confidence("530324790710863")
    (by_name,) = scan(["13800138000"], column="mobile")
    assert by_name.reasons == ("form", "context")
    assert list(scan(["13800138000"], column="order_no")) == []


def test_column_names_are_context() -> None:
    assert of_column("id_card_no") & C_ID
    assert of_column("customer_mobile") & C_PHONE
    assert of_column("联系电话") & C_PHONE
    assert not of_column("hotel") & C_PHONE
    assert of_column("订单号") & C_CONTRARY


def test_reasons_say_what_speaks_for_it() -> None:
    (one,) = scan_text("身份证１１０１０５ 19491231 ００２x")
    assert one.reasons == ("form", "check_digit", "birth_date", "known_region", "context", "grouped", "folded")
    assert set(one.reasons) <= set(REASONS)
    assert one.to_json()["kind"] in KINDS


def test_today_decides_what_is_in_the_future() -> None:
    from privcompute.anonymize.identifiers.checksums import id_check

    number = "11010520300101001" + id_check("11010520300101001")
    assert list(scan([number], today=dt.date(2029, 12, 31))) == []
    assert [one.kind for one in scan([number], today=dt.date(2030, 1, 1))] == ["cn_id"]


def test_the_known_specimen_is_found() -> None:
    warm_up()


def test_no_text_shows() -> None:
    found = scan(["手机13800138000", None])
    assert "138" not in repr(found) + repr(list(found))
    assert list(found) == [Finding(0, 2, 13, "cn_mobile", 96, ("form", "context"))]


def test_nulls_and_every_kind_of_text_array() -> None:
    cells = [None, "手机13800138000", "", None, "x"]
    expected = list(scan(cells))
    assert [one.row for one in expected] == [1]
    for kind in (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())):
        assert list(scan(pa.array(cells, type=kind))) == expected
    assert [one.row for one in scan(pa.array(cells)[1:])] == [0]
    assert list(scan(pa.chunked_array([pa.array(cells[:2]), pa.array(cells[2:])]))) == expected
    assert list(scan([])) == []
    assert list(scan(pa.array([None, None], type=pa.string()))) == []
    with pytest.raises(UsageError) as raised:
        scan(pa.array([1]))
    assert raised.value.code == "not_text"


def test_blocks_and_threads_do_not_show() -> None:
    lines = [f"第{n}行 手机{13000000000 + n * 7} " + "字" * (n % 50) for n in range(30_000)]  # some mebibytes
    one, two = scan(lines, threads=1), scan(lines, threads=2)
    assert len(one) == 30_000
    for name in ("rows", "starts", "ends", "codes", "confidences", "reasons"):
        assert np.array_equal(getattr(one, name), getattr(two, name))
    for row in (0, 12_345, 29_999):
        (found,) = scan_text(lines[row])
        (there,) = one.of_row(row)
        assert (found.start, found.end) == (there.start, there.end)


PIECES = st.sampled_from(
    [
        "13800138000",
        "11010519491231002X",
        "京A12345",
        "a@b.cn",
        "1.2.3.4",
        "姓名王五",
        "６２２２",
        "\u200b",
        "ﷺ",
        "²",
        "+86",
        " ",
        "-",
        "·",
        "路1号",
    ]
)


@given(st.lists(st.lists(PIECES | st.text(max_size=4), max_size=8).map("".join), max_size=6))
def test_any_text_is_scanned_without_an_accident(lines: list[str]) -> None:
    found = scan(lines, threshold=1)
    last = (-1, 0)
    for one in found:
        assert 0 <= one.start < one.end <= len(lines[one.row])
        assert (one.row, one.start) >= last  # in order, none within another
        last = (one.row, one.end)
        assert 1 <= one.confidence <= 100


@given(st.text("　 ，。、字词", max_size=6), st.text("　 ，。、字词", max_size=6))
def test_a_number_is_found_wherever_it_stands(before: str, after: str) -> None:
    text = f"{before}11010519491231002X{after}"
    assert [(one.start, one.end) for one in scan_text(text)] == [(len(before), len(before) + 18)]
