"""A pass over a table ends with the question that wanted it."""

from __future__ import annotations

import asyncio
import threading
import time

import duckdb
import pytest

from privcompute.errors import UsageError
from privcompute.tables import engine
from privcompute.tables.interrupt import interruptible

ENDLESS = "SELECT count(*) FROM range(100000000000) a, range(100000000000) b WHERE a.range * 3 = b.range * 7 + 1.5"


class Pass:
    """A pass that would take years, and what became of it."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.ended = threading.Event()

    def __call__(self) -> None:
        try:
            with engine.connect() as connection, engine.named_errors("the pass"):
                self.started.set()
                connection.execute(ENDLESS).fetchall()
        finally:
            self.ended.set()


async def test_what_is_cancelled_ends_in_the_thread_too() -> None:
    made = Pass()
    task = asyncio.create_task(interruptible(3600, made))
    assert await asyncio.to_thread(made.started.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert made.ended.is_set()


async def test_what_takes_too_long_is_refused_by_name() -> None:
    made = Pass()
    with pytest.raises(UsageError, match=r"longer than 0\.2 seconds") as error:
        await interruptible(0.2, made)
    assert error.value.code == "too_slow"
    assert "table_seconds" in error.value.remedy
    assert made.ended.is_set()


async def test_no_connection_is_opened_after_the_end() -> None:
    """Work between two queries, which an interrupt cannot reach, does not begin the next one."""
    opened: list[int] = []

    def work() -> None:
        time.sleep(0.3)
        with engine.connect():
            opened.append(1)

    with pytest.raises(UsageError) as error:
        await interruptible(0.05, work)
    assert error.value.code == "too_slow"
    assert opened == []


async def test_results_and_errors_pass_through() -> None:
    assert await interruptible(30, lambda a, b: a + b, 1, b=2) == 3
    with pytest.raises(ZeroDivisionError):
        await interruptible(30, lambda: 1 // 0)


def test_without_a_watch_nothing_is_watched() -> None:
    with engine.connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(duckdb.Error):
            connection.execute("SELECT no_such_column")
