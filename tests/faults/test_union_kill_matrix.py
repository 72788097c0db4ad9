"""SIGKILL of a holder, and of the collector, at every message of a real union: the others go on, or name an error."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from support.federation import NAMES, SQL, Federation, federation_in

VICTIM = "delta"


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with federation_in(tmp_path_factory.mktemp("union")) as made:
        yield made


def _points(federation: Federation, name: str) -> list[tuple[str, str]]:
    """Moments and labels of an undisturbed run at a party, on one of its links."""
    party = federation.parties[name]
    party.stop()
    party.serve(program=federation.watched(name, None))
    federation.check(federation.asker.query(SQL))
    party.stop()
    party.serve()
    lines = [json.loads(line) for line in (federation.place / f"{name}.log").read_text().splitlines()]
    peer = lines[0]["peer"]
    found = []
    for line in lines:
        if line["peer"] == peer:
            moments = ("sending", "sent") if line["moment"] == "sending" else ("received",)
            found += [(moment, line["label"]) for moment in moments]
    assert len(found) >= 25
    return found


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_holder_dies_at_every_message(federation: Federation) -> None:
    victim = federation.parties[VICTIM]
    for moment, label in _points(federation, VICTIM):
        victim.stop()
        victim.serve(program=federation.watched(VICTIM, (moment, label)))
        done = federation.asker.run("query", SQL, "--yes", "--quorum", "3")
        assert done.status == 0, (moment, label, done.body)
        assert not victim.serving, (moment, label)
        federation.check(done.body)
        if VICTIM not in done.body["holders"]:
            assert VICTIM in done.body["dropped"], (moment, label)
        victim.stop()
        victim.serve()
    body = federation.asker.query(SQL)
    assert body["holders"] == sorted(NAMES)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_collector_dies_at_every_message(federation: Federation) -> None:
    asker = federation.asker
    for moment, label in _points(federation, asker.name):
        asker.stop()
        asker.serve(program=federation.watched(asker.name, (moment, label)))
        done = asker.run("query", SQL, "--yes")
        assert done.status != 0, (moment, label)
        assert not asker.serving, (moment, label)
        assert all(party.serving for party in federation.parties.values() if party is not asker), (moment, label)
        asker.stop()
        asker.serve()
        body = asker.query(SQL)
        assert body["holders"] == sorted(NAMES), (moment, label)
        federation.check(body)
