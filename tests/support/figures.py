"""What a benchmark stores beside its times: machine, commit, rows, rounds, bytes, seconds, peak memory."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def machine() -> str:
    """The processor's name and number of cores."""
    names = [line.partition(":")[2].strip() for line in _lines(Path("/proc/cpuinfo"), "model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def commit() -> str:
    """The commit of the working tree this file is in; with a `+` if files that are tracked were changed."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+" if git("diff", "HEAD", "--name-only") else "")


def store(benchmark: Any, *, rows: int, rounds: int, bytes: int, seconds: float, peak: int, **more: Any) -> None:  # noqa: A002 - the figure's name
    """Keeps the figures of one benchmark in pytest-benchmark's file.

    Args:
        benchmark: pytest-benchmark's fixture.
        rows: Of one party's table.
        rounds: The longest chain of dependent messages.
        bytes: Sent by both parties together.
        seconds: The figure that was compared with the target.
        peak: Largest resident memory of a process, in bytes.
        more: Whatever else tells about the run.
    """
    figures = {"machine": machine(), "commit": commit(), "rows": rows, "rounds": rounds, "bytes": bytes}
    benchmark.extra_info.update(figures, seconds=seconds, peak_memory=peak, **more)


def peak_memory(pid: int | str = "self") -> int:
    """The largest resident memory a process ever had, in bytes."""
    (line,) = _lines(Path(f"/proc/{pid}/status"), "VmHWM:")
    return int(line.split()[1]) << 10


def reset_peak_memory(pid: int | str = "self") -> None:
    """Lets the peak start anew from what is resident now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def x25519_rate(threads: int = 2, count: int = 4096) -> float:
    """X25519 a second of the node's own engine on this many threads together; the median of nine tries."""
    from privcompute.psi import curve

    engine = curve.engine()
    rows = np.random.default_rng(1).integers(0, 256, (count, 32), dtype=np.uint8)
    rows[:, 31] &= 127
    return statistics.median(
        threads * count / on_threads(lambda: engine.x25519(b"\x42" * 32, rows), threads) for _ in range(9)
    )


def on_threads(work: Callable[[], object], threads: int) -> float:
    """Seconds in which each of some threads does the work once."""
    started = [threading.Thread(target=work) for _ in range(threads)]
    begin = time.perf_counter()
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    return time.perf_counter() - begin


def _lines(path: Path, start: str = "") -> list[str]:
    try:
        return [line for line in path.read_text().splitlines() if line.startswith(start)]
    except OSError:
        return []
