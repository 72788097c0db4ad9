"""Anonymization against the targets of issue 4: search, Mondrian, measuring, on Adult and on a synthetic census.

The census has 1.2 million rows with the domains and hierarchies published for the health interview survey (IHIS) and
Zipf-like frequencies. Times are CPU seconds of this process, for the machine is shared; wall-clock times are printed
beside them. The least of several rounds counts, so that compiling kernels does not.
"""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support import adult
from support.figures import commit, machine, peak_memory, reset_peak_memory

from privcompute.anonymize import Measured, measure
from privcompute.anonymize.columns import QuasiIdentifier, quasi_identifier
from privcompute.anonymize.hierarchy import from_rows
from privcompute.anonymize.metrics import Metric, cost
from privcompute.anonymize.models import KAnonymity
from privcompute.anonymize.mondrian import mondrian
from privcompute.anonymize.search.exact import Exact
from privcompute.anonymize.search.outcome import Outcome, Task
from privcompute.anonymize.search.tables import Tables
from privcompute.anonymize.shown import ncp

pytestmark = adult.needed

ROWS = 1_200_000
SURVEY = ("YEAR", "QUARTER", "REGION", "PERNUM", "AGE", "MARSTAT", "SEX", "RACEA", "EDUC")


@dataclass(frozen=True)
class Took:
    """CPU and wall-clock seconds."""

    cpu: float
    wall: float


def timed(work: Callable[[], Any], rounds: int = 3) -> tuple[Any, Took]:
    """The result, and the round of least CPU time."""
    found, best = None, Took(float("inf"), float("inf"))
    for _ in range(rounds):
        cpu, wall = time.process_time(), time.perf_counter()
        found = work()
        best = min(best, Took(time.process_time() - cpu, time.perf_counter() - wall), key=lambda one: one.cpu)
    return found, best


@cache
def survey() -> tuple[QuasiIdentifier, ...]:
    """The synthetic census, coded."""
    rng = np.random.default_rng(1)
    columns = []
    with tarfile.open(adult.DATA / "highdim" / "hierarchies.tar.gz") as archive:
        for name in SURVEY:
            file = archive.extractfile(f"hierarchies/ihis_int_hierarchy_{name}.csv")
            assert file is not None
            lines = io.TextIOWrapper(file, "utf-8").read().split()
            tree = from_rows([line.split(";") for line in lines], name)
            share = 1 / np.arange(1, len(lines) + 1)
            codes = rng.choice(len(lines), ROWS, p=share / share.sum())
            columns.append(quasi_identifier(name, codes, tree.leaves, tree))
    return tuple(columns)


def search(columns: tuple[QuasiIdentifier, ...], metric: Metric, limit: float) -> Outcome:
    """Group, price and search; 5-anonymity."""
    tables = Tables(columns)
    return Exact(Task(tables, (KAnonymity(5),), cost(metric, tables), int(limit * tables.rows))).run()


def store(benchmark: Any, took: Took, rows: int, **more: Any) -> None:
    """Keep the figures beside pytest-benchmark's own."""
    benchmark.extra_info.update(machine=machine(), commit=commit(), rows=rows, cpu=took.cpu, wall=took.wall, **more)
    print(f"\n{benchmark.name}: {took.cpu:.3f} s of CPU, {took.wall:.3f} s by the clock; {more}")


@pytest.mark.parametrize(("metric", "limit", "most"), [("entropy", 0.0, 0.1), ("loss", 0.01, 0.5)])
def test_adult(benchmark: Any, metric: Metric, limit: float, most: float) -> None:
    """Nine quasi-identifiers, 12,960 nodes; ARX: 27 ms with a monotone metric, 1.23 s by loss."""
    columns = tuple(adult.column(name) for name in adult.NINE)
    search(columns, metric, limit)
    outcome, took = timed(lambda: search(columns, metric, limit), 7)
    benchmark.pedantic(lambda: search(columns, metric, limit), rounds=1)
    store(benchmark, took, 30_162, checks=outcome.checks, nodes=outcome.nodes)
    assert outcome.state == "optimal"
    assert took.cpu <= most


@pytest.mark.parametrize(("metric", "limit", "most"), [("entropy", 0.0, 2.5), ("loss", 0.01, 20.0)])
def test_survey(benchmark: Any, metric: Metric, limit: float, most: float) -> None:
    """1.2 million rows, 25,920 nodes, below 1 GB; ARX on the real table: 2.5 s and 66.9 s."""
    columns = survey()
    reset_peak_memory()
    outcome, took = timed(lambda: search(columns, metric, limit), 2)
    peak = peak_memory()
    benchmark.pedantic(lambda: search(columns, metric, limit), rounds=1)
    store(benchmark, took, ROWS, checks=outcome.checks, nodes=outcome.nodes, peak_memory=peak)
    assert outcome.state == "optimal"
    assert took.cpu <= most
    assert peak < 1 << 30


def test_mondrian_adult(benchmark: Any) -> None:
    """k = 10, strict, by nine columns; the NCP of the known script's eight columns is held in tests/anonymize."""
    columns = [adult.column(name) for name in adult.NINE]
    _, took = timed(lambda: mondrian(columns, {}, [KAnonymity(10)], 10, strict=True), 7)
    benchmark.pedantic(lambda: mondrian(columns, {}, [KAnonymity(10)], 10, strict=True), rounds=3)
    store(benchmark, took, 30_162)
    assert took.cpu <= 0.05


def test_mondrian_survey(benchmark: Any) -> None:
    columns = survey()
    shown, took = timed(lambda: mondrian(columns, {}, [KAnonymity(10)], 10, strict=True))
    benchmark.pedantic(lambda: mondrian(columns, {}, [KAnonymity(10)], 10, strict=True), rounds=1)
    store(benchmark, took, ROWS, ncp_percent=ncp(shown))
    assert took.cpu <= 1.0


@pytest.mark.parametrize("qi", [SURVEY, ("AGE", "SEX", "EDUC", "REGION")], ids=["nine", "four"])
def test_measure(benchmark: Any, qi: tuple[str, ...]) -> None:
    """All models and risks of 1.2 million rows, from an Arrow table: nearly all rows unique, and large classes."""
    columns: dict[str, Any] = {column.name: np.array(column.codes) for column in survey()}
    columns["illness"] = np.random.default_rng(3).integers(0, 30, ROWS)
    table = pa.table(columns)

    def work() -> Measured:
        return measure(table, qi=qi, sensitive=["illness"], population_rows=10 * ROWS)

    measured, took = timed(work, 4)
    benchmark.pedantic(work, rounds=1)
    store(benchmark, took, ROWS, classes=measured.risk.classes)
    assert took.cpu <= 1.0
