"""Paired peers and open invitations in the state file: the transport's PeerBook, shared by all processes of a home."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from privcompute.node.database import Database

if TYPE_CHECKING:
    from privcompute.transport.book import Peer, PendingInvitation

# privcompute.transport.book is imported inside the methods: it brings in the X.509 library, which `--help` must not.


class Peers:
    """The peers and invitations of this node. Every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str) -> Peer | None:
        """The peer of that name, or None."""
        row = self._database.row("SELECT * FROM peers WHERE name = ?", (name,))
        return _peer(row) if row else None

    def all(self) -> tuple[Peer, ...]:
        """All peers by name."""
        return tuple(_peer(row) for row in self._database.rows("SELECT * FROM peers ORDER BY name"))

    def add(self, peer: Peer) -> None:
        """Add a peer.

        Raises:
            UsageError: code `already_paired`.
        """
        with self._database.transaction():
            self._refuse_known(peer.name)
            self._insert(peer)

    def replace(self, peer: Peer) -> None:
        """Overwrite the peer of that name; does nothing if there is none."""
        self._database.run(
            "UPDATE peers SET certificates = ?, addresses = ? WHERE name = ?",
            (json.dumps(peer.certificates), json.dumps(peer.addresses), peer.name),
        )

    def remove(self, name: str) -> bool:
        """Forget a peer and every invitation for that name; False if there was neither."""
        with self._database.transaction():
            invitations = self._database.run("DELETE FROM invitations WHERE peer = ?", (name,))
            return bool(self._database.run("DELETE FROM peers WHERE name = ?", (name,)) + invitations)

    def invite(self, invitation: PendingInvitation) -> None:
        """Keep an invitation; an older one for the same name is void.

        Raises:
            UsageError: code `already_paired`.
        """
        body = {"certificate": invitation.certificate, "proof_key": invitation.proof_key.hex()}
        with self._database.transaction():
            self._refuse_known(invitation.peer)
            self._database.run("DELETE FROM invitations WHERE peer = ?", (invitation.peer,))
            self._database.run(
                "INSERT INTO invitations (id, peer, body, tries, expires) VALUES (?, ?, ?, ?, ?)",
                (invitation.id, invitation.peer, json.dumps(body), invitation.tries, invitation.expires),
            )

    def invitations(self) -> tuple[PendingInvitation, ...]:
        """The usable invitations."""
        now = time.time()
        found = (_invitation(row) for row in self._database.rows("SELECT * FROM invitations ORDER BY expires"))
        return tuple(one for one in found if one.usable(now))

    def begin_try(self, invitation_id: str) -> PendingInvitation | None:
        """Count a try, durably, before the Join call is looked at; None if the invitation is not usable."""
        with self._database.transaction():
            row = self._database.row("SELECT * FROM invitations WHERE id = ?", (invitation_id,))
            if row is None or not _invitation(row).usable(time.time()):
                return None
            self._database.run("UPDATE invitations SET tries = tries + 1 WHERE id = ?", (invitation_id,))
            counted = self._database.row("SELECT * FROM invitations WHERE id = ?", (invitation_id,))
            return _invitation(counted)

    def consume(self, invitation_id: str, peer: Peer) -> bool:
        """In one step remove the invitation and add the peer; False, and nothing changes, if it is gone already."""
        with self._database.transaction():
            if self.get(peer.name) is not None:
                return False
            if not self._database.run("DELETE FROM invitations WHERE id = ?", (invitation_id,)):
                return False
            self._insert(peer)
            return True

    def _insert(self, peer: Peer) -> None:
        self._database.run(
            "INSERT INTO peers (name, certificates, addresses, added) VALUES (?, ?, ?, ?)",
            (peer.name, json.dumps(peer.certificates), json.dumps(peer.addresses), time.time()),
        )

    def _refuse_known(self, name: str) -> None:
        from privcompute.transport.book import already_paired

        if self.get(name) is not None:
            raise already_paired(name)


def _peer(row: Any) -> Peer:
    from privcompute.transport.book import Peer

    return Peer(
        name=row["name"],
        certificates=tuple(json.loads(row["certificates"])),
        addresses=tuple(json.loads(row["addresses"])),
    )


def _invitation(row: Any) -> PendingInvitation:
    from privcompute.transport.book import PendingInvitation

    body = json.loads(row["body"])
    return PendingInvitation(
        id=row["id"],
        peer=row["peer"],
        certificate=body["certificate"],
        proof_key=bytes.fromhex(body["proof_key"]),
        expires=row["expires"],
        tries=row["tries"],
    )
