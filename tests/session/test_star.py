"""Runs in the form of a star: a party is dropped while the others go on; links within one process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from privcompute.errors import PeerError, PrivcomputeError, TransportError, UsageError
from privcompute.session import Session, local_pair
from privcompute.testing import simulate

STAR = ("middle", "ann", "ben", "cy")


async def _answers(s: Session) -> str:
    await s.send_bytes(s.peer, "first", b"1")
    return (await s.recv_bytes(s.peer, "second", 1)).decode()


def test_only_the_middle_has_links_to_all() -> None:
    async def program(s: Session) -> tuple[str, ...]:
        return s.others

    run = simulate(program, parties=STAR, star="middle")
    assert run.results == {"middle": ("ann", "ben", "cy"), "ann": ("middle",), "ben": ("middle",), "cy": ("middle",)}
    with pytest.raises(UsageError):
        simulate(program, parties=STAR, star="nobody")


def test_the_others_go_on_without_a_party_that_was_dropped() -> None:
    async def middle(s: Session) -> tuple[str, ...]:
        for party in s.others:
            await s.recv_bytes(party, "first", 1)
        s.drop("ben", PeerError("too slow", code="late", party="ben"))
        s.drop("ben", PeerError("once more", code="other"))
        assert s.others == ("ann", "cy")
        assert s.parties == STAR
        for party in s.others:
            await s.send_bytes(party, "second", b"2")
        with pytest.raises(UsageError):
            await s.send_bytes("ben", "second", b"2")
        s.progress("after", 1, 1)
        return s.others

    run = simulate({"middle": middle, "ann": _answers, "ben": _answers, "cy": _answers}, parties=STAR, star="middle")
    assert run.outcomes["middle"].error is None  # `close` too looks away from the one that was dropped
    assert run.outcomes["middle"].result == ("ann", "cy")
    assert run.outcomes["ann"].result == run.outcomes["cy"].result == "2"
    error = run.outcomes["ben"].error
    assert isinstance(error, PeerError)
    assert error.code == "late"


def test_a_step_that_waits_for_a_dropped_party_ends() -> None:
    async def middle(s: Session) -> str:
        waiting = asyncio.ensure_future(s.recv_bytes("ann", "never", 1))
        await asyncio.sleep(0)
        s.drop("ann", PeerError("gone", code="gone"))
        with pytest.raises(TransportError):
            await waiting
        return "went on"

    async def other(s: Session) -> Any:
        return await s.recv_bytes(s.peer, "second", 1)

    run = simulate({"middle": middle, "ann": other}, parties=("middle", "ann"), star="middle")
    assert run.outcomes["middle"].result == "went on"
    assert getattr(run.outcomes["ann"].error, "code", "") == "gone"


def test_messages_of_a_dropped_party_are_nobodys_error() -> None:
    async def middle(s: Session) -> list[str]:
        while not s.unclaimed("ann"):  # noqa: ASYNC110 - nothing tells of a message that nobody awaits
            await asyncio.sleep(0)
        left = s.unclaimed("ann")
        s.drop("ann", PeerError("too much", code="unclaimed"))
        return left

    async def loud(s: Session) -> None:
        await s.send_bytes(s.peer, "unasked", b"1")

    run = simulate({"middle": middle, "ann": loud}, parties=("middle", "ann"), star="middle")
    assert run.outcomes["middle"].error is None
    assert run.outcomes["middle"].result == ["run/unasked.1"]


async def test_two_sessions_of_one_process_need_not_agree_on_names() -> None:
    there, here = local_pair("the asker", "ann")
    middle = Session("middle", {"ann": there}, id=b"x")
    ann = Session("ann", {"the asker": here}, id=b"x")
    await middle.send_bytes("ann", "word", b"w")
    assert await ann.recv_bytes("the asker", "word", 1) == b"w"
    await middle.close()
    with pytest.raises(PrivcomputeError) as caught:
        await ann.recv_bytes(ann.peer, "word", 1)
    assert caught.value.code == "closed"
    await ann.close()
