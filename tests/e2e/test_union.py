"""A union of four processes over mutual TLS: answers, a holder and the collector killed midway, the demo."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import nodes
from support.federation import NAMES, SQL, TREND, Federation, federation_in


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with federation_in(tmp_path_factory.mktemp("union")) as made:
        yield made


def test_four_holders(federation: Federation) -> None:
    body = federation.asker.query(SQL)
    assert body["holders"] == sorted(NAMES)
    federation.check(body)
    again = federation.asker.query(SQL, "--scheme", "paillier")
    assert again["rows"] == body["rows"]
    assert again["scheme"] == "paillier"
    grouped = federation.asker.query(TREND)
    truth = {row[0]: row for row in federation.pooled(TREND, grouped["holders"])}
    assert len(grouped["rows"]) >= 3
    for ward, n, slope in grouped["rows"]:
        assert n == truth[ward][1]
        assert slope == pytest.approx(truth[ward][2], rel=1e-9)


@pytest.mark.parametrize(
    ("moment", "label", "counted"),
    [
        ("received", "negotiate/agreement.1", False),
        ("sending", "run/masked_sum.1/deal.1", False),
        ("sent", "run/masked_sum.1/counts.1", False),
        ("sending", "run/masked_sum.1/shares.1", True),
    ],
)
def test_a_holder_is_killed(federation: Federation, moment: str, label: str, counted: bool) -> None:
    victim = federation.parties["delta"]
    victim.stop()
    victim.serve(program=federation.watched("delta", (moment, label)))
    body = federation.asker.query(SQL, "--quorum", "3")
    assert not victim.serving
    assert "delta" in body["dropped"]
    assert ("delta" in body["holders"]) == counted
    federation.check(body)
    victim.stop()
    victim.serve()
    federation.check(federation.asker.query(SQL))


@pytest.mark.parametrize("label", ["deal.1", "values.1", "survivors-signature.1", "shares.1"])
def test_the_collector_is_killed_and_asks_again(federation: Federation, label: str) -> None:
    asker = federation.asker
    asker.stop()
    asker.serve(program=federation.watched(asker.name, ("received", f"run/masked_sum.1/{label}")))
    done = asker.run("query", SQL, "--yes")
    assert done.status != 0
    assert not asker.serving
    asker.stop()
    asker.serve()
    body = asker.query(SQL)
    assert body["holders"] == sorted(NAMES)
    federation.check(body)
    assert all(party.serving for party in federation.parties.values())


def test_the_demo_of_five_hospitals(tmp_path: Path) -> None:
    words = [*nodes.PYTHON_M, "demo", "--union", "--rows", "1000", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    body = json.loads(done.stdout)
    assert [one["equal"] for one in body["queries"]] == [True, True, True]
    assert [one["scheme"] for one in body["queries"]] == ["masks", "masks", "paillier"]
    assert all("delta" in one["dropped"] for one in body["queries"])
    assert body["queries"][1]["suppressed_cells"] > 0
