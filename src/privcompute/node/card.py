"""Cards: pairing without a code, by a file that both owners hand over on a way they trust.

A card is public: a party's name, its certificate, its addresses. Whoever takes a card pins its certificate, so the
fingerprint is compared first, as with an invitation. Where many holders pair with each other, each hands one card to
all instead of a code to each; both sides have to take the other's card.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from privcompute.errors import PeerError, UsageError
from privcompute.node.config import check_name
from privcompute.node.config import load as load_config
from privcompute.node.home import Home
from privcompute.node.pairing import own_addresses
from privcompute.node.store import Store
from privcompute.transport.address import Address
from privcompute.transport.book import Peer
from privcompute.transport.identity import Identity, check_certificate, der_of

FORMAT: Final = "privcompute card 1"
MAX_BYTES: Final = 64 << 10
MAX_ADDRESSES: Final = 16


async def own_card(home: Home, addresses: tuple[str, ...]) -> dict[str, Any]:
    """This node's card as JSON values.

    Args:
        home: This node's.
        addresses: Where peers reach it; default: as it listens; none for a node that only reaches out.

    Raises:
        UsageError: no home, or the port is not known yet.
    """
    home.require()
    config = load_config(home.config_file)
    identity = Identity.load(home.identity)
    given = tuple(str(Address.parse(one)) for one in addresses)
    own = given or await own_addresses(home, config)
    return {"card": FORMAT, "name": identity.name, "certificate": identity.certificate, "addresses": list(own)}


def read_card(path: Path) -> Peer:
    """The peer of a card file, checked.

    Raises:
        UsageError: ``bad_card``: it cannot be read, or is not a card.
        PeerError: ``bad_certificate``.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}", code="bad_card", remedy="check the file's name and permissions"
        ) from None
    try:
        body = json.loads(raw) if len(raw) <= MAX_BYTES else None
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict) or set(body) != {"card", "name", "certificate", "addresses"}:
        raise _no_card(path)
    name, pem, addresses = body["name"], body["certificate"], body["addresses"]
    right = (
        body["card"] == FORMAT
        and check_name(name) is None
        and isinstance(pem, str)
        and isinstance(addresses, list)
        and len(addresses) <= MAX_ADDRESSES
        and all(isinstance(one, str) for one in addresses)
    )
    if not right:
        raise _no_card(path)
    try:
        der = der_of(pem)
    except ValueError:
        raise PeerError("the certificate in the card cannot be read", code="bad_certificate", party=name) from None
    return Peer(name, (check_certificate(der, name),), tuple(str(Address.parse(one)) for one in addresses))


def _no_card(path: Path) -> UsageError:
    return UsageError(
        f"{path} is not a card", code="bad_card", remedy="the other owner makes it with `privcompute peers card > FILE`"
    )


def others_cards(home: Home, files: Sequence[Path]) -> tuple[list[Peer], list[Path]]:
    """The peers of these card files, and which of the files are this node's own card.

    Raises:
        UsageError: ``own_card``: there is no other, or another's card bears this node's name; or as `read_card`.
        PeerError: as `read_card`.
    """
    home.require()
    identity = Identity.load(home.identity)
    found, own = [], []
    for path in files:
        peer = read_card(path)
        if peer.name == identity.name and identity.fingerprint in peer.fingerprints:
            own.append(path)
        else:
            _check_other(identity, peer)
            found.append(peer)
    if not found:
        raise _own_card()
    return found, own


def _check_other(identity: Identity, peer: Peer) -> None:
    if identity.fingerprint in peer.fingerprints:
        raise _own_card()
    if peer.name == identity.name:
        raise UsageError(
            f"the card bears this node's name, {peer.name}, and another certificate",
            code="own_card",
            remedy="if it is this node's from before `renew`, make a new one; else its owner takes another name",
        )


def _own_card() -> UsageError:
    return UsageError("this is the node's own card", code="own_card", remedy="hand it to the other owners")


def take(home: Home, peer: Peer) -> None:
    """Pin a peer.

    Raises:
        UsageError: it is paired already, or is this node itself.
    """
    home.require()
    _check_other(Identity.load(home.identity), peer)
    store = Store(home.database)
    try:
        store.peers.add(peer)
        store.audit.append("card", peer=peer.name, fingerprint=peer.fingerprints[0])
    finally:
        store.close()
