"""requests, approve, refuse, releases, peers, unpair, invite: on a home's state, without a network."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from privcompute.cli.app import root
from privcompute.node.home import Home
from privcompute.node.setup import create_node
from privcompute.node.store import Store
from privcompute.transport.book import Peer
from privcompute.transport.identity import Identity
from privcompute.transport.invitation import Invitation

PLAN = {
    "sql": "SELECT COUNT(*) AS n\nFROM hospital.patients JOIN insurer.members USING (id)",
    "asker": "insurer",
    "receivers": ["insurer"],
    "reveal": "matches",
    "minimum": 10,
    "plan_digest": "d" * 64,
    "sides": [
        {
            "party": "hospital",
            "dataset": "patients",
            "keys": ["id"],
            "distinct_keys": 20000,
            "uses": [["age", "filter"]],
        }
    ],
    "disclosure": {"hospital": [{"what": "matches", "why": "reveal", "size": 20000}], "insurer": []},
    "cost": {"bytes_sent": 1234567, "bytes_received": 999, "rounds": 9, "seconds": 1.25},
    "limits": {"memory_mib": 1024, "credit_mib": 64, "keys": 1000, "step_seconds": 120.0, "run_seconds": 3600.0},
}
RELEASE = {
    "sql": PLAN["sql"],
    "columns": ["n", "mean"],
    "types": ["BIGINT", "DOUBLE"],
    "rows": [["9007199254740993", 0.5], [None, None]],
    "suppressed_cells": 2,
    "error_bound": {"n": 0, "mean": 1e-9},
    "learned": {"insurer": [{"what": "n", "why": "asked for"}], "hospital": []},
    "receivers": ["insurer"],
    "rounds": 9,
    "bytes_sent": 10,
    "bytes_received": 20_000_000,
    "seconds": 1.5,
    "reveal": "matches",
    "plan_digest": "d" * 64,
}


class Desk:
    """A home, and the command line on it."""

    def __init__(self, path: Path) -> None:
        self.home = Home(path)
        create_node(self.home, "hospital", "127.0.0.1:7443")

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(root, ["--home", str(self.home.path), *words], prog_name="privcompute")

    def json(self, *words: str, status: int = 0) -> dict[str, Any]:
        result = self.run(*words, "--json")
        assert result.exit_code == status, result.output
        return dict(json.loads(result.stdout))

    def store(self) -> Store:
        return Store(self.home.database)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "h")


def test_a_request_is_shown_and_approved_once(desk: Desk) -> None:
    store = desk.store()
    waiting = store.requests.submit("insurer", "d" * 64, str(PLAN["sql"]), PLAN)
    shown = desk.json("requests")["requests"]
    assert [(one["id"], one["state"], one["peer"]) for one in shown] == [(waiting.id, "waiting", "insurer")]
    assert shown[0]["plan"] == PLAN
    text = desk.run("requests").stdout
    assert "hospital will learn:" in text
    assert "insurer will learn nothing" in text
    assert "1.2 MB sent" in text
    assert desk.json("approve", waiting.id)["state"] == "approved"
    assert desk.json("requests") == {"requests": []}
    assert desk.json("requests", "--all")["requests"][0]["state"] == "approved"
    assert store.requests.use("insurer", "d" * 64)
    assert desk.json("approve", waiting.id, status=2)["error"]["code"] == "request_used"
    assert [one.event for one in store.audit.entries()][:1] == ["approved"]
    store.close()


def test_a_request_is_refused(desk: Desk) -> None:
    store = desk.store()
    waiting = store.requests.submit("insurer", "d" * 64, "SELECT 1", PLAN)
    assert desk.json("refuse", waiting.id)["state"] == "refused"
    assert not store.requests.approved("insurer", "d" * 64)
    assert desk.json("refuse", "q0", status=2)["error"]["code"] == "no_request"
    store.close()


def test_releases_are_listed_and_shown(desk: Desk) -> None:
    store = desk.store()
    identifier = store.releases.add("insurer", str(PLAN["sql"]), "d" * 64, RELEASE)
    store.close()
    assert [one["id"] for one in desk.json("releases", "list")["releases"]] == [identifier]
    assert identifier in desk.run("releases", "list").stdout
    shown = desk.json("releases", "show", identifier)
    assert {key: shown[key] for key in RELEASE} == RELEASE
    text = desk.run("releases", "show", identifier).stdout
    for part in (
        "9007199254740993",
        "NULL",
        "2 cells are not shown",
        "mean 1e-09",
        "insurer learned:",
        "20.0 MB",
    ):
        assert part in text
    assert desk.json("releases", "show", "r0", status=2)["error"]["code"] == "no_release"


def test_a_suppressed_cell_is_no_empty_table(desk: Desk) -> None:
    store = desk.store()
    empty = {**RELEASE, "rows": [], "suppressed_cells": 1, "error_bound": {}}
    identifier = store.releases.add("insurer", str(PLAN["sql"]), "d" * 64, empty)
    store.close()
    text = desk.run("releases", "show", identifier).stdout
    assert "\n1 cell is not shown: too few people, or none.\n\n" in text
    assert "exact" not in text


def test_a_peers_text_cannot_move_the_cursor(desk: Desk) -> None:
    store = desk.store()
    store.requests.submit("insurer", "d" * 64, "x", {**PLAN, "sql": "SELECT \x1b[2J evil\rtext"})
    store.close()
    assert "\x1b" not in desk.run("requests").stdout
    assert "\r" not in desk.run("requests").stdout


def test_invite_prints_the_code_alone_on_its_last_line(desk: Desk) -> None:
    result = desk.run("invite", "insurer")
    assert result.exit_code == 0
    code = result.stdout.rstrip("\n").splitlines()[-1]
    made = Invitation.decode(code)
    assert (made.inviter, made.joiner, made.addresses) == ("hospital", "insurer", ("127.0.0.1:7443",))
    assert "loopback" in result.stderr
    listed = desk.json("peers", "list")
    assert [one["peer"] for one in listed["invitations"]] == ["insurer"]
    assert code not in json.dumps(listed)


def test_invite_address_overrides(desk: Desk) -> None:
    made = desk.json("invite", "insurer", "--address", "node.example:1", "--address", "[2001:db8::1]:2")
    assert made["addresses"] == ["node.example:1", "[2001:db8::1]:2"]
    assert Invitation.decode(made["code"]).addresses == ("node.example:1", "[2001:db8::1]:2")


@pytest.mark.parametrize(("peer", "code"), [("hospital", "own_identity"), ("Insurer", "bad_name")])
def test_whom_not_to_invite(desk: Desk, peer: str, code: str) -> None:
    assert desk.json("invite", peer, status=2)["error"]["code"] == code


def test_the_code_is_in_no_log_and_no_state(desk: Desk) -> None:
    made = desk.json("invite", "insurer")
    secret = Invitation.decode(made["code"]).secret
    for path in desk.home.path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert made["code"].encode() not in content, path
            assert secret not in content, path
            assert secret.hex().encode() not in content, path


def test_peers_are_listed_and_forgotten(desk: Desk) -> None:
    store = desk.store()
    identity = Identity.create("insurer")
    store.peers.add(Peer("insurer", (identity.certificate,), ("[::1]:1",)))
    store.close()
    listed = desk.json("peers", "list")["peers"]
    assert listed == [{"name": "insurer", "fingerprints": [identity.fingerprint], "addresses": ["[::1]:1"]}]
    assert "insurer" in desk.run("peers", "list").stdout
    assert desk.json("invite", "insurer", status=2)["error"]["code"] == "already_paired"
    assert desk.json("unpair", "insurer") == {"unpaired": "insurer"}
    assert desk.json("unpair", "insurer", status=2)["error"]["code"] == "no_peer"
    assert desk.json("peers", "list")["peers"] == []


def test_doctor_finds_a_sound_home_sound(desk: Desk) -> None:
    with socket.socket() as free:  # another node on this machine may have the usual one
        free.bind(("127.0.0.1", 0))
        text = desk.home.config_file.read_text().replace(":7443", f":{free.getsockname()[1]}")
    desk.home.config_file.write_text(text)
    body = desk.json("doctor")
    assert body["ok"]
    states = {one["about"]: one["state"] for one in body["checks"]}
    assert states["home"] == states["configuration"] == states["identity"] == states["state"] == "ok"
    assert states["node"] == "warn"


def test_doctor_names_what_is_wrong(desk: Desk) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        text = desk.home.config_file.read_text().replace(":7443", f":{taken.getsockname()[1]}")
        desk.home.config_file.write_text(text)
        desk.home.path.chmod(0o755)
        body = desk.json("doctor", status=2)
    failed = {one["about"]: one["remedy"] for one in body["checks"] if one["state"] == "fail"}
    assert set(failed) == {"home", "port"}
    assert "chmod" in failed["home"]
