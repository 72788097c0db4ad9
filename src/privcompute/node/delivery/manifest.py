"""What a delivery says of itself: signed by the sender, hostile until read."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from privcompute.errors import IntegrityError, PeerError
from privcompute.grades.words import PURPOSES
from privcompute.tables.catalogue import MAX_COLUMNS
from privcompute.transport.identity import Identity, check_signature

PIECE: Final = 1 << 20
"""Bytes of every piece but the last one."""
MAX_REPORT: Final = 128 << 10
MAX_TABLE: Final = 1 << 40
_DEEPEST: Final = 16
"""Levels of a report; ours have five."""

Kind = Literal["anonymized", "desensitized"]
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")
_ID: Final = re.compile(r"[0-9a-f]{32}")
_HEX64: Final = re.compile(r"[0-9a-f]{64}")
_TYPE: Final = re.compile(r"[a-z][a-z0-9_\[\], =UTC()-]{0,40}")
_SIGNED: Final = b"privcompute delivery v1|"
_RECEIPT: Final = b"privcompute receipt v1|"


@dataclass(frozen=True)
class Manifest:
    """One table on its way.

    Attributes:
        id: 32 hexadecimal digits, the sender's.
        sender: who delivers.
        receiver: to whom; a manifest for one party is none for another.
        dataset: the sender's name of the dataset.
        purpose: what the table is for.
        kind: how it was made fit to leave.
        policy: SHA-256 of the policy, hexadecimal.
        columns: names and Arrow types.
        rows: their number.
        bytes: of the stream.
        sha256: of the stream, hexadecimal.
        report: JSON text in ASCII: what the policy reached.
    """

    id: str
    sender: str
    receiver: str
    dataset: str
    purpose: str
    kind: Kind
    policy: str
    columns: tuple[tuple[str, str], ...]
    rows: int
    bytes: int
    sha256: str
    report: str

    @property
    def pieces(self) -> int:
        """How many pieces the stream has."""
        return -(-self.bytes // PIECE)

    def size_of(self, piece: int) -> int:
        """Bytes of one piece."""
        return min(PIECE, self.bytes - piece * PIECE)

    def to_object(self) -> dict[str, Any]:
        """As JSON."""
        return {**vars(self), "columns": [list(one) for one in self.columns]}

    def to_json(self) -> str:
        """Canonical JSON."""
        return json.dumps(self.to_object(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)

    def digest(self) -> str:
        """SHA-256 of the canonical JSON, hexadecimal."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def sign(self, identity: Identity) -> str:
        """The sender's signature, hexadecimal."""
        return identity.sign(_SIGNED + self.to_json().encode()).hex()

    def verify(self, certificates: tuple[str, ...], signature: str) -> None:
        """Check the sender's signature against the certificates pinned for it.

        Raises:
            IntegrityError: `signature`.
        """
        _verify(certificates, _SIGNED + self.to_json().encode(), signature, self.sender)

    def receipt(self, identity: Identity) -> str:
        """The receiver's signature on having the table, hexadecimal."""
        return identity.sign(_RECEIPT + self.digest().encode()).hex()

    def verify_receipt(self, certificates: tuple[str, ...], signature: str) -> None:
        """Check the receiver's signature.

        Raises:
            IntegrityError: `signature`.
        """
        _verify(certificates, _RECEIPT + self.digest().encode(), signature, self.receiver)

    @classmethod
    def from_object(cls, body: object, *, party: str) -> Manifest:
        """Read `to_object` back, trusting nothing.

        Raises:
            PeerError: `bad_manifest`.
        """
        if not isinstance(body, dict) or set(body) != set(cls.__dataclass_fields__):
            raise _malformed(party)
        texts = (
            (body["id"], _ID),
            (body["sender"], _NAME),
            (body["receiver"], _NAME),
            (body["dataset"], _NAME),
            (body["policy"], _HEX64),
            (body["sha256"], _HEX64),
        )
        columns = body["columns"]
        right = (
            all(isinstance(value, str) and form.fullmatch(value) for value, form in texts)
            and body["purpose"] in PURPOSES
            and body["kind"] in get_args(Kind)
            and isinstance(columns, list)
            and 0 < len(columns) <= MAX_COLUMNS
            and all(_column(one) for one in columns)
            and len({one[0] for one in columns}) == len(columns)
            and _count(body["rows"], 0)
            and _count(body["bytes"], 1)
            and isinstance(body["report"], str)
            and len(body["report"]) <= MAX_REPORT
            and body["report"].isascii()  # as `json.dumps` writes it; half a character would break who prints it
            and _is_object(body["report"])
        )
        if not right:
            raise _malformed(party)
        return cls(**{**body, "columns": tuple((name, kind) for name, kind in columns)})

    def report_object(self) -> Mapping[str, Any]:
        """The report, parsed."""
        return dict(json.loads(self.report))


def _column(one: object) -> bool:
    if not isinstance(one, list) or len(one) != 2 or not all(isinstance(part, str) for part in one):
        return False
    name, kind = one
    return 0 < len(name) <= 255 and name.isprintable() and _TYPE.fullmatch(kind) is not None


def _count(value: object, least: int) -> bool:
    return type(value) is int and least <= value <= MAX_TABLE


def _is_object(text: str) -> bool:
    try:
        found = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and _is_flat(found)


def _is_flat(found: object) -> bool:
    """Whether no value lies deeper than `_DEEPEST`: what can be read here may be too deep for who shows it later."""
    level = [found]
    for _ in range(_DEEPEST):
        inner = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        level = [value for values in inner for value in values]
        if not level:
            return True
    return False


def _refuse(_: str) -> Any:
    raise ValueError("no such number here")


def _malformed(party: str) -> PeerError:
    return PeerError(
        "the peer's description of a table is not one",
        code="bad_manifest",
        party=party,
        stage="delivery",
        remedy="check that both nodes run the same version, then release again",
    )


def _verify(certificates: tuple[str, ...], message: bytes, signature: str, party: str) -> None:
    try:
        raw = bytes.fromhex(signature)
    except ValueError:
        raw = b""
    if not any(check_signature(pem, message, raw) for pem in certificates):
        raise IntegrityError(
            "a signature is not by the party it is said to be from",
            code="signature",
            party=party,
            stage="delivery",
            remedy="compare fingerprints (`privcompute peers list` on both sides); pair again if one was renewed",
        )
