"""A hospital with a table and an insurer without, paired, in one process; and the policies of its releases."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from privcompute.node import operations
from privcompute.node.datasets import Declaration
from privcompute.node.delivery.receive import ACCEPTED
from privcompute.node.rules import parse_allow
from support.union_nodes import UnionNodes, paired_homes

ROWS = 400
MASK = """
version = 1
[columns]
id = { role = "direct", transform = { op = "token", key = "k1", domain = "person" } }
name = { transform = { op = "mask", keep = 1 } }
age = { transform = { op = "bucket", width = 10 } }
[desensitize]
others = "drop"
"""
ANONYMOUS = """
version = 1
[columns]
id = { role = "direct" }
name = { role = "direct" }
age = { role = "qi", hierarchy = { type = "interval", widths = [5, 10, 20], range = [0, 120] } }
sex = { role = "qi" }
disease = { role = "sensitive" }
[output]
others = "drop"
[[models]]
type = "k-anonymity"
k = 5
[search]
suppression_limit = 0.05
"""


def people(rows: int = ROWS) -> pa.Table:
    """Made-up rows; the names stand nowhere else."""
    return pa.table(
        {
            "id": [f"P{i:05d}" for i in range(rows)],
            "name": [f"Secretname{i}" for i in range(rows)],
            "age": pa.array([10 + i * 7 % 97 for i in range(rows)], pa.int32()),
            "sex": ["f" if i % 2 else "m" for i in range(rows)],
            "disease": [("flu", "gout", "none")[i % 3] for i in range(rows)],
        }
    )


def homes(place: Path, table: pa.Table | None = None) -> None:
    """Makes both homes, which takes seconds: once for many tests."""
    allow = parse_allow(["*=aggregate,group,filter,product"])
    declare = Declaration(allow, {"age": (Fraction(0), Fraction(127))}, reveal="matches")
    paired_homes(place, {"hospital": table if table is not None else people(), "insurer": None}, declare, key="id")


class Deliveries(UnionNodes):
    """Both nodes."""

    def __init__(self, place: Path, **limits: Any) -> None:
        super().__init__(place, ["hospital", "insurer"], **limits)
        key_file = place / "keys.toml"
        key_file.write_text(f'k1 = "{"ab" * 32}"\n')
        key_file.chmod(0o600)
        self.shown: list[dict[str, Any]] = []

    def accept(self) -> None:
        """The insurer takes the hospital's tables beforehand."""
        self.nodes["insurer"].store.set_setting(ACCEPTED, ["hospital"])

    async def release(
        self, policy: str = MASK, *, agree: bool = True, purpose: str = "research", despite: bool = False
    ) -> dict[str, Any]:
        """The hospital releases its table to the insurer."""
        file = self.place / "policy.toml"
        file.write_text(policy)

        def consent(plan: dict[str, Any]) -> bool:
            self.shown.append(plan)
            return agree

        call = {
            "op": "release",
            "dataset": "patients",
            "to": "insurer",
            "policy": str(file),
            "purpose": purpose,
            "keys": str(self.place / "keys.toml"),
            "despite_earlier": despite,
        }
        found = await operations.perform(self.nodes["hospital"], call, consent, lambda news: None)
        return cast(dict[str, Any], json.loads(json.dumps(found, allow_nan=False)))

    def received(self) -> pa.Table:
        """The one table that the insurer has, as Arrow."""
        from privcompute.node.delivery import spool

        node = self.nodes["insurer"]
        (one,) = node.store.received.all()
        assert one.state == "received"
        found = list(spool.batches(spool.in_file(node.home, one.id), one.manifest))
        return pa.Table.from_batches(found, spool.schema_of(one.manifest))

    def events(self, party: str) -> list[str]:
        """The words of a party's audit trail, the oldest first."""
        return [one.event for one in reversed(self.nodes[party].store.audit.entries())]
