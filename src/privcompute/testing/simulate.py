"""Runs a protocol of n parties in one process: the same text that runs over gRPC."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from privcompute.errors import UsageError
from privcompute.randomness import Rng, token_bytes
from privcompute.session.channel import Channel
from privcompute.session.mailbox import DEFAULT_CREDIT
from privcompute.session.session import Limits, Meter, Progress, Session
from privcompute.testing.loopback import loopback_pair
from privcompute.testing.units import parse_rate, parse_time

Program = Callable[..., Coroutine[Any, Any, Any]]
Wrap = Callable[[str, Channel], Channel]
NAMES = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy")


@dataclass
class Outcome:
    """How one party's program ended: its result, or the error it raised."""

    result: Any = None
    error: BaseException | None = None
    meter: Meter = field(default_factory=Meter)


@dataclass
class Simulation:
    """How a simulated run ended.

    Attributes:
        outcomes: By party.
        seconds: Wall clock of the whole run.
    """

    outcomes: dict[str, Outcome]
    seconds: float

    @property
    def results(self) -> dict[str, Any]:
        """Results by party; raises the first error that is no mere echo of another party's."""
        errors = [o.error for o in self.outcomes.values() if o.error is not None]
        if errors:
            own = [e for e in errors if getattr(e, "code", "") not in ("closed", "internal")]
            raise (own or errors)[0]
        return {party: o.result for party, o in self.outcomes.items()}

    @property
    def rounds(self) -> int:
        """The longest chain of dependent messages that any party saw."""
        return max(o.meter.rounds for o in self.outcomes.values())

    @property
    def bytes_sent(self) -> int:
        """Bytes of all parties, headers included."""
        return sum(o.meter.bytes_sent for o in self.outcomes.values())


def _names(parties: int | Sequence[str]) -> tuple[str, ...]:
    if isinstance(parties, int):
        return NAMES[:parties] if parties <= len(NAMES) else tuple(f"party{i}" for i in range(parties))
    return tuple(parties)


async def arun_parties(
    program: Program | Mapping[str, Program],
    *,
    parties: int | Sequence[str] = 2,
    inputs: Mapping[str, Any] | None = None,
    rtt: str | float = 0.0,
    bandwidth: str | float | None = None,
    wrap: Wrap | None = None,
    star: str | None = None,
    seed: bytes | None = None,
    session_id: bytes | None = None,
    limits: Limits | None = None,
    credit: int = DEFAULT_CREDIT,
    observer: Callable[[str, Progress], None] | None = None,
) -> Simulation:
    """Runs the program of every party on this event loop and waits for all; see `simulate`."""
    names = _names(parties)
    if star is not None and star not in names:
        raise UsageError("the middle of a star is one of the parties", code="bad_parties")
    if isinstance(program, Mapping) and set(program) != set(names):
        raise UsageError("give one program for each party", code="bad_parties")
    delay = parse_time(rtt) if isinstance(rtt, str) else rtt
    rate = parse_rate(bandwidth) if isinstance(bandwidth, str) else bandwidth
    identity = session_id or (hashlib.sha256(seed).digest() if seed else token_bytes(32))
    channels: dict[str, dict[str, Channel]] = {name: {} for name in names}
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            if star is not None and star not in (first, second):
                continue
            here, there = loopback_pair(first, second, rtt=delay, rate=rate, credit=credit)
            channels[first][second] = wrap(first, here) if wrap else here
            channels[second][first] = wrap(second, there) if wrap else there
    outcomes = {name: Outcome() for name in names}

    async def run(name: str) -> None:
        master = None if seed is None else (lambda: hashlib.sha256(seed + name.encode()).digest())
        seen = (lambda news: observer(name, news)) if observer else None
        s = Session(
            name, channels[name], id=identity, rng=Rng(identity, master=master), limits=limits, observer=seen,
            parties=tuple(party for party in names if party == name or party in channels[name]),
        )  # fmt: skip
        outcomes[name].meter = s.meter
        mine = program[name] if isinstance(program, Mapping) else program
        try:
            wants_input = inputs is not None and len(inspect.signature(mine).parameters) > 1
            outcomes[name].result = await (mine(s, (inputs or {}).get(name)) if wants_input else mine(s))
            await s.close()
        except BaseException as error:
            outcomes[name].error = error
            await s.abort(error)
            if isinstance(error, asyncio.CancelledError):
                raise

    start = time.perf_counter()
    await asyncio.gather(*(run(name) for name in names))
    return Simulation(outcomes, time.perf_counter() - start)


def simulate(program: Program | Mapping[str, Program], **options: Any) -> Simulation:
    """Runs a protocol with all its parties in one process.

    Args:
        program: ``async def program(s)`` or ``(s, input)``, the same for all parties or one by party.
        **options: ``parties`` (a number or names), ``inputs`` (by party), ``rtt`` ("20ms" or seconds), ``bandwidth``
            ("100Mbit" or bytes a second), ``wrap`` (a function of party and channel that returns a channel), ``star``
            (the one party that all others have their only link to; default: every two parties have one), ``seed``
            (fixed randomness, for wire traces only), ``limits``, ``credit``, ``observer``.

    Returns:
        The `Simulation`. Errors stay in it until ``results`` is read.
    """
    if not _in_event_loop():
        return asyncio.run(arun_parties(program, **options))
    box: list[Simulation | BaseException] = []

    def work() -> None:
        try:
            box.append(asyncio.run(arun_parties(program, **options)))
        except BaseException as error:
            box.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if isinstance(box[0], BaseException):
        raise box[0]
    return box[0]


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
