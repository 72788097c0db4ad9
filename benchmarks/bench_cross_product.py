"""XᵀY between two processes over mutual TLS on loopback: time, bytes and memory, key generation and flooding included.

This process owns the key, the one it starts evaluates; both share the machine's cores. Values are uniform signed 32-bit
integers. Every answer is compared with the exact one.
"""

from __future__ import annotations

import asyncio
import json
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from privcompute.he import CrossShape, cross_cost, cross_product_evaluator, cross_product_key_owner, warm_up
from privcompute.mpc import reveal
from privcompute.session import Channel, Session
from privcompute.transport.book import MemoryBook, Peer
from privcompute.transport.endpoint import Endpoint
from privcompute.transport.identity import Identity

Columns = list[npt.NDArray[np.int64]]
REPEATS = 5
BOUND = 2**31


def columns(side: int, rows: int, count: int) -> Columns:
    rng = np.random.default_rng([side, rows, count])
    return [rng.integers(-BOUND, BOUND, rows) for _ in range(count)]


def shape_of(rows: int, count: int) -> CrossShape:
    entries = tuple((i, j) for i in range(count) for j in range(count))
    return CrossShape(rows, (BOUND,) * count, (BOUND,) * count, entries)


def exact(rows: int, count: int) -> list[int]:
    """Through halves of 16 bits, whose products' sums fit 64 bits for 2**31 rows."""
    x, y = columns(0, rows, count), columns(1, rows, count)
    halves = [((c & 0xFFFF, 0), (c >> 16, 16)) for c in y]
    low = [[[int(np.dot(a & 0xFFFF, d)) << s for d, s in h] for h in halves] for a in x]
    high = [[[int(np.dot(a >> 16, d)) << (s + 16) for d, s in h] for h in halves] for a in x]
    return [sum(low[i][j]) + sum(high[i][j]) for i in range(count) for j in range(count)]


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def _answer(_: str, session_id: bytes, channel: Channel) -> None:
    s = Session("server", {"client": channel}, id=session_id)
    rows, count = json.loads(await s.recv_bytes("client", "size", 64))
    mine = columns(1, rows, count)
    await s.send_bytes("client", "ready", b"1")
    share = await cross_product_evaluator(s, "client", mine, shape_of(rows, count))
    await reveal(s, share)
    await s.send_bytes("client", "peak", b"%d" % peak_mib())
    await s.close()


def _other_process() -> None:
    async def serve() -> None:
        warm_up()
        identity = Identity.create("server")
        client = json.loads(sys.stdin.readline())["certificate"]
        endpoint = Endpoint(identity, MemoryBook(Peer("client", (client,))), listen="127.0.0.1:0", on_link=_answer)
        await endpoint.start()
        print(json.dumps({"certificate": identity.certificate, "address": endpoint.addresses[0]}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)  # the end of the input is the end of us
        await endpoint.stop()

    asyncio.run(serve())


@dataclass(frozen=True)
class Figures:
    """Of one size: seconds of each run, payload and headers both ways, memory of both processes, the sums."""

    seconds: list[float]
    megabytes: float
    peaks: tuple[float, float]
    sums: list[int]


async def _measure(endpoint: Endpoint, rows: int, count: int) -> Figures:
    seconds = []
    mine = columns(0, rows, count)
    for number in range(REPEATS):
        identity = json.dumps([rows, count, number]).encode()
        s = Session("client", {"server": await endpoint.open_link("server", identity)}, id=identity)
        await s.send_bytes("server", "size", json.dumps([rows, count]).encode())
        await s.recv_bytes("server", "ready", 1)
        begin = time.perf_counter()
        before = s.meter.bytes_sent + s.meter.bytes_received
        share = await cross_product_key_owner(s, "server", mine, shape_of(rows, count))
        seconds.append(time.perf_counter() - begin)
        moved = s.meter.bytes_sent + s.meter.bytes_received - before
        opened = await reveal(s, share)
        peak = float(await s.recv_bytes("server", "peak", 16))
        await s.close()
    return Figures(seconds, moved / 1e6, (peak_mib(), peak), share.ring.signed(opened))


async def _with_peer(rows: int, count: int) -> Figures:
    warm_up()
    identity = Identity.create("client")
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps({"certificate": identity.certificate}).encode() + b"\n")
    where = json.loads(await process.stdout.readline())
    book = MemoryBook(Peer("server", (where["certificate"],), (where["address"],)))
    endpoint = Endpoint(identity, book, listen=None, on_link=_answer)
    await endpoint.start()
    try:
        return await _measure(endpoint, rows, count)
    finally:
        await endpoint.stop()
        process.stdin.close()
        await process.wait()


@pytest.mark.parametrize(
    ("rows", "count", "most_seconds", "most_megabytes"), [(10**6, 5, 4.0, 150.0), (10**5, 10, 1.0, 40.0)]
)
def test_cross_product(benchmark: Any, rows: int, count: int, most_seconds: float, most_megabytes: float) -> None:
    """Targets: 10**6 x 5 x 5 in 4 s and 150 MB, 10**5 x 10 x 10 in 1 s; 500 MB a process."""
    figures = benchmark.pedantic(lambda: asyncio.run(_with_peer(rows, count)), rounds=1)
    assert figures.sums == exact(rows, count)
    cost = cross_cost(shape_of(rows, count))
    middle = statistics.median(figures.seconds)
    benchmark.extra_info.update(
        seconds=figures.seconds, megabytes=figures.megabytes, key_owner_mib=figures.peaks[0],
        evaluator_mib=figures.peaks[1], ciphertexts=cost.ciphertexts, products=cost.products, replies=cost.replies,
    )  # fmt: skip
    print(
        f"\n{rows} x {count} x {count}: median {middle:.2f} s, best {min(figures.seconds):.2f} s, "
        f"{figures.megabytes:.1f} MB, peak {figures.peaks[0]:.0f} and {figures.peaks[1]:.0f} MiB"
    )
    assert middle <= most_seconds
    assert figures.megabytes <= most_megabytes
    assert max(figures.peaks) <= 500


if __name__ == "__main__":
    _other_process()
