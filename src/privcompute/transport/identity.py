"""A node's long-term identity: a P-256 key and a self-signed certificate that is no authority.

The certificate says CA:FALSE and, in its key usage, that the key signs no certificates. Without that, its holder could
mint a leaf for any other party's name: a certificate in a pool of roots is an issuer, and the TLS library under gRPC
does not ask a root for CA:TRUE, but it does heed the key usage. Trust is the SHA-256 of the whole certificate (the
fingerprint), pinned at pairing, never a chain.

Source: X.509 as in RFC 5280; TLS with raw trust in leaf certificates as in RFC 6125 section 1.5 ("pinning").
"""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from privcompute.errors import IntegrityError, PeerError, UsageError
from privcompute.randomness import equal

NAME_PATTERN: Final = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")
VALID_DAYS: Final = 730
RENEW_DAYS: Final = 30  # `doctor` asks for a renewal from then on
MAX_CERTIFICATE: Final = 4096  # bytes of DER; ours have about 400
_SKEW: Final = timedelta(days=1)
_SIGNS_NO_CERTIFICATES: Final = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
_CURRENT: Final = ("identity.key", "identity.crt")
_NEXT: Final = ("identity-next.key", "identity-next.crt")


def host_name(party: str) -> str:
    """The DNS name a party's certificate carries; TLS compares it, no resolver ever sees it."""
    return f"{party}.privcompute"


def check_name(name: str) -> str:
    """The name, if it is one.

    Raises:
        UsageError: code ``bad_name``.
    """
    if not isinstance(name, str) or not NAME_PATTERN.match(name):
        raise UsageError(
            "a party's name has 1 to 63 lower-case letters, digits and _, and starts with a letter", code="bad_name"
        )
    return name


def fingerprint_of(pem: str | bytes) -> str:
    """SHA-256 of the certificate (DER), 64 hexadecimal digits."""
    data = pem.encode() if isinstance(pem, str) else pem
    return x509.load_pem_x509_certificate(data).fingerprint(hashes.SHA256()).hex()


def show_fingerprint(fingerprint: str) -> str:
    """The fingerprint in groups of four, for people who compare it by telephone."""
    return ":".join(fingerprint[i : i + 4] for i in range(0, len(fingerprint), 4))


