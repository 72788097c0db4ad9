"""The holders' signatures on what a union agrees on: under the pinned identities, so that nobody can be invented."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from privcompute.errors import IntegrityError
from privcompute.transport.identity import Identity, check_signature


@dataclass(frozen=True, repr=False)
class UnionIdentity:
    """This node's signature, and the certificates of the other parties of one question.

    Attributes:
        own: This node's identity.
        certificates: By party, the PEM certificate that is pinned here and whose fingerprint the party named.
    """

    own: Identity
    certificates: Mapping[str, str]

    def sign(self, message: bytes) -> bytes:
        """ECDSA P-256 with SHA-256 under the long-term key."""
        return self.own.sign(message)

    def verify(self, party: str, message: bytes, signature: bytes) -> None:
        """Raises IntegrityError (code ``signature``) unless that party signed the message."""
        pem = self.own.certificate if party == self.own.name else self.certificates.get(party)
        if pem is None or not check_signature(pem, message, signature):
            raise IntegrityError(
                "a signature is not by the party it is said to be from",
                code="signature",
                party=party,
                remedy="whoever relays the messages may have changed them: check that party's node and the asker's",
            )
