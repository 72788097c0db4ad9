"""The name that a report gives to its input: the same for the same content, a secret to who has no key."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from privcompute.anonymize import Policy
from privcompute.anonymize.fingerprint import fingerprint_of
from privcompute.anonymize.frame import write
from privcompute.anonymize.mask import Keys
from privcompute.cli.app import root
from privcompute.errors import UsageError

SECRET = bytes(range(32))
KEYS = Keys({"k1": SECRET})

POLICY = """version = 1
[columns]
city = { role = "qi" }
age = { role = "insensitive" }
[[models]]
type = "k-anonymity"
k = 2
[report]
fingerprint_key = "k1"
"""


def run(*words: str) -> Result:
    return CliRunner().invoke(root, list(words))


def table() -> pa.Table:
    return pa.table({"city": ["Köln", "Köln", "深圳", "深圳"], "age": [1, 2, 3, None]})


def digest(some: pa.Table, keys: Keys = KEYS) -> str:
    found = fingerprint_of(some, "k1", keys).digest
    assert found is not None
    return found


def test_order_of_rows_and_kind_of_column_do_not_matter() -> None:
    wanted = digest(table())
    assert digest(table().take(pa.array([3, 1, 0, 2]))) == wanted
    coded = table().set_column(0, "city", table()["city"].combine_chunks().dictionary_encode())
    assert digest(coded) == wanted
    assert digest(pa.concat_tables([table().slice(0, 1), table().slice(1)])) == wanted


@pytest.mark.parametrize(
    "other",
    [
        lambda t: t.slice(1),
        lambda t: pa.concat_tables([t, t.slice(0, 1)]),
        lambda t: t.rename_columns(["city", "years"]),
        lambda t: t.set_column(1, "age", pa.array([1, 2, 3, 4])),
        lambda t: t.set_column(1, "age", pa.array(["1", "2", "3", "N"])),
        lambda t: t.set_column(0, "city", pa.array(["Köln", "深圳", "Köln", "深圳"])),
        lambda t: t.drop_columns(["age"]),
        lambda t: t.slice(0, 0),
    ],
)
def test_whatever_is_another_content_has_another_fingerprint(other: Any) -> None:
    assert digest(other(table())) != digest(table())


def test_fields_do_not_run_into_each_other() -> None:
    one = pa.table({"a": ["x", "1:y"], "b": ["1:y", "x"]})
    two = pa.table({"a": ["x1:1", "y"], "b": ["y", "x"]})
    assert len({digest(one), digest(two), digest(pa.table({"a": ["xy"], "b": [""]}))}) == 3


def test_another_key_gives_another_and_no_key_none() -> None:
    assert digest(table(), Keys({"k1": bytes(32)})) != digest(table())
    # The key itself is not what the hash is keyed with, and without one it cannot be computed from the content.
    assert KEYS.derive("k1", "token") != KEYS.derive("k1", "fingerprint of a report's input")
    assert digest(table()) != hashlib.sha256(b"".join(sorted(_row_digests(table())))).hexdigest()
    assert fingerprint_of(table(), None, KEYS).absent == "no_key_named"
    assert fingerprint_of(table(), "k2", KEYS).absent == "key_not_at_hand"
    assert fingerprint_of(table(), "k1", None).digest is None


def _row_digests(some: pa.Table) -> list[bytes]:
    rows = zip(*(some.column(name).to_pylist() for name in some.column_names), strict=True)
    texts = ["".join("N" if v is None else f"{len(str(v).encode())}:{v}" for v in row) for row in rows]
    return [hashlib.sha256(text.encode()).digest() for text in texts]


def test_it_is_what_the_text_says_it_is() -> None:
    import hmac

    made = hmac.new(KEYS.derive("k1", "fingerprint of a report's input"), digestmod="sha256")
    made.update((2).to_bytes(8, "big"))
    for name in (b"city", b"age"):
        made.update(len(name).to_bytes(8, "big") + name)
    made.update((4).to_bytes(8, "big") + b"".join(sorted(_row_digests(table()))))
    assert digest(table()) == made.hexdigest()


def test_reports_name_their_input_in_both_languages() -> None:
    policy = Policy.from_text(POLICY)
    report = policy.apply(table(), keys=KEYS).report
    wanted = digest(table())
    assert report.body["input"] == {"key": "k1", "fingerprint": wanted, "absent": None}
    assert f"k1:{wanted}" in report.to_markdown("en")
    assert f"输入数据指纹 | k1:{wanted}" in report.to_markdown("zh-CN")
    assert policy.explain(table(), keys=KEYS).fingerprint.digest == wanted
    assert SECRET.hex() not in report.to_json()


def test_without_a_key_a_report_says_why_there_is_no_fingerprint() -> None:
    missing = Policy.from_text(POLICY).apply(table()).report
    unnamed = Policy.from_text(POLICY.partition("[report]")[0]).apply(table(), keys=KEYS).report
    assert missing.body["input"]["fingerprint"] is None is unnamed.body["input"]["fingerprint"]
    assert "not at hand" in missing.to_markdown("en")
    assert "密钥不可用" in missing.to_markdown("zh-CN")
    assert "names no key" in unnamed.to_markdown("en")
    assert "未指定密钥" in unnamed.to_markdown("zh-CN")


def test_a_key_id_that_cannot_be_one_is_a_fault_of_the_policy() -> None:
    for wrong in ('"K1"', "1", '""'):
        with pytest.raises(UsageError) as error:
            Policy.from_text(POLICY.replace('"k1"', wrong))
        assert error.value.code == "policy"
        assert "report.fingerprint_key" in error.value.message


def test_the_command_finds_the_key_by_its_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(table(), tmp_path / "in.csv")
    (tmp_path / "p.toml").write_text(POLICY, encoding="utf-8")
    words = ("anonymize", f"{tmp_path}/in.csv", "--policy", f"{tmp_path}/p.toml")
    assert "not at hand" in run(*words, "--explain").stdout
    monkeypatch.setenv("PRIVCOMPUTE_KEY_K1", SECRET.hex())
    explained = run(*words, "--explain").stdout
    assert f"input: k1:{digest(table())}" in explained
    assert "must hold: 2-anonymity" in explained
    body = json.loads(run(*words, "-o", f"{tmp_path}/out.csv", "--json").stdout)
    assert body["input"]["fingerprint"] == digest(table())
    monkeypatch.delenv("PRIVCOMPUTE_KEY_K1")
    keys = tmp_path / "keys.toml"
    keys.touch(mode=0o600)
    keys.write_text(f'k1 = "{SECRET.hex()}"\n', encoding="utf-8")
    assert f"k1:{digest(table())}" in run(*words, "--explain", "--keys", str(keys)).stdout
    monkeypatch.setenv("PRIVCOMPUTE_KEYS", str(keys))
    assert f"k1:{digest(table())}" in run(*words, "--explain").stdout
