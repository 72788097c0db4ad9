"""A union of four processes over mutual TLS: answers, a holder and the collector killed midway, the demo."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as parquet
import pytest
from support import nodes
from support.nodes import Party

from privcompute.tables.synthetic import HOSPITALS, WARDS, union_tables

WATCHED = Path(nodes.__file__).with_name("watched_node.py")
NAMES = HOSPITALS[:4]
SQL = "SELECT COUNT(*) AS n, SUM(cost) AS cost, AVG(bmi) AS bmi FROM UNION(patients) WHERE age >= 18"
TREND = "SELECT ward, COUNT(*) AS n, REGR_SLOPE(cost, age) AS slope FROM UNION(patients) GROUP BY ward"
RANGES = ("age=0:127", "bmi=0:64", "visits=0:100", "systolic=0:300", "cost=0:20000")


@dataclass
class Federation:
    """Four holders that serve; the last one asks, too."""

    parties: dict[str, Party]
    place: Path
    runs: int = 0

    @property
    def asker(self) -> Party:
        return self.parties[NAMES[-1]]

    def pooled(self, sql: str, holders: list[str]) -> list[list[Any]]:
        files = [str(self.place / f"{name}.parquet") for name in holders]
        with duckdb.connect() as connection:
            connection.execute(f"CREATE VIEW pooled AS FROM read_parquet({files})")
            return [list(row) for row in connection.execute(sql.replace("UNION(patients)", "pooled")).fetchall()]

    def check(self, body: dict[str, Any], sql: str = SQL) -> None:
        """The answer is the one over the rows of the holders that it names, each whole and once."""
        (row,) = self.pooled(sql, body["holders"])
        bounds = [Fraction(body["error_bound"].get(name) or 0) for name in body["columns"]]
        for ours, theirs, bound in zip(body["rows"][0], row, bounds, strict=True):
            assert abs(Fraction(ours) - Fraction(theirs)) <= bound

    def watched(self, name: str, kill: tuple[str, str] | None) -> tuple[str, ...]:
        """The command line of a party that dies at a message."""
        self.runs += 1
        spec = self.place / f"{name}-{self.runs}.json"
        spec.write_text(json.dumps({"log": str(self.place / f"{name}.log"), "kill": kill}))
        return (nodes.PYTHON_M[0], str(WATCHED), str(spec))


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    place = tmp_path_factory.mktemp("union")
    tables = union_tables(300)
    with nodes.parties(place, *NAMES) as made:
        parties = {party.name: party for party in made}
        ranges = [word for one in RANGES for word in ("--range", one)]
        for name, party in parties.items():
            parquet.write_table(tables[name], place / f"{name}.parquet")
            words = ["--key", "patient_id", "--max-rows-per-key", "8", "--domain", f"ward={','.join(WARDS)}", *ranges]
            # A holder may be missing from one question and back in the next: these owners allow that.
            words += ["--allow", "*=aggregate,group,filter,product", "--min-holders", "1"]
            party.ok("dataset", "add", "patients", str(place / f"{name}.parquet"), *words)
            party.limit(holder_seconds=15.0)
            party.serve()
            nodes.keep_port(party)
            (place / f"{name}.card").write_text(json.dumps(party.ok("peers", "card")))
        for name, party in parties.items():
            party.ok("peers", "add", "--yes", *(str(place / f"{other}.card") for other in NAMES if other != name))
        yield Federation(parties, place)


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
