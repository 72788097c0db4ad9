"""Where public known-answer files are found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def vectors() -> Path:
    """The folder of public vectors: $PRIVCOMPUTE_VECTORS, or shared/vectors beside the repository."""
    given = os.environ.get("PRIVCOMPUTE_VECTORS")
    folder = Path(given) if given else Path(__file__).parents[3] / "shared" / "vectors"
    if not folder.is_dir():
        pytest.skip("no folder of public vectors; set PRIVCOMPUTE_VECTORS to run every one of them")
    return folder
