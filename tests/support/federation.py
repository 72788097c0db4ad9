"""Four holders of a union as processes of their own, paired by cards, each with a few hundred rows."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as parquet

from privcompute.tables.synthetic import HOSPITALS, WARDS, union_tables
from support import nodes
from support.nodes import Party

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


@contextlib.contextmanager
def federation_in(place: Path) -> Iterator[Federation]:
    """Sets up, pairs and starts the four."""
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
