"""Buffers of large messages are used again, and never while somebody still looks at them."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from privcompute.session.buffers import SMALLEST, Buffers

SIZE = SMALLEST + 1000


def address(buffer: memoryview) -> int:
    return int(np.frombuffer(buffer, np.uint8).ctypes.data)


def test_a_dropped_buffer_is_used_again() -> None:
    buffers = Buffers(8 * SIZE)
    first = buffers.take(SIZE)
    where = address(first)
    del first
    again = buffers.take(SIZE - 500)
    assert address(again) == where
    assert len(again) == SIZE - 500


def test_the_last_that_came_back_goes_first() -> None:
    buffers = Buffers(8 * SIZE)
    taken = [buffers.take(SIZE) for _ in range(3)]
    last = address(taken[1])
    for n in (2, 0, 1):
        taken[n] = memoryview(b"")
    assert address(buffers.take(SIZE)) == last


@pytest.mark.parametrize("view", ["memoryview", "array", "slice", "other type"])
def test_a_buffer_in_use_is_left_alone(view: str) -> None:
    buffers = Buffers(8 * SIZE)
    buffer = buffers.take(SIZE)
    whole = np.frombuffer(buffer.toreadonly()[64:], np.uint8)
    kept: object = {
        "memoryview": buffer[10:20],
        "array": whole,
        "slice": whole[100:200].reshape(10, 10),
        "other type": whole[: SIZE - 64 - (SIZE - 64) % 8].view(np.uint64)[::2],
    }[view]
    where = address(buffer)
    del buffer, whole
    gc.collect()
    assert all(address(buffers.take(SIZE)) != where for _ in range(3))
    del kept
    taken = [buffers.take(SIZE) for _ in range(4)]
    assert where in [address(one) for one in taken]


def test_unused_buffers_are_bounded() -> None:
    buffers = Buffers(3 * SIZE)
    taken = [buffers.take(SIZE) for _ in range(10)]
    taken.clear()
    assert sum(block.size for block in buffers._unused.values()) <= 3 * SIZE
    assert len(buffers.take(100)) == 100
    large = buffers.take(4 * SIZE)
    del large
    assert sum(block.size for block in buffers._unused.values()) <= 3 * SIZE


def test_many_threads() -> None:
    """Each finds in its buffer what it wrote, however they take and drop."""
    buffers = Buffers(4 * SIZE)

    def work(mark: int) -> bool:
        right = True
        for _ in range(20):
            array = np.frombuffer(buffers.take(SIZE), np.uint8)
            array[::4096] = mark
            right = right and bool((array[::4096] == mark).all())
        return right

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(1, 9)))
