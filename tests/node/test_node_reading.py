"""The pass over the table ends when the other party is gone, and only then before its time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from privcompute.errors import PeerError, PrivcomputeError, TransportError, UsageError
from privcompute.node.jobs.reading import NOBODY_SENDS, while_all_are_there
from privcompute.session import Channel
from privcompute.tables import engine
from privcompute.testing.loopback import loopback_pair

ENDLESS = "SELECT count(*) FROM range(100000000000) a, range(100000000000) b WHERE a.range * 3 = b.range * 7 + 1.5"


def _endless(started: threading.Event, ended: threading.Event) -> Callable[[], None]:
    def work() -> None:
        try:
            with engine.connect() as connection, engine.named_errors("the pass"):
                started.set()
                connection.execute(ENDLESS).fetchall()
        finally:
            ended.set()

    return work


async def _leave(channel: Channel) -> None:
    await channel.close()


async def _abort(channel: Channel) -> None:
    await channel.abort(TransportError("the run was cancelled", code="cancelled", party="insurer"))


async def _speak(channel: Channel) -> None:
    await channel.send(NOBODY_SENDS, [b"x"])


@pytest.mark.parametrize(("ending", "code"), [(_leave, "closed"), (_abort, "cancelled"), (_speak, None)])
async def test_a_peer_that_is_gone_ends_the_pass(ending: Callable[[Channel], object], code: str | None) -> None:
    mine, theirs = loopback_pair("hospital", "insurer")
    started, ended = threading.Event(), threading.Event()
    reading = asyncio.create_task(while_all_are_there([mine], 3600, _endless(started, ended)))
    assert await asyncio.to_thread(started.wait, 30)
    leaving = ending(theirs)
    assert asyncio.iscoroutine(leaving)
    await leaving
    with pytest.raises(PrivcomputeError) as error:
        await reading
    assert ended.is_set()
    if code is None:
        assert isinstance(error.value, PeerError)
    else:
        assert error.value.code == code


async def test_a_pass_in_time_leaves_the_link_as_it_was() -> None:
    mine, theirs = loopback_pair("hospital", "insurer")
    assert await while_all_are_there([mine], 30, lambda: 7) == 7
    await theirs.send("later", [b"x"])
    assert bytes(await mine.recv("later", 10, 5)) == b"x"
    with pytest.raises(UsageError) as error:
        await while_all_are_there([mine], 0.1, _endless(threading.Event(), threading.Event()))
    assert error.value.code == "too_slow"
    with pytest.raises(ZeroDivisionError):
        await while_all_are_there([], 30, lambda: 1 // 0)
