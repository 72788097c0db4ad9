"""How fast this machine is, measured in less than a second at `init`, for the estimates of `explain`."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from privcompute.errors import IntegrityError
from privcompute.node.store import Store

_SETTING = "calibration"
_POINTS: Final = 1024
_ROUNDS: Final = 8


@dataclass(frozen=True, slots=True)
class Calibration:
    """Measured speed of one machine.

    Attributes:
        cores: Threads that run at the same time.
        ladders: X25519 operations a second on each of them, all at work: what most of a query's time goes into, and
            the measure for the rest.
    """

    cores: int
    ladders: float

    def to_json(self) -> dict[str, float]:
        """The speed as JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, body: Any) -> Calibration:
        """Read `to_json` back.

        Raises:
            IntegrityError: the state holds something else.
        """
        try:
            found = cls(int(body["cores"]), float(body["ladders"]))
        except (TypeError, KeyError, ValueError, OverflowError):
            found = cls(0, 0.0)
        if found.cores < 1 or not 0 < found.ladders < float("inf"):
            raise IntegrityError(
                "the home holds no measured speed of this machine",
                code="calibration",
                remedy="run `privcompute doctor`, which measures it anew",
            )
        return found


def measure() -> Calibration:
    """Measure this machine; takes less than a second once the kernels are compiled."""
    from privcompute.psi import curve

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    engine = curve.engine()
    points = np.zeros((_POINTS, 32), np.uint8)
    points[:, 0] = 9

    def best(_: int) -> float:
        found = float("inf")
        for _ in range(_ROUNDS):
            # The thread's own time: what other programs take for a moment is no part of the machine's speed.
            begin = time.thread_time()
            engine.x25519(b"\x40" * 32, points)
            found = min(found, time.thread_time() - begin)
        return found

    with ThreadPoolExecutor(cores, thread_name_prefix="calibration") as pool:
        return Calibration(cores, cores * _POINTS / sum(pool.map(best, range(cores))))


def load(store: Store) -> Calibration:
    """The calibration of `init`."""
    return Calibration.from_json(store.setting(_SETTING))


def save(store: Store, calibration: Calibration) -> None:
    """Keep a calibration."""
    store.set_setting(_SETTING, calibration.to_json())
