"""The transport: raw arrays through a session, against the best plain grpcio reaches with mutual TLS in the same run.

Two processes, this one and one it starts, with the heap of a node that serves. Plain grpcio sends the same 1 MiB of
bytes again and again through the synchronous streaming API, from the client and from the server, under the same kind of
certificates: over a channel as it comes, and over one with the options of ours. Ours sends numpy arrays that arrive as
numpy arrays. Every figure is measured once in each of many short rounds, in an order that changes, because other
programs slow the machine for seconds at a time, and against several processes in turn, because where a process finds
its memory makes a tenth. So each rate is first divided by the mean rate of plain grpcio in the same round; the ratio is
that of the medians of these, ours over the best of plain's four.
"""

from __future__ import annotations

import asyncio
import json
import queue
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

import numpy as np

from privcompute.session import Channel, Session
from privcompute.tables.memory import few_arenas, steady_heap
from privcompute.transport.book import MemoryBook, Peer
from privcompute.transport.endpoint import Endpoint
from privcompute.transport.identity import Identity, host_name
from privcompute.transport.limits import MAX_FRAME, TransportLimits

import grpc  # isort: skip - after privcompute.transport, which sets the TLS version

MESSAGES = 256  # of 1 MiB, a measurement
ARRAY = 2 << 20  # uint64 in one array: 16 MiB
ARRAYS = (MESSAGES << 20) // (8 * ARRAY)
PROCESSES = 20  # measured against, one after another
ROUNDS = 3  # with each
ROUND_TRIPS = 300
JOBS = ("up", "down")
PLAIN = "/plain/"
OPTIONS: dict[str, list[tuple[str, int | str]]] = {
    "plain": [("grpc.max_receive_message_length", MAX_FRAME), ("grpc.max_send_message_length", MAX_FRAME)],
    "tuned": TransportLimits().channel_options(),
}
"""Of plain grpcio's channels. Larger or smaller messages, and further options, were slower or made no difference."""


# -- the other process ------------------------------------------------------------------------------------------------


def _count(frames: Iterator[bytes]) -> bytes:
    return b"%d" % sum(len(frame) for frame in frames)


