"""Addresses: HOST:PORT with IPv6 in brackets, what a node listens on and what it tells others."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import Final

from privcompute.errors import TransportError, UsageError

MAX_ADDRESSES: Final = 16
MAX_ADDRESS: Final = 260
_FORM: Final = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+(?:%\w+)?)\]|(?P<host>[A-Za-z0-9_.-]{1,253})):(?P<port>\d{1,5})")


@dataclass(frozen=True)
class Address:
    """A host (name, IPv4 or IPv6 without brackets) and a TCP port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Splits HOST:PORT.

        Raises:
            UsageError: code ``bad_address``.
        """
        match = _FORM.fullmatch(text)
        port = int(match["port"]) if match else 0
        if match is None or port > 65_535 or (match["six"] and not _is_ip(match["six"])):
            raise UsageError(
                "an address is HOST:PORT, an IPv6 one [HOST]:PORT",
                code="bad_address",
                remedy="write for example '[::]:7443', '0.0.0.0:7443' or 'node.example:7443'",
            )
        return cls(match["six"] or match["host"], port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def wildcard(self) -> bool:
        """Means every address of this machine."""
        return _is_ip(self.host) and ipaddress.ip_address(self.host.split("%")[0]).is_unspecified

    @property
    def loopback(self) -> bool:
        """Reaches this machine only."""
        if _is_ip(self.host):
            return ipaddress.ip_address(self.host.split("%")[0]).is_loopback
        return self.host == "localhost" or self.host.endswith(".localhost")

    @property
    def target(self) -> str:
        """As gRPC names it."""
        if not _is_ip(self.host):
            return f"dns:///{self}"
        return f"ipv6:{self}" if ":" in self.host else f"ipv4:{self}"


def cannot_listen(where: Address) -> TransportError:
    """Why a node cannot listen there; gRPC does not say."""
    code, why = "cannot_listen", "that address is not this machine's, or not ours to use"
    family = socket.AF_INET6 if ":" in where.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((where.host, where.port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            code, why = "port_taken", "another process listens on that port"
    return TransportError(
        f"cannot listen on {where}: {why}",
        code=code,
        remedy="end the other process, or change `listen` in node.toml",
    )


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return False
    return True


def clean_addresses(texts: tuple[str, ...]) -> tuple[str, ...]:
    """A peer's advertised addresses: only well-formed ones that name one machine, at most `MAX_ADDRESSES`.

    They are hints: trust comes from the pinned certificate, so a wrong one costs a failed connection.
    """
    kept: list[str] = []
    for text in texts[:MAX_ADDRESSES]:
        with contextlib.suppress(UsageError):
            address = Address.parse(text[:MAX_ADDRESS])
            if not address.wildcard and address.port and str(address) not in kept:
                kept.append(str(address))
    return tuple(kept)


def reachable_addresses(listen: str, port: int | None = None) -> tuple[str, ...]:
    """What to tell a peer about a node that listens there: for a wildcard, the machine's own addresses.

    Args:
        listen: HOST:PORT as configured.
        port: The port in use, where the configured one is 0.

    Returns:
        Addresses a peer may try, best first; only loopback ones if the machine has no other (see `only_loopback`).
    """
    address = Address.parse(listen)
    used = port or address.port
    if not address.wildcard:
        return (str(Address(address.host, used)),)
    families = (socket.AF_INET, socket.AF_INET6) if ":" in address.host else (socket.AF_INET,)
    found = [host for family in families for host in _outward(family)]
    local = [host for family, host in ((socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")) if family in families]
    return tuple(str(Address(host, used)) for host in (found or local))


def only_loopback(addresses: tuple[str, ...]) -> bool:
    """No other machine could use these: `invite` warns."""
    return all(Address.parse(one).loopback for one in addresses)


def _outward(family: socket.AddressFamily) -> list[str]:
    """The address this machine would use towards others. Connecting a datagram socket sends nothing."""
    probe = ("192.0.2.1", 9) if family == socket.AF_INET else ("2001:db8::1", 9)  # documentation networks
    hosts: list[str] = []
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect(probe)
        hosts.append(str(sock.getsockname()[0]))
    with contextlib.suppress(OSError):
        infos = socket.getaddrinfo(socket.gethostname(), None, family, socket.SOCK_STREAM)
        hosts += [str(info[4][0]) for info in infos]
    usable = []
    for host in hosts:
        ip = ipaddress.ip_address(host.split("%")[0])
        if not (ip.is_loopback or ip.is_unspecified or ip.is_link_local) and host not in usable:
            usable.append(host)
    return usable
