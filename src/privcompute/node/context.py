"""What a job may use of the node it runs in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from privcompute.node.calibration import Calibration
    from privcompute.node.config import Config
    from privcompute.node.home import Home
    from privcompute.node.store import Store
    from privcompute.session import Progress
    from privcompute.transport.endpoint import Endpoint
    from privcompute.transport.identity import Identity

Observer: TypeAlias = "Callable[[Progress], None]"
"""Told of progress while a job works; must return at once."""


@dataclass
class NodeContext:
    """One open node, as jobs see it.

    Attributes:
        name: This party.
        home: Its directory.
        identity: Its key and certificate; `renewal` alone replaces them.
        endpoint: Opens and accepts links to peers.
        store: Durable state: datasets, ledger, requests, releases, audit, peers.
        config: node.toml; `config.limits` binds every job.
        calibration: Measured speed of this machine, for cost estimates.
        observer: Told of progress, of this node's answers as well as of its own queries.
    """

    name: str
    home: Home
    identity: Identity
    endpoint: Endpoint
    store: Store
    config: Config
    calibration: Calibration
    observer: Observer
