"""The public data for `anonymize`, where it lies beside the repository; tests that need all of it skip without."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def folder(name: str) -> Path:
    """A folder of the data: below $PRIVCOMPUTE_ANONYMIZE_DATA, or shared/data/anonymize beside the repository."""
    given = os.environ.get("PRIVCOMPUTE_ANONYMIZE_DATA")
    base = Path(given) if given else Path(__file__).parents[3] / "shared" / "data" / "anonymize"
    if not (base / name).is_dir():
        pytest.skip(f"no folder {name} of public data; set PRIVCOMPUTE_ANONYMIZE_DATA to run every one of them")
    return base / name
