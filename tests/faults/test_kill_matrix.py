"""SIGKILL of either process at the messages of a real query: the other names an error, both run again afresh.

The points come from a recording of an undisturbed run: before a message is sent, after it, and after it has arrived.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support import nodes, small_query
from support.nodes import Party
from support.pairs import EVERYTHING

WATCHED = Path(nodes.__file__).with_name("watched_node.py")
STEP_SECONDS = 20.0
SAME_EVERY_TIME = ("negotiate/ready.1",)  # the plan's digest: equal questions have equal plans


@dataclass(frozen=True)
class Point:
    """Where a process dies."""

    party: str
    moment: str
    label: str


@dataclass
class Stage:
    """Two paired parties whose channels are watched."""

    hospital: Party
    insurer: Party
    place: Path
    expected: list[list[Any]]
    attempts: int = 0
    marks: dict[str, int] = field(default_factory=dict)

    def party(self, name: str) -> Party:
        """By name."""
        return self.hospital if name == "hospital" else self.insurer

    def program(self, name: str, kill: Point | None = None) -> tuple[str, ...]:
        """The watching command line of a party in the current attempt."""
        spec = self.place / f"{name}-{self.attempts}.json"
        wanted = [kill.moment, kill.label] if kill is not None and kill.party == name else None
        spec.write_text(json.dumps({"log": str(self._log(name)), "kill": wanted}))
        return (nodes.PYTHON_M[0], str(WATCHED), str(spec))

    def _log(self, name: str) -> Path:
        return self.place / f"{name}.log"

    def _lines(self, name: str) -> list[str]:
        return self._log(name).read_text().splitlines() if self._log(name).exists() else []

    def seen(self) -> list[dict[str, Any]]:
        """What both parties sent and took in the current attempt."""
        return [
            {"party": name, **json.loads(line)}
            for name in ("hospital", "insurer")
            for line in self._lines(name)[self.marks[name] :]
        ]

    def ask(self, kill: Point | None) -> tuple[nodes.Done | None, float]:
        """A fresh attempt: the hospital serves and the insurer asks; None if the insurer was killed."""
        self.attempts += 1
        self.marks = {name: len(self._lines(name)) for name in ("hospital", "insurer")}
        if not (self.hospital.serving and (kill is None or kill.party == "insurer")):
            self.hospital.stop()
            self.hospital.serve(program=self.program("hospital", kill))
        start = time.monotonic()
        process = self.insurer.start("query", small_query.SQL, "--yes", program=self.program("insurer", kill))
        done = None
        if kill is not None and kill.party == "insurer":
            assert process.wait(nodes.COMMAND_SECONDS) == -9, f"the insurer never came to {kill}"
            process.communicate()
        else:
            done = self.insurer.finish(process)
        return done, time.monotonic() - start


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Both parties, paired, with the tables of the small query."""
    place = tmp_path_factory.mktemp("kill")
    tables = {"hospital": ("patients", small_query.patients()), "insurer": ("members", small_query.members())}
    oracle = small_query.oracle(small_query.SQL, {f"{p}.{name}": table for p, (name, table) in tables.items()})
    with nodes.parties(place, "hospital", "insurer", listen=["127.0.0.1:0", None]) as (hospital, insurer):
        for party in (hospital, insurer):
            name, table = tables[party.name]
            path = place / f"{name}.parquet"
            pq.write_table(table, path)
            party.ok("dataset", "add", name, str(path), "--key", "id", *EVERYTHING)
            party.limit(step_seconds=STEP_SECONDS)
        hospital.serve()
        nodes.keep_port(hospital)
        nodes.pair(hospital, insurer)
        hospital.stop()
        yield Stage(hospital, insurer, place, [list(row) for row in oracle])
        hospital.stop()


@pytest.fixture(scope="module")
def points(stage: Stage) -> list[Point]:
    """All points of an undisturbed run."""
    done, _ = stage.ask(None)
    assert done is not None
    _check_answer(stage, done)
    found = []
    for line in stage.seen():
        moments = ("sending", "sent") if line["moment"] == "sending" else ("received",)
        found += [Point(line["party"], moment, line["label"]) for moment in moments]
    assert len(found) >= 30
    assert {p.party for p in found} == {"hospital", "insurer"}
    return found


def _check_answer(stage: Stage, done: nodes.Done) -> None:
    assert done.status == 0, done.body or done.notes
    ((n, spent, visits, smokers),) = done.body["rows"]
    ((n_, spent_, visits_, smokers_),) = stage.expected
    assert (n, int(spent), int(smokers)) == (n_, int(spent_), int(smokers_))
    assert abs(visits - visits_) <= float(done.body["error_bound"]["visits"])


def _check_state(home: Path) -> None:
    with sqlite3.connect(home / "state.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def _kill(stage: Stage, point: Point) -> None:
    """One death and the run after it."""
    survivor = stage.hospital if point.party == "insurer" else stage.insurer
    before = len(stage.hospital.said()) if survivor is stage.hospital else 0
    done, seconds = stage.ask(point)
    aborted = stage.seen()
    assert aborted or point.label.startswith("negotiate/proposal"), point
    if survivor is stage.insurer:
        assert done is not None
        if done.status:  # the answer may have been complete before the other died
            assert done.status in (3, 4), (point, done)
            assert done.error["party"] == "hospital", (point, done.error)
            assert done.error["code"] not in ("internal", "error"), (point, done.error)
        else:
            _check_answer(stage, done)
        assert seconds < STEP_SECONDS + 15
        assert not stage.hospital.serving
    else:
        assert stage.hospital.serving
        nodes.wait_for(
            f"the hospital's word after {point}",
            lambda: " ended: " in stage.hospital.said()[before:] or _no_part_in_it(stage),
            STEP_SECONDS + 15,
        )
        aborted = stage.seen()
    _check_state(stage.party(point.party).home)
    again, _ = stage.ask(None)
    assert again is not None
    _check_answer(stage, again)
    _check_fresh(aborted, stage.seen())


def _no_part_in_it(stage: Stage) -> bool:
    """Whether the hospital never heard of the query, or had sent its last message before the insurer died."""
    mine = [line for line in stage.seen() if line["party"] == "hospital"]
    return not mine or any(line["moment"] == "sending" and "/reveal.2/" in line["label"] for line in mine)


def _check_fresh(aborted: Sequence[dict[str, Any]], rerun: Sequence[dict[str, Any]]) -> None:
    """Another session, and no message of the aborted run once more."""
    assert not {line["session"] for line in aborted} & {line["session"] for line in rerun}
    old = {line["sha256"] for line in aborted if line["label"] not in SAME_EVERY_TIME}
    again = [line["label"] for line in rerun if line["sha256"] in old and line["label"] not in SAME_EVERY_TIME]
    assert again == []


def _choose(points: Sequence[Point], *wanted: tuple[str, str, str]) -> list[Point]:
    return [
        next(p for p in points if p.party == party and p.moment == moment and part in p.label)
        for party, moment, part in wanted
    ]


def test_a_killed_process_costs_that_run_and_nothing_else(stage: Stage, points: list[Point]) -> None:
    chosen = _choose(
        points,
        ("hospital", "received", "/cross_product"),
        ("insurer", "sent", "/tags"),
        ("hospital", "sending", "/reveal.1"),
    )
    for point in chosen:
        _kill(stage, point)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_killed_process_at_every_message(stage: Stage, points: list[Point]) -> None:
    for point in points:
        _kill(stage, point)
