"""Returns memory that a pass over a table has freed to the operating system.

Allocators keep what was freed for the next request. A node lives for months and reads a table for seconds, so what a
pass needed would stay counted against it, query by query, for as long as it serves.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools

import pyarrow as pa

_ARENA_MAX = -8  # M_ARENA_MAX of malloc.h


def give_back() -> None:
    """Give back what is free; some milliseconds."""
    pa.default_memory_pool().release_unused()
    libc = _libc()
    if libc is not None:
        libc.malloc_trim(0)


def few_arenas() -> None:
    """Let glibc's malloc keep two pools of free memory, not eight a core: for a process that only serves a node."""
    libc = _libc()
    if libc is not None:
        libc.mallopt(_ARENA_MAX, 2)


@functools.cache
def _libc() -> ctypes.CDLL | None:
    """glibc; None under another C library or system."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        libc = ctypes.CDLL(None)
        libc.malloc_trim.argtypes, libc.malloc_trim.restype = [ctypes.c_size_t], ctypes.c_int
        libc.mallopt.argtypes, libc.mallopt.restype = [ctypes.c_int, ctypes.c_int], ctypes.c_int
        return libc
    return None
