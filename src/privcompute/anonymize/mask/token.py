"""token: a keyed, irreversible stand-in for a value, the same one in every table, chunk and process.

    <key id>-<the first bits of HMAC(key, label and value), in base 32>

The label separates kinds of entity: the same text as a person's number and as a ticket's gives unrelated tokens;
columns that shall join state the same `domain`. Without the key nobody can test guesses; who has it can: mobile numbers
are few. 96 bits at least, so that 10^9 values collide with a chance below 10^-9. To change a key, make tokens with both
for a time: each says which key it is of.

Source: HMAC: RFC 2104, FIPS 198-1; SM3: GB/T 32905-2016.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC

from privcompute.anonymize.identifiers import normalise, parser
from privcompute.anonymize.mask.keys import Keys
from privcompute.anonymize.mask.operator import Apply, Masked, Operator
from privcompute.anonymize.mask.parameters import choice, key_id, kind, optional, parameter, text, whole
from privcompute.anonymize.mask.texts import Cells, as_text, each_distinct

LEAST_BITS: Final = 96
_PAD: Final = 64


def hmac_sha256(key: bytes) -> Callable[[bytes], bytes]:
    """HMAC-SHA-256 under one key, its two inner states made once: a value costs two compressions."""
    padded = key.ljust(_PAD, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded))
    outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded))

    def mac(message: bytes) -> bytes:
        first, second = inner.copy(), outer.copy()
        first.update(message)
        second.update(first.digest())
        return second.digest()

    return mac


def hmac_sm3(key: bytes) -> Callable[[bytes], bytes]:
    """HMAC-SM3 under one key."""
    base = HMAC(key, hashes.SM3())

    def mac(message: bytes) -> bytes:
        one = base.copy()
        one.update(message)
        return one.finalize()

    return mac


MACS: Final[Mapping[str, Callable[[bytes], Callable[[bytes], bytes]]]] = {"sha256": hmac_sha256, "sm3": hmac_sm3}


@dataclass(frozen=True)
class Token(Operator):
    """Replaces values by tokens.

    Attributes:
        key: the key's id, which the token shows.
        domain: the kind of entity; the same for columns that shall join, another one for those that must not.
        type: a kind of identifier, whose spellings then give one token; what is none of it is taken as text.
        bits: length of the token, 96 to 256.
        hash: "sha256" or "sm3".
    """

    op: ClassVar[str] = "token"

    key: str = parameter(key_id)
    domain: str = parameter(text(64))
    type: str | None = parameter(optional(kind), None)
    bits: int = parameter(whole(LEAST_BITS, 256), 128)
    hash: str = parameter(choice(*MACS), "sha256")

    @property
    def keys(self) -> tuple[str, ...]:
        """The one key."""
        return (self.key,)

    def bind(self, column: str, keys: Keys) -> Apply:
        """See Operator."""
        mac = MACS[self.hash](keys.derive(self.key, f"token {self.hash}"))
        label = self.domain.encode()
        head = len(label).to_bytes(4, "big") + label
        parse = parser(self.type) if self.type else None
        length, spare = -(-self.bits // 8), -self.bits % 8

        def token(value: str) -> str:
            canonical = " ".join(normalise(value).split())
            if parse is not None:
                found = parse(value)
                canonical = found.value if found.valid else canonical
            message = canonical.encode()
            raw = mac(head + len(message).to_bytes(4, "big") + message)[:length]
            if spare:
                raw = raw[:-1] + bytes([raw[-1] >> spare << spare])
            return f"{self.key}-{base64.b32encode(raw).decode().rstrip('=').lower()}"

        def apply(cells: Cells, beside: Mapping[str, Cells]) -> Masked:
            return Masked(each_distinct(as_text(cells, column), token))

        return apply
