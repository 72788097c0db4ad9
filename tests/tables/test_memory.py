"""Memory that was freed goes back to the operating system, which is Linux; under another C library nothing breaks."""

from __future__ import annotations

import subprocess
import sys

import pytest

from privcompute.tables import memory

PROGRAM = """
import pyarrow as pa
from privcompute.tables.memory import few_arenas, give_back, steady_heap

def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * 4096

few_arenas()
steady_heap()
blocks = [bytearray(100_000) for _ in range(1000)]  # below malloc's threshold for maps of their own
arrow = pa.array(range(3_000_000))
keep = bytearray(100_000)  # above the blocks: malloc cannot just lower its end
del blocks, arrow
before = resident()
give_back()
print(before - resident())
"""


def test_freed_memory_goes_back() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) > 50_000_000


STREAM = """
import resource
from privcompute.tables.memory import steady_heap

steady_heap()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

for n in range(202):
    if n == 2:
        before = faults()
    blocks = [b"x" * 1_100_000 for _ in range(3)]
    del blocks
print(faults() - before)
"""


def test_a_stream_of_blocks_finds_its_memory_again() -> None:
    """Fetched anew, 660 MB are 160,000 pages."""
    done = subprocess.run([sys.executable, "-c", STREAM], capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) < 5_000


def test_without_glibc_arrows_memory_goes_back_and_the_rest_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class OtherLibrary:
        """A C library without malloc_trim, as musl is one."""

        def __init__(self, name: None) -> None:
            assert name is None

    monkeypatch.setattr("ctypes.CDLL", OtherLibrary)
    memory._libc.cache_clear()
    try:
        assert memory._libc() is None
        memory.few_arenas()
        memory.steady_heap()
        memory.give_back()
    finally:
        memory._libc.cache_clear()
