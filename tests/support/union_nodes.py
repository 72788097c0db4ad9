"""Nodes of many holders in one process that reach each other through loopback links; everything else is real."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import duckdb
import pyarrow as pa
import pyarrow.parquet as parquet

from privcompute.errors import TransportError
from privcompute.node import datasets, operations, values
from privcompute.node.answers import Answers
from privcompute.node.calibration import load as load_calibration
from privcompute.node.config import load as load_config
from privcompute.node.context import NodeContext
from privcompute.node.datasets import Declaration
from privcompute.node.home import Home
from privcompute.node.setup import create_node
from privcompute.node.store import Store
from privcompute.session import Channel
from privcompute.testing import loopback_pair
from privcompute.transport.book import Peer
from privcompute.transport.identity import Identity


def paired_homes(place: Path, tables: Mapping[str, pa.Table | None], declare: Declaration, *, key: str) -> None:
    """Makes the homes of paired nodes, which takes seconds: once for many tests, each of which takes a copy.

    Args:
        place: For homes and files.
        tables: By party; None for a party without data.
        declare: The owners' declaration.
        key: The key column.
    """
    for party, table in tables.items():
        create_node(Home(place / party), party, None)
        if table is not None:
            parquet.write_table(table, place / f"{party}.parquet")
    identities = {party: Identity.load(Home(place / party).identity) for party in tables}
    for party, table in tables.items():
        home = Home(place / party)
        store, config = Store(home.database), load_config(home.config_file)
        if table is not None:
            file = str(place / f"{party}.parquet")
            datasets.add(
                store, config, "patients", file, [key], declare, credentials=None, accept=lambda derived, cap: True
            )
        for other, identity in identities.items():
            if other != party:
                store.peers.add(Peer(other, (identity.certificate,), ()))
        store.close()


Wrap = Callable[[str, str, Channel], Channel]


class UnionNodes:
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
        self.place = place
        self.nodes: dict[str, NodeContext] = {}
        self.answers: dict[str, Answers] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.away: set[str] = set()
        self.wrap: Wrap | None = None
        for party in parties:
            home = Home(place / party)
            store, config = Store(home.database), load_config(home.config_file)
            config = replace(config, limits=replace(config.limits, **limits))
            self.answers[party] = Answers(config.limits.sessions)
            self.nodes[party] = NodeContext(
                name=party,
                home=home,
                identity=Identity.load(home.identity),
                endpoint=cast(Any, _Loopback(party, self)),
                store=store,
                config=config,
                calibration=load_calibration(store),
                observer=lambda news: None,
            )
            self.answers[party].context = self.nodes[party]

    def edit(self, party: str, **changes: Any) -> None:
        """Changes an owner's declaration."""
        node = self.nodes[party]
        datasets.edit(
            node.store, node.config, "patients", lambda d: replace(d, **changes), accept=lambda derived, cap: True
        )

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
        """One operation at a node, as its commands ask for it; what it returns has been through JSON."""
        self.plans: list[dict[str, Any]] = []
        self.news: list[dict[str, Any]] = []

        def consent(plan: dict[str, Any]) -> bool:
            self.plans.append(plan)
            return agree

        union = {"scheme": scheme, "key_holder": key_holder, "quorum": quorum}
        body = {
            "op": op,
            "sql": sql,
            "reveal": None,
            "to": list(to),
            "union": union if any(one is not None for one in union.values()) else None,
        }
        try:
            found = await operations.perform(self.nodes[asker], body, consent, self.news.append)
        finally:
            await asyncio.gather(*self.tasks, return_exceptions=True)
        return cast(dict[str, Any], json.loads(json.dumps(found, allow_nan=False)))

    def pooled(self, sql: str, parties: list[str] | None = None) -> list[list[Any]]:
        """DuckDB's answer on the rows of these parties (default: all), `pooled` being their table."""
        names = parties or [party for party in self.nodes if (self.place / f"{party}.parquet").exists()]
        files = [str(self.place / f"{party}.parquet") for party in names]
        with duckdb.connect() as connection:
            connection.execute(f"CREATE VIEW pooled AS FROM read_parquet({files})")
            return [[values.to_json(v) for v in row] for row in connection.execute(sql).fetchall()]

    async def close(self) -> None:
        """Ends everything."""
        for answers in self.answers.values():
            await answers.stop()
        for node in self.nodes.values():
            node.store.close()


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
