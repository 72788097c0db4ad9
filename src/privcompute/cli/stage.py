"""The stage of `demo`: homes, tables, running nodes, and DuckDB as the oracle."""

from __future__ import annotations

import json
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from privcompute.cli.output import note
from privcompute.errors import PrivcomputeError, TransportError
from privcompute.node.local_socket import error_from_wire

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_UNION = re.compile(r"UNION\s*\([^)]*\)", re.IGNORECASE)
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


@dataclass(frozen=True)
class Actor:
    """One party of a demo.

    Attributes:
        dataset: The name of its dataset.
        table: Its rows.
        words: What its `dataset add` says besides name and source.
    """

    dataset: str
    table: pa.Table = field(repr=False)
    words: tuple[str, ...]


class Stage:
    """The nodes of a demo, set up and paired by the real commands, for as long as the context lasts.

    Args:
        place: A directory that gets each party's home, and `tables/`.
        host: The loopback address.
        actors: By name, the parties; the last one asks.
    """

    def __init__(self, place: Path, host: str, actors: Mapping[str, Actor]) -> None:
        self._place = place
        self._host = host
        self._actors = actors
        self._nodes: dict[str, subprocess.Popen[str]] = {}
        self._tables = {party: place / "tables" / party / f"{one.dataset}.parquet" for party, one in actors.items()}
        self.asker = list(actors)[-1]

    def __enter__(self) -> Stage:
        """Set up, pair, and start all nodes.

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
        """Stop all nodes."""
        self._stop()

    def query(self, sql: str, *words: str, on_note: Callable[[str], None] | None = None) -> dict[str, Any]:
        """Ask as the asker; plan and progress go to standard error.

        Args:
            sql: The query.
            words: More options of the command.
            on_note: Told each line of standard error.

        Raises:
            PrivcomputeError: what the command said.
        """
        sys.stdout.flush()
        return self._command(self.asker, "query", sql, "--yes", *words, on_note=on_note)

    def command(self, party: str, *words: str) -> dict[str, Any]:
        """Run a command of a party's; its notes are not shown.

        Raises:
            PrivcomputeError: what the command said.
        """
        sys.stdout.flush()
        return self._command(party, *words, quiet=True)

    def table_of(self, party: str) -> Path:
        """The file of a party's dataset."""
        return self._tables[party]

    def kill(self, party: str) -> None:
        """The party's machine fails."""
        node = self._nodes.pop(party)
        node.kill()
        node.communicate()

    def oracle(self, sql: str) -> Oracle:
        """DuckDB's answer on all tables together."""
        import duckdb

        with duckdb.connect() as connection:
            for party, path in self._tables.items():
                connection.execute(f"CREATE SCHEMA {party}")
                connection.execute(f"CREATE VIEW {party}.{self._actors[party].dataset} AS FROM {_parquet(path)}")
            return _answer(connection, sql)

    def pooled(self, sql: str, parties: Sequence[str]) -> Oracle:
        """DuckDB's answer on the rows of these parties laid one below the other; `sql` asks FROM UNION(…)."""
        import duckdb

        files = ", ".join(_quoted(self._tables[party]) for party in parties)
        with duckdb.connect() as connection:
            connection.execute(f"CREATE VIEW pooled AS FROM read_parquet([{files}])")
            (count,) = connection.execute("SELECT count(*) FROM pooled").fetchone() or (0,)
            return replace(_answer(connection, _UNION.sub("pooled", sql)), rounding=Fraction(count, 2**52))

    def _set_up(self) -> None:
        started = [self._start(p, "init", "--name", p, "--listen", f"{self._host}:0") for p in self._actors]
        self._write_tables()
        for one in started:
            _finish(one)
        added = [
            self._start(party, "dataset", "add", one.dataset, str(self._tables[party]), *one.words)
            for party, one in self._actors.items()
        ]
        for one in added:
            _finish(one)
        for party in self._actors:
            self._nodes[party] = self._start(party, "serve", "--log-level", "warning")
        for node in self._nodes.values():
            _listening(node)
        if len(self._actors) == 2:
            first, second = self._actors
            code = self._command(first, "invite", second, quiet=True)["code"]
            self._command(second, "join", code, quiet=True)
        else:
            self._pair_by_cards()

    def _pair_by_cards(self) -> None:
        cards = {party: self._place / f"{party}.card" for party in self._actors}
        made = {party: self._start(party, "peers", "card") for party in self._actors}
        for party, path in cards.items():
            path.write_text(json.dumps(_finish(made[party])))
        taken = [
            self._start(
                party, "peers", "add", "--yes", *(str(cards[other]) for other in cards if other != party), quiet=True
            )
            for party in self._actors
        ]
        for one in taken:
            _finish(one)

    def _write_tables(self) -> None:
        import pyarrow.parquet as parquet

        for party, path in self._tables.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            parquet.write_table(self._actors[party].table, path)

    def _words(self, party: str, *words: str) -> list[str]:
        return [sys.executable, "-m", "privcompute", "--home", str(self._place / party), "--json", *words]

    def _start(self, party: str, *words: str, quiet: bool = False) -> subprocess.Popen[str]:
        errors = subprocess.DEVNULL if quiet else None
        return subprocess.Popen(self._words(party, *words), stdout=subprocess.PIPE, stderr=errors, text=True)

    def _command(
        self, party: str, *words: str, quiet: bool = False, on_note: Callable[[str], None] | None = None
    ) -> dict[str, Any]:
        """Run a command to its end; its notes go to standard error, or nowhere, and to `on_note`."""
        if on_note is None:
            errors = subprocess.DEVNULL if quiet else None
            done = subprocess.run(
                self._words(party, *words), stdout=subprocess.PIPE, stderr=errors, text=True, check=False
            )
            return _result(done.returncode, done.stdout)
        with subprocess.Popen(
            self._words(party, *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as running:
            for line in running.stderr or ():
                note(line.rstrip("\n"))
                on_note(line)
            text = running.stdout.read() if running.stdout is not None else ""
        return _result(running.returncode, text)

    def _stop(self) -> None:
        for node in self._nodes.values():
            node.terminate()
        for node in self._nodes.values():
            try:
                node.communicate(timeout=_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                node.kill()
                node.communicate()
                note("a node did not stop in time and was killed")
        self._nodes = {}


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _parquet(path: Path) -> str:
    return f"read_parquet({_quoted(path)})"


def _answer(connection: duckdb.DuckDBPyConnection, sql: str) -> Oracle:
    from privcompute.node import values

    found = connection.execute(sql)
    columns = [one[0] for one in found.description or ()]
    rows = [[values.to_json(value) for value in row] for row in found.fetchall()]
    return Oracle(tuple(columns), rows)


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
    """DuckDB's answer, values as JSON.

    Attributes:
        columns: Names.
        rows: Values.
        rounding: How far DuckDB's own doubles may be off, relative; for variances, of which our bound is to the truth.
    """

    columns: tuple[str, ...]
    rows: list[list[Any]] = field(repr=False)
    rounding: Fraction = Fraction(0)

    def holds(self, answer: Mapping[str, Any], keys: int) -> bool:
        """Whether each row of a grouped answer, of which some may not be shown, is the one with the same group here.

        Args:
            answer: What the nodes said.
            keys: How many of the first columns are the group.
        """
        groups = {tuple(row[:keys]): row for row in self.rows}
        if not all(tuple(row[:keys]) in groups for row in answer["rows"]):
            return False
        same = Oracle(self.columns, [groups[tuple(row[:keys])] for row in answer["rows"]], self.rounding)
        return len(self.rows) <= len(answer["rows"]) + answer["suppressed_cells"] and same.agrees(answer)

    def agrees(self, answer: Mapping[str, Any]) -> bool:
        """Whether the nodes' answer is this one: integers and decimals exactly, reals within the printed bound."""
        if tuple(answer["columns"]) != self.columns or len(answer["rows"]) != len(self.rows):
            return False
        bounds = [Fraction(answer["error_bound"].get(name) or 0) for name in self.columns]
        pairs = zip(answer["rows"], self.rows, strict=True)
        return all(_row_agrees(ours, theirs, bounds, self.rounding) for ours, theirs in pairs)


def _row_agrees(ours: Sequence[Any], theirs: Sequence[Any], bounds: Sequence[Fraction], rounding: Fraction) -> bool:
    return all(_agrees(one, other, bound, rounding) for one, other, bound in zip(ours, theirs, bounds, strict=True))


def _agrees(ours: Any, theirs: Any, bound: Fraction, rounding: Fraction) -> bool:
    if ours == theirs:
        return True
    left, right = _number(ours), _number(theirs)
    if left is None or right is None:
        return False
    return abs(left - right) <= (bound + rounding * abs(right) if bound else bound)


def _number(value: Any) -> Fraction | None:
    """JSON's numbers, and the strings that stand for integers and DECIMALs."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        return Fraction(value) if isinstance(value, int | float) else Fraction(Decimal(value))
    except (ArithmeticError, ValueError, TypeError):
        return None
