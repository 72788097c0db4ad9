"""Memory that was freed goes back to the operating system."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import pyarrow as pa
from privcompute.tables.memory import few_arenas, give_back

def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * 4096

few_arenas()
blocks = [bytearray(100_000) for _ in range(1000)]  # below malloc's threshold for maps of their own
arrow = pa.array(range(3_000_000))
keep = bytearray(100_000)  # above the blocks: malloc cannot just lower its end
del blocks, arrow
before = resident()
give_back()
print(before - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_freed_memory_goes_back() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) > 50_000_000
