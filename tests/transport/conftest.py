"""Two paired parties on ports the operating system chooses, and both kinds of channel under one name."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

import privcompute.transport  # noqa: F401 - before grpc: it sets the TLS version
from privcompute.session import Channel
from privcompute.testing import loopback_pair
from privcompute.transport.book import MemoryBook, Peer
from privcompute.transport.endpoint import Endpoint
from privcompute.transport.gate import (
    CODE_KEY,
    CONTROL,
    FINGERPRINT_KEY,
    LINK_DOWN,
    LINK_UP,
    PARTY_KEY,
    SESSION_KEY,
    TICKET_KEY,
    VERSION_KEY,
)
from privcompute.transport.identity import Identity
from privcompute.transport.limits import PROTOCOL_VERSION, TransportLimits
from privcompute.transport.tls import secure_channel

import grpc  # isort: skip - after privcompute.transport

QUICK = TransportLimits(
    connect=5.0, stall=3.0, close=1.0, join=5.0, keepalive=1.0, keepalive_answer=1.0, first_retry=0.1, refresh=0.1
)


@dataclass
class Party:
    """An endpoint under test, its book, and the links its peers opened."""

    identity: Identity
    book: MemoryBook
    endpoint: Endpoint
    came: asyncio.Queue[Channel]
    release: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        return self.identity.name

    @property
    def address(self) -> str:
        return self.endpoint.addresses[0]

    def as_peer(self, *addresses: str) -> Peer:
        return Peer(self.name, (self.identity.certificate,), addresses)


@asynccontextmanager
async def party(
    identity: Identity,
    *peers: Peer,
    listen: str | None = "127.0.0.1:0",
    limits: TransportLimits = QUICK,
    keep_control: bool = False,
) -> AsyncIterator[Party]:
    """A started endpoint; links that peers open wait in ``came`` and stay until the end of the test."""
    book, came, release = MemoryBook(*peers), asyncio.Queue[Channel](), asyncio.Event()

    async def take(_peer: str, _session: bytes, channel: Channel) -> None:
        came.put_nowait(channel)
        await release.wait()

    endpoint = Endpoint(identity, book, listen=listen, on_link=take, limits=limits, keep_control=keep_control)
    await endpoint.start()
    try:
        yield Party(identity, book, endpoint, came, release)
    finally:
        release.set()
        await endpoint.stop()


@pytest.fixture(scope="session")
def hospital() -> Identity:
    return Identity.create("hospital")


@pytest.fixture(scope="session")
def insurer() -> Identity:
    return Identity.create("insurer")


Pair = tuple[Party, Party]
Pairing = Callable[..., Awaitable[Pair]]


@pytest.fixture
async def paired(hospital: Identity, insurer: Identity) -> AsyncIterator[Pairing]:
    """Makes a listening hospital and an insurer that knows its address."""
    async with AsyncExitStack() as stack:

        async def make(listen: str = "127.0.0.1:0", limits: TransportLimits = QUICK) -> Pair:
            h = await stack.enter_async_context(party(hospital, listen=listen, limits=limits))
            i = await stack.enter_async_context(party(insurer, h.as_peer(h.address), listen=None, limits=limits))
            h.book.add(i.as_peer())
            return h, i

        yield make


def raw_call(
    identity: Identity, server: Peer, address: str, method: str = CONTROL, **claims: str
) -> tuple[grpc.StatusCode, str | None]:
    """The status and named code of a call made by hand."""
    said = {PARTY_KEY: identity.name, VERSION_KEY: PROTOCOL_VERSION, **claims}
    with secure_channel(f"ipv4:{address}", identity, server.name, server.certificates, QUICK) as channel:
        stream = channel.stream_stream(method)(
            iter(()), timeout=3, metadata=(*said.items(), (SESSION_KEY, b"raw")), wait_for_ready=False
        )
        if FINGERPRINT_KEY in dict(stream.initial_metadata() or ()):
            stream.cancel()
            return grpc.StatusCode.OK, None
        return stream.code(), dict(stream.trailing_metadata() or ()).get(CODE_KEY)


class Raw:
    """Both calls of a link, made by hand as that party."""

    def __init__(self, h: Party, identity: Identity) -> None:
        self.identity = identity
        self.over = threading.Event()
        self.channel = secure_channel(f"ipv4:{h.address}", identity, h.name, (h.identity.certificate,), QUICK)

    def _said(self, *more: tuple[str, bytes]) -> tuple[tuple[str, str | bytes], ...]:
        return ((PARTY_KEY, self.identity.name), (VERSION_KEY, PROTOCOL_VERSION), *more)

    def up(self, frames: Iterable[bytes] = ()) -> tuple[Any, bytes]:
        """The first call, and the ticket it is given."""

        def send() -> Iterator[bytes]:
            yield from frames
            self.over.wait()

        call = self.channel.stream_stream(LINK_UP)(send(), metadata=self._said((SESSION_KEY, b"raw")), timeout=20)
        return call, dict(call.initial_metadata()).get(TICKET_KEY, b"")

    def down(self, *tickets: bytes) -> Any:
        """The second call, with that ticket."""
        said = self._said(*((TICKET_KEY, ticket) for ticket in tickets))
        return self.channel.stream_stream(LINK_DOWN)(iter(()), metadata=said, timeout=20)

    def refused(self, *tickets: bytes) -> str:
        """The code by which the second call is refused."""
        call = self.down(*tickets)
        with pytest.raises(grpc.RpcError):
            next(call)
        return str(dict(call.trailing_metadata())[CODE_KEY])


@contextmanager
def raw(h: Party, identity: Identity) -> Iterator[Raw]:
    calls = Raw(h, identity)
    try:
        yield calls
    finally:
        calls.over.set()
        calls.channel.close()


Ends = tuple[Channel, Channel]
MakeEnds = Callable[..., Awaitable[Ends]]


@pytest.fixture(params=["loopback", "grpc", "grpc-answered"])
async def ends(request: pytest.FixtureRequest, paired: Pairing) -> MakeEnds:
    """Makes the two ends of a link: in memory; over gRPC, the dialling end first; and the other way round."""

    async def make(credit: int = 64 << 20) -> Ends:
        if request.param == "loopback":
            first, second = loopback_pair("hospital", "insurer", credit=credit)
            return second, first  # the channels to the hospital and to the insurer
        limits = replace(QUICK, credit=credit)
        h, i = await paired(limits=limits)
        dialled = await i.endpoint.open_link("hospital", b"session")
        answered = await asyncio.wait_for(h.came.get(), 5)
        return (dialled, answered) if request.param == "grpc" else (answered, dialled)

    return make
