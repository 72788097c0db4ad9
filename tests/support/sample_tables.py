"""Two seeded tables with what makes a join hard: text identifiers, NULLs, duplicates, decimals, reals, dates."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

REGIONS = ("north", "south", "east", "it's west")
PLANS = ("basic", "plus", "Plus", "")


def _sometimes(rng: np.random.Generator, values: list[Any], chance: float) -> list[Any]:
    """The values, some of them NULL."""
    gone = rng.random(len(values)) < chance
    return [None if missing else value for value, missing in zip(values, gone, strict=True)]


def _identifiers(rng: np.random.Generator, first: int, count: int, repeated: float) -> list[str]:
    """Text with leading zeros; some appear two or three times."""
    ids = [f"{n:06d}" for n in range(first, first + count)]
    again = [one for one in ids if rng.random() < repeated]
    return ids + again + again[: len(again) // 3]


def hospital(seed: int, count: int) -> pa.Table:
    """People 0 … count-1."""
    rng = np.random.default_rng(seed)
    ids = _identifiers(rng, 0, count, 0.08)
    n = len(ids)
    born = [dt.date(1930, 1, 1) + dt.timedelta(int(d)) for d in rng.integers(0, 30_000, n)]
    return pa.table(
        {
            "id": pa.array(_sometimes(rng, ids, 0.01), pa.string()),
            "age": pa.array(_sometimes(rng, [int(v) for v in rng.integers(0, 99, n)], 0.05), pa.int16()),
            "visits": pa.array([int(v) for v in rng.integers(-3, 40, n)], pa.int32()),
            "bmi": pa.array(
                _sometimes(rng, [Decimal(int(v)) / 100 for v in rng.integers(1500, 4500, n)], 0.05), pa.decimal128(5, 2)
            ),
            "dose": pa.array(_sometimes(rng, [float(v) for v in rng.normal(3.0, 2.0, n)], 0.05), pa.float64()),
            "smoker": pa.array(_sometimes(rng, [bool(v) for v in rng.random(n) < 0.4], 0.05), pa.bool_()),
            "region": pa.array(_sometimes(rng, [str(v) for v in rng.choice(REGIONS, n)], 0.05), pa.string()),
            "born": pa.array(_sometimes(rng, born, 0.05), pa.date32()),
        }
    )


def insurer(seed: int, count: int) -> pa.Table:
    """People count/4 … count*5/4 - 1."""
    rng = np.random.default_rng(seed + 1_000_003)
    ids = _identifiers(rng, count // 4, count, 0.12)
    n = len(ids)
    return pa.table(
        {
            "id": pa.array(_sometimes(rng, ids, 0.01), pa.string()),
            "cost": pa.array(_sometimes(rng, [int(v) for v in rng.integers(-1000, 9000, n)], 0.05), pa.int64()),
            "claim": pa.array(
                _sometimes(rng, [Decimal(int(v)) / 100 for v in rng.integers(0, 900_000, n)], 0.1),
                pa.decimal128(9, 2),
            ),
            "score": pa.array(_sometimes(rng, [float(v) for v in rng.random(n)], 0.05), pa.float64()),
            "active": pa.array(_sometimes(rng, [bool(v) for v in rng.random(n) < 0.7], 0.03), pa.bool_()),
            "plan": pa.array(_sometimes(rng, [str(v) for v in rng.choice(PLANS, n)], 0.05), pa.string()),
        }
    )
