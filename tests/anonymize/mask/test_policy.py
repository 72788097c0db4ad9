"""Policies: what is read, what is refused, in which words."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from privcompute.anonymize.mask.date_shift import DateShift
from privcompute.anonymize.mask.fpe import Fpe
from privcompute.anonymize.mask.policy import OPERATORS, from_document, operator
from privcompute.errors import UsageError

FULL = """
version = 1
locale = "zh-CN"
[nulls]
quasi_identifier = "own-value"
[columns]
id_no   = { role = "direct", transform = { op = "token", key = "k1", domain = "person", bits = 128 } }
mobile  = { role = "direct", transform = { op = "fpe", type = "cn_mobile", keep_prefix = 3, key = "k2" } }
name    = { role = "direct", transform = { op = "mask", keep = 1 } }
seen    = { transform = { op = "date_shift", key = "k1", subject = "id_no" } }
notes   = { transform = { op = "redact", with = "-" } }
age     = { role = "qi", hierarchy = { type = "interval", widths = [5, 10, 20], range = [0, 120] } }
[[models]]
type = "k-anonymity"
k = 5
[grading]
standard = "GB/T 42460-2023"
target_level = 3
"""


def test_a_whole_policy_of_which_only_this_part_is_read() -> None:
    policy = from_document(tomllib.loads(FULL))
    assert list(policy.transforms) == ["id_no", "mobile", "name", "seen", "notes"]
    assert policy.keys == ("k1", "k2")
    assert isinstance(policy.transforms["mobile"], Fpe)
    assert isinstance(policy.transforms["seen"], DateShift)
    assert policy.others == "keep"
    again = from_document(tomllib.loads("# a comment\n" + FULL))
    assert again.digest == policy.digest != from_document(tomllib.loads(FULL.replace("128", "160"))).digest


@pytest.mark.parametrize(
    ("transform", "words"),
    [
        ("token", "must be a table"),
        ({"op": "tokn"}, "did you mean 'token'"),
        ({"op": "token", "key": "k1"}, "domain is missing"),
        ({"op": "token", "key": "k1", "domain": "d", "bit": 96}, "did you mean 'bits'"),
        ({"op": "token", "key": "k1", "domain": "d", "bits": 95}, "between 96 and 256"),
        ({"op": "token", "key": "k1", "domain": "d", "bits": True}, "whole number"),
        ({"op": "token", "key": "00112233445566778899aabbccddeeff", "domain": "d"}, "never the key itself"),
        ({"op": "fpe", "key": "k1"}, "a type or an alphabet"),
        ({"op": "fpe", "key": "k1", "type": "cn_mobile", "alphabet": "digits"}, "not both"),
        ({"op": "fpe", "key": "k1", "type": "cn_mobile", "keep_prefix": 1}, "at least two"),
        ({"op": "fpe", "key": "k1", "type": "cn_id", "keep_prefix": 2}, "region"),
        ({"op": "fpe", "key": "k1", "type": "cn_id", "since": "1.1.1900"}, "must be a date"),
        ({"op": "mask", "sign": "**"}, "one printable sign"),
        ({"op": "redact", "found": 1}, "true or false"),
        ({"op": "bucket", "edges": [3, 2]}, "must ascend"),
        ({"op": "noise", "scale": 0}, "between 1 and"),
        ({"op": "surrogate", "key": "k1", "type": "hair"}, "must be one of"),
    ],
)
def test_faults_are_told_in_words(transform: Any, words: str) -> None:
    with pytest.raises(UsageError) as raised:
        operator("c", transform)
    assert raised.value.code == "policy"
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, "version must be 1"),
        ({"version": True}, "version must be 1"),
        ({"colums": {}}, "did you mean 'columns'"),
        ({"columns": {"a": {"role": "direct"}}}, "direct identifiers need a transform: a"),
        ({"columns": {"a": {"role": "quasi"}}}, "role of column 'a'"),
        ({"columns": []}, "must be a table"),
        ({"desensitize": {"others": "hide"}}, "others must be one of"),
        ({"desensitize": {"other": "keep"}}, "only `others`"),
    ],
)
def test_faulty_documents(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as raised:
        from_document({"version": 1, **change})
    assert raised.value.code == "policy"
    assert words in str(raised.value)


def test_every_operator_has_its_name() -> None:
    assert set(OPERATORS) == {"keep", "mask", "redact", "token", "fpe", "date_shift", "bucket", "noise", "surrogate"}
