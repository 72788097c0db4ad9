"""Spreads the work of one step over the machine's cores: the residues modulo different primes never meet."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

T = TypeVar("T")

_MOST = 8
"""More than there are primes in most rows of the table is of no use."""


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(_MOST, os.cpu_count() or 1), thread_name_prefix="he")


def each(function: Callable[[T], None], items: Iterable[T]) -> None:
    """Calls the function on every item, on all cores, and waits; the first error is raised after all have ended."""
    tasks = [_pool().submit(function, item) for item in items]
    errors = [error for task in tasks if (error := task.exception()) is not None]
    if errors:
        raise errors[0]
