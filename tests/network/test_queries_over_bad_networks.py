"""Whole queries over networks that delay, lose, cut, flip and stall: the same answer, or an error with a name."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq
import pytest
from support import nodes, small_query
from support.nodes import Party
from support.pairs import EVERYTHING
from support.relay import Mischief, Relay, relay
from support.router import NamespacesUnavailable, lossy_network

from privcompute.transport.limits import TransportLimits

STEP_SECONDS = 8.0
KINDS: tuple[Literal["cut", "flip", "stall"], ...] = ("cut", "flip", "stall")


def _set_up(place: Path, hospital: Party, insurer: Party) -> list[list[Any]]:
    """The small query's tables; DuckDB's answer."""
    tables = {"hospital": ("patients", small_query.patients()), "insurer": ("members", small_query.members())}
    for party in (hospital, insurer):
        name, table = tables[party.name]
        path = place / f"{name}.parquet"
        pq.write_table(table, path)
        party.ok("dataset", "add", name, str(path), "--key", "id", *EVERYTHING)
    pooled = {f"{party}.{name}": table for party, (name, table) in tables.items()}
    return [list(row) for row in small_query.oracle(small_query.SQL, pooled)]


def _right(answer: dict[str, Any], expected: list[list[Any]]) -> bool:
    ((n, spent, visits, smokers),) = answer["rows"]
    ((n_, spent_, visits_, smokers_),) = expected
    exactly = (n, int(spent), int(smokers)) == (n_, int(spent_), int(smokers_))
    return exactly and abs(visits - visits_) <= float(answer["error_bound"]["visits"])


@pytest.mark.network
@pytest.mark.timeout(300)
def test_a_query_over_a_network_that_delays_and_loses(tmp_path: Path) -> None:
    try:
        with (
            lossy_network(rtt=0.05, loss=0.01, seed=5) as (here, there, router),
            nodes.parties(tmp_path, "hospital", "insurer", listen=[f"{here.address}:7443", None]) as (
                hospital,
                insurer,
            ),
        ):
            hospital.inside, insurer.inside = tuple(here.command([])), tuple(there.command([]))
            expected = _set_up(tmp_path, hospital, insurer)
            hospital.serve()
            nodes.pair(hospital, insurer)
            answer = insurer.query(small_query.SQL, seconds=200)
            assert _right(answer, expected)
            assert router.counts.lost > 0
            assert answer["seconds"] > 0.05 * answer["rounds"]
    except NamespacesUnavailable as reason:
        pytest.skip(f"no network namespaces here: {reason}")


@dataclass
class Relayed:
    """A serving hospital that the insurer reaches only through a relay."""

    insurer: Party
    hospital: Party
    relay: Relay
    expected: list[list[Any]]


@pytest.fixture(scope="module")
def relayed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relayed]:
    """The pair with a relay of 50 ms round-trip time between them."""
    place = tmp_path_factory.mktemp("relayed")
    with nodes.parties(place, "hospital", "insurer", listen=["127.0.0.1:0", None]) as (hospital, insurer):
        expected = _set_up(place, hospital, insurer)
        for party in (hospital, insurer):
            party.limit(step_seconds=STEP_SECONDS)
        hospital.serve()
        port = int(hospital.addresses[0].rpartition(":")[2])
        with relay(("127.0.0.1", port), delay=0.025) as between:
            nodes.pair(hospital, insurer, address=f"127.0.0.1:{between.port}")
            yield Relayed(insurer, hospital, between, expected)


def _ask(relayed: Relayed, mischief: Mischief | None) -> str:
    """Asks once; "right" or the error's code."""
    relayed.relay.arm(mischief)
    start = time.monotonic()
    done = relayed.insurer.run("query", small_query.SQL, "--yes")
    # A connection that swallows all is given up at the latest when a ping stays unanswered.
    limits = TransportLimits()
    assert time.monotonic() - start < STEP_SECONDS + limits.keepalive + limits.keepalive_answer + 30
    if done.status == 0:
        assert _right(done.body, relayed.expected)
        return "right"
    assert done.status in (3, 4), done
    assert done.error["party"] == "hospital", done.error
    assert done.error["remedy"], done.error
    return str(done.error["code"])


def test_a_query_over_a_slow_relay(relayed: Relayed) -> None:
    before = relayed.relay.carried["up"]
    answer = relayed.insurer.query(small_query.SQL)
    assert _right(answer, relayed.expected)
    assert answer["seconds"] > 0.05 * (answer["rounds"] - 1)
    assert relayed.relay.carried["up"] - before > answer["bytes_sent"]


def _volume(relayed: Relayed) -> int:
    """Bytes of the smaller direction of one query, transport included."""
    before = dict(relayed.relay.carried)
    assert _ask(relayed, None) == "right"
    return min(relayed.relay.carried[way] - before[way] for way in before)


def test_cut_flipped_and_stalled_connections(relayed: Relayed) -> None:
    for kind in KINDS:
        code = _ask(relayed, Mischief(kind, 60_000))  # among the ciphertexts
        assert relayed.relay.struck
        assert code != "right", kind
    assert relayed.hospital.serving
    assert _ask(relayed, None) == "right"


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("kind", KINDS)
def test_connections_that_break_anywhere(
    relayed: Relayed, kind: Literal["cut", "flip", "stall"], direction: Literal["up", "down"]
) -> None:
    volume = _volume(relayed)
    points = 4 if kind == "stall" else 12  # a connection that swallows all costs its deadline
    codes = [_ask(relayed, Mischief(kind, volume * step // points + 17, direction)) for step in range(points)]
    assert any(code != "right" for code in codes)
    assert _ask(relayed, None) == "right"
