"""Nodes in one process as their commands call them: everything real but the network."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as parquet

from privcompute.node import datasets, operations
from privcompute.node.answers import Answers
from privcompute.node.calibration import load as load_calibration
from privcompute.node.config import load as load_config
from privcompute.node.context import NodeContext
from privcompute.node.datasets import Declaration
from privcompute.node.home import Home
from privcompute.node.setup import create_node
from privcompute.node.store import Store
from privcompute.transport.book import Peer
from privcompute.transport.identity import Identity


def paired_homes(
    place: Path, tables: Mapping[str, tuple[str, pa.Table] | None], declare: Declaration, *, key: str
) -> None:
    """Makes the homes of paired nodes, which takes seconds: once for many tests, each of which takes a copy.

    Args:
        place: For homes and files.
        tables: By party, a dataset's name and table; None for a party without data.
        declare: The owners' declaration.
        key: The key column.
    """
    for party in tables:
        create_node(Home(place / party), party, None)
    identities = {party: Identity.load(Home(place / party).identity) for party in tables}
    for party, owned in tables.items():
        home = Home(place / party)
        store, config = Store(home.database), load_config(home.config_file)
        if owned is not None:
            name, table = owned
            file = str(place / f"{party}.parquet")
            parquet.write_table(table, file)
            datasets.add(store, config, name, file, [key], declare, credentials=None, accept=lambda derived, cap: True)
        for other, identity in identities.items():
            if other != party:
                store.peers.add(Peer(other, (identity.certificate,), ()))
        store.close()


class LocalNodes:
    """Nodes whose homes are there; how they reach each other is the test's.

    Args:
        place: What `paired_homes` made, or a copy.
        owned: By party, its dataset's name.
        endpoint: Of a party; stands for `transport.Endpoint`.
        limits: What differs from the limits' defaults.

    Attributes:
        tasks: What answers links.
        plans: What the last call's asker was shown.
        news: Progress that the last call's asker was told.
    """

    def __init__(self, place: Path, owned: Mapping[str, str], endpoint: Callable[[str], object], **limits: Any) -> None:
        self.place = place
        self.owned = owned
        self.nodes: dict[str, NodeContext] = {}
        self.answers: dict[str, Answers] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.plans: list[dict[str, Any]] = []
        self.news: list[dict[str, Any]] = []
        for party in owned:
            home = Home(place / party)
            store, config = Store(home.database), load_config(home.config_file)
            config = replace(config, limits=replace(config.limits, **limits))
            self.answers[party] = Answers(config.limits.sessions)
            self.nodes[party] = NodeContext(
                name=party,
                home=home,
                identity=Identity.load(home.identity),
                endpoint=cast(Any, endpoint(party)),
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
            node.store,
            node.config,
            self.owned[party],
            lambda d: replace(d, **changes),
            accept=lambda derived, cap: True,
        )

    async def perform(
        self, op: str, sql: str, *, asker: str, agree: bool, to: tuple[str, ...], union: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """One operation at a node, as its commands ask for it; what it returns has been through JSON."""
        self.plans, self.news = [], []

        def consent(plan: dict[str, Any]) -> bool:
            self.plans.append(plan)
            return agree

        body = {"op": op, "sql": sql, "reveal": None, "to": list(to), "union": union}
        try:
            found = await operations.perform(self.nodes[asker], body, consent, self.news.append)
        finally:
            await asyncio.gather(*self.tasks, return_exceptions=True)
        return cast(dict[str, Any], json.loads(json.dumps(found, allow_nan=False)))

    async def close(self) -> None:
        """Ends everything."""
        for answers in self.answers.values():
            await answers.stop()
        for node in self.nodes.values():
            node.store.close()
