"""A table from process to process over mutual TLS: cut in the middle, killed in the middle, whole at the end."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import nodes
from support.relay import Mischief, Relay, relay

ROWS = 200_000
POLICY = """
version = 1
[columns]
id = { role = "direct", transform = { op = "token", key = "k1", domain = "person" } }
name = { transform = { op = "mask", keep = 1 } }
[desensitize]
others = "drop"
"""
MIB = 1 << 20


@contextmanager
def connected(place: Path) -> Iterator[tuple[nodes.Party, nodes.Party, Relay]]:
    """A hospital without a port, an insurer that serves behind a relay."""
    with nodes.parties(place, "hospital", "insurer", listen=[None, "127.0.0.1:0"]) as (hospital, insurer):
        table = pa.table(
            {
                "id": [f"P{i:07d}" for i in range(ROWS)],
                "name": [f"Secretname{i}" for i in range(ROWS)],
                "salary": pa.array(range(ROWS), pa.int32()),
            }
        )
        pq.write_table(table, place / "t.parquet")
        (place / "mask.toml").write_text(POLICY)
        keys = hospital.home / "mask-keys.toml"
        keys.write_text(f'k1 = "{"5a" * 32}"\n')
        keys.chmod(0o600)
        hospital.ok("dataset", "add", "people", str(place / "t.parquet"), "--key", "id", "--grade", "*=general-2")
        insurer.serve()
        nodes.keep_port(insurer)
        host, port = insurer.addresses[0].rsplit(":", 1)
        with relay((host, int(port))) as between:
            nodes.pair(insurer, hospital, address=f"127.0.0.1:{between.port}")
            yield hospital, insurer, between


def released(place: Path) -> tuple[str, ...]:
    return (
        "release",
        "people",
        "--to",
        "insurer",
        "--policy",
        str(place / "mask.toml"),
        "--purpose",
        "operations",
        "--yes",
    )


def check(place: Path, insurer: nodes.Party) -> None:
    """The insurer's owner finds the table, and writes it out."""
    listed = insurer.ok("releases", "list")["tables"]
    (one,) = listed
    assert (one["from"], one["state"], one["rows"]) == ("hospital", "received", ROWS)
    shown = insurer.ok("releases", "show", one["id"])["delivery"]
    assert [name for name, _ in shown["columns"]] == ["id", "name"]
    for suffix in ("parquet", "csv"):
        out = place / f"out.{suffix}"
        insurer.ok("receive", one["id"], "-o", str(out))
    table = pq.read_table(place / "out.parquet")
    assert table.num_rows == ROWS
    assert len(set(table["id"].to_pylist())) == ROWS
    assert set(table["name"].to_pylist()) <= {"S" + "*" * n for n in range(20)}
    assert (place / "out.csv").read_text().count("\n") == ROWS + 1
    spooled = list(insurer.home.rglob("*.arrow"))
    assert len(spooled) == 1
    assert b"Secretname" not in spooled[0].read_bytes()
    insurer.ok("receive", one["id"], "-o", str(place / "again.arrow"), "--forget")
    assert insurer.ok("releases", "list")["tables"] == []
    assert not list(insurer.home.rglob("*.arrow"))


def test_a_release_waits_for_approval_is_cut_and_continues(tmp_path: Path) -> None:
    with connected(tmp_path) as (hospital, insurer, between):
        held = hospital.run(*released(tmp_path))
        assert held.status == 7
        assert held.error["code"] == "awaiting_consent"
        (request,) = insurer.ok("requests")["requests"]
        assert request["plan"]["delivery"]["rows"] == ROWS
        insurer.ok("approve", request["id"])
        assert not list(insurer.home.rglob("*.arrow"))
        before = between.carried["up"]
        between.arm(Mischief("cut", 3 * MIB))
        running = hospital.start(*released(tmp_path))
        nodes.wait_for("the cut", lambda: between.struck, 60)
        between.arm(None)
        done = hospital.finish(running)
        assert done.status == 0, (done.body, done.notes[-2000:])
        size = done.body["delivery"]["bytes"]
        assert size > 6 * MIB
        # What arrived before the cut did not travel twice: a piece or two at the cut at most, and TLS around all.
        assert between.carried["up"] - before < size * 1.05 + 5 * MIB
        (sent,) = hospital.ok("releases", "list")["sent"]
        assert (sent["to"], sent["state"]) == ("insurer", "delivered")
        assert not list(hospital.home.rglob("*.arrow"))
        check(tmp_path, insurer)


def test_a_receiver_that_is_killed_keeps_what_it_has(tmp_path: Path) -> None:
    with connected(tmp_path) as (hospital, insurer, between):
        insurer.ok("releases", "accept", "hospital")
        between.arm(Mischief("stall", 4 * MIB))
        before = between.carried["up"]
        running = hospital.start(*released(tmp_path))
        nodes.wait_for("the stall", lambda: between.struck, 60)
        time.sleep(0.5)  # what was on its way arrives
        insurer.kill()
        between.arm(None)
        gone = hospital.finish(running)
        assert gone.status == 4, gone
        assert "continues where it ended" in gone.error["remedy"]
        held = sum(path.stat().st_size for path in insurer.home.rglob("*.arrow"))
        assert held >= MIB
        insurer.serve()
        started = between.carried["up"]
        done = hospital.ok(*released(tmp_path))
        assert started - before >= held
        assert between.carried["up"] - started < (done["delivery"]["bytes"] - held) * 1.05 + 2 * MIB
        check(tmp_path, insurer)


def test_consent_and_grades_come_before_anything_leaves(tmp_path: Path) -> None:
    with connected(tmp_path) as (hospital, insurer, between):
        before = between.carried["up"]
        unasked = hospital.run(*released(tmp_path)[:-1])
        assert (unasked.status, unasked.error["code"]) == (7, "consent_needed")
        hospital.ok("dataset", "edit", "people", "--grade", "name=important")
        refused = hospital.run(*released(tmp_path))
        assert (refused.status, refused.error["code"]) == (5, "grade")
        assert "column name" in refused.error["message"]
        assert between.carried["up"] == before
        assert insurer.ok("releases", "list")["tables"] == []


@pytest.mark.parametrize("words", [("release", "people", "--to", "clinic"), ("receive", "t0", "-o", "x.csv")])
def test_what_is_not_there(tmp_path: Path, words: tuple[str, ...]) -> None:
    with nodes.parties(tmp_path, "hospital", listen=[None]) as (hospital,):
        (tmp_path / "mask.toml").write_text(POLICY)
        more = ("--policy", str(tmp_path / "mask.toml")) if words[0] == "release" else ()
        done = hospital.run(*words, *more)
        assert done.status == 2
        assert done.error["code"] in ("no_dataset", "no_table")


def test_the_demo(tmp_path: Path) -> None:
    words = [*nodes.PYTHON_M, "demo", "--release", "--rows", "1000", "--json", "--keep", str(tmp_path / "kept")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    body = json.loads(done.stdout)
    assert body["equal"] is True
    assert body["refused"] == ["grade"]
    assert body["grades"]["national_id"] == "general-4"
    assert body["risk"]["after"]["prosecutor"] <= 0.1 < body["risk"]["before"]["prosecutor"]
    assert Path(body["picture"]).read_text().startswith("<svg")
