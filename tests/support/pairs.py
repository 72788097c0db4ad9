"""Two parties that serve, with one dataset each, and the oracle of both tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from support.nodes import Party
from support.oracle import Oracle

EVERYTHING = ("--reveal", "matches", "--allow", "*=aggregate,group,filter,product", "--accept-ranges")


@dataclass(frozen=True)
class Pair:
    """A hospital and an insurer that serve and are paired, with one dataset each, and the oracle of both tables."""

    hospital: Party
    insurer: Party
    oracle: Oracle
    place: Path

    def write(self, name: str, table: pa.Table) -> str:
        """A Parquet file both parties can name."""
        path = self.place / f"{name}.parquet"
        pq.write_table(table, path)
        return str(path)
