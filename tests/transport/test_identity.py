"""Identities and addresses: what is created, kept, reloaded, and what of a peer's is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from privcompute.errors import IntegrityError, PeerError, PrivcomputeError, UsageError
from privcompute.transport.address import Address, clean_addresses, only_loopback, reachable_addresses
from privcompute.transport.identity import (
    Identity,
    check_certificate,
    check_signature,
    der_of,
    fingerprint_of,
    host_name,
    show_fingerprint,
)

Builder = Callable[[x509.CertificateBuilder], x509.CertificateBuilder]
LEAF = x509.BasicConstraints(ca=False, path_length=None)


def usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(True, False, False, False, False, signs, False, False, False)


def certificate(
    name: str = "insurer",
    *,
    host: str | None = None,
    constraints: x509.BasicConstraints | None = LEAF,
    signs: bool | None = False,
    curve: ec.EllipticCurve | None = None,
    days: tuple[int, int] = (-1, 1),
    foreign: bool = False,
) -> bytes:
    """A certificate, DER, that departs from ours in what is stated."""
    key = ed25519.Ed25519PrivateKey.generate() if curve is None else ec.generate_private_key(curve)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(5)
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host or host_name(name))]), critical=False)
    )
    if constraints is not None:
        builder = builder.add_extension(constraints, critical=True)
    if signs is not None:
        builder = builder.add_extension(usage(signs=signs), critical=True)
    if foreign:
        signed = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    elif isinstance(key, ed25519.Ed25519PrivateKey):
        signed = builder.sign(key, None)
    else:
        signed = builder.sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.DER)


P256 = ec.SECP256R1()


def test_our_own_form_is_accepted(insurer: Identity) -> None:
    assert check_certificate(der_of(insurer.certificate), "insurer") == insurer.certificate
    check_certificate(certificate(curve=P256), "insurer")


@pytest.mark.parametrize(
    ("der", "why"),
    [
        (lambda: certificate(curve=P256, constraints=x509.BasicConstraints(True, None)), "authority"),
        (lambda: certificate(curve=P256, constraints=None), "read"),
        (lambda: certificate(curve=P256, signs=True), "authority"),
        (lambda: certificate(curve=P256, signs=None), "read"),
        (lambda: certificate(), "P-256"),
        (lambda: certificate(curve=ec.SECP384R1()), "P-256"),
        (lambda: certificate("bank", curve=P256), "another party"),
        (lambda: certificate(curve=P256, host=host_name("bank")), "another party"),
        (lambda: certificate(curve=P256, days=(-3, -1)), "not valid now"),
        (lambda: certificate(curve=P256, days=(1, 3)), "not valid now"),
        (lambda: certificate(curve=P256, foreign=True), "own key"),
        (lambda: certificate(curve=P256) + b"x", "read"),
        (lambda: certificate(curve=P256)[:-1], "read"),
        (lambda: b"", "read"),
        (lambda: bytes(5000), "too long"),
    ],
)
def test_other_certificates_are_refused(der: Callable[[], bytes], why: str) -> None:
    with pytest.raises(PeerError, match=why) as caught:
        check_certificate(der(), "insurer")
    assert (caught.value.code, caught.value.party) == ("bad_certificate", "insurer")


def test_form(insurer: Identity) -> None:
    made = x509.load_pem_x509_certificate(insurer.certificate.encode())
    assert made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert made.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign is False
    assert made.fingerprint(hashes.SHA256()).hex() == insurer.fingerprint == fingerprint_of(insurer.certificate)
    assert show_fingerprint(insurer.fingerprint).count(":") == 15
    assert Identity.create("insurer").fingerprint != insurer.fingerprint
    assert insurer.renew().name == "insurer"
    assert b"PRIVATE" not in repr(insurer).encode()


@pytest.mark.parametrize("name", ["", "Bank", "1st", "a-b", "a" * 64, "bank\n", "../x"])
def test_names(name: str) -> None:
    with pytest.raises(UsageError):
        Identity.create(name)


def test_signatures(insurer: Identity) -> None:
    signature = insurer.sign(b"message")
    assert check_signature(insurer.certificate, b"message", signature)
    assert not check_signature(insurer.certificate, b"other", signature)
    assert not check_signature(insurer.certificate, b"message", b"")
    assert not check_signature(Identity.create("insurer").certificate, b"message", signature)


def test_save_and_load(insurer: Identity, tmp_path: Path) -> None:
    insurer.save(tmp_path)
    assert Identity.load(tmp_path) == insurer
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.iterdir())


def test_a_readable_key_is_refused(insurer: Identity, tmp_path: Path) -> None:
    insurer.save(tmp_path)
    (tmp_path / "identity.key").chmod(0o640)
    with pytest.raises(IntegrityError, match="others"):
        Identity.load(tmp_path)


@pytest.mark.parametrize("damage", ["key", "crt", "swap", "garbage"])
def test_damage_is_named(insurer: Identity, tmp_path: Path, damage: str) -> None:
    insurer.save(tmp_path)
    other = Identity.create("insurer")
    if damage == "swap":
        (tmp_path / "identity.crt").write_text(other.certificate)
    elif damage == "garbage":
        (tmp_path / "identity.crt").write_bytes(b"\xff\x00")
    else:
        (tmp_path / f"identity.{damage}").write_text("-----BEGIN NOTHING-----")
    with pytest.raises(IntegrityError) as caught:
        Identity.load(tmp_path)
    assert caught.value.code == "bad_identity"


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        Identity.load(tmp_path)
    assert caught.value.code == "no_identity"


@pytest.mark.parametrize("crash", [False, True])
def test_promotion_survives_a_crash(insurer: Identity, tmp_path: Path, crash: bool) -> None:
    following = insurer.renew()
    insurer.save(tmp_path)
    following.save(tmp_path, as_next=True)
    assert Identity.load(tmp_path) == insurer
    assert Identity.load(tmp_path, as_next=True) == following
    if crash:  # after the key moved, before the certificate did
        (tmp_path / "identity-next.key").replace(tmp_path / "identity.key")
    else:
        assert Identity.promote(tmp_path) == following
    assert Identity.load(tmp_path) == following
    with pytest.raises(UsageError):
        Identity.load(tmp_path, as_next=True)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:7443", "127.0.0.1", 7443),
        ("[::]:0", "::", 0),
        ("[fe80::1%eth0]:1", "fe80::1%eth0", 1),
        ("node.example:65535", "node.example", 65535),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    address = Address.parse(text)
    assert (address.host, address.port, str(address)) == (host, port, text)


@pytest.mark.parametrize(
    "text", ["", "host", "host:", ":1", "::1:7443", "[::1]", "[gg::]:1", "a b:1", "h:65536", "h:-1"]
)
def test_bad_addresses(text: str) -> None:
    with pytest.raises(PrivcomputeError) as caught:
        Address.parse(text)
    assert caught.value.code == "bad_address"


def test_what_a_peer_advertises_is_cleaned() -> None:
    said = ("[::]:7443", "0.0.0.0:1", "10.0.0.1:0", "nonsense", "10.0.0.1:7443", "10.0.0.1:7443", "x" * 9999)
    assert clean_addresses(said) == ("10.0.0.1:7443",)
    assert len(clean_addresses(tuple(f"10.0.0.{n}:1" for n in range(1, 200)))) == 16


def test_what_is_advertised() -> None:
    assert reachable_addresses("10.1.2.3:7443") == ("10.1.2.3:7443",)
    assert reachable_addresses("node.example:0", 5) == ("node.example:5",)
    for listen in ("[::]:7443", "0.0.0.0:7443"):
        found = reachable_addresses(listen)
        assert found
        assert not any(Address.parse(one).wildcard for one in found)
    assert only_loopback(("127.0.0.1:1", "[::1]:1", "localhost:1"))
    assert not only_loopback(("127.0.0.1:1", "10.0.0.1:1"))
