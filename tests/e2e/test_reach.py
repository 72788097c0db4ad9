"""Who can be reached: one side only, a third party as receiver, a node that serves nowhere."""

from __future__ import annotations

import socket
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from support import nodes
from support.pairs import EVERYTHING

SQL = """SELECT COUNT(*) AS n, SUM(a.x * b.y) AS xy
         FROM hospital.left_table a JOIN insurer.right_table b ON a.id = b.id"""
N = 60


def _tables(place: Path, hospital: nodes.Party, insurer: nodes.Party) -> int:
    """Adds a dataset to each; the value of the sum."""
    ids = [f"p{n}" for n in range(N)]
    left = pa.table({"id": ids, "x": pa.array(range(N), pa.int32())})
    right = pa.table({"id": ids[10:], "y": pa.array([n * 3 for n in range(10, N)], pa.int32())})
    for party, name, table in ((hospital, "left_table", left), (insurer, "right_table", right)):
        path = place / f"{name}.parquet"
        pq.write_table(table, path)
        party.ok("dataset", "add", name, str(path), "--key", "id", *EVERYTHING)
    return sum(n * n * 3 for n in range(10, N))


def _loopback() -> str:
    """IPv6 where this machine has it: the other tests use IPv4."""
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return "127.0.0.1:0"
    return "[::1]:0"


def test_only_one_side_is_reachable_and_either_side_asks(tmp_path: Path) -> None:
    with nodes.parties(tmp_path, "hospital", "insurer", listen=[_loopback(), None]) as (hospital, insurer):
        total = _tables(tmp_path, hospital, insurer)
        hospital.serve()
        nodes.pair(hospital, insurer)
        # The insurer's commands dial out; nobody can dial it.
        assert insurer.query(SQL)["rows"] == [[N - 10, total]]
        unreachable = hospital.run("query", SQL, "--yes")
        assert unreachable.status == 4
        assert unreachable.error["party"] == "insurer"
        # Its node keeps a control stream open: now the hospital may ask, too.
        insurer.serve()
        assert insurer.addresses == []
        answer = nodes.wait_for(
            "the control stream", lambda: (done := hospital.run("query", SQL, "--yes")).status == 0 and done.body
        )
        assert answer["rows"] == [[N - 10, total]]
        # With the node the stream goes, and nobody waits for it in vain.
        insurer.stop()
        gone = hospital.run("query", SQL, "--yes")
        assert (gone.status, gone.error["party"]) == (4, "insurer")


def test_a_third_party_without_data_receives_the_answer_and_nobody_else_does(tmp_path: Path) -> None:
    with nodes.parties(tmp_path, "hospital", "insurer", "auditor") as (hospital, insurer, auditor):
        total = _tables(tmp_path, hospital, insurer)
        for party in (hospital, insurer, auditor):
            party.serve()
        nodes.pair(hospital, insurer)
        nodes.pair(auditor, hospital)
        nodes.pair(auditor, insurer)
        answer = insurer.query(SQL, "--to", "auditor")
        assert answer["rows"] == []
        assert insurer.ok("releases", "list")["releases"] == []
        (release,) = nodes.wait_for("the release", lambda: auditor.ok("releases", "list")["releases"])
        shown = auditor.ok("releases", "show", release["id"])
        assert shown["rows"] == [[N - 10, total]]
        assert shown["asker"] == "insurer"
        # The auditor learns no matches, and the holders not the sum.
        learned = {party: " ".join(one["what"] for one in facts) for party, facts in shown["learned"].items()}
        assert set(learned) == {"hospital", "insurer", "auditor"}
        for party in (hospital, insurer):
            assert str(total) not in party.log()
        both = insurer.query(SQL, "--to", "auditor", "--to", "insurer")
        assert both["rows"] == [[N - 10, total]]
