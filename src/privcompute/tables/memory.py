"""Returns memory that a pass over a table has freed to the operating system.

Allocators keep what was freed for the next request. A node lives for months and reads a table for seconds, so what a
pass needed would stay counted against it, query by query, for as long as it serves.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools

import pyarrow as pa

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # M_... of malloc.h


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


def steady_heap() -> None:
    """Let glibc's malloc begin where it would end up, for a process that moves much data in blocks of a megabyte.

    It raises both thresholds to these values as it meets larger blocks. Until then each block of a stream is given
    back to the system and fetched again, page by page, which costs as much as deciphering it. `give_back` works as
    before.
    """
    libc = _libc()
    if libc is not None:
        libc.mallopt(_MMAP_THRESHOLD, 32 << 20)
        libc.mallopt(_TRIM_THRESHOLD, 64 << 20)


@functools.cache
def _libc() -> ctypes.CDLL | None:
    """glibc; None under another C library or system."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        libc = ctypes.CDLL(None)
        libc.malloc_trim.argtypes, libc.malloc_trim.restype = [ctypes.c_size_t], ctypes.c_int
        libc.mallopt.argtypes, libc.mallopt.restype = [ctypes.c_int, ctypes.c_int], ctypes.c_int
        return libc
    return None
