"""Paired nodes in one process for questions over a union, and for deliveries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from privcompute.errors import TransportError
from privcompute.node import values
from privcompute.node.datasets import Declaration
from privcompute.session import Channel
from privcompute.testing import loopback_pair
from support import local_nodes

DATASET = "patients"


def paired_homes(place: Path, tables: Mapping[str, pa.Table | None], declare: Declaration, *, key: str) -> None:
    """`local_nodes.paired_homes` of parties whose datasets all have one name."""
    owned = {party: None if table is None else (DATASET, table) for party, table in tables.items()}
    local_nodes.paired_homes(place, owned, declare, key=key)


Wrap = Callable[[str, str, Channel], Channel]


class UnionNodes(local_nodes.LocalNodes):
    """Paired nodes, each with a dataset `patients`.

    Args:
        place: A copy of what `paired_homes` made.
        parties: All of them.
        limits: What differs from the limits' defaults.

    Attributes:
        away: Parties that cannot be reached.
        wrap: Called with a party, the asker and the party's end of their link.
    """

    def __init__(self, place: Path, parties: Sequence[str], **limits: Any) -> None:
        super().__init__(place, dict.fromkeys(parties, DATASET), lambda party: _Loopback(party, self), **limits)
        self.away: set[str] = set()
        self.wrap: Wrap | None = None

    async def call(
        self,
        op: str,
        sql: str,
        *,
        asker: str,
        agree: bool = True,
        to: tuple[str, ...] = (),
        scheme: str | None = None,
        key_holder: str | None = None,
        quorum: int | None = None,
    ) -> dict[str, Any]:
        """A question; see `perform`."""
        union = {"scheme": scheme, "key_holder": key_holder, "quorum": quorum}
        wishes = union if any(one is not None for one in union.values()) else None
        return await self.perform(op, sql, asker=asker, agree=agree, to=to, union=wishes)

    def pooled(self, sql: str, parties: list[str] | None = None) -> list[list[Any]]:
        """DuckDB's answer on the rows of these parties (default: all), `pooled` being their table."""
        names = parties or [party for party in self.nodes if (self.place / f"{party}.parquet").exists()]
        files = [str(self.place / f"{party}.parquet") for party in names]
        with duckdb.connect() as connection:
            connection.execute(f"CREATE VIEW pooled AS FROM read_parquet({files})")
            return [[values.to_json(v) for v in row] for row in connection.execute(sql).fetchall()]


class _Loopback:
    """Stands for `transport.Endpoint`."""

    addresses = ("[::1]:1",)

    def __init__(self, name: str, world: UnionNodes) -> None:
        self._name, self._world = name, world

    async def open_link(self, peer: str, session_id: bytes) -> Channel:
        world = self._world
        if peer in world.away:
            raise TransportError(f"{peer} cannot be reached", code="unreachable", party=peer)
        mine, theirs = loopback_pair(self._name, peer)
        there: Channel = world.wrap(peer, self._name, theirs) if world.wrap else theirs
        world.tasks.add(asyncio.create_task(world.answers[peer].take(self._name, session_id, there)))
        return mine
