"""The README's two organisations, word for word: two directories, the installed command, a terminal that says yes."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
from support import nodes

from privcompute.tables import synthetic

README = Path(__file__).parents[2] / "README.md"
ROWS = 3000


def _commands() -> dict[str, list[str]]:
    """The commands of the section 'Two organisations' by party, and the query of the first screen."""
    text = README.read_text(encoding="utf-8")
    section = text.partition("## Two organisations")[2].partition("## ")[0].replace("\\\n", " ")
    found: dict[str, list[str]] = {"hospital": [], "insurer": []}
    for party, command in re.findall(r"^ +(hospital|insurer)\$ +(privcompute .*)$", section, re.MULTILINE):
        found[party].append(re.sub(r"\s+#.*$", "", command).strip())
    return found


def _question() -> str:
    match = re.search(r'insurer\$ privcompute query "(.*?)"\n', README.read_text(encoding="utf-8"), re.DOTALL)
    assert match is not None
    return " ".join(match.group(1).split())


def _free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return str(probe.getsockname()[1])


class Desk:
    """A person's terminal in a directory."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "COLUMNS": "120",
        }
        self.environment.pop("PRIVCOMPUTE_HOME", None)

    def run(self, command: str) -> str:
        """Runs a command that must succeed; what it printed."""
        done = subprocess.run(
            shlex.split(command), cwd=self.place, env=self.environment, capture_output=True, text=True, timeout=90,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stdout} {done.stderr}"
        return done.stdout

    def answer_yes(self, words: list[str]) -> str:
        """Runs a command on a terminal and says yes when it asks; all that the terminal showed."""
        leader, follower = pty.openpty()
        process = subprocess.Popen(
            words, cwd=self.place, env=self.environment, stdin=follower, stdout=follower, stderr=follower
        )
        os.close(follower)
        shown, said = "", False
        ends = time.monotonic() + 90
        while time.monotonic() < ends:
            if select.select([leader], [], [], 0.2)[0]:
                try:
                    data = os.read(leader, 65536)
                except OSError:  # the other end of the terminal closed: the command ended
                    break
                shown += data.decode(errors="replace")
            if not said and re.search(r"\[y/N\]:? *$", shown):
                os.write(leader, b"y\n")
                said = True
        os.close(leader)
        assert process.wait(10) == 0, shown
        assert said, shown
        return shown

    @contextmanager
    def serving(self, command: str) -> Iterator[None]:
        """The command that serves, for as long as the context lasts."""
        process = subprocess.Popen(
            shlex.split(command),
            cwd=self.place,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "listening on" in line, line
            yield
            process.send_signal(signal.SIGTERM)
            assert process.wait(nodes.STOP_SECONDS) == 0
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def test_the_readme_s_two_organisations(tmp_path: Path) -> None:
    hospital, insurer = Desk(tmp_path / "hospital"), Desk(tmp_path / "insurer")
    for desk in (hospital, insurer):
        desk.place.mkdir()
    parquet = tmp_path / "members.parquet"
    tables = synthetic.demo_tables(ROWS)
    pq.write_table(tables["hospital"], hospital.place / "patients.parquet")
    pq.write_table(tables["insurer"], parquet)
    with duckdb.connect() as connection:
        connection.execute(f"COPY (FROM '{parquet}') TO '{insurer.place / 'members.csv'}' (HEADER)")
        connection.execute(
            f"CREATE SCHEMA hospital; CREATE VIEW hospital.patients AS FROM '{hospital.place}/patients.parquet'"
        )
        connection.execute(f"CREATE SCHEMA insurer; CREATE VIEW insurer.members AS FROM '{parquet}'")
        ((n, *_),) = connection.execute(_question()).fetchall()

    commands = _commands()
    init, add, invite, serve = commands["hospital"]
    # The port of the text may be in use here; everything else stands as it is.
    hospital.run(init.replace("7443", _free_port()))
    hospital.run(add)
    code = hospital.run(invite).strip().splitlines()[-1]
    with hospital.serving(serve):
        init, join, add, query = commands["insurer"]
        insurer.run(init.replace("7443", _free_port()))
        insurer.run(join.replace("<code>", code))
        insurer.run(add)
        program, name, _ = shlex.split(query)
        shown = insurer.answer_yes([program, name, _question()])
    assert re.search(rf"\b{n:,}\b|\b{n}\b", shown), shown
    for word in ("hospital", "insurer", "learn", "matching keys"):
        assert word in shown
