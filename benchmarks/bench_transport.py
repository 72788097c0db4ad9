"""The transport: raw arrays through a session, against the best plain grpcio reaches with mutual TLS in the same run.

Two processes, this one and one it starts. Plain grpcio sends the same 1 MiB of bytes again and again through the
synchronous streaming API, from the client and from the server, under the same kind of certificates. Ours sends numpy
arrays that arrive as numpy arrays. The figures are measured in turn, several times; the ratio is that of the medians,
ours over the better direction of plain grpcio's.
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
from privcompute.transport.book import MemoryBook, Peer
from privcompute.transport.endpoint import Endpoint
from privcompute.transport.identity import Identity, host_name
from privcompute.transport.limits import MAX_FRAME

import grpc  # isort: skip - after privcompute.transport, which sets the TLS version

MESSAGES = 256  # of 1 MiB, a measurement
ARRAY = 2 << 20  # uint64 in one array: 16 MiB
ARRAYS = (MESSAGES << 20) // (8 * ARRAY)
REPEATS = 7
ROUND_TRIPS = 300
PLAIN = "/plain/"
OPTIONS = [("grpc.max_receive_message_length", MAX_FRAME), ("grpc.max_send_message_length", MAX_FRAME)]


# -- the other process ------------------------------------------------------------------------------------------------


def _count(frames: Iterator[bytes]) -> bytes:
    return b"%d" % sum(len(frame) for frame in frames)


def _plain_server(identity: Identity, client: str) -> tuple[grpc.Server, int]:
    piece = bytes(1 << 20)
    handlers = grpc.method_handlers_generic_handler(
        "plain",
        {
            "Up": grpc.stream_unary_rpc_method_handler(lambda frames, _: _count(frames)),
            "Down": grpc.unary_stream_rpc_method_handler(lambda _, __: iter([piece] * MESSAGES)),
            "Echo": grpc.stream_stream_rpc_method_handler(lambda frames, _: frames),
        },
    )
    server = grpc.server(ThreadPoolExecutor(4), options=OPTIONS)
    server.add_generic_rpc_handlers((handlers,))
    credentials = grpc.ssl_server_credentials(
        [(identity.key, identity.certificate.encode())], client.encode(), require_client_auth=True
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    return server, port


async def _answer(_: str, session_id: bytes, channel: Channel) -> None:
    """Takes arrays and says so; or sends them; or echoes."""
    s = Session("server", {"client": channel}, id=session_id)
    job = await s.recv_bytes("client", "job", 16)
    if job == b"up":
        for _n in range(ARRAYS):
            got = await s.recv("client", "array", np.uint64, (ARRAY,))
        await s.send_bytes("client", "got", b"%d" % got[-1])
    elif job == b"down":
        array = np.arange(ARRAY, dtype=np.uint64)
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
        server, port = _plain_server(identity, client)
        book = MemoryBook(Peer("client", (client,)))
        endpoint = Endpoint(identity, book, listen="127.0.0.1:0", on_link=_answer)
        await endpoint.start()
        where = {"certificate": identity.certificate, "plain": port, "address": endpoint.addresses[0]}
        print(json.dumps(where), flush=True)
        await asyncio.to_thread(sys.stdin.readline)  # the end of the input is the end of us
        await endpoint.stop()
        server.stop(0).wait()

    asyncio.run(serve())


# -- this process -----------------------------------------------------------------------------------------------------


class Ours:
    """Our endpoint, on a loop in a thread of its own."""

    def __init__(self, identity: Identity, server: Peer) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._endpoint = Endpoint(identity, MemoryBook(server), listen=None, on_link=_answer)
        self._array = np.arange(ARRAY, dtype=np.uint64)
        self._runs = 0
        self._do(self._endpoint.start())

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def run(self, job: str) -> float:
        """Seconds of one job."""
        return float(self._do(self._run(job)))

    async def _run(self, job: str) -> float:
        self._runs += 1
        s = Session("client", {"server": await self._endpoint.open_link("server", b"%d" % self._runs)}, id=b"bench")
        await s.send_bytes("server", "job", job.encode())
        begin = time.perf_counter()
        if job == "up":
            for _ in range(ARRAYS):
                await s.send("server", "array", self._array)
            assert await s.recv_bytes("server", "got", 16) == b"%d" % (ARRAY - 1)
        elif job == "down":
            for _ in range(ARRAYS):
                assert (await s.recv("server", "array", np.uint64, (ARRAY,)))[-1] == ARRAY - 1
        else:
            for n in range(ROUND_TRIPS):
                await s.send_bytes("server", "ping", b"%d" % n)
                await s.recv_bytes("server", "pong", 8)
        took = time.perf_counter() - begin
        await s.close()
        return took

    def stop(self) -> None:
        self._do(self._endpoint.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Plain:
    """grpcio as it comes."""

    def __init__(self, identity: Identity, certificate: str, port: int) -> None:
        credentials = grpc.ssl_channel_credentials(certificate.encode(), identity.key, identity.certificate.encode())
        options = [*OPTIONS, ("grpc.ssl_target_name_override", host_name("server"))]
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


def _with_both(measure: Callable[[Ours, Plain], Any]) -> Any:
    identity = Identity.create("client")
    with subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        to, back = _pipes(process)
        to.write(json.dumps({"certificate": identity.certificate}) + "\n")
        to.flush()
        where = json.loads(back.readline())
        ours = Ours(identity, Peer("server", (where["certificate"],), (where["address"],)))
        plain = Plain(identity, where["certificate"], where["plain"])
        try:
            return measure(ours, plain)
        finally:
            plain.stop()
            ours.stop()
            to.close()
            process.wait(30)


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


def test_one_way(benchmark: Any) -> None:
    """Target: at least 80 % of plain grpcio in the same run; aim: 95 %."""
    jobs = ("up", "down", "round trips")

    def measure(ours: Ours, plain: Plain) -> dict[str, float]:
        kinds: dict[str, Ours | Plain] = {"plain": plain, "ours": ours}
        seconds: dict[str, list[float]] = {}
        for turn in range(REPEATS + 1):
            for job in jobs:
                for name, kind in kinds.items():
                    took = kind.run(job)
                    if turn:  # the first is to warm up
                        seconds.setdefault(f"{name} {job}", []).append(took)
        benchmark.pedantic(lambda: ours.run("up"), rounds=3)
        return {what: statistics.median(took) for what, took in seconds.items()}

    took = _with_both(measure)
    rates = {what: MESSAGES / 1024 / seconds for what, seconds in took.items() if "trips" not in what}
    best = max(rates["plain up"], rates["plain down"])
    trips = {name: took[f"{name} round trips"] / ROUND_TRIPS * 1e6 for name in ("plain", "ours")}
    benchmark.extra_info.update({f"{what} GiB/s": rate for what, rate in rates.items()})
    benchmark.extra_info.update(
        ratio_up=rates["ours up"] / best,
        ratio_down=rates["ours down"] / best,
        round_trip_us=trips["ours"],
        plain_round_trip_us=trips["plain"],
    )
    shown = ", ".join(f"{what} {rate:.2f}" for what, rate in rates.items())
    print(
        f"\nGiB/s: {shown}; ours / best plain: {rates['ours up'] / best:.2f} up, {rates['ours down'] / best:.2f} down"
    )
    print(f"round trip: ours {trips['ours']:.0f} us, plain {trips['plain']:.0f} us")
    assert max(rates["ours up"], rates["ours down"]) >= 0.8 * best


if __name__ == "__main__":
    _other_process()
