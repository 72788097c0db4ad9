"""The log rotates, stays owner-only, and holds no text of a strange error."""

from __future__ import annotations

import logging
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from privcompute.node import log
from privcompute.node.config import Log
from privcompute.node.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    yield Home(tmp_path)
    log.close()


def test_it_rotates_and_stays_owner_only(home: Home) -> None:
    log.set_up(home, Log(file_mib=1, files=2))
    for number in range(3 * 1024):
        logging.getLogger("privcompute.node").info("%d %s", number, "x" * 1000)
    files = sorted(path.name for path in home.logs.iterdir())
    assert files == ["node.log", "node.log.1", "node.log.2", "node.log.lock"]
    for path in home.logs.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.stat().st_size <= 1 << 20


_WRITER = """
import logging, sys
from pathlib import Path
from privcompute.node import log
from privcompute.node.config import Log
from privcompute.node.home import Home
log.set_up(Home(Path(sys.argv[1])), Log(file_mib=1, files=8))
print("ready", flush=True)
sys.stdin.readline()
for number in range(1000):
    logging.getLogger("privcompute.node").info("%s-%d %s", sys.argv[2], number, "x" * 1000)
"""


def test_several_processes_rotate_one_file_and_lose_no_line(home: Home) -> None:
    """Three processes write three megabytes into files of one: all lines are there, and no file grew on."""
    names = ("a", "b", "c")
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(home.path), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for name in names
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(b"\n")
        writer.stdin.flush()
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    for writer in writers:
        writer.communicate()
    files = list(home.logs.glob("node.log*"))
    lines = [line for path in files for line in path.read_text().splitlines()]
    found = sorted(line.split(": ", 1)[1].split(" ")[0] for line in lines)
    assert found == sorted(f"{name}-{number}" for name in names for number in range(1000))
    assert max(path.stat().st_size for path in files) <= 1 << 20


def test_the_level_of_the_file_and_of_the_command(home: Home) -> None:
    logger = logging.getLogger("privcompute.x")
    log.set_up(home, Log(level="warning"))
    logger.info("not written")
    logger.warning("written")
    log.set_up(home, Log(level="warning"), level="debug")
    logger.debug("also written")
    text = (home.logs / "node.log").read_text()
    assert "not written" not in text
    assert "also written" in text
    assert text.count("\n") == 2


def test_no_text_of_an_exception_and_no_control_character(home: Home) -> None:
    log.set_up(home, Log())
    logger = logging.getLogger("privcompute.node")
    try:
        raise ValueError("patient 4711")
    except ValueError:
        logger.exception("session of %s failed", "evil\n2024 INFO forged\x1b[31m")
    text = (home.logs / "node.log").read_text()
    assert "4711" not in text
    assert "[ValueError]" in text
    assert text.count("\n") == 1
    assert "\x1b" not in text


def test_closing_gives_the_logger_back(home: Home) -> None:
    log.set_up(home, Log())
    log.close()
    assert logging.getLogger("privcompute").handlers == []
