"""The same inner product under another library's encryption: tenseal, which runs Microsoft SEAL's BFV."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.he_kernel import run

from privcompute.he import CrossShape

PLAIN = 1032193  # a prime, 1 modulo 2 * 4096


@pytest.fixture(scope="module")
def tenseal() -> Any:
    return pytest.importorskip("tenseal", reason="tenseal has no wheel for this Python")


@pytest.mark.parametrize("seed", [1, 2])
def test_both_libraries_agree(tenseal: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = (rng.integers(-30, 31, 500) for _ in range(2))
    context = tenseal.context(tenseal.SCHEME_TYPE.BFV, poly_modulus_degree=4096, plain_modulus=PLAIN)
    context.generate_galois_keys()
    theirs = tenseal.bfv_vector(context, x.tolist()).dot(y.tolist()).decrypt()[0] % PLAIN
    ours = run(CrossShape(500, (30,), (30,), ((0, 0),)), [x], [y]).sums[0]
    assert ours % PLAIN == theirs
    assert ours == int(x @ y)
