"""Ctrl-C during a run: both sides end it, both stay usable, and progress names the peer's stage."""

from __future__ import annotations

import signal
import subprocess

import pyarrow as pa
from support import nodes
from support.pairs import EVERYTHING, Pair

KEYS = 30_000
SQL = "SELECT COUNT(*) AS n FROM hospital.many m JOIN insurer.lots l ON m.id = l.id"


def _read_until(process: subprocess.Popen[str], word: str) -> str:
    """What the command says until a word appears."""
    assert process.stderr is not None
    said = ""
    while word not in said:
        piece = process.stderr.readline()
        assert piece, f"the command ended without {word!r}: {said}"
        said += piece
    return said


def test_ctrl_c_cancels_both_sides(two_nodes: Pair) -> None:
    for party, name in ((two_nodes.hospital, "many"), (two_nodes.insurer, "lots")):
        place = two_nodes.write(name, pa.table({"id": [f"{n:06d}" for n in range(KEYS)]}))
        party.ok("dataset", "add", name, place, "--key", "id", *EVERYTHING)
    before = len(two_nodes.hospital.said())
    process = two_nodes.insurer.start("query", SQL, "--yes")
    said = _read_until(process, "matching keys")
    process.send_signal(signal.SIGINT)
    done = two_nodes.insurer.finish(process)
    assert done.status == 130
    assert done.error["code"] == "cancelled"
    assert "hospital: " in said + done.notes or "insurer: " in said + done.notes
    nodes.wait_for("the hospital's end of the run", lambda: "cancelled" in two_nodes.hospital.said()[before:])
    assert two_nodes.insurer.query(SQL)["rows"] == [[KEYS]]
