"""What a machine without fast vector arithmetic leaves unchecked, said once for all tests of it."""

from __future__ import annotations

import pytest

from privcompute.he.paillier import limbs

NEEDS_VECTORS = pytest.mark.skipif(
    limbs.METHOD is None,
    reason="no fused multiply-add here: the vector code goes unchecked, and is never compiled nor run either; what"
    " computes in its place, PlainSquare, passes the same tests (test_squares.py)",
)
