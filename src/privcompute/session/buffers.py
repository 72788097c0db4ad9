"""Buffers for large messages, used again once nobody looks at them any more.

Fresh memory costs as much as the copy into it: the kernel clears every page first. A stream of large messages, each
dropped after use, finds the buffer of the one before.
"""

from __future__ import annotations

import weakref
from typing import Final

import numpy as np
import numpy.typing as npt

SMALLEST: Final = 4 << 20
"""Bytes; below that the allocator does as well."""
KEPT: Final = 64 << 20
"""Bytes of unused buffers that are kept, of all sessions together."""

Block = npt.NDArray[np.uint8]


class Buffers:
    """Hands out blocks and takes them back by themselves.

    No lock: a block comes back wherever its last view went, perhaps in the middle of a `take`. Each step on the
    dictionary is atomic.

    Args:
        kept: Bytes of unused blocks that are kept.
    """

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._unused: dict[int, Block] = {}

    def take(self, size: int) -> memoryview:
        """A writable buffer of ``size`` bytes, of any content."""
        if size < SMALLEST:
            return np.empty(size, dtype=np.uint8).data
        block = self._reused(size)
        if block is None:
            block = np.empty(size, dtype=np.uint8)
        # When the last view of it is gone, so is the lease. A plain array: the collector knows nothing of it, and so
        # never takes it for garbage while somebody's `finally` may still read it.
        lease = block[:size]
        weakref.finalize(lease, self._back, block).atexit = False
        return lease.data

    def _reused(self, size: int) -> Block | None:
        for key in reversed(list(self._unused)):  # the last that came back is warm in the cache
            block = self._unused.get(key)
            if block is not None and size <= block.size <= 2 * size and self._unused.pop(key, None) is block:
                return block
        return None

    def _back(self, block: Block) -> None:
        self._unused[id(block)] = block
        keys = list(self._unused)
        while keys and sum(one.size for one in list(self._unused.values())) > self._kept:
            self._unused.pop(keys.pop(0), None)


BUFFERS: Final = Buffers(KEPT)
