"""Machine code: what touches one secret value has no conditional jump."""

from __future__ import annotations

import re
from typing import Any

import pytest
from numba import njit
from numba.core import types

from privcompute.kernels import modular


def conditional_jumps(function: Any, count: int) -> int:
    """Of the compiled body, without the wrappers for calls from Python."""
    fresh: Any = njit(nogil=True, error_model="numpy")(function.py_func)
    signature = (types.float64,) * count
    fresh.compile(signature)
    bodies = re.findall(r"^\"?(\w+)\"?:[^\n]*\n(.*?)^\.Lfunc_end", fresh.inspect_asm(signature), re.S | re.M)
    mine = [text for name, text in bodies if "cpython" not in name and "cfunc" not in name and "NRT" not in name]
    assert mine, "the function's own body is found"
    return sum(len(re.findall(r"^\t(j(?!mp)\w+|b\.\w+|cb\w+|tb\w+)\s", text, re.M)) for text in mine)


@pytest.mark.parametrize(
    ("function", "count"),
    [(modular.multiply, 4), (modular.multiply_known, 4), (modular.balance, 3), (modular.canonical, 3)],
    ids=["multiply", "multiply_known", "balance", "canonical"],
)
def test_arithmetic_compiles_to_straight_lines(function: Any, count: int) -> None:
    assert conditional_jumps(function, count) == 0


def test_the_counter_counts() -> None:
    @njit
    def branching(a: float, b: float, c: float) -> float:
        total = 0.0
        while a < b:
            a += c
            total += a * c
        return total

    assert conditional_jumps(branching, 3) > 0
