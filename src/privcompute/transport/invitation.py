"""The one-time code that one administrator gives the other, and what is derived from its secret.

The code holds: version, the inviter's addresses, both names, the expiry, the SHA-256 fingerprint of the inviter's
certificate, a 128-bit secret. It is a secret: whoever holds it first can pair in the invited party's name.

From the secret both sides derive (HKDF-SHA256, RFC 5869)
  - a temporary client key and certificate, by which the joiner passes the always-mutual TLS handshake: the same bytes
    on both sides, since ECDSA signs deterministically (RFC 6979);
  - the key under which both prove, inside the Join call, that they know the code (`pairing`).
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from privcompute.errors import UsageError
from privcompute.randomness import token_bytes
from privcompute.transport.address import MAX_ADDRESSES, Address
from privcompute.transport.book import INVITATION_SECONDS, PendingInvitation
from privcompute.transport.identity import Identity, check_name, fingerprint_of, private_pem, self_signed

VERSION: Final = 1
PREFIX: Final = "pc1-"
SECRET_BYTES: Final = 16
MAX_CODE: Final = 4096
_SKEW: Final = 24 * 3600.0  # as much as the two clocks may differ
_ORDER_P256: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@dataclass(frozen=True)
class Invitation:
    """What a code says.

    Args:
        inviter: The party that invites.
        joiner: The party that is invited.
        addresses: Where the inviter may be reached, best first.
        expires: Unix time, whole seconds.
        fingerprint: SHA-256 of the inviter's certificate, hexadecimal.
        secret: 16 one-time bytes.
    """

    inviter: str
    joiner: str
    addresses: tuple[str, ...]
    expires: int
    fingerprint: str
    secret: bytes

    def __repr__(self) -> str:
        return f"Invitation(inviter={self.inviter!r}, joiner={self.joiner!r}, addresses={self.addresses!r})"

    def encode(self) -> str:
        """The code, one word."""
        fields = [
            VERSION,
            self.inviter,
            self.joiner,
            list(self.addresses),
            self.expires,
            _b64(bytes.fromhex(self.fingerprint)),
            _b64(self.secret),
        ]
        body = json.dumps(fields, separators=(",", ":")).encode()
        # The check sum catches a code that was cut or mistyped, before anything burns one of the five tries.
        return PREFIX + _b64(body + hashlib.sha256(body).digest()[:4])

    @classmethod
    def decode(cls, code: str) -> Invitation:
        """Reads a code.

        Raises:
            UsageError: code ``bad_invitation`` or ``invitation_expired``.
        """
        bad = UsageError(
            "this is not a whole invitation code",
            code="bad_invitation",
            remedy="copy the last line that `privcompute invite` printed, all of it",
        )
        text = "".join(code.split())
        if not text.startswith(PREFIX) or len(text) > MAX_CODE:
            raise bad
        try:
            raw = _unb64(text[len(PREFIX) :])
            body, check = raw[:-4], raw[-4:]
            if hashlib.sha256(body).digest()[:4] != check:
                raise bad
            version, inviter, joiner, addresses, expires, fingerprint, secret = json.loads(body)
            made = cls(
                check_name(inviter),
                check_name(joiner),
                tuple(str(Address.parse(one)) for one in addresses),
                _whole(expires),
                _unb64(fingerprint).hex(),
                _unb64(secret),
            )
        except (ValueError, TypeError, AttributeError, RecursionError, UsageError):
            raise bad from None
        if version is True or version != VERSION or len(made.fingerprint) != 64 or len(made.secret) != SECRET_BYTES:
            raise bad
        if not 0 < len(made.addresses) <= MAX_ADDRESSES:
            raise bad
        if made.expires > time.time() + INVITATION_SECONDS + _SKEW:
            raise bad
        if time.time() >= made.expires:
            raise UsageError(
                "this invitation has expired",
                code="invitation_expired",
                party=inviter,
                remedy="ask for a new one: an invitation holds for 24 hours and one use",
            )
        return made

    def temporary(self) -> Identity:
        """The client key and certificate for the Join call alone; the same on both sides."""
        # 32 bytes more than the order: the bias of the reduction is below 2^-256.
        scalar = int.from_bytes(self._derive(b"client key", 64), "big") % (_ORDER_P256 - 1) + 1
        key = ec.derive_private_key(scalar, ec.SECP256R1())
        end = datetime.fromtimestamp(self.expires, UTC)
        start = end - timedelta(seconds=INVITATION_SECONDS) - timedelta(days=1)
        tag = self._derive(b"client name", 8).hex()
        certificate = self_signed(key, f"invitation {tag}", f"{tag}.invitation.privcompute", start, end)
        return Identity(self.joiner, private_pem(key), certificate)

    def proof_key(self) -> bytes:
        """32 bytes under which both sides prove that they know the code."""
        return self._derive(b"proof", 32)

    def pending(self) -> PendingInvitation:
        """What the inviter keeps."""
        certificate = self.temporary().certificate
        return PendingInvitation(
            fingerprint_of(certificate), self.joiner, certificate, self.proof_key(), float(self.expires)
        )

    def _derive(self, what: bytes, size: int) -> bytes:
        hkdf = HKDF(algorithm=hashes.SHA256(), length=size, salt=None, info=b"privcompute v1 invitation|" + what)
        return hkdf.derive(self.secret)


def invite(
    identity: Identity, joiner: str, addresses: tuple[str, ...], *, seconds: float = INVITATION_SECONDS
) -> Invitation:
    """A fresh invitation; the caller keeps its `pending` half in the book and prints its `encode`.

    Raises:
        UsageError: no such name, the party's own name, or no address.
    """
    if check_name(joiner) == identity.name:
        raise UsageError("a node cannot invite itself", code="own_identity", remedy="name the other party")
    if not addresses:
        raise UsageError(
            "an invitation needs an address at which this node can be reached",
            code="no_address",
            remedy="init with --listen, or give --address HOST:PORT",
        )
    tidy = tuple(str(Address.parse(one)) for one in addresses)[:MAX_ADDRESSES]
    expires = int(time.time() + min(seconds, INVITATION_SECONDS))
    return Invitation(identity.name, joiner, tidy, expires, identity.fingerprint, token_bytes(SECRET_BYTES))


def _whole(number: object) -> int:
    if not isinstance(number, int):
        raise ValueError("not a whole number")
    return number


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _unb64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