@dataclass(frozen=True)
class Identity:
    """A party's name, private key and certificate.

    Args:
        name: The party.
        key: Private key, PKCS #8 PEM.
        certificate: Self-signed certificate, PEM.
    """

    name: str
    key: bytes
    certificate: str

    def __repr__(self) -> str:
        return f"Identity(name={self.name!r}, fingerprint={self.fingerprint!r})"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, hexadecimal."""
        return fingerprint_of(self.certificate)

    @property
    def expires(self) -> datetime:
        """When the certificate ends."""
        return x509.load_pem_x509_certificate(self.certificate.encode()).not_valid_after_utc

    @classmethod
    def create(cls, name: str, *, days: int = VALID_DAYS) -> Identity:
        """A fresh key and certificate, valid for ``days`` from now (and one day back, for clocks that differ)."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        certificate = self_signed(key, check_name(name), host_name(name), now - _SKEW, now + timedelta(days=days))
        return cls(name, private_pem(key), certificate)

    def renew(self, *, days: int = VALID_DAYS) -> Identity:
        """The same party under a fresh key and certificate; peers must learn of it before it is used."""
        return Identity.create(self.name, days=days)

    def sign(self, message: bytes) -> bytes:
        """ECDSA signature with SHA-256 under the long-term key."""
        key = serialization.load_pem_private_key(self.key, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise IntegrityError("the node's key is not a P-256 key", code="bad_identity", party=self.name)
        return key.sign(message, ec.ECDSA(hashes.SHA256()))

    def save(self, directory: Path, *, as_next: bool = False) -> None:
        """Writes key and certificate, owner-only, each in one step; as the one to be used next if so asked."""
        key, certificate = _NEXT if as_next else _CURRENT
        _write(directory / key, self.key)
        _write(directory / certificate, self.certificate.encode())

    @classmethod
    def load(cls, directory: Path, *, as_next: bool = False) -> Identity:
        """Reads what `save` wrote.

        Raises:
            UsageError: code ``no_identity``: there is none.
            IntegrityError: code ``bad_identity``: it is damaged, or others may read the key.
        """
        if not as_next:
            _finish_promotion(directory)
        key_file, certificate_file = (directory / name for name in (_NEXT if as_next else _CURRENT))
        try:
            mode = key_file.stat().st_mode
            key, certificate = key_file.read_bytes(), certificate_file.read_text(encoding="ascii")
        except FileNotFoundError:
            raise UsageError(
                f"no identity in {directory}", code="no_identity", remedy="create it with: privcompute init"
            ) from None
        except (OSError, UnicodeDecodeError):
            raise IntegrityError(f"cannot read the identity in {directory}", code="bad_identity") from None
        if mode & 0o077:
            raise IntegrityError(
                f"{key_file} can be read by others", code="bad_identity", remedy=f"run: chmod 600 {key_file}"
            )
        return cls._checked(key, certificate, directory)

    @classmethod
    def _checked(cls, key: bytes, certificate: str, directory: Path) -> Identity:
        damaged = IntegrityError(
            f"the identity in {directory} is damaged",
            code="bad_identity",
            remedy="restore it from a backup, or init a new home and pair again",
        )
        try:
            private = serialization.load_pem_private_key(key, password=None)
            public = x509.load_pem_x509_certificate(certificate.encode()).public_key()
            name = _common_name(x509.load_pem_x509_certificate(certificate.encode()))
        except ValueError:
            raise damaged from None
        if _public_bytes(private.public_key()) != _public_bytes(public) or not NAME_PATTERN.match(name):
            raise damaged
        return cls(name, key, certificate)

    @staticmethod
    def promote(directory: Path) -> Identity:
        """Makes the next identity the current one; a crash half way is mended by the next `load`.

        Raises:
            UsageError: code ``no_identity``: there is no next one.
        """
        following = Identity.load(directory, as_next=True)
        (directory / _NEXT[0]).replace(directory / _CURRENT[0])
        _finish_promotion(directory)
        return following


def _finish_promotion(directory: Path) -> None:
    """A next certificate without its key: the key was moved already (`save` writes the key first), so follow it."""
    if (directory / _NEXT[1]).exists() and not (directory / _NEXT[0]).exists():
        (directory / _NEXT[1]).replace(directory / _CURRENT[1])


def self_signed(key: ec.EllipticCurvePrivateKey, name: str, host: str, start: datetime, end: datetime) -> str:
    """A self-signed leaf, PEM: CA:FALSE, one DNS name, client and server use. The same input gives the same bytes."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    key_digest = hashes.Hash(hashes.SHA256())
    key_digest.update(_public_bytes(key.public_key()))
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(key_digest.finalize()[:16], "big") >> 1 or 1)
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_SIGNS_NO_CERTIFICATES, critical=True)
        # During a renewal two certificates of one name are trusted; by the key identifiers TLS tells them apart.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
    )
    signed = builder.sign(key, hashes.SHA256(), ecdsa_deterministic=True)
    return signed.public_bytes(serialization.Encoding.PEM).decode("ascii")


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PKCS #8 PEM without encryption; the file system's owner-only mode protects it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def check_certificate(der: bytes, name: str) -> str:
    """A peer's certificate, checked to be of our form and for that party: self-signed P-256 leaf, no authority.

    Args:
        der: What the peer sent.
        name: The party it must name.

    Returns:
        The certificate, PEM.

    Raises:
        PeerError: code ``bad_certificate``.
    """

    def wrong(why: str) -> PeerError:
        return PeerError(f"the peer's certificate {why}", code="bad_certificate", party=name)

    if len(der) > MAX_CERTIFICATE:
        raise wrong("is too long")
    try:
        certificate = x509.load_der_x509_certificate(der)
        key = certificate.public_key()
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        party = _common_name(certificate)
        if certificate.public_bytes(serialization.Encoding.DER) != der:
            raise ValueError("bytes after the certificate")
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        raise wrong("cannot be read") from None
    if constraints.ca or usage.key_cert_sign:
        raise wrong("claims to be an authority")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise wrong("has no P-256 key")
    if party != name or list(names) != [x509.DNSName(host_name(name))]:
        raise wrong("is for another party")
    if not certificate.not_valid_before_utc <= datetime.now(UTC) <= certificate.not_valid_after_utc:
        raise wrong("is not valid now: has it expired, or do the two clocks differ?")
    try:
        certificate.verify_directly_issued_by(certificate)
    except (InvalidSignature, ValueError, TypeError):
        raise wrong("is not signed by its own key") from None
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")


@lru_cache(maxsize=256)
def _key_of(pem: str) -> object:
    """The certificate's public key; a union checks hundreds of signatures of the same parties."""
    return x509.load_pem_x509_certificate(pem.encode()).public_key()


def check_signature(pem: str, message: bytes, signature: bytes) -> bool:
    """Whether the holder of the certificate's key signed the message."""
    key = _key_of(pem)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return False
    try:
        key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def der_of(pem: str) -> bytes:
    """The certificate's DER bytes."""
    return x509.load_pem_x509_certificate(pem.encode()).public_bytes(serialization.Encoding.DER)


def same_fingerprint(a: str, b: str) -> bool:
    """Compares two fingerprints."""
    return equal(a.encode(), b.encode())


def _common_name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if len(names) == 1 else ""


def _public_bytes(key: object) -> bytes:
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return b""
    return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def _write(path: Path, content: bytes) -> None:
    """Owner-only, atomically, flushed to the disk."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # mkstemp opens with mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
