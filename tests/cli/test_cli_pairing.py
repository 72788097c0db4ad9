"""Two real nodes: serve, invite, join, doctor, renew, unpair, kill -9, over mutual TLS on the loopback interface."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import nodes
from support.nodes import Party


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[list[Party]]:
    with nodes.parties(tmp_path, "hospital", "insurer") as made:
        yield made


def peers_of(party: Party) -> dict[str, list[str]]:
    return {one["name"]: one["fingerprints"] for one in party.ok("peers", "list")["peers"]}


def test_the_life_of_a_pairing(pair: list[Party]) -> None:
    hospital, insurer = pair
    hospital.serve()
    assert hospital.addresses[0].startswith("127.0.0.1:")
    # An invitation is good once, and for the named party.
    invited = hospital.ok("invite", "insurer")
    assert hospital.run("join", invited["code"]).error["code"] == "own_identity"
    joined = insurer.ok("join", invited["code"])
    assert joined["peer"] == "hospital"
    assert joined["fingerprint"] == invited["fingerprint"]
    assert insurer.run("join", invited["code"]).error["code"] == "already_paired"
    assert set(peers_of(hospital)) == {"insurer"}
    assert peers_of(insurer) == {"hospital": [invited["fingerprint"]]}
    # Both find each other sound.
    checked = insurer.ok("doctor")
    assert [one["state"] for one in checked["checks"] if one["about"] == "peer hospital"] == ["ok"]
    # A renewal: told over the old certificate, then in use, then the old one is forgotten.
    before = peers_of(hospital)["insurer"]
    renewed = insurer.ok("renew")
    assert renewed["told"] == ["hospital"]
    assert renewed["in_use"]
    assert peers_of(hospital)["insurer"] == [*before, renewed["fingerprint"]]
    assert insurer.run("explain", "SELECT COUNT(*) AS n FROM hospital.a JOIN insurer.b ON a.k = b.k").status == 2
    assert nodes.wait_for("the new certificate alone", lambda: len(peers_of(hospital)["insurer"]) == 1)
    assert peers_of(hospital)["insurer"] == [renewed["fingerprint"]]
    # The end.
    hospital.ok("unpair", "insurer")
    refused = insurer.run("explain", "SELECT COUNT(*) AS n FROM hospital.a JOIN insurer.b ON a.k = b.k")
    assert refused.status in (3, 4)
    assert refused.error["party"] == "hospital"


def test_a_running_node_renews_without_a_restart_and_tells_those_who_only_reach_out(tmp_path: Path) -> None:
    with nodes.parties(tmp_path, "hospital", "auditor", listen=["127.0.0.1:0", None]) as (hospital, auditor):
        hospital.serve()
        before = auditor.ok("join", hospital.ok("invite", "auditor")["code"])["fingerprint"]
        # Nobody can dial the auditor: a renewal has to wait for its control stream.
        waits = hospital.ok("renew")
        assert not waits["in_use"]
        assert waits["not_told"] == ["auditor"]
        auditor.serve()
        assert nodes.wait_for("the control stream", lambda: hospital.ok("renew")["in_use"])
        renewed = peers_of(auditor)["hospital"][-1]
        assert renewed == waits["fingerprint"] != before
        # The node presents it from now on: the first link under it makes the peer forget the old one.
        refused = auditor.run("explain", "SELECT COUNT(*) AS n FROM hospital.a JOIN auditor.b ON a.k = b.k")
        assert refused.error["code"] == "unknown_dataset"
        assert nodes.wait_for("the new certificate alone", lambda: peers_of(auditor)["hospital"] == [renewed])
        assert auditor.ok("doctor")["ok"]


def test_a_node_runs_once_and_leaves_nothing_when_killed(pair: list[Party]) -> None:
    hospital, _ = pair
    hospital.serve()
    assert hospital.run("serve").error["code"] == "already_running"
    hospital.kill()
    assert (hospital.home / "node.sock").exists()
    assert hospital.ok("doctor")["checks"]  # a dead node's socket is no node
    hospital.serve()
    assert hospital.stop() != ""
    assert not (hospital.home / "node.sock").exists()


def test_a_taken_port_is_an_error_of_serve_only(tmp_path: Path) -> None:
    with nodes.parties(tmp_path, "hospital") as (hospital,):
        hospital.serve()
        taken = hospital.addresses[0]
        with nodes.parties(tmp_path / "more", "insurer", listen=[taken]) as (insurer,):
            refused = insurer.run("serve")
            assert refused.status == 4
            assert refused.error["code"] == "port_taken"
            assert insurer.ok("dataset", "list") == {"datasets": []}


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_serve_ends_in_order_on_a_signal(pair: list[Party], stop: signal.Signals) -> None:
    hospital, _ = pair
    process = hospital.start("serve")
    assert process.stdout is not None
    line = json.loads(process.stdout.readline())
    assert line["event"] == "listening"
    assert line["name"] == "hospital"
    process.send_signal(stop)
    out, _ = process.communicate(timeout=20)
    assert out == ""
    assert process.returncode == 0


def test_an_unreachable_inviter_is_named(pair: list[Party]) -> None:
    hospital, insurer = pair
    code = hospital.ok("invite", "insurer", "--address", "127.0.0.1:1")["code"]
    refused = insurer.run("join", code)
    assert refused.status == 4
    assert refused.error["code"] == "unreachable"
    assert "privcompute serve" in refused.error["remedy"]
    assert insurer.ok("peers", "list")["peers"] == []


def test_a_running_node_sees_what_a_command_adds(pair: list[Party]) -> None:
    hospital, _ = pair
    hospital.serve()
    (hospital.home / "t.csv").write_text("id,v\n1,2\n")
    hospital.ok("dataset", "add", "t", "t.csv", "--key", "id")
    error = hospital.run("explain", "SELECT COUNT(*) AS n FROM hospital.t JOIN bank.u ON t.id = u.id").error
    assert error["code"] == "no_peer"  # asked of the running node, which has to look for bank


def test_secrets_are_in_no_log(pair: list[Party]) -> None:
    hospital, insurer = pair
    hospital.serve()
    code = hospital.ok("invite", "insurer")["code"]
    insurer.ok("join", code)
    said = hospital.stop() + hospital.log() + insurer.log()
    assert code not in said
    for party in pair:
        key = (party.home / "identity" / "identity.key").read_text().splitlines()[1]
        assert key not in said


def test_the_demos_smallest_run(tmp_path: Path) -> None:
    words = [*nodes.PYTHON_M, "demo", "--rows", "1000", "--json", "--keep", str(tmp_path / "kept")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    body = json.loads(done.stdout)
    assert set(body) == {"queries", "seconds"}
    assert len(body["queries"]) == 3
    for one in body["queries"]:
        assert one["equal"]
        assert len(one["oracle_rows"]) == len(one["rows"]) == 1
        for field in ("sql", "columns", "suppressed_cells", "error_bound", "learned", "rounds", "bytes_sent"):
            assert field in one
    assert (tmp_path / "kept" / "insurer" / "state.db").exists()
