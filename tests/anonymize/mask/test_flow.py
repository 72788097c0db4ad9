"""Tables and files through a policy: rows, order, chunks, formats, refusals; and the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result

from privcompute.anonymize.mask import desensitize, desensitize_file
from privcompute.anonymize.mask.flow import Desensitizer
from privcompute.anonymize.mask.keys import Keys
from privcompute.anonymize.mask.policy import MaskPolicy, from_document
from privcompute.cli.app import root
from privcompute.errors import UsageError

KEYS = Keys({"k1": bytes(32)})
DOCUMENT: dict[str, Any] = {
    "version": 1,
    "columns": {
        "mobile": {"role": "direct", "transform": {"op": "fpe", "key": "k1", "type": "cn_mobile"}},
        "name": {"transform": {"op": "token", "key": "k1", "domain": "person"}},
        "day": {"transform": {"op": "date_shift", "key": "k1", "subject": "name"}},
    },
}
POLICY = """
version = 1
[columns]
mobile = { role = "direct", transform = { op = "fpe", key = "k1", type = "cn_mobile" } }
name = { transform = { op = "token", key = "k1", domain = "person" } }
day = { transform = { op = "date_shift", key = "k1", subject = "name" } }
"""


def policy(**settings: str) -> MaskPolicy:
    return from_document({**DOCUMENT, "desensitize": settings})


def table(rows: int = 1000) -> pa.Table:
    return pa.table(
        {
            "number": pa.array([f"{n:07d}" for n in range(rows)]),
            "mobile": pa.array([None if n % 11 == 5 else f"138{n:08d}" for n in range(rows)]),
            "name": pa.array([f"王{n % 97}" if n % 13 else None for n in range(rows)]),
            "day": pa.array([f"2020-01-{1 + n % 28:02d}" if n % 13 else None for n in range(rows)]),
        }
    )


def test_rows_stay_in_their_places_and_the_callers_table_is_as_it_was() -> None:
    before = table()
    again = table()
    after = desensitize(before, policy(), KEYS)
    assert before.equals(again)
    assert after.num_rows == before.num_rows
    assert after["number"].to_pylist() == before["number"].to_pylist()
    for name in before.column_names:
        assert [one is None for one in after[name].to_pylist()] == [one is None for one in before[name].to_pylist()]


def test_the_size_of_chunks_does_not_show() -> None:
    whole = Desensitizer(policy(), KEYS, table().column_names).table(table())
    for rows in (1, 7, 999):
        assert Desensitizer(policy(), KEYS, table().column_names).table(table(), rows).equals(whole)


def test_an_empty_table_has_its_columns() -> None:
    empty = desensitize(table().slice(0, 0), policy(), KEYS)
    assert empty.num_rows == 0
    assert empty.column_names == table().column_names


def test_dictionaries_slices_and_chunked_columns_are_what_they_hold() -> None:
    plain = desensitize(table(), policy(), KEYS)
    names = table().column_names
    coded = pa.table([table()[name].dictionary_encode() for name in names], names=names)
    assert desensitize(coded, policy(), KEYS)["mobile"].to_pylist() == plain["mobile"].to_pylist()
    assert (
        desensitize(table().slice(500, 20), policy(), KEYS)["mobile"].to_pylist()
        == plain["mobile"].to_pylist()[500:520]
    )
    chunked = pa.concat_tables([table().slice(0, 300), table().slice(300)])
    assert desensitize(chunked, policy(), KEYS)["day"].to_pylist() == plain["day"].to_pylist()


@pytest.mark.parametrize("source", ["in.csv", "in.parquet"])
@pytest.mark.parametrize("output", ["out.csv", "out.parquet"])
def test_files_of_both_kinds_hold_the_same_in_the_same_order(tmp_path: Path, source: str, output: str) -> None:
    rows = table(140_000)  # more than one chunk and one row group
    if source.endswith("csv"):
        pyarrow.csv.write_csv(rows, tmp_path / source)
    else:
        pyarrow.parquet.write_table(rows, tmp_path / source, row_group_size=10_000)
    report = desensitize_file(str(tmp_path / source), policy(), KEYS, tmp_path / output)
    assert report.rows == rows.num_rows
    if output.endswith("csv"):
        texts = dict.fromkeys(rows.column_names, pa.string())
        options = pyarrow.csv.ConvertOptions(column_types=texts, strings_can_be_null=True)
        found = pyarrow.csv.read_csv(tmp_path / output, convert_options=options)
    else:
        found = pyarrow.parquet.read_table(tmp_path / output)
    expected = desensitize(rows, policy(), KEYS)
    for name in rows.column_names:
        assert found[name].to_pylist() == expected[name].to_pylist()
    assert {one.name for one in tmp_path.iterdir()} == {source, output}


def test_leading_zeros_of_a_csv_file_stay(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("code;mobile\n007;13800138000\n08;13900139000\n")
    one = {"version": 1, "columns": {"mobile": {"transform": {"op": "redact"}}}}
    desensitize_file(str(tmp_path / "a.csv"), from_document(one), KEYS, tmp_path / "b.csv")
    assert (tmp_path / "b.csv").read_text().splitlines() == ['"code","mobile"', '"007","***"', '"08","***"']


def test_an_error_leaves_no_output_and_no_debris(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("mobile\n13800138000\nhello\n")
    one = {"version": 1, "columns": {"mobile": {"transform": {"op": "fpe", "key": "k1", "type": "cn_mobile"}}}}
    with pytest.raises(UsageError) as raised:
        desensitize_file(str(tmp_path / "a.csv"), from_document(one), KEYS, tmp_path / "b.csv")
    assert raised.value.code == "invalid_value"
    assert [one.name for one in tmp_path.iterdir()] == ["a.csv"]


def test_the_input_is_never_the_output(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a\n1\n")
    with pytest.raises(UsageError, match="the output is the input"):
        desensitize_file(str(path), from_document({"version": 1}), KEYS, path)
    assert path.read_text() == "a\n1\n"


def test_columns_without_a_transform() -> None:
    names = table().column_names
    assert desensitize(table(), policy(others="drop"), KEYS).column_names == ["mobile", "name", "day"]
    with pytest.raises(UsageError, match="no transform for: number"):
        Desensitizer(policy(others="refuse"), KEYS, names)
    with pytest.raises(UsageError, match="lacks: mobile"):
        Desensitizer(policy(), KEYS, ["name", "day"])
    one = {"version": 1, "columns": {"day": DOCUMENT["columns"]["day"]}}
    with pytest.raises(UsageError, match="'day' needs column 'name'"):
        Desensitizer(from_document(one), KEYS, ["day"])


def test_the_report_says_what_passes_with_identifiers_in_it() -> None:
    rows = table().append_column("note", pa.array(["致电13800138000"] * 1000))
    worker = Desensitizer(policy(), KEYS, rows.column_names)
    worker.table(rows)
    about = {one["name"]: one for one in worker.report.to_json()["columns"]}
    assert about["note"]["found"] == ["cn_mobile"]
    assert about["mobile"] == {"name": "mobile", "op": "fpe", "keys": ["k1"], "nulls": 91, "invalid": 0, "found": []}
    assert "138" not in json.dumps(worker.report.to_json()["columns"])


def run(*words: str) -> Result:
    return CliRunner().invoke(root, list(words), prog_name="privcompute")


def test_the_command_makes_keys_and_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRIVCOMPUTE_KEYS", raising=False)
    pyarrow.parquet.write_table(table(), tmp_path / "in.parquet")
    (tmp_path / "p.toml").write_text(POLICY)
    words = [
        "desensitize",
        str(tmp_path / "in.parquet"),
        "--policy",
        str(tmp_path / "p.toml"),
        "-o",
        str(tmp_path / "out.csv"),
    ]
    keys = ["--keys", str(tmp_path / "keys.toml")]
    missing = run(*words, *keys, "--json")
    assert missing.exit_code == 2
    assert json.loads(missing.stdout)["error"]["code"] == "no_key"
    done = run(*words, *keys, "--make-keys", "--json")
    assert done.exit_code == 0, done.output
    body = json.loads(done.stdout.splitlines()[-1])
    assert (body["rows"], body["output"]) == (1000, str(tmp_path / "out.csv"))
    first = (tmp_path / "out.csv").read_bytes()
    shown = run(*words, *keys)
    assert shown.exit_code == 0
    assert "fpe" in shown.output
    assert (tmp_path / "out.csv").read_bytes() == first


def test_the_command_uses_the_homes_key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRIVCOMPUTE_KEYS", raising=False)
    pyarrow.parquet.write_table(table(10), tmp_path / "in.parquet")
    (tmp_path / "p.toml").write_text(POLICY)
    words = [
        "desensitize",
        str(tmp_path / "in.parquet"),
        "--policy",
        str(tmp_path / "p.toml"),
        "-o",
        str(tmp_path / "o.csv"),
    ]
    done = run("--home", str(tmp_path / "home"), *words, "--make-keys")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "home" / "mask-keys.toml").stat().st_mode & 0o777 == 0o600


def test_a_type_that_csv_cannot_hold_is_named_without_its_cells(tmp_path: Path) -> None:
    nested = pa.table({"n": pa.array([[1, 2], [987654]]), "a": ["x", "y"]})
    pyarrow.parquet.write_table(nested, tmp_path / "in.parquet")
    with pytest.raises(UsageError) as raised:
        desensitize_file(str(tmp_path / "in.parquet"), from_document({"version": 1}), KEYS, tmp_path / "out.csv")
    assert raised.value.code == "bad_output"
    assert "987654" not in str(raised.value)
    report = desensitize_file(
        str(tmp_path / "in.parquet"), from_document({"version": 1}), KEYS, tmp_path / "out.parquet"
    )
    assert report.rows == 2
