"""One fresh key for all tests of this folder, and the numbers of the ISO/IEC 18033-6 example."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from privcompute.he.paillier import Encryptor, PrivateKey, fast

VECTORS = Path(__file__).parent / "vectors"


@pytest.fixture(scope="session", autouse=True)
def _kernels() -> None:
    fast()  # compiled once, before the clocks of single tests start


@pytest.fixture(scope="session")
def iso() -> dict[str, int]:
    found: dict[str, Any] = json.loads((VECTORS / "iso_18033_6.json").read_text())
    return {name: int(text, 16) for name, text in found.items() if name != "source"}


@pytest.fixture(scope="session")
def owner() -> PrivateKey:
    return PrivateKey.generate(2048)


@pytest.fixture(scope="session")
def encryptor(owner: PrivateKey) -> Encryptor:
    return Encryptor(owner.public)
