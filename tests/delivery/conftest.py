"""Two paired nodes for deliveries: the homes are made once, each test has a copy."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from support.deliveries import Deliveries, homes


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("homes")
    homes(place)
    return place


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """A copy of the homes, which no node has opened yet."""
    copied = tmp_path / "homes"
    shutil.copytree(made, copied)
    return copied


@pytest_asyncio.fixture
async def world(place: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Deliveries]:
    monkeypatch.setattr("privcompute.node.delivery.send._PAUSE", 0.01)
    found = Deliveries(place)
    found.accept()
    yield found
    await found.close()
