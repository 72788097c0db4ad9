"""Who is paired with this node: peers, pending invitations, and the book that keeps them.

The node keeps its book in SQLite; `MemoryBook` serves tests and programs without a home. Methods are called from
gRPC's threads, and another process may change the same book: implementations are thread-safe, and `begin_try` and
`consume` are atomic.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Protocol

from privcompute.errors import UsageError
from privcompute.transport.identity import fingerprint_of

MAX_TRIES: Final = 5
INVITATION_SECONDS: Final = 24 * 3600.0


@dataclass(frozen=True)
class Peer:
    """A paired party.

    Args:
        name: Its name, the same on both sides.
        certificates: PEM texts: the current one first, then, during a renewal, the next one.
        addresses: HOST:PORT where it may be reached; empty when only the peer can reach us.
    """

    name: str
    certificates: tuple[str, ...]
    addresses: tuple[str, ...] = ()

    @cached_property
    def fingerprints(self) -> tuple[str, ...]:
        """SHA-256 of each certificate, hexadecimal, in the order of `certificates`."""
        return tuple(fingerprint_of(pem) for pem in self.certificates)

    def with_next(self, pem: str) -> Peer:
        """This peer, with the certificate that it will present next."""
        return replace(self, certificates=(self.certificates[0], pem))

    def promoted(self, fingerprint: str) -> Peer:
        """This peer once it uses the certificate with that fingerprint: older ones are forgotten."""
        return replace(self, certificates=self.certificates[self.fingerprints.index(fingerprint) :])


@dataclass(frozen=True)
class PendingInvitation:
    """What the inviter keeps of an invitation. The one-time secret itself stays only in the code.

    Args:
        id: Fingerprint of the temporary client certificate.
        peer: The name of the invited party.
        certificate: The temporary client certificate, PEM.
        proof_key: 32 bytes under which both sides prove that they know the code.
        expires: Unix time.
        tries: Join calls begun so far.
    """

    id: str
    peer: str
    certificate: str
    proof_key: bytes
    expires: float
    tries: int = 0

    def __repr__(self) -> str:
        return f"PendingInvitation(peer={self.peer!r}, expires={self.expires:.0f}, tries={self.tries})"

    def usable(self, now: float) -> bool:
        """Neither expired nor tried too often."""
        return now < self.expires and self.tries < MAX_TRIES


class PeerBook(Protocol):
    """Where a node keeps its peers and invitations."""

    def get(self, name: str) -> Peer | None:
        """The peer of that name."""
        ...

    def all(self) -> tuple[Peer, ...]:
        """All peers."""
        ...

    def add(self, peer: Peer) -> None:
        """Adds a peer.

        Raises:
            UsageError: code ``already_paired``: there is one of that name.
        """
        ...

    def replace(self, peer: Peer) -> None:
        """Overwrites the peer of that name; does nothing if there is none."""
        ...

    def remove(self, name: str) -> bool:
        """Removes the peer and every invitation for that name; False if there was neither."""
        ...

    def invite(self, invitation: PendingInvitation) -> None:
        """Keeps an invitation; an older one for the same name is void.

        Raises:
            UsageError: code ``already_paired``: there is a peer of that name.
        """
        ...

    def invitations(self) -> tuple[PendingInvitation, ...]:
        """The usable invitations."""
        ...

    def begin_try(self, invitation_id: str) -> PendingInvitation | None:
        """Counts a try, durably, before the Join call is looked at; None if the invitation is not usable."""
        ...

    def consume(self, invitation_id: str, peer: Peer) -> bool:
        """In one step removes the invitation and adds the peer; False, and nothing changes, if it is gone already."""
        ...


def already_paired(name: str) -> UsageError:
    """The error of `PeerBook.add` and `PeerBook.invite`."""
    return UsageError(
        f"{name} is already paired with this node",
        code="already_paired",
        party=name,
        remedy=f"to pair anew, first run: privcompute unpair {name}",
    )


class MemoryBook:
    """A `PeerBook` that lasts as long as its process."""

    def __init__(self, *peers: Peer) -> None:
        self._lock = threading.Lock()
        self._peers = {peer.name: peer for peer in peers}
        self._invitations: dict[str, PendingInvitation] = {}

    def get(self, name: str) -> Peer | None:
        with self._lock:
            return self._peers.get(name)

    def all(self) -> tuple[Peer, ...]:
        with self._lock:
            return tuple(self._peers.values())

    def add(self, peer: Peer) -> None:
        with self._lock:
            if peer.name in self._peers:
                raise already_paired(peer.name)
            self._peers[peer.name] = peer

    def replace(self, peer: Peer) -> None:
        with self._lock:
            if peer.name in self._peers:
                self._peers[peer.name] = peer

    def remove(self, name: str) -> bool:
        with self._lock:
            stale = [key for key, one in self._invitations.items() if one.peer == name]
            for key in stale:
                del self._invitations[key]
            return self._peers.pop(name, None) is not None or bool(stale)

    def invite(self, invitation: PendingInvitation) -> None:
        with self._lock:
            if invitation.peer in self._peers:
                raise already_paired(invitation.peer)
            self._invitations = {key: one for key, one in self._invitations.items() if one.peer != invitation.peer}
            self._invitations[invitation.id] = invitation

    def invitations(self) -> tuple[PendingInvitation, ...]:
        now = time.time()
        with self._lock:
            return tuple(one for one in self._invitations.values() if one.usable(now))

    def begin_try(self, invitation_id: str) -> PendingInvitation | None:
        with self._lock:
            found = self._invitations.get(invitation_id)
            if found is None or not found.usable(time.time()):
                return None
            self._invitations[invitation_id] = replace(found, tries=found.tries + 1)
            return self._invitations[invitation_id]

    def consume(self, invitation_id: str, peer: Peer) -> bool:
        with self._lock:
            if invitation_id not in self._invitations or peer.name in self._peers:
                return False
            del self._invitations[invitation_id]
            self._peers[peer.name] = peer
            return True
