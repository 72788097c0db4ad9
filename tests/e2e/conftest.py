"""Two paired nodes that serve, for all tests of a worker; their homes and tables lie below pytest's directory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support import nodes, sample_tables
from support.oracle import Oracle
from support.pairs import EVERYTHING, Pair

ROWS = 600


@pytest.fixture(scope="session")
def two_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """The pair. Its datasets have a minimum of one: random questions would exhaust a ledger with another one."""
    place = tmp_path_factory.mktemp("pair")
    left, right = sample_tables.hospital(7, ROWS), sample_tables.insurer(7, ROWS)
    with nodes.parties(place, "hospital", "insurer") as (hospital, insurer):
        oracle = Oracle(left, right)
        made = Pair(hospital, insurer, oracle, place)
        for party, name, table in ((hospital, "patients", left), (insurer, "members", right)):
            party.limit(queries_per_peer=100_000)
            party.ok("dataset", "add", name, made.write(name, table), "--key", "id", "--min-cell", "1", *EVERYTHING)
            party.serve()
        nodes.pair(hospital, insurer)
        yield made
        oracle.close()
        for party in (hospital, insurer):
            party.stop()
