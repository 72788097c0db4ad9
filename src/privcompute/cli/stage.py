"""The stage of `demo`: two homes, two tables, two running nodes, and DuckDB as the oracle."""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

from privcompute.cli.output import note
from privcompute.errors import PrivcomputeError, TransportError
from privcompute.node.local_socket import error_from_wire

PARTIES = ("hospital", "insurer")
DATASETS = {"hospital": "patients", "insurer": "members"}
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0


def loopback_host() -> tuple[str, bool]:
    """The loopback address to use, and whether it is IPv6."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return "127.0.0.1", False
    return "[::1]", True


class Stage:
    """Both nodes, set up and paired by the real commands, for as long as the context lasts.

    Args:
        place: A directory that gets `hospital/`, `insurer/` (homes) and `tables/`.
        host: The loopback address.
        rows: Rows of each table.
    """

    def __init__(self, place: Path, host: str, rows: int) -> None:
        self._place = place
        self._host = host
        self._rows = rows
        self._nodes: list[subprocess.Popen[str]] = []
        self._tables = {party: place / "tables" / party / f"{name}.parquet" for party, name in DATASETS.items()}

    def __enter__(self) -> Stage:
        """Set up, pair, and start both nodes.

        Raises:
            PrivcomputeError: what a command said.
        """
        self._place.mkdir(parents=True, exist_ok=True)
        try:
            self._set_up()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop both nodes."""
        self._stop()

    def query(self, sql: str) -> dict[str, Any]:
        """Ask as the insurer; plan and progress go to standard error.

        Raises:
            PrivcomputeError: what the command said.
        """
        sys.stdout.flush()
        return self._command("insurer", "query", sql, "--yes")

    def oracle(self, sql: str) -> Oracle:
        """DuckDB's answer on both tables together."""
        import duckdb

        from privcompute.node import values

        with duckdb.connect() as connection:
            for party, path in self._tables.items():
                connection.execute(f"CREATE SCHEMA {party}")
                place = str(path).replace("'", "''")
                connection.execute(f"CREATE VIEW {party}.{DATASETS[party]} AS FROM read_parquet('{place}')")
            found = connection.execute(sql)
            columns = [one[0] for one in found.description or ()]
            rows = [[values.to_json(value) for value in row] for row in found.fetchall()]
        return Oracle(tuple(columns), rows)

    def _set_up(self) -> None:
        started = [self._start(p, "init", "--name", p, "--listen", f"{self._host}:0") for p in PARTIES]
        self._write_tables()
        for one in started:
            _finish(one)
        added = [
            self._start(
                party,
                "dataset",
                "add",
                DATASETS[party],
                str(self._tables[party]),
                "--key",
                "national_id",
                "--reveal",
                "matches",
                "--allow",
                "*=aggregate,group,filter,product",
                "--accept-ranges",
            )
            for party in PARTIES
        ]
        for one in added:
            _finish(one)
        self._nodes = [self._start(party, "serve", "--log-level", "warning") for party in PARTIES]
        for node in self._nodes:
            _listening(node)
        code = self._command("hospital", "invite", "insurer", quiet=True)["code"]
        self._command("insurer", "join", code, quiet=True)

    def _write_tables(self) -> None:
        import pyarrow.parquet as parquet

        from privcompute.tables.synthetic import demo_tables

        tables = demo_tables(self._rows)
        for party, path in self._tables.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            parquet.write_table(tables[party], path)

    def _words(self, party: str, *words: str) -> list[str]:
        return [sys.executable, "-m", "privcompute", "--home", str(self._place / party), "--json", *words]

    def _start(self, party: str, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(self._words(party, *words), stdout=subprocess.PIPE, text=True)

    def _command(self, party: str, *words: str, quiet: bool = False) -> dict[str, Any]:
        """Run a command to its end; its notes go to standard error, or nowhere."""
        errors = subprocess.DEVNULL if quiet else None
        done = subprocess.run(self._words(party, *words), stdout=subprocess.PIPE, stderr=errors, text=True, check=False)
        return _result(done.returncode, done.stdout)

    def _stop(self) -> None:
        for node in self._nodes:
            node.terminate()
        for node in self._nodes:
            try:
                node.communicate(timeout=_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                node.kill()
                node.communicate()
                note("a node did not stop in time and was killed")
        self._nodes = []


def _finish(command: subprocess.Popen[str]) -> dict[str, Any]:
    text, _ = command.communicate()
    return _result(command.returncode, text)


def _result(status: int, text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except ValueError:
        body = {}
    if status:
        error = body.get("error") or {"code": "internal", "message": f"a command ended with status {status}"}
        found = error_from_wire({**error, "class": _CLASSES.get(status)})
        raise found if isinstance(found, PrivcomputeError) else PrivcomputeError("a command failed")
    return dict(body)


_CLASSES = {
    2: "UsageError",
    3: "PeerError",
    4: "TransportError",
    5: "PrivacyError",
    6: "IntegrityError",
    7: "ConsentNeeded",
}


def _listening(node: subprocess.Popen[str]) -> None:
    """Wait for the line that `serve --json` prints."""
    if node.stdout is None:
        raise TransportError("the node has no output", code="node_start")
    ends = time.monotonic() + _START_SECONDS
    ready, _, _ = select.select([node.stdout], [], [], max(0.0, ends - time.monotonic()))
    line = node.stdout.readline() if ready else ""
    try:
        body = json.loads(line) if line else {}
    except ValueError:
        body = {}
    if body.get("event") != "listening":
        if body.get("error"):
            raise error_from_wire({**body["error"], "class": "TransportError"})
        raise TransportError(
            "a node did not start in time", code="node_start", remedy="run `privcompute serve` by hand to see why"
        )


@dataclass(frozen=True)
class Oracle:
    """DuckDB's answer, values as JSON."""

    columns: tuple[str, ...]
    rows: list[list[Any]] = field(repr=False)

    def agrees(self, answer: Mapping[str, Any]) -> bool:
        """Whether the nodes' answer is this one: integers and decimals exactly, reals within the printed bound."""
        if tuple(answer["columns"]) != self.columns or len(answer["rows"]) != len(self.rows):
            return False
        bounds = [Fraction(answer["error_bound"].get(name) or 0) for name in self.columns]
        pairs = zip(answer["rows"], self.rows, strict=True)
        return all(_row_agrees(ours, theirs, bounds) for ours, theirs in pairs)


def _row_agrees(ours: Sequence[Any], theirs: Sequence[Any], bounds: Sequence[Fraction]) -> bool:
    return all(_agrees(one, other, bound) for one, other, bound in zip(ours, theirs, bounds, strict=True))


def _agrees(ours: Any, theirs: Any, bound: Fraction) -> bool:
    if ours == theirs:
        return True
    left, right = _number(ours), _number(theirs)
    return left is not None and right is not None and abs(left - right) <= bound


def _number(value: Any) -> Fraction | None:
    """JSON's numbers, and the strings that stand for integers and DECIMALs."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        return Fraction(value) if isinstance(value, int | float) else Fraction(Decimal(value))
    except (ArithmeticError, ValueError, TypeError):
        return None
