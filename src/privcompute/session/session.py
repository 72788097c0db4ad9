"""One party's view of one run: who takes part, what is sent under which label, which randomness is used.

A `Session` adds to the bare bytes of a `Channel`: labels that follow the path of protocol calls, a header that the
receiver checks against the type and shape *it* states, deadlines, progress, and counters of bytes and rounds.

Header of a message, 64 bytes, little-endian: ``b"pcs1"``, dtype code (u8), dimensions (u8), two zero bytes, round
(u32), zero (u32), six dimensions (u64).
"""

from __future__ import annotations

import asyncio
import json
import struct
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Final, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt

from privcompute.errors import PeerError, PrivcomputeError, TransportError, UsageError
from privcompute.randomness import Rng
from privcompute.session.channel import Buffer, Channel
from privcompute.session.scoped import ScopedRng

P = ParamSpec("P")
R = TypeVar("R")

HEADER: Final = struct.Struct("<4sBBxxIxxxx6Q")
_MAGIC: Final = b"pcs1"
_BYTES: Final = 0
_CODES: Final[dict[str, int]] = {"u1": 1, "u2": 2, "u4": 3, "u8": 4, "i1": 5, "i2": 6, "i4": 7, "i8": 8}
_MAX_DIMENSIONS: Final = 6
_PROGRESS_EVERY: Final = 0.25


@dataclass(frozen=True)
class Limits:
    """What a run may cost; printed by ``explain``.

    Args:
        step_seconds: Silence of a peer after which a receive gives up.
        run_seconds: Length of a whole run.
    """

    step_seconds: float = 120.0
    run_seconds: float = 4 * 3600.0


@dataclass(frozen=True)
class Progress:
    """News of long work: ``party`` has finished ``done`` of ``total`` units of ``stage``."""

    party: str
    stage: str
    done: int
    total: int


@dataclass
class Meter:
    """What a run has cost this party so far, in messages of protocols (headers included)."""

    bytes_sent: int = 0
    bytes_received: int = 0
    messages_sent: int = 0
    rounds: int = 0


@dataclass(repr=False)
class _Run:
    """What all child sessions of one run share."""

    channels: dict[str, Channel]  # of the parties that are still in the run
    rng: Rng
    limits: Limits
    observer: Callable[[Progress], None] | None
    executor: Executor | None
    ends: float
    meter: Meter = field(default_factory=Meter)
    depth: int = 0
    stream_depth: dict[str, int] = field(default_factory=dict)
    last_progress: float = 0.0
    leaving: set[asyncio.Task[None]] = field(default_factory=set)  # the links of dropped parties, as they end


