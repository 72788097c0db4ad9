"""Columns as a whole, profiles, first guesses at grades, and the two commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result

from privcompute.anonymize.detect.columns import ColumnScan
from privcompute.anonymize.grades_suggest import RULES, suggest
from privcompute.anonymize.mask.surrogate import MAKERS, Draw
from privcompute.anonymize.mask.token import hmac_sha256
from privcompute.anonymize.profile import profile
from privcompute.cli.app import root

MAC = hmac_sha256(b"fixed")


def made(kind: str, count: int = 300) -> list[str]:
    return [MAKERS[kind](Draw(MAC, f"{kind}{n}".encode()), "") for n in range(count)]


def kinds(name: str, cells: list[str | None]) -> list[str]:
    one = ColumnScan(name)
    one.add(pa.array(cells, type=pa.large_string()))
    return [found.kind for found in one.result()]


@pytest.mark.parametrize(
    "kind", ["cn_id", "cn_mobile", "bank_card", "email", "cn_plate", "cn_uscc", "cn_name", "cn_address"]
)
def test_a_column_is_what_its_cells_are_whatever_it_is_called(kind: str) -> None:
    assert kinds("c17", [*made(kind), None])[:1] == [kind]


def test_most_cells_decide_where_one_cell_says_little() -> None:
    assert kinds("c17", list(made("cn_passport"))) == ["cn_passport"]
    assert kinds("c17", [*made("cn_passport", 2), *(f"word {n}" for n in range(300))]) == []


def test_numbers_that_are_none() -> None:
    assert kinds("c17", [f"{n}" for n in range(10_000, 10_900)]) == []
    assert kinds("amount", [f"{n * 37}.50" for n in range(900)]) == []
    assert kinds("city", ["北京市", "上海市", "杭州市"] * 100) == []


def test_identifiers_inside_of_text() -> None:
    cells = [f"第{n}次回访" if n % 3 else f"回访，手机{made('cn_mobile', 1)[0]}已停机" for n in range(300)]
    assert kinds("notes", list(cells)) == ["cn_mobile"]


def test_a_profile_counts_what_there_is() -> None:
    table = pa.table(
        {
            "id_no": [*made("cn_id", 99), None],
            "age": pa.array([None, *range(99)], type=pa.int64()),
            "word": ["a", " ", "", None] * 25,
        }
    )
    chunks = [*table.slice(0, 40).to_batches(), *table.slice(40).to_batches()]
    about = {one.name: one for one in profile(table.column_names, chunks)}
    assert (about["id_no"].rows, about["id_no"].nulls, about["id_no"].distinct) == (100, 1, 99)
    assert [one.kind for one in about["id_no"].found] == ["cn_id"]
    assert (about["id_no"].shortest, about["id_no"].longest) == (18, 18)
    assert (about["age"].low, about["age"].high, about["age"].distinct) == ("0", "98", 99)
    assert (about["word"].blank, about["word"].nulls, about["word"].distinct) == (50, 25, 3)
    assert about["id_no"].grade.general == 4
    body = json.dumps([one.to_json() for one in about.values()])
    assert made("cn_id", 1)[0] not in body


def test_the_strictest_rule_decides_and_every_rule_can() -> None:
    assert suggest("c1", []).general == 2
    assert suggest("手机", ["cn_mobile"]).finance == 3
    assert suggest("comment", ["cn_mobile", "cn_id"]).general == 4
    for rule in RULES:
        name, found = (rule.words[0], []) if rule.words else ("c1", [rule.kinds[0]])
        one = suggest(name, found)
        assert one.general >= rule.general
        assert one.finance >= rule.finance
        assert any(reason.startswith(rule.reason) for reason in one.reasons)
    # What only an authority's catalogue can say is never suggested.
    assert {rule.general for rule in RULES} <= {1, 2, 3, 4}
    assert suggest("shipping", []).reasons == ("nothing_found",)  # `pin` is no part of it


def run(*words: str) -> Result:
    return CliRunner().invoke(root, list(words), prog_name="privcompute")


def test_detect_tells_where_and_never_what(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("n,note\n1,手机13800138000\n2,\n3,又是13900139000\n", encoding="utf-8")
    done = run("detect", str(path), "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["findings"]
    assert [(one["column"], one["row"], one["start"], one["end"], one["kind"]) for one in found] == [
        ("note", 0, 2, 13, "cn_mobile"),
        ("note", 2, 2, 13, "cn_mobile"),
    ]
    assert "1380013" not in done.stdout
    assert json.loads(run("detect", str(path), "--column", "n", "--json").stdout) == {"findings": []}
    wrong = run("detect", str(path), "--column", "nte", "--json")
    assert wrong.exit_code == 2
    assert json.loads(wrong.stdout)["error"]["remedy"] == "did you mean 'note'?"
    people = run("detect", str(path))
    assert "cn_mobile" in people.stdout
    assert "1380013" not in people.output


def test_detect_reads_text_files_by_lines(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("nothing\n患者王桂（450804196012221784）\n", encoding="utf-8")
    found = json.loads(run("detect", str(path), "--json").stdout)["findings"]
    assert [(one["row"], one["kind"]) for one in found] == [(1, "cn_name"), (1, "cn_id")]


def test_profile_shows_and_tells(tmp_path: Path) -> None:
    columns: dict[str, Any] = {"mobile": made("cn_mobile"), "n": list(range(300))}
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
    done = run("profile", str(tmp_path / "t.parquet"), "--json")
    assert done.exit_code == 0, done.output
    mobile, n = json.loads(done.stdout)["columns"]
    assert mobile["found"][0]["kind"] == "cn_mobile"
    assert mobile["grade"]["GB/T 43697"] == {"grade": "general", "sub_level": 3}
    assert mobile["grade"]["confirmed"] is False
    assert (n["low"], n["high"], n["nulls"]) == ("0", "299", 0)
    assert "cn_mobile 9" in run("profile", str(tmp_path / "t.parquet")).stdout


def test_one_sign_is_no_signs(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pa.table({"a": ["甲", "乙丙"]}), tmp_path / "t.parquet")
    shown = run("profile", str(tmp_path / "t.parquet")).stdout
    assert "1 sign " in shown
    assert "2 signs" in shown
