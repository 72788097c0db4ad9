"""For all suites: Hypothesis without time limits, which a busy machine would break; a home."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from privcompute.node.home import Home

settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("house")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A hospital's new home, which reaches out and does not listen."""
    from privcompute.node.home import Home
    from privcompute.node.setup import create_node

    made = Home(tmp_path / "h")
    create_node(made, "hospital", None)
    return made
