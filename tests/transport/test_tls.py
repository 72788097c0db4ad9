"""TLS: 1.3 only, pinned leaves only, for both ends; one port, one owner."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from grpc_health.v1 import health_pb2, health_pb2_grpc

from privcompute.errors import PrivcomputeError, TransportError
from privcompute.transport import CIPHER_SUITES
from privcompute.transport.book import Peer
from privcompute.transport.gate import LINK_UP, PARTY_KEY, VERSION_KEY
from privcompute.transport.identity import Identity, host_name, private_pem
from privcompute.transport.probe import health, probe
from privcompute.transport.tls import secure_channel

from .conftest import QUICK, Pairing, party, raw_call


def minted(name: str, issuer: Identity) -> tuple[Identity, bytes]:
    """A leaf for ``name`` signed by ``issuer``'s key, alone and with the issuer's certificate behind it."""
    key = ec.generate_private_key(ec.SECP256R1())
    authority = x509.load_pem_x509_certificate(issuer.certificate.encode())
    signer = serialization.load_pem_private_key(issuer.key, None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host_name(name))]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    pem = leaf.public_bytes(serialization.Encoding.PEM)
    return Identity(name, private_pem(key), pem.decode()), pem + issuer.certificate.encode()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_client_of_each_version(
    paired: Pairing, insurer: Identity, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    h, _ = await paired()
    insurer.save(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(tmp_path / "identity.crt", tmp_path / "identity.key")
    context.set_alpn_protocols(["h2"])
    context.minimum_version = context.maximum_version = version
    host, port = h.address.split(":")

    def connect() -> str | None:
        with socket.create_connection((host, int(port)), 5) as raw, context.wrap_socket(raw) as tls:
            tls.recv(1)
            return tls.version()

    if version is ssl.TLSVersion.TLSv1_3:
        assert connect() == "TLSv1.3"
    else:
        with pytest.raises(OSError):  # noqa: PT011 - the alert's text is OpenSSL's
            connect()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_server_of_each_version(
    hospital: Identity, insurer: Identity, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    """A TLS server with the pinned key: our client shakes hands in 1.3 and breaks off in 1.2."""
    hospital.save(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "identity.crt", tmp_path / "identity.key")
    context.set_alpn_protocols(["h2"])
    context.minimum_version = context.maximum_version = version
    seen: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)

        def serve() -> None:
            raw, _ = listener.accept()
            try:
                with context.wrap_socket(raw, server_side=True) as tls:
                    seen.append(f"{tls.version()} {len(tls.recv(64)) > 0}")
            except OSError:
                seen.append("refused")

        thread = threading.Thread(target=serve)
        thread.start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        server = Peer("hospital", (hospital.certificate,), (address,))
        channel = secure_channel(f"ipv4:{address}", insurer, "hospital", server.certificates, QUICK)
        try:
            with pytest.raises(grpc.RpcError):
                channel.unary_unary(LINK_UP)(b"", timeout=3)
            thread.join(5)
        finally:
            channel.close()
    assert seen == (["TLSv1.3 True"] if version is ssl.TLSVersion.TLSv1_3 else ["refused"])


def test_grpc_imported_too_early() -> None:
    program = textwrap.dedent("""
        import os
        os.environ.pop("GRPC_SSL_CIPHER_SUITES", None)
        import grpc
        from privcompute.errors import UsageError
        try:
            import privcompute.transport
        except UsageError as error:
            print(error.code)
    """)
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "grpc_imported_early"


def test_grpc_imported_early_with_the_right_setting() -> None:
    program = "import grpc, privcompute.transport; print('fine')"
    env = {"GRPC_SSL_CIPHER_SUITES": CIPHER_SUITES, "PATH": "/usr/bin"}
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=env)
    assert run.stdout.strip() == "fine"


async def test_a_peer_mints_no_leaf_for_another(hospital: Identity, insurer: Identity) -> None:
    """The bank, a trusted peer, signs a leaf for the insurer; neither servers nor clients take it."""
    bank = Identity.create("bank")
    forged, chain = minted("insurer", bank)
    peers = [Peer(one.name, (one.certificate,)) for one in (bank, insurer)]
    async with party(hospital, *peers) as h:
        server = h.as_peer(h.address)
        assert raw_call(bank, server, h.address) == (grpc.StatusCode.OK, None)
        for leaf in (forged, Identity("insurer", forged.key, chain.decode())):
            assert raw_call(leaf, server, h.address)[0] is grpc.StatusCode.UNAVAILABLE
    # And the other way round: a server with the forged leaf, and a client that trusts the bank and the insurer.
    credentials = grpc.ssl_server_credentials([(forged.key, chain)])
    server_object = grpc.server(ThreadPoolExecutor(2))
    port = server_object.add_secure_port("127.0.0.1:0", credentials)
    server_object.start()
    try:
        with secure_channel(
            f"ipv4:127.0.0.1:{port}", hospital, "insurer", (bank.certificate, insurer.certificate), QUICK
        ) as channel:
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(LINK_UP)(b"", timeout=3)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    finally:
        server_object.stop(0).wait()


async def test_who_may_call(hospital: Identity, insurer: Identity) -> None:
    stranger, twin = Identity.create("insurer"), Identity.create("bank")
    async with party(hospital, *(Peer(one.name, (one.certificate,)) for one in (insurer, twin))) as h:
        server = h.as_peer(h.address)
        refused = grpc.StatusCode.PERMISSION_DENIED
        assert raw_call(insurer, server, h.address) == (grpc.StatusCode.OK, None)
        assert raw_call(stranger, server, h.address)[0] is grpc.StatusCode.UNAVAILABLE
        assert raw_call(twin, server, h.address, **{PARTY_KEY: "insurer"}) == (refused, "wrong_party")
        assert raw_call(insurer, server, h.address, **{PARTY_KEY: ""}) == (refused, "wrong_party")
        assert raw_call(insurer, server, h.address, **{VERSION_KEY: "0"}) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "version",
        )
        assert raw_call(insurer, server, h.address, "/privcompute.v1.Pairing/Join") == (refused, "join_refused")
        assert raw_call(insurer, server, h.address, "/privcompute.v1.Node/Other")[0] is grpc.StatusCode.UNIMPLEMENTED


async def test_own_identity_is_no_peer(hospital: Identity) -> None:
    """Even where somebody wrote it into the book."""
    async with party(hospital, Peer("insurer", (hospital.certificate,))) as h:
        status, code = raw_call(hospital, h.as_peer(h.address), h.address)
        assert (status, code) == (grpc.StatusCode.PERMISSION_DENIED, "own_identity")


async def test_port_has_one_owner(paired: Pairing, insurer: Identity) -> None:
    h, _ = await paired()
    with pytest.raises(TransportError) as caught:
        async with party(insurer, listen=h.address):
            pass
    assert caught.value.code == "port_taken"


@pytest.mark.parametrize(
    ("listen", "hosts"),
    [("127.0.0.1:0", ["127.0.0.1"]), ("[::1]:0", ["[::1]"]), ("[::]:0", ["127.0.0.1", "[::1]", "localhost"])],
)
async def test_address_families(paired: Pairing, listen: str, hosts: list[str]) -> None:
    if "[" in listen and not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    h, i = await paired(listen=listen)
    port = h.address.rpartition(":")[2]
    for n, host in enumerate(hosts):
        i.book.replace(h.as_peer(f"{host}:{port}"))
        link = await i.endpoint.open_link("hospital", bytes([n + 1]))
        await link.close()


async def test_another_node_at_the_address(hospital: Identity, insurer: Identity) -> None:
    other = Identity.create("hospital")
    async with party(other, Peer("insurer", (insurer.certificate,))) as impostor:
        expected = Peer("hospital", (hospital.certificate,), (impostor.address,))
        async with party(insurer, expected, listen=None) as i:
            with pytest.raises(TransportError) as caught:
                await i.endpoint.open_link("hospital", b"s")
    assert (caught.value.code, caught.value.party) == ("wrong_certificate", "hospital")
    assert impostor.came.empty()


async def test_doctor_probe(paired: Pairing, hospital: Identity, insurer: Identity) -> None:
    h, _ = await paired()
    server = h.as_peer(h.address)
    found = await asyncio.to_thread(probe, h.address, peer=server, identity=insurer)
    assert (found.sound, found.tls, found.pinned, found.admitted) == (True, "TLSv1.3", True, True)
    assert found.clock is not None
    assert abs(found.clock) < 2
    assert found.fingerprint == hospital.fingerprint
    other = Peer("hospital", (Identity.create("hospital").certificate,))
    assert (await asyncio.to_thread(probe, h.address, peer=other)).pinned is False
    stranger = await asyncio.to_thread(probe, h.address, peer=server, identity=Identity.create("insurer"))
    assert (stranger.admitted, stranger.sound) == (False, False)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
    assert not (await asyncio.to_thread(probe, f"127.0.0.1:{port}")).reachable
    assert not (await asyncio.to_thread(probe, "nonsense")).reachable


async def test_health_service(paired: Pairing, insurer: Identity) -> None:
    h, _ = await paired()
    server = h.as_peer(h.address)
    assert abs(await asyncio.to_thread(health, h.address, server, insurer)) < 2
    with secure_channel(f"ipv4:{h.address}", insurer, "hospital", server.certificates, QUICK) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="privcompute.v1.Node"), timeout=5)
        first = await asyncio.to_thread(next, watch)
        assert first.status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()
    with pytest.raises(PrivcomputeError):
        await asyncio.to_thread(health, h.address, server, Identity.create("insurer"))


async def test_calls_of_one_peer_are_capped(paired: Pairing, insurer: Identity) -> None:
    h, i = await paired()
    server = h.as_peer(h.address)
    request = health_pb2.HealthCheckRequest()
    channels = [secure_channel(f"ipv4:{h.address}", insurer, "hospital", server.certificates, QUICK) for _ in range(2)]
    try:
        stubs = [health_pb2_grpc.HealthStub(one) for one in channels]
        watches = [stubs[n % 2].Watch(request, timeout=10) for n in range(QUICK.calls_per_peer)]
        for watch in watches:
            await asyncio.to_thread(next, watch)
        with pytest.raises(PrivcomputeError) as caught:
            await i.endpoint.open_link("hospital", b"s")
        assert caught.value.code == "busy"
        for watch in watches:
            watch.cancel()
        for _ in range(50):
            try:
                await (await i.endpoint.open_link("hospital", b"s")).close()
                break
            except PrivcomputeError:
                await asyncio.sleep(0.05)
        else:
            pytest.fail("the places were not given back")
    finally:
        for one in channels:
            one.close()


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False
