"""explain and query on the command line: consent, output files, exit statuses, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.csv as csv
import pyarrow.parquet as parquet
import pytest
from click.testing import CliRunner, Result
from support.stub_node import PLAN, RELEASE, Running, running_elsewhere

from privcompute.cli.app import root
from privcompute.node.home import Home


@pytest.fixture
def node(home: Home) -> Iterator[Running]:
    with running_elsewhere(home) as running:
        yield running


def run(home: Home, *words: str) -> Result:
    return CliRunner().invoke(root, ["--home", str(home.path), *words], prog_name="privcompute")


def test_explain_for_programs_and_people(home: Home, node: Running) -> None:
    result = run(home, "explain", "SELECT …", "--json", "--reveal", "matches", "--to", "bank")
    assert json.loads(result.stdout) == PLAN
    assert node.calls == [{"op": "explain", "sql": "SELECT …", "reveal": "matches", "to": ["bank"], "union": None}]
    text = run(home, "explain", "SELECT …").stdout
    for part in ("hospital will learn:", "n [12 bits]: asked for", "3 rounds", "result goes to: hospital"):
        assert part in text


def test_query_prints_one_object_and_the_plan_beside_it(home: Home, node: Running) -> None:
    result = run(home, "query", "SELECT …", "--yes", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == RELEASE
    assert "hospital will learn:" in result.stderr
    assert "insurer: align 1/2" in result.stderr
    assert [call["op"] for call in node.calls] == ["query"]


def test_query_for_people(home: Home, node: Running) -> None:
    text = run(home, "query", "SELECT …", "--yes").stdout
    for part in ("n\n-\n7", "exact", "hospital learned:", "kept as release r1"):
        assert part in text


def test_off_a_terminal_consent_has_to_be_given_beforehand(home: Home, node: Running) -> None:
    result = run(home, "query", "SELECT …", "--json")
    assert result.exit_code == 7
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "consent_needed"
    assert "--yes" in error["remedy"]
    assert "hospital will learn:" in result.stderr
    assert [call["op"] for call in node.calls] == ["explain"]


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("n\n", 7), ("\n", 7)])
def test_on_a_terminal_the_plan_is_asked_for(
    home: Home, node: Running, monkeypatch: pytest.MonkeyPatch, answer: str, status: int
) -> None:
    monkeypatch.setattr("privcompute.cli.queries.interactive", lambda: True)
    result = CliRunner().invoke(root, ["--home", str(home.path), "query", "SELECT …"], input=answer)
    assert result.exit_code == status
    assert "reveal: matches" in result.stderr
    assert [call["op"] for call in node.calls] == ["explain", "query"][: 2 if status == 0 else 1]


def test_consent_is_for_the_plan_that_was_shown(home: Home, node: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataset that changes between question and answer makes another plan: it does not run."""
    monkeypatch.setattr("privcompute.cli.queries.interactive", lambda: True)
    node.digests = iter(["d" * 64, "e" * 64])
    result = CliRunner().invoke(root, ["--home", str(home.path), "query", "SELECT …"], input="y\n")
    assert result.exit_code == 7
    assert result.stdout == ""


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_output_is_written(home: Home, node: Running, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out.{suffix}"
    result = run(home, "query", "SELECT …", "--yes", "--json", "--output", str(path))
    assert result.exit_code == 0
    table = csv.read_csv(path) if suffix == "csv" else parquet.read_table(path)
    assert table.to_pylist() == [{"n": 7}]


@pytest.mark.parametrize("output", ["out.xlsx", "nowhere/out.csv"])
def test_an_impossible_output_is_refused_before_anything_runs(
    home: Home, node: Running, tmp_path: Path, output: str
) -> None:
    result = run(home, "query", "SELECT …", "--yes", "--json", "--output", str(tmp_path / output))
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"]["code"] == "bad_output"
    assert node.calls == []


def test_an_output_that_cannot_be_written_names_the_kept_release(home: Home, node: Running, tmp_path: Path) -> None:
    (tmp_path / "out.csv").symlink_to(tmp_path / "no" / "out.csv")
    result = run(home, "query", "SELECT …", "--yes", "--json", "--output", str(tmp_path / "out.csv"))
    assert result.exit_code == 2
    assert "releases show r1" in json.loads(result.stdout)["error"]["remedy"]


def test_ctrl_c_cancels_the_operation_at_the_node(home: Home, node: Running) -> None:
    words = [sys.executable, "-m", "privcompute", "--home", str(home.path), "--json", "query", "slow", "--yes"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as command:
        assert node.started.wait(20)
        os.kill(command.pid, signal.SIGINT)
        out, _ = command.communicate(timeout=20)
    assert command.returncode == 130
    assert json.loads(out)["error"]["code"] == "cancelled"
    assert node.cancelled.wait(10)
