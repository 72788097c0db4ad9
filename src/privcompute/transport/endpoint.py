"""One node's presence on the network: its port, its control streams, its links.

Its coroutines run on one event loop, where also the links live; gRPC's threads cross to it by `_on_loop`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import grpc
from grpc_health.v1 import health

from privcompute.errors import PeerError, PrivcomputeError, TransportError
from privcompute.session import Channel
from privcompute.transport import dial, renewal
from privcompute.transport.address import Address, cannot_listen
from privcompute.transport.book import Peer, PeerBook
from privcompute.transport.calls import Calls
from privcompute.transport.control import Keeper, Standing
from privcompute.transport.gate import Gate
from privcompute.transport.identity import Identity
from privcompute.transport.limits import TransportLimits
from privcompute.transport.link import GrpcLink
from privcompute.transport.service import add_services
from privcompute.transport.tls import server_credentials

LOG: Final = logging.getLogger("privcompute.transport")
_DIALLING: Final = 16
_PAST: Final = 256
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
        self._half: dict[bytes, GrpcLink] = {}  # by ticket: the peer's second call is yet to come
        self._expected: dict[tuple[str, bytes], asyncio.Future[GrpcLink]] = {}
        self._past: deque[tuple[str, bytes]] = deque(maxlen=_PAST)  # links that were expected, come or not
        self._wishes: Counter[str] = Counter()  # links and diallings at the wish of a peer, by its name
        self._readers: set[threading.Thread] = set()
        self._stopping = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._keepers: dict[str, Keeper] = {}
        # Dialling blocks for seconds: not on the loop's default threads, where kernels run.
        self._dialling = ThreadPoolExecutor(_DIALLING, thread_name_prefix="dial")
        self._server: grpc.Server | None = None
        self._serving = ThreadPoolExecutor(self.limits.calls, thread_name_prefix="serve")
        self._health: health.HealthServicer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Binds the port, if any, and starts keeping control streams.

        Raises:
            TransportError: ``port_taken`` or ``cannot_listen``.
        """
        self._loop = asyncio.get_running_loop()
        if self._listen is not None:
            await asyncio.to_thread(self._bind, Address.parse(self._listen))
        self._spawn(self._watch(), "endpoint")

    def _bind(self, where: Address) -> None:
        gate = Gate(lambda: self.identity, self.book, self.limits.calls_per_peer)
        server = grpc.server(
            self._serving,
            interceptors=[gate],
            options=self.limits.server_options(),
            maximum_concurrent_rpcs=self.limits.calls,
        )
        self._health = add_services(server, self)
        credentials = server_credentials(lambda: self.identity, self.book)
        try:
            port = server.add_secure_port(str(where), credentials)
        except RuntimeError:
            port = 0
        if not port:
            raise cannot_listen(where)
        server.start()
        self._server, self.addresses = server, (str(Address(where.host, port)),)

    async def stop(self) -> None:
        """Ends every link, stops listening, and returns when its threads are gone."""
        self._stopping = True
        if self._health is not None:
            self._health.enter_graceful_shutdown()
        keepers = list(self._keepers.values())
        for keeper in keepers:
            keeper.stop()
        self.standing.clear()
        gone = TransportError("the node is stopping", code="stopping", party=self.identity.name)
        await asyncio.gather(*(link.abort(gone) for link in list(self._links)), return_exceptions=True)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._join, [*self._readers, *(keeper.thread for keeper in keepers)])

    def _join(self, threads: list[threading.Thread]) -> None:
        if self._server is not None:
            self._server.stop(1.0).wait()
        for thread in threads:
            thread.join(self.limits.close)
        self._dialling.shutdown(cancel_futures=True)
        self._serving.shutdown(cancel_futures=True)

    def _spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _watch(self) -> None:
        """Looks at the book now and then: un-paired parties lose their links, new ones get a control stream."""
        while True:
            try:
                await self.refresh()
            except Exception:  # whatever ails the book now: un-pairing must be seen once it is well again
                LOG.error("the peers could not be looked at")
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
            elif link.unclaimed_for > self.limits.claim:
                link.end(TransportError("nobody here took the link", code="unclaimed", party=link.peer))
        # A peer's control stream that met our certificate before a renewal ends; its keeper comes back to the new one.
        self.standing.keep({f for peer in peers.values() for f in peer.fingerprints}, self.identity.fingerprint)
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
        with self.standing.wanting(known.fingerprints, session_id) as asked:
            if asked:
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
        calls = Calls()
        link = GrpcLink(peer.name, session_id, (self.identity.fingerprint, ""), self.limits, calls)
        dialled = self._dialling.submit(
            dial.open_link, self.identity, peer, address, session_id, link.outbox, self.limits, calls
        )
        try:
            call = await asyncio.wrap_future(dialled)
        except BaseException:
            calls.cancel()
            link.drop()
            dialled.add_done_callback(dial.hang_up)  # if the wait was cancelled, the thread may still get through
            raise
        link.peer_fingerprint = call.fingerprint
        if call.fingerprint != peer.fingerprints[0]:
            self.book.replace(peer.promoted(call.fingerprint))  # as the gate does for those who call here
        self._adopt(link, lambda: call.read(link))
        return link

    async def accept_link(self, peer: str, session_id: bytes, timeout: float) -> Channel:
        """The link that ``peer`` opens for that session; one that comes later is refused.

        Raises:
            TransportError: ``unreachable``: none came in time.
        """
        key = (peer, session_id)
        future: asyncio.Future[GrpcLink] = asyncio.get_running_loop().create_future()
        self._expected[key] = future
        try:
            done, _ = await asyncio.wait({future}, timeout=timeout)
            if done:
                return future.result()
            raise TransportError(
                f"{peer} did not open its link in time",
                code="unreachable",
                party=peer,
                remedy=f"check the network from {peer} to this node (privcompute doctor there)",
            )
        except asyncio.CancelledError:
            if future.done():
                future.result().end(TransportError("nobody waits for the link", code="cancelled", party=peer))
            raise
        finally:
            self._past.append(key)  # who was asked twice does not come twice
            future.cancel()
            del self._expected[key]

    def _adopt(self, link: GrpcLink, read: Callable[[], None]) -> None:
        """Keeps the link until its stream is over, and starts its reader."""
        self._links.add(link)

        def run() -> None:
            try:
                read()
            finally:
                self._readers.discard(threading.current_thread())

        reader = threading.Thread(target=run, name=f"read {link.peer}", daemon=True)
        self._readers.add(reader)
        reader.start()
        self._spawn(link.ended.wait(), "link").add_done_callback(lambda _: self._forget(link))

    def _forget(self, link: GrpcLink) -> None:
        self._links.discard(link)
        self._half.pop(link.ticket, None)

    # -- the peers' wishes --------------------------------------------------------------------------------------------

    def incoming(
        self,
        peer: Peer,
        fingerprint: str,
        session_id: bytes,
        calls: Calls,
        frames: Iterator[bytes],
        reason: Callable[[Exception | None], PrivcomputeError],
    ) -> GrpcLink:
        """A link that a peer opened, made on the loop and handed to whoever expects it, else to ``on_link``.

        Called from a thread of gRPC's; the arguments from ``calls`` on are `GrpcLink`'s.

        Raises:
            PeerError: ``busy``: the peer has as many links open as it may; ``late``: nobody waits any more.
            TransportError: ``stopping``.
        """

        async def welcome() -> GrpcLink:
            expected = self._check_wish(peer.name, session_id)
            link = GrpcLink(peer.name, session_id, (self.identity.fingerprint, fingerprint), self.limits, calls)
            self._adopt(link, lambda: link.read_from(frames, reason))
            self._half[link.ticket] = link
            self._hand_over(link, expected)
            return link

        if self._loop is None:
            raise RuntimeError("the endpoint has not started")
        made = asyncio.run_coroutine_threadsafe(welcome(), self._loop)
        try:
            return made.result(self.limits.connect)
        except TimeoutError:
            made.cancel()
            raise PeerError("the node is too busy to take a link", code="busy", party=peer.name) from None

    def awaiting(self, peer: Peer, fingerprint: str, ticket: str | bytes) -> GrpcLink | None:
        """The link of which the peer opened one call and now opens the other. Once; from a thread of gRPC's."""
        link = self._half.get(ticket) if isinstance(ticket, bytes) else None
        if link is None or (link.peer, link.peer_fingerprint) != (peer.name, fingerprint):
            return None
        return self._half.pop(link.ticket, None)

    def _check_wish(self, peer: str, session_id: bytes) -> asyncio.Future[GrpcLink] | None:
        """Who expects the link that a peer wishes for; None: nobody, and the peer may have one more."""
        if self._stopping:
            raise TransportError("the node is stopping", code="stopping", party=self.identity.name)
        expected = self._expected.get((peer, session_id))
        if expected is not None and not expected.done():
            return expected
        if expected is not None or (peer, session_id) in self._past:
            raise PeerError("nobody waits for the link any more", code="late", party=peer)
        if self._wishes[peer] >= self.limits.links_per_peer:
            raise PeerError("too many links are open", code="busy", party=peer)
        return None

    def _hand_over(self, link: GrpcLink, expected: asyncio.Future[GrpcLink] | None) -> None:
        """A link at the peer's wish goes to whoever expects it here, else to ``on_link``."""
        if expected is not None:
            if expected.done():
                link.end(PeerError("nobody waits for the link any more", code="late", party=link.peer))
            else:
                link.claim()
                expected.set_result(link)
            return
        self._count(link.peer, self._spawn(link.ended.wait(), "link"))
        self._spawn(self._serve(link), f"answer {link.peer}")

    def _count(self, peer: str, task: asyncio.Task[Any]) -> None:
        """One more wish of that peer, until the task is done."""
        self._wishes[peer] += 1
        task.add_done_callback(lambda _: self._wishes.subtract([peer]))

    async def _serve(self, link: GrpcLink) -> None:
        try:
            if renewal.is_renewal(link.session_id):
                await renewal.hear(self.book, self.identity, link, link.peer_fingerprint, self.limits.join)
            else:
                await self._on_link(link.peer, link.session_id, link)
            await link.close()
        except PrivcomputeError as error:
            await link.abort(error)
        except Exception:
            LOG.error("a link of %s could not be served", link.peer)
            await link.abort(PeerError("the node met a fault of its own", code="internal"))
        except asyncio.CancelledError:
            link.end(TransportError("the node is stopping", code="stopping", party=self.identity.name))
            raise

    def _asked(self, peer: Peer, session_id: bytes) -> None:
        """A peer asked over its control stream for a link; from the keeper's thread."""
        if self._loop is None:
            return

        async def work(expected: asyncio.Future[GrpcLink] | None) -> None:
            for address in peer.addresses:
                with contextlib.suppress(PrivcomputeError):
                    self._hand_over(await self._dial(peer, address, session_id), expected)
                    return

        def begin() -> None:
            # What goes wrong the peer notices by the link that does not come.
            with contextlib.suppress(PrivcomputeError):
                expected = self._check_wish(peer.name, session_id)
                self._count(peer.name, self._spawn(work(expected), f"dial {peer.name}"))  # until it is a link

        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(begin)
