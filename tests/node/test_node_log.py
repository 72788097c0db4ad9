"""The log rotates, stays owner-only, and holds no text of a strange error."""

from __future__ import annotations

import logging
import stat
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
    assert files == ["node.log", "node.log.1", "node.log.2"]
    for path in home.logs.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.stat().st_size <= 1 << 20


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
