"""Two network namespaces joined by a router in user space that delays and loses packets.

The kernels of small machines and containers often lack netem, so the router is ours: a TUN device in each namespace,
and a thread here that moves packets between the two, each `delay` seconds late and lost with a seeded chance.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ADDRESSES = (("10.77.0.1", "fd77::1"), ("10.77.0.2", "fd77::2"))
_HOLDER = Path(__file__).with_name("tun_holder.py")
_QUEUE = 2000  # packets on the way in one direction, as a real router's buffer


class NamespacesUnavailable(RuntimeError):
    """Why this machine allows no network namespaces with TUN devices."""


@dataclass(frozen=True)
class Place:
    """One namespace: where its process lives and its addresses."""

    pid: int
    address: str
    address6: str
    in_user_namespace: bool

    def command(self, words: Sequence[str]) -> list[str]:
        """The command that runs ``words`` inside."""
        user = ["--user", "--preserve-credentials"] if self.in_user_namespace else []
        return ["nsenter", "--target", str(self.pid), "--net", *user, "--", *words]


@dataclass
class Counts:
    """Packets that the router saw."""

    carried: int = 0
    lost: int = 0


@dataclass
class _Way:
    """One direction: the device it reads, the device it writes, and what is on the way."""

    source: int
    sink: int
    waiting: deque[tuple[float, bytes]] = field(default_factory=deque)


class Router:
    """Moves packets between two TUN devices.

    Args:
        devices: File descriptors of the two.
        rtt: Seconds there and back.
        loss: Chance of a packet to be lost, each way.
        seed: Of the losses.
    """

    def __init__(self, devices: tuple[int, int], *, rtt: float, loss: float, seed: int) -> None:
        self.counts = Counts()
        self._ways = (_Way(devices[0], devices[1]), _Way(devices[1], devices[0]))
        self._delay, self._loss, self._dice = rtt / 2, loss, random.Random(seed)
        self._stop_read, self._stop_write = os.pipe()
        self._thread = threading.Thread(target=self._run, name="router", daemon=True)
        for device in devices:
            os.set_blocking(device, False)
        self._thread.start()

    def _run(self) -> None:
        poll = select.poll()
        for fd in (self._ways[0].source, self._ways[1].source, self._stop_read):
            poll.register(fd, select.POLLIN)
        while True:
            due = min((way.waiting[0][0] for way in self._ways if way.waiting), default=None)
            pause = None if due is None else max(0.0, (due - time.monotonic()) * 1000)
            ready = {fd for fd, _ in poll.poll(pause)}
            if self._stop_read in ready:
                return
            now = time.monotonic()
            for way in self._ways:
                if way.source in ready:
                    self._take(way, now)
                while way.waiting and way.waiting[0][0] <= now:
                    with contextlib.suppress(OSError):  # a device that is full or down loses the packet, as links do
                        os.write(way.sink, way.waiting.popleft()[1])

    def _take(self, way: _Way, now: float) -> None:
        for _ in range(64):
            try:
                packet = os.read(way.source, 65536)
            except OSError:
                return
            if self._dice.random() < self._loss or len(way.waiting) >= _QUEUE:
                self.counts.lost += 1
            else:
                self.counts.carried += 1
                way.waiting.append((now + self._delay, packet))

    def stop(self) -> None:
        """Ends the thread; packets on the way are lost."""
        os.write(self._stop_write, b".")
        self._thread.join()
        os.close(self._stop_read)
        os.close(self._stop_write)


def _open_place(index: int, mtu: int) -> tuple[subprocess.Popen[bytes], socket.socket, int, bool]:
    root = os.geteuid() == 0
    unshare = ["unshare", "--net"] if root else ["unshare", "--user", "--map-root-user", "--net"]
    ours, theirs = socket.socketpair()
    mine, other = ADDRESSES[index], ADDRESSES[1 - index]
    words = [sys.executable, str(_HOLDER), str(theirs.fileno()), mine[0], other[0], mine[1], other[1], str(mtu)]
    with theirs:
        process = subprocess.Popen(
            [*unshare, *words], pass_fds=[theirs.fileno()], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
    ours.settimeout(20)
    with contextlib.suppress(OSError):
        said, devices, _, _ = socket.recv_fds(ours, 4096, 1)
        if said == b"D" and devices:
            return process, ours, devices[0], not root
        ours.close()
        _, complaint = process.communicate(timeout=20)
        raise NamespacesUnavailable((said[1:] + b" " + complaint).decode(errors="replace").strip())
    process.kill()
    process.communicate()
    ours.close()
    raise NamespacesUnavailable("the namespace's process did not answer")


@contextlib.contextmanager
def lossy_network(
    *, rtt: float = 0.05, loss: float = 0.01, seed: int = 1, mtu: int = 1500
) -> Iterator[tuple[Place, Place, Router]]:
    """Two namespaces that reach each other only through a slow, lossy router.

    Args:
        rtt: Seconds there and back.
        loss: Chance of a packet to be lost, each way.
        seed: Of the losses.
        mtu: Bytes a packet.

    Raises:
        NamespacesUnavailable: this machine does not allow them; the text says what failed.
    """
    for program in ("unshare", "nsenter", "ip"):
        if shutil.which(program) is None:
            raise NamespacesUnavailable(f"{program} is not installed")
    with contextlib.ExitStack() as stack:
        places: list[Place] = []
        devices: list[int] = []
        for index in (0, 1):
            process, link, device, user = _open_place(index, mtu)
            stack.callback(_end, process)
            stack.callback(link.close)
            stack.callback(os.close, device)
            places.append(Place(process.pid, *ADDRESSES[index], user))
            devices.append(device)
        router = Router((devices[0], devices[1]), rtt=rtt, loss=loss, seed=seed)
        stack.callback(router.stop)
        yield places[0], places[1], router


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stderr is not None:
        process.stderr.close()