class Session:
    """One party's view of one run.

    Names are this session's own: no label holds one. So runs in the form of a star need not agree on them: a holder's
    session has one channel, the collector's has one for each holder, and calls itself by a name that none of them has.

    Args:
        me: This party's name.
        channels: The link to each other party, by name.
        id: The digest that all parties agreed on; unique to this attempt.
        rng: This attempt's randomness.
        parties: All parties, in the agreed order; default: sorted.
        limits: Deadlines.
        observer: Hears progress, of this party and of the peers.
        executor: Threads for heavy work; default: the event loop's.
    """

    def __init__(
        self,
        me: str,
        channels: Mapping[str, Channel],
        *,
        id: bytes,  # noqa: A002 - the attribute's name; the built-in is not used here
        rng: Rng | None = None,
        parties: Sequence[str] | None = None,
        limits: Limits | None = None,
        observer: Callable[[Progress], None] | None = None,
        executor: Executor | None = None,
    ) -> None:
        limits = limits or Limits()
        self.me = me
        self.parties: tuple[str, ...] = tuple(parties) if parties is not None else tuple(sorted({me, *channels}))
        if me not in self.parties or set(self.parties) != {me, *channels} or me in channels:
            raise UsageError("a session needs one channel to each other party", code="bad_parties")
        self.id = id
        self.path = "run"
        self._run = _Run(
            dict(channels), rng or Rng(id), limits, observer, executor, ends=time.monotonic() + limits.run_seconds
        )
        self._sent: Counter[tuple[str, str]] = Counter()
        self._received: Counter[tuple[str, str]] = Counter()
        self._children: Counter[str] = Counter()
        for party, channel in channels.items():
            channel.on_signal(lambda kind, body, party=party: self._signalled(party, kind, body))  # type: ignore[misc]

    def __repr__(self) -> str:
        return f"<Session {self.me} of {', '.join(self.parties)} at {self.path}>"

    @property
    def peer(self) -> str:
        """The other party of a two-party session.

        Raises:
            UsageError: there are more than two.
        """
        others = [p for p in self.parties if p != self.me]
        if len(others) != 1:
            raise UsageError("only a session of two has one peer", code="bad_parties")
        return others[0]

    @property
    def others(self) -> tuple[str, ...]:
        """All parties but this one that were not dropped, in order."""
        return tuple(p for p in self.parties if p in self._run.channels)

    @property
    def rng(self) -> ScopedRng:
        """Randomness by label, within this session's path."""
        return ScopedRng(self._run.rng, self.path)

    @property
    def meter(self) -> Meter:
        """Bytes, messages and rounds of the whole run so far."""
        return self._run.meter

    @property
    def limits(self) -> Limits:
        """Deadlines of the run."""
        return self._run.limits

    def child(self, name: str) -> Session:
        """The session of the next call of protocol ``name`` from here; `protocol` calls it."""
        self._children[name] += 1
        new: Session = object.__new__(Session)
        new.me, new.parties, new.id, new._run = self.me, self.parties, self.id, self._run
        new.path = f"{self.path}/{name}.{self._children[name]}"
        new._sent, new._received, new._children = Counter(), Counter(), Counter()
        return new

    # -- messages ---------------------------------------------------------------------------------------------------

    def _label(self, counter: Counter[tuple[str, str]], party: str, name: str) -> str:
        if party not in self._run.channels:
            raise UsageError(f"{party!r} is not another party of this session", code="bad_parties")
        counter[party, name] += 1
        return f"{self.path}/{name}.{counter[party, name]}"

    async def _send(self, to: str, name: str, code: int, shape: tuple[int, ...], payload: Buffer, size: int) -> None:
        label = self._label(self._sent, to, name)
        # Chunks of one stream belong to the same round, however they interleave with the peer's.
        depth = self._run.stream_depth.setdefault(f"{self.path}/{name}>{to}", self._run.depth + 1)
        dimensions = shape + (0,) * (_MAX_DIMENSIONS - len(shape))
        header = HEADER.pack(_MAGIC, code, len(shape), depth, *dimensions)
        meter = self._run.meter
        meter.bytes_sent += len(header) + size
        meter.messages_sent += 1
        meter.rounds = max(meter.rounds, depth)
        await self._run.channels[to].send(label, [header, payload] if size else [header])

    async def _recv(self, frm: str, name: str, code: int, limit: int) -> tuple[str, tuple[int, ...], memoryview]:
        label = self._label(self._received, frm, name)
        left = self._run.ends - time.monotonic()
        try:
            # The channel counts its patience from the last sign of life; the run ends also for who shows many of them.
            async with asyncio.timeout(left):
                message = await self._run.channels[frm].recv(
                    label, limit + HEADER.size, min(self._run.limits.step_seconds, max(left, 0.0))
                )
        except TimeoutError:
            raise TransportError(
                "the run took longer than its limit",
                code="deadline",
                party=frm,
                stage=label,
                remedy="raise limits.run_seconds on both nodes, or ask a smaller question",
            ) from None
        except PrivcomputeError as error:
            error.party = error.party or frm
            error.stage = error.stage or label
            raise
        if len(message) < HEADER.size:
            raise self._bad(frm, label)
        magic, got, count, depth, *dimensions = HEADER.unpack_from(message)
        if magic != _MAGIC or got != code or count > _MAX_DIMENSIONS or any(dimensions[count:]):
            raise self._bad(frm, label)
        run = self._run
        run.depth = max(run.depth, min(depth, run.meter.rounds + 1))
        run.meter.rounds = max(run.meter.rounds, run.depth)
        run.meter.bytes_received += len(message)
        return label, tuple(dimensions[:count]), message[HEADER.size :]

    @staticmethod
    def _bad(frm: str, label: str) -> PeerError:
        return PeerError(
            "the peer sent a message of another type, shape or size than the step has",
            code="bad_frame",
            party=frm,
            stage=label,
            remedy="check that both nodes run the same version, then ask again",
        )

    async def send(self, to: str, name: str, array: npt.NDArray[Any]) -> None:
        """Sends an integer array under the next label of ``name``.

        Args:
            to: Another party.
            name: What it is, a word of the protocol text.
            array: Signed or unsigned integers of 1 to 8 bytes, at most six dimensions; sent as little-endian.

        Raises:
            UsageError: the array is none of these; a float is never sent.
        """
        key = f"{array.dtype.kind}{array.dtype.itemsize}"
        code = _CODES.get(key)
        if code is None or array.ndim > _MAX_DIMENSIONS:
            raise UsageError(f"arrays of {array.dtype} are not sent: integers only", code="bad_dtype")
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        payload = little.reshape(-1).view(np.uint8) if little.size else b""
        await self._send(to, name, code, array.shape, payload, little.nbytes)

    async def recv(self, frm: str, name: str, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Waits for the next array of ``name``.

        Args:
            frm: Another party.
            name: As the sender calls it.
            dtype: The one type that is accepted.
            shape: The one shape that is accepted, from public sizes.

        Returns:
            A read-only array over the received bytes.

        Raises:
            PeerError: type, shape or size differ.
            TransportError: the link is gone or the deadline has passed.
        """
        wanted = np.dtype(dtype).newbyteorder("<")
        size = wanted.itemsize
        for dimension in shape:
            size *= dimension
        code = _CODES[f"{wanted.kind}{wanted.itemsize}"]
        label, got, body = await self._recv(frm, name, code, size)
        if got != tuple(shape) or len(body) != size:
            raise self._bad(frm, label)
        return np.frombuffer(body, dtype=wanted).reshape(shape)

    async def send_bytes(self, to: str, name: str, data: bytes | bytearray | memoryview) -> None:
        """Sends bytes whose length the receiver bounds but does not know."""
        await self._send(to, name, _BYTES, (len(data),), data, len(data))

    async def recv_bytes(self, frm: str, name: str, limit: int) -> bytes:
        """Waits for at most ``limit`` bytes under the next label of ``name``; raises as `recv` does."""
        label, got, body = await self._recv(frm, name, _BYTES, limit)
        if got != (len(body),) or len(body) > limit:
            raise self._bad(frm, label)
        return bytes(body)

    # -- work and progress ------------------------------------------------------------------------------------------

    async def off_loop(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs heavy work in a thread, so that the network never stalls; the work should release the GIL."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._run.executor, lambda: function(*args, **kwargs))

    def progress(self, stage: str, done: int, total: int) -> None:
        """Tells this party's observer, and a few times a second the peers, how far a long stage is.

        Only public sizes may be told.
        """
        if self._run.observer is not None:
            self._run.observer(Progress(self.me, stage, done, total))
        now = time.monotonic()
        if done < total and now - self._run.last_progress < _PROGRESS_EVERY:
            return
        self._run.last_progress = now
        body = json.dumps([stage, done, total]).encode()
        for channel in self._run.channels.values():
            channel.signal("progress", body)

    def _signalled(self, party: str, kind: str, body: bytes) -> None:
        if kind != "progress" or self._run.observer is None:
            return
        try:
            stage, done, total = json.loads(body[:512])
            known = isinstance(stage, str) and len(stage) <= 64 and stage.isprintable()
            if known and type(done) is int and type(total) is int and 0 <= done <= total < 1 << 62:
                self._run.observer(Progress(party, stage, done, total))
        except (ValueError, TypeError):
            return  # a peer's progress is decoration: what is not understood is not shown

    # -- the end ----------------------------------------------------------------------------------------------------

    def unclaimed(self, party: str) -> list[str]:
        """Labels of messages from ``party`` that no step has awaited so far.

        Raises:
            PeerError: the party broke the rules of frames.
        """
        return self._run.channels[party].unclaimed()

    def drop(self, party: str, error: PrivcomputeError) -> None:
        """Goes on without a party: tells it the error and ends its link, while the others' run goes on.

        Returns at once; `close` and `abort` wait for the end of the link. A step that waits for the party then raises.
        A party that was dropped before is no error.
        """
        channel = self._run.channels.pop(party, None)
        if channel is not None:
            leaving = asyncio.get_running_loop().create_task(channel.abort(error), name=f"drop {party}")
            self._run.leaving.add(leaving)

    async def _left(self) -> None:
        """Waits until the links of dropped parties have ended, however they did."""
        await asyncio.gather(*self._run.leaving, return_exceptions=True)
        self._run.leaving.clear()

    async def close(self) -> None:
        """Ends the run in order; links of dropped parties are nobody's error.

        Raises:
            PeerError: the peer sent messages that no step awaited.
        """
        await self._left()
        left: dict[str, list[str]] = {}
        broken: PrivcomputeError | None = None
        for party, channel in self._run.channels.items():
            try:
                left[party] = channel.unclaimed()
            except PeerError as error:
                broken = error
        await asyncio.gather(*(channel.close() for channel in self._run.channels.values()))
        if broken is not None:
            raise broken
        for party, labels in left.items():
            if labels:
                raise PeerError(
                    "the peer sent messages that no step awaits",
                    code="unclaimed",
                    party=party,
                    stage=labels[0],
                    remedy="check that both nodes run the same version",
                )

    async def abort(self, error: BaseException) -> None:
        """Ends the run with an error and tells the peers its name, never its cause's text."""
        told = (
            error
            if isinstance(error, PrivcomputeError)
            else TransportError("the run was cancelled", code="cancelled", party=self.me)
            if isinstance(error, asyncio.CancelledError | KeyboardInterrupt)
            else PeerError("the party failed", code="internal", party=self.me, remedy="see that party's log")
        )
        await asyncio.gather(*(channel.abort(told) for channel in self._run.channels.values()))
        await self._left()
