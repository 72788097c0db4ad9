"""How fast this machine is, measured in less than a second at `init`, for the estimates of `explain`."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass
from typing import Any

from privcompute.errors import IntegrityError
from privcompute.node.store import Store

_SETTING = "calibration"


@dataclass(frozen=True, slots=True)
class Calibration:
    """Measured rates of one machine.

    Attributes:
        cores: Threads that run at the same time.
        ladders: X25519 operations a second on one core.
        maps: Hashes to the curve a second on one core.
        stream: Bytes of AES-CTR key stream a second on one core.
    """

    cores: int
    ladders: float
    maps: float
    stream: float

    def to_json(self) -> dict[str, float]:
        """The rates as JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, body: Any) -> Calibration:
        """Read `to_json` back.

        Raises:
            IntegrityError: the state holds something else.
        """
        try:
            return cls(int(body["cores"]), *(float(body[name]) for name in ("ladders", "maps", "stream")))
        except (TypeError, KeyError, ValueError):
            raise IntegrityError(
                "the home holds no measured speed of this machine",
                code="calibration",
                remedy="run `privcompute doctor`, which measures it anew",
            ) from None


def measure() -> Calibration:
    """Measure this machine; takes less than a second."""
    from privcompute.psi import curve
    from privcompute.randomness import system_stream

    engine = curve.engine()
    uniform = curve.uniform_bytes([str(i).encode() for i in range(256)], b"privcompute calibration")
    buffer = bytearray(1 << 22)
    stream = system_stream("calibration")
    return Calibration(
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        ladders=curve.rate(engine),
        maps=256 / _seconds(lambda: engine.elligator2(uniform)),
        stream=len(buffer) / _seconds(lambda: stream.fill(buffer)),
    )


def _seconds(work: Any) -> float:
    """The better of two runs."""
    best = float("inf")
    for _ in range(2):
        begin = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begin)
    return best


def load(store: Store) -> Calibration:
    """The calibration of `init`."""
    return Calibration.from_json(store.setting(_SETTING))


def save(store: Store, calibration: Calibration) -> None:
    """Keep a calibration."""
    store.set_setting(_SETTING, calibration.to_json())
