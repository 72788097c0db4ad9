"""One node's presence on the network: its port, its control streams, its links.

Its coroutines run on one event loop, where also the links live; gRPC's threads cross to it by `_on_loop`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from privcompute.errors import PeerError, PrivcomputeError, TransportError
from privcompute.session import Channel
from privcompute.transport import dial, renewal
from privcompute.transport.address import Address
from privcompute.transport.book import Peer, PeerBook
from privcompute.transport.control import Keeper, Standing
from privcompute.transport.gate import Gate
from privcompute.transport.identity import Identity
from privcompute.transport.limits import TransportLimits
from privcompute.transport.link import GrpcLink
from privcompute.transport.service import add_services
from privcompute.transport.tls import server_credentials

_DIALLING = 16
OnLink = Callable[[str, bytes, Channel], Awaitable[None]]


class Endpoint:
    """Opens and accepts links.

    Args:
        identity: This node's.
        book: Its peers and invitations.
        listen: HOST:PORT to listen on; None: reach out only.
        limits: Sizes and times.
        on_link: Called on the loop with each link that a peer opens and that nobody here expects.
        keep_control: Keep a control stream open to each peer whose address is known, so that it can ask for links.
    """

    def __init__(
        self,
        identity: Identity,
        book: PeerBook,
        *,
        listen: str | None,
        on_link: OnLink,
        limits: TransportLimits | None = None,
        keep_control: bool = False,
    ) -> None:
        self.identity = identity
        self.book = book
        self.limits = limits or TransportLimits()
        self.addresses: tuple[str, ...] = ()
        self.standing = Standing()
        self._listen = listen
        self._on_link = on_link
        self._keep = keep_control
        self._links: set[GrpcLink] = set()
        self._expected: dict[tuple[str, bytes], asyncio.Future[Channel]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._keepers: dict[str, Keeper] = {}
        # Dialling blocks for seconds: not on the loop's default threads, where kernels run.
        self._dialling = ThreadPoolExecutor(_DIALLING, thread_name_prefix="dial")
        self._server: grpc.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Binds the port, if any, and starts keeping control streams.

        Raises:
            TransportError: ``port_taken``.
        """
        self._loop = asyncio.get_running_loop()
        if self._listen is not None:
            self._server, self.addresses = await asyncio.to_thread(self._bind, Address.parse(self._listen))
        self._tasks.add(asyncio.create_task(self._watch(), name="endpoint"))

    def _bind(self, where: Address) -> tuple[grpc.Server, tuple[str, ...]]:
        gate = Gate(lambda: self.identity, self.book, self.limits.calls_per_peer)
        server = grpc.server(
            ThreadPoolExecutor(self.limits.calls, thread_name_prefix="serve"),
            interceptors=[gate],
            options=self.limits.server_options(),
            maximum_concurrent_rpcs=self.limits.calls,
        )
        add_services(server, gate, self)
        credentials = server_credentials(lambda: self.identity, self.book)
        try:
            port = server.add_secure_port(str(where), credentials)
        except RuntimeError:
            port = 0
        if not port:
            raise TransportError(
                f"cannot listen on {where}",
                code="port_taken",
                remedy="the port is taken, or the address is not this machine's; see `listen` in node.toml",
            )
        server.start()
        return server, (str(Address(where.host, port)),)

    async def stop(self) -> None:
        """Ends every link and stops listening."""
        for keeper in self._keepers.values():
            keeper.stop()
        self.standing.clear()
        gone = TransportError("the node is stopping", code="stopping", party=self.identity.name)
        await asyncio.gather(*(link.abort(gone) for link in list(self._links)), return_exceptions=True)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await asyncio.to_thread(self._server.stop(1.0).wait)
        self._dialling.shutdown(wait=False, cancel_futures=True)

    async def _watch(self) -> None:
        """Looks at the book now and then: un-paired parties lose their links, new ones get a control stream."""
        while True:
            await self.refresh()
            await asyncio.sleep(self.limits.refresh)

    async def refresh(self) -> None:
        """Acts at once on what changed in the book (or in `identity`), which otherwise takes a moment."""
        peers = {peer.name: peer for peer in await asyncio.to_thread(self.book.all)}
        for link in list(self._links):
            peer = peers.get(link.peer)
            if peer is None or link.peer_fingerprint not in peer.fingerprints:
                link.end(TransportError("the parties are no longer paired", code="unpaired", party=link.peer))
            elif link.own_fingerprint != self.identity.fingerprint:
                link.end(TransportError("this node's certificate was renewed", code="renewed", party=link.peer))
            elif link.quiet_for > self.limits.idle:
                link.end(TransportError("nothing moved on the link for too long", code="idle", party=link.peer))
        self.standing.keep({f for peer in peers.values() for f in peer.fingerprints})
        self._keep_controls(peers)

    def _keep_controls(self, peers: dict[str, Peer]) -> None:
        wanted = {name: peer for name, peer in peers.items() if self._keep and peer.addresses}
        for name in list(self._keepers):
            if self._keepers[name].peer != wanted.get(name) or self._keepers[name].identity != self.identity:
                self._keepers.pop(name).stop()
        for name, peer in wanted.items():
            if name not in self._keepers:
                self._keepers[name] = Keeper(self.identity, peer, self.limits, self._asked)
                self._keepers[name].start()

    # -- links --------------------------------------------------------------------------------------------------------

    async def open_link(self, peer: str, session_id: bytes) -> Channel:
        """A link to ``peer``: over its control stream if it keeps one open here, else by dialling its addresses.

        Raises:
            TransportError: ``unreachable``, ``refused``, or the name of what the peer answered.
        """
        known = await asyncio.to_thread(self.book.get, peer)
        if known is None:
            raise TransportError(f"{peer} is not paired with this node", code="not_paired", party=peer)
        if self.standing.ask(known.fingerprints, session_id):
            with contextlib.suppress(TransportError):
                return await self.accept_link(peer, session_id, self.limits.connect)
        failure = TransportError(
            f"{peer} keeps no stream open to this node and has no known address",
            code="unreachable",
            party=peer,
            remedy=f"start `privcompute serve` at {peer}; one of the two nodes must be reachable",
        )
        for address in known.addresses:
            try:
                return await self._dial(known, address, session_id)
            except TransportError as error:
                failure = error
        raise failure

    async def _dial(self, peer: Peer, address: str, session_id: bytes) -> GrpcLink:
        opened: list[dial.Call] = []
        link = GrpcLink(
            peer.name,
            session_id,
            (self.identity.fingerprint, ""),
            self.limits,
            lambda: opened[0].cancel() if opened else None,
        )
        dialled = self._dialling.submit(
            dial.open_link, self.identity, peer, address, session_id, link.outbox, self.limits
        )
        try:
            call = await asyncio.wrap_future(dialled)
        except BaseException:
            link.drop()
            dialled.add_done_callback(dial.hang_up)  # if the wait was cancelled, the thread may still get through
            raise
        opened.append(call)
        link.peer_fingerprint = call.fingerprint
        self._note_renewal(peer, call.fingerprint)
        self._adopt(link)
        threading.Thread(target=call.read, args=(link,), name=f"read {peer.name}", daemon=True).start()
        return link

    async def accept_link(self, peer: str, session_id: bytes, timeout: float) -> Channel:
        """The link that ``peer`` opens for that session.

        Raises:
            TransportError: ``unreachable``: none came in time.
        """
        future = self._expected.setdefault((peer, session_id), asyncio.get_running_loop().create_future())
        try:
            return await asyncio.wait_for(asyncio.shield(future), timeout)
        except TimeoutError:
            raise TransportError(
                f"{peer} did not open its link in time",
                code="unreachable",
                party=peer,
                remedy=f"check the network from {peer} to this node (privcompute doctor there)",
            ) from None
        finally:
            self._expected.pop((peer, session_id), None)

    def _adopt(self, link: GrpcLink) -> None:
        self._links.add(link)
        task = asyncio.create_task(link.ended.wait())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: self._links.discard(link))

    # -- called from gRPC's threads -----------------------------------------------------------------------------------

    def _on_loop(self, work: Callable[[], Any]) -> Any:
        if self._loop is None:
            raise RuntimeError("the endpoint has not started")

        async def call() -> Any:
            return work()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(self.limits.connect)

    def incoming(self, peer: Peer, fingerprint: str, session_id: bytes, cancel: Callable[[], None]) -> GrpcLink:
        """A link that a peer opened, made on the loop and handed to whoever expects it, else to ``on_link``.

        Raises:
            PeerError: ``busy``: the peer has as many links open as it may.
        """
        link: GrpcLink = self._on_loop(lambda: self._welcome(peer, fingerprint, session_id, cancel))
        return link

    def _welcome(self, peer: Peer, fingerprint: str, session_id: bytes, cancel: Callable[[], None]) -> GrpcLink:
        if sum(link.peer == peer.name for link in self._links) >= self.limits.links_per_peer:
            raise PeerError("too many links are open", code="busy", party=peer.name)
        self._note_renewal(peer, fingerprint)
        link = GrpcLink(peer.name, session_id, (self.identity.fingerprint, fingerprint), self.limits, cancel)
        self._adopt(link)
        self._hand_over(link)
        return link

    def _hand_over(self, link: GrpcLink) -> None:
        """A link that came about at the peer's wish goes to whoever expects it here, else to ``on_link``."""
        expected = self._expected.get((link.peer, link.session_id))
        if expected is not None and not expected.done():
            expected.set_result(link)
        else:
            self._serve(link)

    def _note_renewal(self, peer: Peer, fingerprint: str) -> None:
        """The peer's next certificate is in use: the old one is forgotten, and `refresh` ends what came with it."""
        if fingerprint != peer.fingerprints[0]:
            self.book.replace(peer.promoted(fingerprint))

    def _serve(self, link: GrpcLink) -> None:
        async def work() -> None:
            try:
                if link.session_id == renewal.SESSION:
                    await renewal.hear(self.book, self.identity, link, link.peer_fingerprint, self.limits.join)
                else:
                    await self._on_link(link.peer, link.session_id, link)
            except PrivcomputeError as error:
                await link.abort(error)
            finally:
                if not link.ended.is_set():
                    await link.close()

        task = asyncio.get_running_loop().create_task(work(), name=f"answer {link.peer}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _asked(self, peer: Peer, session_id: bytes) -> None:
        """A peer asked over its control stream for a link; from the keeper's thread."""
        if self._loop is None:
            return

        async def work() -> None:
            for address in peer.addresses:
                with contextlib.suppress(TransportError, PeerError):
                    self._hand_over(await self._dial(peer, address, session_id))
                    return

        def begin() -> None:
            if sum(link.peer == peer.name for link in self._links) >= self.limits.links_per_peer:
                return  # the peer's own wait for the link ends by its deadline
            task = asyncio.get_running_loop().create_task(work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(begin)
