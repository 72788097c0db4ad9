"""Real nodes for tests: homes in a directory, the real commands, `serve` as a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

PYTHON_M = (sys.executable, "-m", "privcompute")
COMMAND_SECONDS = 90.0
START_SECONDS = 30.0
STOP_SECONDS = 15.0


@dataclass(frozen=True)
class Done:
    """A command that ended: its status, the JSON it printed, what it said beside."""

    status: int
    body: dict[str, Any]
    notes: str

    @property
    def error(self) -> dict[str, Any]:
        """The error of a command that failed."""
        assert self.status != 0, f"the command succeeded: {self.body}"
        assert set(self.body) == {"error"}, self.body
        found = self.body["error"]
        assert {"code", "message", "party", "stage", "remedy"} <= set(found)
        return dict(found)


@dataclass
class Party:
    """One party: a home, its commands and, if it serves, its process.

    Args:
        name: In SQL.
        home: Its directory.
        program: What runs the commands; a test that watches channels passes its own.
        inside: Prefix of every command (a network namespace).
    """

    name: str
    home: Path
    program: tuple[str, ...] = PYTHON_M
    inside: tuple[str, ...] = ()
    addresses: list[str] = field(default_factory=list)
    _serving: subprocess.Popen[str] | None = None
    _notes: IO[str] | None = None

    def start(self, *words: str, program: Sequence[str] | None = None) -> subprocess.Popen[str]:
        """Starts a command with --json; its notes go to its own pipe."""
        command = [*self.inside, *(program or self.program), "--home", str(self.home), "--json", *words]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, cwd=self.home
        )

    def finish(self, process: subprocess.Popen[str], seconds: float = COMMAND_SECONDS) -> Done:
        """Waits for a started command."""
        try:
            out, notes = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            out, notes = process.communicate()
            raise AssertionError(f"a command of {self.name} did not end within {seconds} s: {notes[-2000:]}") from None
        lines = out.strip().splitlines()
        assert len(lines) <= 1, f"--json prints one object: {out[:2000]}"
        return Done(process.returncode, json.loads(lines[0]) if lines else {}, notes)

    def run(self, *words: str, seconds: float = COMMAND_SECONDS) -> Done:
        """Runs a command to its end, whatever its status."""
        return self.finish(self.start(*words), seconds)

    def ok(self, *words: str, seconds: float = COMMAND_SECONDS) -> dict[str, Any]:
        """Runs a command that must succeed; its JSON."""
        done = self.run(*words, seconds=seconds)
        assert done.status == 0, f"{self.name} {words[0]}: {done.body or done.notes[-3000:]}"
        return done.body

    def query(self, sql: str, *words: str, seconds: float = COMMAND_SECONDS) -> dict[str, Any]:
        """The answer to a query that must succeed."""
        return self.ok("query", sql, "--yes", *words, seconds=seconds)

    @property
    def serving(self) -> bool:
        """Whether its node process lives."""
        return self._serving is not None and self._serving.poll() is None

    def serve(self, *, program: Sequence[str] | None = None) -> None:
        """Starts the node and waits until it listens."""
        assert not self.serving
        self._notes = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed when the node ends
        command = [*self.inside, *(program or self.program), "--home", str(self.home), "serve", "--json"]
        self._serving = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self._notes, stdin=subprocess.DEVNULL, text=True, cwd=self.home
        )
        out = self._serving.stdout
        assert out is not None
        ready, _, _ = select.select([out], [], [], START_SECONDS)
        line = out.readline() if ready else ""
        assert line, f"{self.name} does not listen after {START_SECONDS} s: {self.said()}"
        body = json.loads(line)
        assert body.get("event") == "listening", f"{self.name} does not listen: {body} {self.said()}"
        self.addresses = body["addresses"]

    @property
    def process(self) -> subprocess.Popen[str]:
        """The node process."""
        assert self._serving is not None
        return self._serving

    def said(self) -> str:
        """What the node has written to standard error so far."""
        if self._notes is None:
            return ""
        place = os.dup(self._notes.fileno())
        with os.fdopen(place) as copy:
            copy.seek(0)
            return copy.read()

    def kill(self) -> None:
        """SIGKILL: nothing is tidied up."""
        if self._serving is not None:
            self._serving.kill()
        self._reap()

    def stop(self) -> str:
        """SIGTERM, as an administrator would; what the node said."""
        if self._serving is None:
            return ""
        if self._serving.poll() is None:
            self._serving.send_signal(signal.SIGTERM)
        said = ""
        try:
            self._serving.wait(STOP_SECONDS)
            said = self.said()
        finally:
            self.kill()
        return said

    def _reap(self) -> None:
        if self._serving is not None:
            self._serving.wait()
            if self._serving.stdout is not None:
                self._serving.stdout.close()
            self._serving = None
        if self._notes is not None:
            self._notes.close()
            self._notes = None

    def log(self) -> str:
        """The node's log files."""
        return "".join(path.read_text() for path in sorted((self.home / "logs").glob("*")))

    def limit(self, **limits: float) -> None:
        """Writes limits into node.toml; the node reads them at its next start."""
        config = self.home / "node.toml"
        text = config.read_text()
        for name, value in limits.items():
            line = f"{name} = {value}"
            text, found = re.subn(rf"(?m)^#?\s*{name}\s*=.*$", line, text)
            if not found:
                text = (
                    text.replace("[limits]", f"[limits]\n{line}")
                    if "[limits]" in text
                    else f"{text}\n[limits]\n{line}\n"
                )
        config.write_text(text)


@contextlib.contextmanager
def parties(
    place: Path, *names: str, listen: Sequence[str | None] = (), program: Sequence[str] = PYTHON_M
) -> Iterator[list[Party]]:
    """Set-up homes, not yet paired; their nodes are stopped at the end.

    Args:
        place: Directory of the homes.
        names: The parties.
        listen: HOST:PORT of each, or None for a node that only reaches out; default: a free port of 127.0.0.1.
        program: What runs the commands.
    """
    made = [Party(name, place / name, tuple(program)) for name in names]
    where = list(listen) or ["127.0.0.1:0"] * len(made)
    started = []
    for party, address in zip(made, where, strict=True):
        party.home.mkdir(parents=True, mode=0o700)
        words = ["--listen", address] if address else []
        started.append(party.start("init", "--name", party.name, *words))
    for party, process in zip(made, started, strict=True):
        done = party.finish(process)
        assert done.status == 0, done
    try:
        yield made
    finally:
        for party in made:
            party.kill()


def keep_port(party: Party) -> None:
    """Writes the port a serving node was given into its configuration, so that it has it again after a restart."""
    config = party.home / "node.toml"
    port = party.addresses[0].rpartition(":")[2]
    config.write_text(re.sub(r'(?m)^(listen = ".*):0"', rf'\g<1>:{port}"', config.read_text()))
    assert f':{port}"' in config.read_text()


def pair(inviter: Party, joiner: Party, *, address: str | None = None) -> None:
    """Pairs two parties by the real commands; the inviter must serve."""
    words = ["--address", address] if address else []
    code = inviter.ok("invite", joiner.name, *words)["code"]
    joiner.ok("join", code)


def wait_for(what: str, check: Any, seconds: float = 20.0) -> Any:
    """Polls until ``check()`` is true; its value."""
    ends = time.monotonic() + seconds
    while True:
        if found := check():
            return found
        assert time.monotonic() < ends, f"not within {seconds} s: {what}"
        time.sleep(0.05)