def _plain_server(identity: Identity, client: str, kind: str) -> tuple[grpc.Server, int]:
    piece = bytes(1 << 20)
    handlers = grpc.method_handlers_generic_handler(
        "plain",
        {
            "Up": grpc.stream_unary_rpc_method_handler(lambda frames, _: _count(frames)),
            "Down": grpc.unary_stream_rpc_method_handler(lambda _, __: iter([piece] * MESSAGES)),
            "Echo": grpc.stream_stream_rpc_method_handler(lambda frames, _: frames),
        },
    )
    server = grpc.server(ThreadPoolExecutor(4), options=OPTIONS[kind])
    server.add_generic_rpc_handlers((handlers,))
    credentials = grpc.ssl_server_credentials(
        [(identity.key, identity.certificate.encode())], client.encode(), require_client_auth=True
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    return server, port


async def _answer(_: str, session_id: bytes, channel: Channel) -> None:
    """Takes arrays and says so; or sends them; or echoes; as often as it is asked."""
    s = Session("server", {"client": channel}, id=session_id)
    array = np.arange(ARRAY, dtype=np.uint64)
    while (job := await s.recv_bytes("client", "job", 16)) != b"end":
        if job == b"up":
            for _n in range(ARRAYS):
                assert (await s.recv("client", "array", np.uint64, (ARRAY,)))[-1] == ARRAY - 1
            await s.send_bytes("client", "got", b"all")
        elif job == b"down":
            for _n in range(ARRAYS):
                await s.send("client", "array", array)
        else:
            for _n in range(ROUND_TRIPS):
                await s.send_bytes("client", "pong", await s.recv_bytes("client", "ping", 8))
    await s.close()


def _other_process() -> None:
    async def serve() -> None:
        identity = Identity.create("server")
        client = json.loads(sys.stdin.readline())["certificate"]
        servers = {kind: _plain_server(identity, client, kind) for kind in OPTIONS}
        book = MemoryBook(Peer("client", (client,)))
        endpoint = Endpoint(identity, book, listen="127.0.0.1:0", on_link=_answer)
        await endpoint.start()
        ports = {kind: port for kind, (_, port) in servers.items()}
        where = {"certificate": identity.certificate, "ports": ports, "address": endpoint.addresses[0]}
        print(json.dumps(where), flush=True)
        await asyncio.to_thread(sys.stdin.readline)  # the end of the input is the end of us
        await endpoint.stop()
        for server, _ in servers.values():
            server.stop(0).wait()

    asyncio.run(serve())


# -- this process -----------------------------------------------------------------------------------------------------


class Ours:
    """A session of our endpoint, on a loop in a thread of its own."""

    def __init__(self, identity: Identity, server: Peer) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._array = np.arange(ARRAY, dtype=np.uint64)
        self._endpoint, self._session = self._do(self._open(identity, server))

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _open(self, identity: Identity, server: Peer) -> tuple[Endpoint, Session]:
        endpoint = Endpoint(identity, MemoryBook(server), listen=None, on_link=_answer)
        await endpoint.start()
        return endpoint, Session("client", {"server": await endpoint.open_link("server", b"bench")}, id=b"bench")

    def run(self, job: str) -> float:
        """Seconds of one job."""
        return float(self._do(self._run(job)))

    async def _run(self, job: str) -> float:
        s = self._session
        begin = time.perf_counter()
        await s.send_bytes("server", "job", job.encode())
        if job == "up":
            for _ in range(ARRAYS):
                await s.send("server", "array", self._array)
            assert await s.recv_bytes("server", "got", 3) == b"all"
        elif job == "down":
            for _ in range(ARRAYS):
                assert (await s.recv("server", "array", np.uint64, (ARRAY,)))[-1] == ARRAY - 1
        else:
            for n in range(ROUND_TRIPS):
                await s.send_bytes("server", "ping", b"%d" % n)
                await s.recv_bytes("server", "pong", 8)
        return time.perf_counter() - begin

    async def _close(self) -> None:
        await self._session.send_bytes("server", "job", b"end")
        await self._session.close()
        await self._endpoint.stop()

    def stop(self) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Plain:
    """grpcio's own streams."""

    def __init__(self, identity: Identity, certificate: str, port: int, kind: str) -> None:
        credentials = grpc.ssl_channel_credentials(certificate.encode(), identity.key, identity.certificate.encode())
        options = [*OPTIONS[kind], ("grpc.ssl_target_name_override", host_name("server"))]
        self._channel = grpc.secure_channel(f"127.0.0.1:{port}", credentials, options)
        self._up = self._channel.stream_unary(PLAIN + "Up")
        self._down = self._channel.unary_stream(PLAIN + "Down")
        self._echo = self._channel.stream_stream(PLAIN + "Echo")
        self._piece = bytes(1 << 20)

    def run(self, job: str) -> float:
        """Seconds of one job."""
        begin = time.perf_counter()
        if job == "up":
            assert self._up(iter([self._piece] * MESSAGES)) == b"%d" % (MESSAGES << 20)
        elif job == "round trips":
            turn: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
            echo = self._echo(iter(turn.get, None))
            for n in range(ROUND_TRIPS):
                turn.put(b"%d" % n)
                next(echo)
            turn.put(None)
        else:
            assert _count(self._down(b"")) == b"%d" % (MESSAGES << 20)
        return time.perf_counter() - begin

    def stop(self) -> None:
        self._channel.close()


Kinds = dict[str, Ours | Plain]


def _with_all(measure: Callable[[Kinds], Any]) -> Any:
    few_arenas()
    steady_heap()
    identity = Identity.create("client")
    with subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        to, back = _pipes(process)
        to.write(json.dumps({"certificate": identity.certificate}) + "\n")
        to.flush()
        where = json.loads(back.readline())
        kinds: Kinds = {kind: Plain(identity, where["certificate"], where["ports"][kind], kind) for kind in OPTIONS}
        kinds["ours"] = Ours(identity, Peer("server", (where["certificate"],), (where["address"],)))
        try:
            return measure(kinds)
        finally:
            for kind in kinds.values():
                kind.stop()
            to.close()
            process.wait(30)


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


def _rounds(kinds: Kinds) -> dict[tuple[str, str], list[float]]:
    """Seconds of every round, of each kind and job."""
    todo = [(kind, job) for kind in kinds for job in JOBS]
    seconds: dict[tuple[str, str], list[float]] = {one: [] for one in todo}
    order = np.random.default_rng(1)
    for turn in range(ROUNDS + 1):
        for kind, job in order.permutation(todo).tolist():
            took = kinds[kind].run(job)
            if turn:  # the first is to warm up
                seconds[kind, job].append(took)
    return seconds


def test_one_way(benchmark: Any) -> None:
    """Target: at least 80 % of the best of plain grpcio in the same run; aim: 95 %."""

    def measure(kinds: Kinds) -> tuple[dict[tuple[str, str], list[float]], dict[str, float]]:
        seconds = _rounds(kinds)
        trips = {name: kinds[name].run("round trips") / ROUND_TRIPS * 1e6 for name in ("plain", "ours")}
        return seconds, trips

    runs = benchmark.pedantic(lambda: [_with_all(measure) for _ in range(PROCESSES)])
    seconds = {one: [took for run, _ in runs for took in run[one]] for one in runs[0][0]}
    trips = {name: statistics.median(of[name] for _, of in runs) for name in ("plain", "ours")}
    usual = {one: MESSAGES / 1024 / statistics.median(took) for one, took in seconds.items()}
    fastest = {one: MESSAGES / 1024 / min(took) for one, took in seconds.items()}
    level = np.mean([1 / np.array(took) for (kind, _), took in seconds.items() if kind != "ours"], axis=0)
    ratios = _ratios({one: float(np.median(1 / np.array(took) / level)) for one, took in seconds.items()})
    peaks = _ratios(fastest)
    shown = ", ".join(f"{' '.join(one)} {rate:.2f} (at most {fastest[one]:.2f})" for one, rate in usual.items())
    print(f"\nGiB/s: {shown}")
    print(f"ours / best plain: {ratios['up']:.2f} up, {ratios['down']:.2f} down", end="; ")
    print(f"of the fastest rounds: {peaks['up']:.2f} up, {peaks['down']:.2f} down")
    print(f"round trip: ours {trips['ours']:.0f} us, plain {trips['plain']:.0f} us")
    benchmark.extra_info.update({f"{' '.join(one)} GiB/s": rate for one, rate in usual.items()})
    benchmark.extra_info.update(
        ratio_up=ratios["up"],
        ratio_down=ratios["down"],
        round_trip_us=trips["ours"],
        plain_round_trip_us=trips["plain"],
    )
    assert max(ratios.values()) >= 0.8


def _ratios(rates: dict[tuple[str, str], float]) -> dict[str, float]:
    """Ours each way over the best of all that is plain."""
    best = max(rate for (kind, _), rate in rates.items() if kind != "ours")
    return {job: rates["ours", job] / best for job in JOBS}


if __name__ == "__main__":
    few_arenas()
    steady_heap()
    _other_process()
