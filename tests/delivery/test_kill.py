"""SIGKILL between any two steps, on both sides: a process with both nodes is killed, then the same release again."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from support.deliveries import ROWS, Deliveries

# What is replaced: the call at which the process dies, and whether it dies behind it. Sender's steps, then receiver's.
STEPS: Final = [
    ("privcompute.node.delivery.spool.keep_name", "before"),
    ("privcompute.node.delivery.tables.SentTables.add", "after"),
    ("privcompute.node.delivery.send._commit", "after"),
    ("privcompute.node.delivery.manifest.Manifest.verify_receipt", "after"),
    ("privcompute.node.delivery.tables.SentTables.mark.delivered", "after"),
    ("privcompute.node.delivery.receive._admitted", "after"),
    ("privcompute.node.delivery.receive._is_here", "after"),
    ("privcompute.node.delivery.spool.check_table", "before"),
    ("privcompute.node.delivery.tables.ReceivedTables.finish", "after"),
    ("privcompute.node.delivery.receive._check", "after"),
]
PROGRAM: Final = """
import asyncio, importlib, os, signal, sys
from pathlib import Path
from support.deliveries import Deliveries
import privcompute.node.delivery.receive, privcompute.node.delivery.send

place, name, when = sys.argv[1:]
name, only = (name.removesuffix(".delivered"), "delivered") if name.endswith(".delivered") else (name, None)
owner, _, step = name.rpartition(".")
try:
    home = importlib.import_module(owner)
except ModuleNotFoundError:
    module, _, kind = owner.rpartition(".")
    home = getattr(importlib.import_module(module), kind)
real = getattr(home, step)

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def stop(*given):
    if only is not None and only not in given:
        return real(*given)
    if when == "before":
        die()
    real(*given)
    die()

setattr(home, step, stop)

async def main():
    world = Deliveries(Path(place))
    world.accept()
    await world.release()

asyncio.run(main())
"""


@pytest.mark.parametrize(("step", "when"), STEPS)
async def test_a_killed_release_is_done_again(place: Path, step: str, when: str) -> None:
    command = [sys.executable, "-c", PROGRAM, str(place), step, when]
    done = subprocess.run(command, env={"PYTHONPATH": ":".join(sys.path)}, capture_output=True, timeout=120)  # noqa: ASYNC221 - nothing else runs here
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()

    world = Deliveries(place)
    body = await world.release()
    assert body["status"] == "delivered"
    arrived = [one for one in world.nodes["insurer"].store.received.all() if one.state == "received"]
    assert len(arrived) == 1
    assert world.received().num_rows == ROWS
    assert {one.state for one in world.nodes["hospital"].store.sent.all()} == {"delivered"}
    for party, event in (("hospital", "table_delivered"), ("insurer", "table_received")):
        # No table without its line, no line twice: ledger and line are one transaction.
        assert world.events(party).count(event) == 1, party
        world.nodes[party].store.audit.verify()
    await world.close()
