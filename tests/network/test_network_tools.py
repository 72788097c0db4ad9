"""The lossy networks of the tests themselves: they lose, delay, cut and flip as told, and carry the rest."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from support.relay import Mischief, relay
from support.router import NamespacesUnavailable, lossy_network

SERVE = """
import hashlib, socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.create_server((sys.argv[1], 0), family=family) as listener:
    print(listener.getsockname()[1], flush=True)
    connection, _ = listener.accept()
    digest = hashlib.sha256()
    while chunk := connection.recv(65536):
        digest.update(chunk)
    connection.sendall(digest.digest())
"""
SEND = """
import hashlib, socket, sys, time
data = bytes(range(251)) * (int(sys.argv[3]) // 251)
start = time.monotonic()
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=60) as connection:
    print(time.monotonic() - start)
    connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)
    echoed = connection.recv(32)
print(echoed == hashlib.sha256(data).digest())
"""


@pytest.mark.network
@pytest.mark.parametrize("family", [0, 1], ids=["ipv4", "ipv6"])
def test_a_lossy_network_delays_and_loses_and_tcp_still_arrives(family: int) -> None:
    try:
        with lossy_network(rtt=0.05, loss=0.01, seed=3) as (here, there, router):
            address = (there.address, there.address6)[family]
            if family and address not in _addresses(there.command(["ip", "-6", "address"])):
                pytest.skip("this kernel has no IPv6")
            server = subprocess.Popen(
                there.command([sys.executable, "-c", SERVE, address]), stdout=subprocess.PIPE, text=True
            )
            assert server.stdout is not None
            port = server.stdout.readline().strip()
            client = here.command([sys.executable, "-c", SEND, address, port, str(400_000)])
            said = subprocess.run(client, capture_output=True, text=True, timeout=60, check=True).stdout.split()
            server.communicate(timeout=20)
    except NamespacesUnavailable as reason:
        pytest.skip(f"no network namespaces here: {reason}")
    assert said[1] == "True"
    assert 0.05 <= float(said[0]) < 4  # the handshake takes one round trip, more if a packet of it was lost
    assert router.counts.carried > 300
    assert 0 < router.counts.lost < 0.05 * router.counts.carried


def _addresses(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout


@contextlib.contextmanager
def _sink() -> Iterator[tuple[int, list[bytes]]]:
    """A server that keeps what arrives and answers with its digest."""
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                data = b""
                with contextlib.suppress(OSError):
                    while chunk := connection.recv(65536):
                        data += chunk
                    connection.sendall(hashlib.sha256(data).digest())
                got.append(data)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], got
        thread.join()


def _send(port: int, data: bytes) -> tuple[bytes, float]:
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return connection.recv(32), time.monotonic() - start
        except OSError:
            return b"", time.monotonic() - start


def test_the_relay_delays_and_carries_everything() -> None:
    data = bytes(range(256)) * 2000
    with _sink() as (port, got), relay(("127.0.0.1", port), delay=0.05) as made:
        answer, seconds = _send(made.port, data)
    assert got == [data]
    assert answer == hashlib.sha256(data).digest()
    assert seconds >= 0.1
    assert made.carried == {"up": len(data), "down": 32}
    assert made.connections == 1


def test_the_relay_cuts_where_told() -> None:
    data = bytes(500_000)
    with _sink() as (port, got), relay(("127.0.0.1", port), mischief=Mischief("cut", 200_000)) as made:
        answer, _ = _send(made.port, data)
    assert answer == b""
    assert len(got[0]) <= 200_000
    assert made.struck


def test_the_relay_flips_one_bit() -> None:
    data = bytes(500_000)
    with _sink() as (port, got), relay(("127.0.0.1", port), mischief=Mischief("flip", 200_000)) as made:
        answer, _ = _send(made.port, data)
    assert answer != hashlib.sha256(data).digest()
    assert got[0].count(1) == 1
    assert got[0][200_000] == 1
    assert made.struck
