"""GF(2^255 - 19) on eight lanes at once: the operations as LLVM vector code, callable from numba.

An element is ten unsigned limbs of alternating 26 and 25 bits (radix 2^25.5); eight elements lie side by side, so one
limb of all eight is one vector of eight 64-bit words, and one element-vector is ten of these: 640 bytes, a *slot*.
Limb products are 32 x 32 -> 64 bit multiplications, which AVX-512F and AVX2 have as one instruction and which LLVM
spells out on any other machine. All operations are straight-line code: no branch and no address depends on a value.

Bounds, which make every sum below 2^64 (`tests/psi/test_field.py` runs the extremes):

* *tight*: limb < 2^26 + 2^13 at even places, < 2^25 + 2^17 at odd ones; what mul, squares, mad24 and carry return.
* *loose*: limb < 3 * 2^26 + 2^14 at even places, < 3 * 2^25 + 2^18 at odd ones; what add and sub of tight elements
  return (sub adds 2p first). mul and squares take loose operands: the widest column stays below 2^63, 19 times a loose
  limb and 38 times one at an odd place below 2^32.

The intrinsics take addresses of slots (multiples of 64) as int64 and return nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from llvmlite import ir
from numba.extending import intrinsic

from privcompute.kernels.blocks import code_block

LANES: Final = 8
LIMBS: Final = 10
SLOT: Final = LIMBS * LANES
"""Words of a slot."""
SLOT_BYTES: Final = SLOT * 8
WIDTHS: Final = (26, 25) * 5

_WORD: Any = ir.IntType(64)
_VECTOR: Any = ir.VectorType(_WORD, LANES)
Limbs = list[Any]  # ten LLVM values of type <8 x i64>; llvmlite has no types


def _splat(value: int) -> Any:
    return ir.Constant(_VECTOR, [value] * LANES)


_LOW32 = _splat(2**32 - 1)
_LOW28 = _splat(2**28 - 1)
_TWO_P = (2**27 - 38, *((2**26 - 2, 2**27 - 2) * 5)[:9])


def _product(b: Any, x: Any, y: Any) -> Any:
    """The 64-bit product of the low halves; the masks say so to LLVM and cost no instruction."""
    return b.mul(b.and_(x, _LOW32), b.and_(y, _LOW32))


def _times19(b: Any, x: Any) -> Any:
    # The mask of 28 bits, which changes no loose limb, keeps LLVM from choosing a full 64-bit multiplication.
    return b.mul(b.and_(x, _LOW28), _splat(19))


def _carried(b: Any, columns: Sequence[Any]) -> Limbs:
    """Columns below 2^63 to a tight element: two chains of carries side by side, then the ends once more."""
    h = list(columns)
    for place in (0, 5, 1, 6, 2, 7, 3, 8, 4, 9, 5, 0):
        carry = b.lshr(h[place], _splat(WIDTHS[place]))
        h[place] = b.and_(h[place], _splat((1 << WIDTHS[place]) - 1))
        if place == LIMBS - 1:  # 2^255 = 19; the carry may have 38 bits, so shifts and not a 32-bit product
            carry = _mul19_small(b, carry)
        h[(place + 1) % LIMBS] = b.add(h[(place + 1) % LIMBS], carry)
    return h


def _mul(b: Any, x: Limbs, y: Limbs) -> Limbs:
    """Schoolbook; two odd places make one bit more (2 * 25.5 = 51), places beyond ten wrap with 19."""
    twice = [b.shl(limb, _splat(1)) for limb in x]
    wrapped = [_times19(b, limb) for limb in y]
    columns: Limbs = [None] * LIMBS
    for i in range(LIMBS):
        for j in range(LIMBS):
            left = twice[i] if i & j & 1 else x[i]
            right = y[j] if i + j < LIMBS else wrapped[j]
            term = _product(b, left, right)
            k = (i + j) % LIMBS
            columns[k] = term if columns[k] is None else b.add(columns[k], term)
    return _carried(b, columns)


def _sq(b: Any, x: Limbs) -> Limbs:
    """As `_mul` of equal operands, each mixed product once and doubled."""
    twice = [b.shl(limb, _splat(1)) for limb in x]
    wrapped = [_times19(b, limb) for limb in x]
    columns: Limbs = [None] * LIMBS
    for i in range(LIMBS):
        for j in range(i, LIMBS):
            doubled, odd = i != j, bool(i & j & 1)
            left = twice[i] if doubled or odd else x[i]
            right = x[j] if i + j < LIMBS else wrapped[j]
            if doubled and odd:
                # 38 times an odd place's loose limb is still below 2^32.
                right = b.shl(right, _splat(1))
            term = _product(b, left, right)
            k = (i + j) % LIMBS
            columns[k] = term if columns[k] is None else b.add(columns[k], term)
    return _carried(b, columns)


def _add(b: Any, x: Limbs, y: Limbs) -> Limbs:
    return [b.add(left, right) for left, right in zip(x, y, strict=True)]


def _sub(b: Any, x: Limbs, y: Limbs) -> Limbs:
    """x + 2p - y: no limb falls below zero while y is tight."""
    return [b.sub(b.add(left, _splat(p)), right) for left, right, p in zip(x, y, _TWO_P, strict=True)]


def _select(b: Any, x: Limbs, y: Limbs, mask: Any) -> Limbs:
    """y in the lanes where the mask is all ones, x where it is zero."""
    return [b.xor(left, b.and_(b.xor(left, right), mask)) for left, right in zip(x, y, strict=True)]


def _mad24(b: Any, x: Limbs, y: Limbs) -> Limbs:
    """x + 121665 y, tight; (A - 2) / 4 of the curve."""
    return _carried(b, [b.add(left, _product(b, right, _splat(121665))) for left, right in zip(x, y, strict=True)])


def _frozen(b: Any, x: Limbs) -> Limbs:
    """The canonical limbs, of the value below p, of a loose element."""
    h = _passed(b, _passed(b, _passed(b, x, _splat(0))[0], _splat(0))[0], _splat(0))[0]
    # The limbs are canonical now, the value is below 2^255. It is at least p if and only if adding 19 carries out of
    # the top; that carry, times 19 put in and then cut off at the top, takes p away.
    _, above = _passed(b, h, _splat(19), wrap=False)
    return _passed(b, h, _mul19_small(b, above), wrap=False)[0]


def _mul19_small(b: Any, x: Any) -> Any:
    return b.add(b.add(b.shl(x, _splat(4)), b.shl(x, _splat(1))), x)


def _passed(b: Any, x: Limbs, carry: Any, *, wrap: bool = True) -> tuple[Limbs, Any]:
    """One pass of carries from limb 0 to 9, starting with ``carry``, and what leaves the top; if wrap, 19 times that
    is put back into limb 0."""
    h = []
    for limb, width in zip(x, WIDTHS, strict=True):
        value = b.add(limb, carry)
        carry = b.lshr(value, _splat(width))
        h.append(b.and_(value, _splat((1 << width) - 1)))
    if wrap:
        h[0] = b.add(h[0], _mul19_small(b, carry))
    return h, carry


def _square_often(b: Any, out: Any, x: Any, count: Any) -> None:
    """A loop over a public count, kept out of the callers so that LLVM does not unroll it there."""
    before, loop, after = b.block, b.append_basic_block("loop"), b.append_basic_block("after")
    _store(b, out, _load(b, x))
    b.branch(loop)
    b.position_at_end(loop)
    index = b.phi(_WORD)
    index.add_incoming(ir.Constant(_WORD, 0), before)
    _store(b, out, _sq(b, _load(b, out)))
    following = b.add(index, ir.Constant(_WORD, 1))
    index.add_incoming(following, loop)
    b.cbranch(b.icmp_unsigned("<", following, count), loop, after)
    b.position_at_end(after)


# -- slots in memory ---------------------------------------------------------------------------------------------------


def _vector_at(b: Any, address: Any, index: int) -> Any:
    return b.inttoptr(b.add(address, ir.Constant(_WORD, index * 8 * LANES)), ir.PointerType(_VECTOR))


def _load_vector(b: Any, address: Any, index: int = 0) -> Any:
    value = b.load(_vector_at(b, address, index))
    value.align = 8 * LANES
    return value


def _load(b: Any, address: Any) -> Limbs:
    return [_load_vector(b, address, index) for index in range(LIMBS)]


def _store(b: Any, address: Any, limbs: Limbs) -> None:
    for index, limb in enumerate(limbs):
        b.store(limb, _vector_at(b, address, index)).align = 8 * LANES


def _step(b: Any, state: Any, mask: Any) -> None:
    """One bit of the Montgomery ladder on slots x2, z2, x3, z3, x1 (RFC 7748 section 5, regrouped).

    The differential addition is symmetric in its two points (exchanging them changes a sign that is squared away), so
    nothing is swapped: the sum always goes to (x3, z3), and only the operand of the doubling is selected.
    """
    at = [b.add(state, ir.Constant(_WORD, index * SLOT_BYTES)) for index in range(5)]
    x2, z2, x3, z3 = (_load(b, address) for address in at[:4])
    chosen = _load_vector(b, mask)
    plus2, minus2, plus3, minus3 = _add(b, x2, z2), _sub(b, x2, z2), _add(b, x3, z3), _sub(b, x3, z3)
    da, cb = _mul(b, minus3, plus2), _mul(b, plus3, minus2)
    plus, minus = _select(b, plus2, plus3, chosen), _select(b, minus2, minus3, chosen)
    _store(b, at[2], _sq(b, _add(b, da, cb)))
    _store(b, at[3], _mul(b, _sq(b, _sub(b, da, cb)), _load(b, at[4])))
    aa, bb = _sq(b, plus), _sq(b, minus)
    _store(b, at[0], _mul(b, aa, bb))
    difference = _sub(b, aa, bb)
    _store(b, at[1], _mul(b, difference, _mad24(b, aa, difference)))


# -- intrinsics --------------------------------------------------------------------------------------------------------


def _two(name: str, body: Callable[..., None]) -> Any:
    made = code_block(f"pc25519_{name}", 2, body)

    def f(typing: Any, a: Any, b: Any) -> Any:
        return made

    return intrinsic(f)


def _three(name: str, body: Callable[..., None]) -> Any:
    made = code_block(f"pc25519_{name}", 3, body)

    def f(typing: Any, a: Any, b: Any, c: Any) -> Any:
        return made

    return intrinsic(f)


def _four(name: str, body: Callable[..., None]) -> Any:
    made = code_block(f"pc25519_{name}", 4, body)

    def f(typing: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
        return made

    return intrinsic(f)


fe_mul = _three("mul", lambda b, out, x, y: _store(b, out, _mul(b, _load(b, x), _load(b, y))))
fe_add = _three("add", lambda b, out, x, y: _store(b, out, _add(b, _load(b, x), _load(b, y))))
fe_sub = _three("sub", lambda b, out, x, y: _store(b, out, _sub(b, _load(b, x), _load(b, y))))
fe_squares = _three("squares", _square_often)
fe_freeze = _two("freeze", lambda b, out, x: _store(b, out, _frozen(b, _load(b, x))))
fe_carry = _two("carry", lambda b, out, x: _store(b, out, _carried(b, _load(b, x))))
fe_select = _four(
    "select", lambda b, out, x, y, mask: _store(b, out, _select(b, _load(b, x), _load(b, y), _load_vector(b, mask)))
)
fe_step = _two("step", _step)
