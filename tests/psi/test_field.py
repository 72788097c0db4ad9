"""The vector field arithmetic against Python integers, at the ends of its bounds, and its branches."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numba import njit, types
from numpy.typing import NDArray

from privcompute.psi import field, vector
from privcompute.psi.reference import P

OFFSETS = [0, 26, 51, 77, 102, 128, 153, 179, 204, 230]
TIGHT = [(1 << 25) + (1 << 17) - 1 if place & 1 else (1 << 26) + (1 << 13) - 1 for place in range(10)]
LOOSE = [(3 << 25) + (1 << 18) - 1 if place & 1 else (3 << 26) + (1 << 14) - 1 for place in range(10)]


@njit(nogil=True)
def run(at: Any, name: Any) -> None:
    """Operation number ``name`` on slots 1 and 2 (and the mask in 3), result in slot 0."""
    x, y = at + field.SLOT_BYTES, at + 2 * field.SLOT_BYTES
    if name == 0:
        field.fe_mul(at, x, y)
    elif name == 1:
        field.fe_squares(at, x, 1)
    elif name == 2:
        field.fe_add(at, x, y)
    elif name == 3:
        field.fe_sub(at, x, y)
    elif name == 4:
        field.fe_freeze(at, x)
    elif name == 5:
        field.fe_select(at, x, y, at + 3 * field.SLOT_BYTES)
    elif name == 6:
        field.fe_carry(at, x)
    elif name == 7:
        field.fe_squares(at, x, 37)


class Slots:
    """Four aligned slots with operands in 1 and 2."""

    def __init__(self, x: NDArray[np.int64], y: NDArray[np.int64]) -> None:
        raw = np.zeros(4 * field.SLOT + 8, np.int64)
        start = -(raw.ctypes.data // 8) % 8
        self.words = raw[start : start + 4 * field.SLOT].reshape(4, 10, 8)
        self.words[1], self.words[2] = x, y

    def __call__(self, name: int) -> NDArray[np.int64]:
        run(self.words.ctypes.data, name)
        result: NDArray[np.int64] = self.words[0].copy()
        return result


def values(limbs: NDArray[np.int64]) -> list[int]:
    return [sum(int(limbs[i, lane]) << OFFSETS[i] for i in range(10)) for lane in range(8)]


def operands(bounds: list[int], seed: int) -> NDArray[np.int64]:
    """Random limbs up to the bounds; lane 0 all at the bound, lane 1 all zero, lane 2 p's own limbs."""
    rng = np.random.default_rng(seed)
    limbs = np.array([rng.integers(0, bound + 1, 8) for bound in bounds], np.int64)
    limbs[:, 0], limbs[:, 1] = bounds, 0
    limbs[:, 2] = [(1 << 26) - 19, *[(1 << width) - 1 for width in field.WIDTHS[1:]]]
    return limbs


def is_tight(limbs: NDArray[np.int64]) -> bool:
    return bool((limbs >= 0).all() and (limbs <= np.array(TIGHT)[:, None]).all())


@pytest.mark.parametrize("seed", range(20))
def test_products_of_loose_elements(seed: int) -> None:
    x, y = operands(LOOSE, seed), operands(LOOSE, seed + 100)
    slots = Slots(x, y)
    product, square, many = slots(0), slots(1), slots(7)
    assert is_tight(product)
    assert is_tight(square)
    assert [v % P for v in values(product)] == [a * b % P for a, b in zip(values(x), values(y), strict=True)]
    assert [v % P for v in values(square)] == [a * a % P for a in values(x)]
    assert [v % P for v in values(many)] == [pow(a, 2**37, P) for a in values(x)]


@pytest.mark.parametrize("seed", range(20))
def test_sums_of_tight_elements_are_loose(seed: int) -> None:
    x, y = operands(TIGHT, seed), operands(TIGHT, seed + 100)
    y[:, 3] = 0
    y[:, 4], x[:, 4] = TIGHT, 0
    slots = Slots(x, y)
    total, difference = slots(2), slots(3)
    for got in (total, difference):
        assert (got >= 0).all()
        assert (got <= np.array(LOOSE)[:, None]).all()
    assert values(total) == [a + b for a, b in zip(values(x), values(y), strict=True)]
    assert values(difference) == [a + 2 * P - b for a, b in zip(values(x), values(y), strict=True)]


@pytest.mark.parametrize("seed", range(20))
def test_canonical_form(seed: int) -> None:
    x = operands(LOOSE, seed)
    for lane, value in enumerate((P - 1, P, P + 1, P + 18, 2**255 - 1), start=3):
        x[:, lane] = [
            (value >> offset) & ((1 << width) - 1) for offset, width in zip(OFFSETS, field.WIDTHS, strict=True)
        ]
    frozen = Slots(x, x)(4)
    assert values(frozen) == [v % P for v in values(x)]
    assert (frozen < (1 << np.array(field.WIDTHS))[:, None]).all()


def test_carry_of_the_widest_columns() -> None:
    x = np.full((10, 8), 2**63 - 1, np.int64)
    carried = Slots(x, x)(6)
    assert is_tight(carried)
    assert [v % P for v in values(carried)] == [v % P for v in values(x)]


def test_select_takes_lanes() -> None:
    x, y = operands(LOOSE, 1), operands(LOOSE, 2)
    slots = Slots(x, y)
    slots.words[3, 0] = [0, -1, 0, -1, -1, 0, 0, -1]
    chosen = slots(5)
    assert np.array_equal(chosen, np.where(slots.words[3, 0] == -1, y, x))


def test_declared_bounds_keep_columns_below_64_bits() -> None:
    """The docstring's arithmetic, done again for every column of a product of two loose elements."""
    for k in range(10):
        column = 0
        for i in range(10):
            j = (k - i) % 10
            column += LOOSE[i] * LOOSE[j] * (2 if i & j & 1 else 1) * (19 if i + j >= 10 else 1)
        assert column < 2**63
    assert 19 * max(LOOSE) < 2**32
    assert 38 * LOOSE[1] < 2**32
    assert all(LOOSE[i] < 2**28 for i in range(10))


def test_the_ladder_compiles_to_straight_lines() -> None:
    """Machine code of the operations: the only conditional jump is the loop over a public count in `squares`."""
    number, line, matrix = types.int64, types.Array(types.int64, 1, "C"), types.Array(types.int64, 2, "C")
    signature = (number, line, types.Array(types.uint8, 1, "C"), matrix, matrix)
    fresh: Any = njit(nogil=True)(vector._ladder.py_func)
    fresh.compile(signature)
    found = {}
    for match in re.finditer(
        r"^\"?(pc25519_\w+)\"?:[^\n]*\n(.*?)^\.Lfunc_end", fresh.inspect_asm(signature), re.S | re.M
    ):
        jumps = re.findall(r"^\t(j(?!mp)\w+|b\.\w+|cb\w+|tb\w+)\s", match[2], re.M)
        found[match[1]] = len(jumps)
    assert found.pop("pc25519_squares") == 1
    assert {"pc25519_step", "pc25519_mul", "pc25519_freeze"} <= set(found)
    assert not any(found.values())
