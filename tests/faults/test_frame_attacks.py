"""Frames of a whole query flipped, dropped, replayed, reordered, truncated, oversized, delayed, at every label.

A run either ends with an error that has a name, or with the right answer. The one thing that only the transport can
notice is a changed payload of a message that is uniformly random to its receiver (a ciphertext, a share): on a network
TLS refuses the record (tests/network), and a peer that changes its own shares is outside the model
(docs/threat-model.md). For these labels the test asks for an orderly end, and the other labels must notice.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from support import small_query
from support.small_query import SmallQuery

from privcompute.errors import PrivcomputeError
from privcompute.session import Buffer, Channel, Limits
from privcompute.testing import Entry, Fault, FaultyChannel, RecordingChannel, arun_parties, simulate
from privcompute.testing.faults import Kind
from privcompute.testing.wrapper import ChannelWrapper

PARTIES = ("hospital", "insurer")
LIMITS = Limits(step_seconds=4.0, run_seconds=60.0)
UNIFORM = re.compile(r"/cross_product\.\d+/|/reveal\.\d+/share|/refresh\.\d+/shift")
TOGETHER = 6


@dataclass(frozen=True)
class Ending:
    """How a run under a fault ended: per party an error's code, else "right", "wrong" or "no receiver"."""

    kind: str
    sender: str
    label: str
    codes: dict[str, str]


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> SmallQuery:
    """The query that is attacked."""
    return small_query.prepare(tmp_path_factory.mktemp("query"))


@pytest.fixture(scope="module")
def messages(ready: SmallQuery) -> list[Entry]:
    """Every message of an undisturbed run."""
    log: list[Entry] = []
    run = simulate(ready.program, parties=PARTIES, wrap=lambda me, channel: RecordingChannel(channel, me, log))
    assert ready.rows(run.results["insurer"]) == ready.expected
    return log


def _code(ready: SmallQuery, party: str, result: Any, error: BaseException | None) -> str:
    if error is not None:
        assert isinstance(error, PrivcomputeError), f"{error!r} has no name"
        return error.code
    if party != "insurer":
        return "no receiver"
    return "right" if ready.rows(result) == ready.expected else "wrong"


async def _attack(ready: SmallQuery, message: Entry, fault: Fault) -> Ending:
    made: list[FaultyChannel] = []

    def wrap(me: str, channel: Channel) -> Channel:
        if me != message.sender:
            return channel
        made.append(FaultyChannel(channel, fault))
        return made[-1]

    run = await arun_parties(ready.program, parties=PARTIES, wrap=wrap, limits=LIMITS)
    assert made[0].hit
    codes = {party: _code(ready, party, one.result, one.error) for party, one in run.outcomes.items()}
    return Ending(fault.kind, message.sender, message.label, codes)


def _endings(ready: SmallQuery, messages: Sequence[Entry], kind: Kind, **options: Any) -> list[Ending]:
    async def all_of_them() -> list[Ending]:
        gate = asyncio.Semaphore(TOGETHER)

        async def one(message: Entry) -> Ending:
            async with gate:
                label = f"^{re.escape(message.label)}$"
                return await _attack(ready, message, Fault(kind, label, **options))

        return list(await asyncio.gather(*(one(message) for message in messages)))

    return asyncio.run(all_of_them())


def _named(codes: Sequence[str]) -> bool:
    return not {"right", "wrong", "no receiver"} & set(codes)


@pytest.mark.parametrize(
    ("kind", "code"), [("truncate", "bad_frame"), ("oversize", "oversize"), ("replay", "replayed")]
)
def test_a_message_of_another_size_or_sent_twice_is_named(
    ready: SmallQuery, messages: list[Entry], kind: Kind, code: str
) -> None:
    for ending in _endings(ready, messages, kind):
        receiver = next(p for p in PARTIES if p != ending.sender)
        assert ending.codes[receiver] == code, ending
        # The sender has its own end already after its last message; otherwise it is told.
        assert ending.codes[ending.sender] in (code, "closed", "no receiver"), ending


def test_a_lost_message_ends_both_sides_at_the_deadline(ready: SmallQuery, messages: list[Entry]) -> None:
    for ending in _endings(ready, messages, "drop"):
        receiver = next(p for p in PARTIES if p != ending.sender)
        assert ending.codes[receiver] in ("deadline", "closed"), ending
        assert ending.codes[ending.sender] in ("deadline", "closed", "no receiver"), ending


def test_a_flipped_bit_is_noticed_or_leaves_the_model_in_order(ready: SmallQuery, messages: list[Entry]) -> None:
    for ending in _endings(ready, messages, "flip"):
        if not UNIFORM.search(ending.label):
            assert _named(list(ending.codes.values())), ending


@pytest.mark.parametrize("kind", ["reorder", "delay"])
def test_another_order_or_a_delay_changes_no_answer(ready: SmallQuery, messages: list[Entry], kind: Kind) -> None:
    for ending in _endings(ready, messages, kind, seconds=0.05):
        # A message held back behind one that answers it never arrives.
        allowed = ("right",) if kind == "delay" else ("right", "deadline", "closed")
        assert ending.codes["insurer"] in allowed, ending


def test_garbage_in_place_of_a_message_is_named(ready: SmallQuery, messages: list[Entry]) -> None:
    garbage = bytes(range(256)) * 2
    for ending in _endings(
        ready, messages, "replace", replace=lambda old: garbage[: len(old)].ljust(len(old), b"\xa5")
    ):
        receiver = next(p for p in PARTIES if p != ending.sender)
        assert ending.codes[receiver] == "bad_frame", ending


class _Chatty(ChannelWrapper):
    """Sends one message more than the protocol has."""

    async def send(self, label: str, parts: Sequence[Buffer]) -> None:
        if label.endswith("hello.1/digest.1"):
            await super().send("run/private_query.1/gossip.1", [b"psst"])
        await super().send(label, parts)


@pytest.mark.parametrize("talker", PARTIES)
def test_a_message_nobody_awaits_is_named_at_the_end(ready: SmallQuery, talker: str) -> None:
    run = simulate(
        ready.program, parties=PARTIES, wrap=lambda me, channel: _Chatty(channel) if me == talker else channel
    )
    (listener,) = set(PARTIES) - {talker}
    error = run.outcomes[listener].error
    assert isinstance(error, PrivcomputeError)
    assert (error.code, error.party, error.stage) == ("unclaimed", talker, "run/private_query.1/gossip.1")


def test_an_error_names_party_and_step(ready: SmallQuery, messages: list[Entry]) -> None:
    message = next(m for m in messages if "/tags-1" in m.label)
    run = simulate(
        ready.program,
        parties=PARTIES,
        wrap=lambda me, channel: (
            FaultyChannel(channel, Fault("truncate", re.escape(message.label))) if me == message.sender else channel
        ),
    )
    error = run.outcomes[message.receiver].error
    assert isinstance(error, PrivcomputeError)
    assert (error.party, error.stage) == (message.sender, message.label)
    assert error.remedy
