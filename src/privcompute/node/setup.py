"""`init`: a new home with key, certificate, state and configuration."""

from __future__ import annotations

from dataclasses import dataclass

from privcompute.errors import UsageError
from privcompute.node import calibration as speeds
from privcompute.node.calibration import Calibration
from privcompute.node.config import Config, check_name, save
from privcompute.node.home import Home
from privcompute.node.store import Store
from privcompute.randomness import token_bytes
from privcompute.transport.address import Address
from privcompute.transport.identity import Identity

_VERSION_KEY = "version_key"


@dataclass(frozen=True, slots=True)
class NewNode:
    """What `init` made."""

    fingerprint: str
    calibration: Calibration


def create_node(home: Home, name: str, listen: str | None) -> NewNode:
    """Set up a node. The configuration is written last: a killed `init` leaves a home that `init` may fill again.

    Args:
        home: Where; must not hold a node yet.
        name: The party's name in SQL.
        listen: HOST:PORT, or None for a node that only reaches out.

    Raises:
        UsageError: the name, the address or the directory will not do.
    """
    if reason := check_name(name):
        raise UsageError(
            f"the name {name!r} {reason}", code="bad_name", remedy="it stands in SQL as NAME.DATASET, e.g. hospital"
        )
    if listen is not None:
        Address.parse(listen)
    home.create()
    identity = Identity.create(name)
    identity.save(home.identity)
    store = Store(home.database)
    try:
        measured = speeds.measure()
        speeds.save(store, measured)
        if store.setting(_VERSION_KEY) is None:
            store.set_setting(_VERSION_KEY, token_bytes(32).hex())
        store.audit.append("init", name=name, fingerprint=identity.fingerprint)
    finally:
        store.close()
    save(home.config_file, Config(name=name, listen=listen))
    return NewNode(identity.fingerprint, measured)


def version_key(store: Store) -> bytes:
    """32 secret bytes under which dataset versions are digested: a version tells a peer nothing about the data."""
    return bytes.fromhex(str(store.setting(_VERSION_KEY)))
