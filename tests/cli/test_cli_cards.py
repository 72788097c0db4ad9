"""Pairing by cards: public files that owners hand to each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import nodes
from support.nodes import Party


def card_of(party: Party, path: Path, *more: str) -> Path:
    path.write_text(json.dumps(party.ok("peers", "card", *more)))
    return path


def test_two_nodes_pair_by_cards(tmp_path: Path) -> None:
    with nodes.parties(tmp_path, "hospital", "insurer") as (hospital, insurer):
        hospital.serve()
        one = card_of(hospital, tmp_path / "hospital.card")
        other = card_of(insurer, tmp_path / "insurer.card", "--address", "127.0.0.1:7443")
        # Off a terminal nobody can have compared the fingerprints.
        assert insurer.run("peers", "add", str(one)).error["code"] == "consent_needed"
        assert insurer.ok("peers", "add", "--yes", str(one))["paired"][0]["name"] == "hospital"
        assert insurer.run("peers", "add", "--yes", str(one)).error["code"] == "already_paired"
        # Only once both took the other's card does either let the other in.
        assert [c["state"] for c in insurer.run("doctor").body["checks"] if c["about"] == "peer hospital"] != ["ok"]
        hospital.ok("peers", "add", "--yes", str(other))
        assert [c["state"] for c in insurer.ok("doctor")["checks"] if c["about"] == "peer hospital"] == ["ok"]


def test_the_own_card_among_others_is_left_out(tmp_path: Path) -> None:
    """Many owners put their cards in one folder, and each takes all of them."""
    with nodes.parties(tmp_path, "hospital", "insurer", "bank") as (hospital, insurer, bank):
        cards = [
            str(card_of(one, tmp_path / f"{one.name}.card", "--address", f"127.0.0.1:{7443 + place}"))
            for place, one in enumerate((hospital, insurer, bank))
        ]
        done = hospital.run("peers", "add", "--yes", *cards)
        assert [one["name"] for one in done.body["paired"]] == ["insurer", "bank"]
        assert "hospital.card is this node's own card" in done.notes
        assert "bank.card is" not in done.notes
        assert [one["name"] for one in hospital.ok("peers", "list")["peers"]] == ["bank", "insurer"]
        # Nothing but own cards is a mistake, and so is another's card with this node's name; nobody is paired then.
        assert insurer.run("peers", "add", "--yes", cards[1], cards[1]).error["code"] == "own_card"
        (tmp_path / "other").mkdir()
        with nodes.parties(tmp_path / "other", "insurer") as (namesake,):
            card = str(card_of(namesake, tmp_path / "namesake.card", "--address", "127.0.0.1:7446"))
        refused = insurer.run("peers", "add", "--yes", cards[0], card).error
        assert refused["code"] == "own_card"
        assert "another certificate" in refused["message"]
        assert insurer.ok("peers", "list")["peers"] == []


def test_a_card_of_another_form_is_refused(tmp_path: Path) -> None:
    with nodes.parties(tmp_path, "hospital", "insurer") as (hospital, insurer):
        good = card_of(insurer, tmp_path / "insurer.card", "--address", "127.0.0.1:7443")
        body = json.loads(good.read_text())
        bad = tmp_path / "bad.card"

        def refused(text: str) -> str:
            bad.write_text(text)
            return str(hospital.run("peers", "add", "--yes", str(bad)).error["code"])

        assert refused("no card") == "bad_card"
        assert refused(json.dumps({**body, "more": 1})) == "bad_card"
        assert refused(json.dumps({**body, "card": "privcompute card 9"})) == "bad_card"
        assert refused(json.dumps({**body, "name": "../insurer"})) == "bad_card"
        assert refused(json.dumps({**body, "name": "bank"})) == "bad_certificate"
        assert refused(json.dumps({**body, "certificate": "-----BEGIN"})) == "bad_certificate"
        assert refused(json.dumps({**body, "addresses": ["nowhere"]})) != ""
        assert refused("x" * (1 << 20)) == "bad_card"
        assert insurer.run("peers", "add", "--yes", str(good)).error["code"] == "own_card"
        assert hospital.run("peers", "add", "--yes", str(tmp_path / "none.card")).error["code"] == "bad_card"
        assert hospital.ok("peers", "list")["peers"] == []


@pytest.mark.parametrize("words", [["peers", "card"]])
def test_a_card_needs_an_address_that_is_known(tmp_path: Path, words: list[str]) -> None:
    with nodes.parties(tmp_path, "hospital") as (hospital,):
        assert hospital.run(*words).error["code"] == "no_address"
