"""Kernels are compiled once, before the clocks of single tests start."""

from __future__ import annotations

import pytest

from privcompute.he import warm_up


@pytest.fixture(scope="session", autouse=True)
def _compiled() -> None:
    warm_up()
