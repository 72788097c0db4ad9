"""Rows of long multiplications on eight lanes at once: LLVM vector code, callable from numba.

A number is k limbs of 52 bits; eight numbers lie side by side, so that one limb of all eight is one vector of eight
64-bit words and number j of limb i is word 8i + j. k is a multiple of `BLOCK`. A product of two limbs is added as its
low and its high 52 bits to two neighbouring *columns*, which are signed 64-bit sums. There are three ways to get the
halves, which give the same columns after carrying, chosen by the machine that numba makes code for:

* ``ifma``: the two instructions of AVX-512 IFMA;
* ``truncate``: doubles and AVX-512F. hi = xy + 2^104 rounded towards zero has the high half in its last bits; the low
  half is the exact xy - (hi - 2^104), offset by 2^52 to stand in the last bits too;
* ``nearest``: doubles and any fused multiply-add, rounded to nearest; the low half is then signed.

Straight-line code but for loops over public counts: no branch and no address depends on a value.

Bounds: limbs below 2^52; a column sums at most 6k halves and one limb, below 6 * 160 * 2^52 + 2^52 < 2^62 in size.

The intrinsics take addresses (multiples of 64) and counts as int64 and return nothing.

Source: the halves in doubles, Emmart, Zheng, Weems, "Faster modular exponentiation using double precision floating
point arithmetic on the GPU", ARITH 2018; blocks of digits with Montgomery's reduction, Montgomery 1985.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from llvmlite import ir
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from privcompute.kernels.blocks import code_block

LANES: Final = 8
BITS: Final = 52
BLOCK: Final = 10
"""Limbs whose products are summed in registers at a time."""
_STEP: Final = 5
"""Limbs of the other factor a turn of the loop takes; BLOCK + _STEP columns and BLOCK limbs fit 32 registers."""
_BYTES: Final = 8 * LANES

_WORD: Any = ir.IntType(64)
_VECTOR: Any = ir.VectorType(_WORD, LANES)
_DOUBLES: Any = ir.VectorType(ir.DoubleType(), LANES)
Vectors = list[Any]  # LLVM values; llvmlite has no types


def _features() -> frozenset[str]:
    """The instruction sets that numba makes code for here, its environment variables included."""
    _, _, text = cpu_target.target_context.codegen().magic_tuple()
    return frozenset(name[1:] for name in text.split(",") if name.startswith("+"))


def _choose() -> str | None:
    features = _features()
    if {"avx512f", "avx512ifma"} <= features:
        return "ifma"
    if "avx512f" in features:
        return "truncate"
    return "nearest" if "fma" in features or "neon" in features else None


METHOD: Final = _choose()
"""How products of limbs are taken; None: this machine has no fast way, and no kernel here may be compiled."""


def _splat(value: int) -> Any:
    return ir.Constant(_VECTOR, [value % 2**64] * LANES)


def _double(value: float) -> Any:
    return ir.Constant(_DOUBLES, [value] * LANES)


_MASK: Final = _splat(2**BITS - 1)


def _low_bias() -> int:
    """What a low half brings along besides itself, modulo 2^64: an exponent, and what keeps a signed half positive."""
    return {"ifma": 0, "truncate": 1075 << 52, "nearest": (1075 << 52) + 2**51}[str(METHOD)]


def _high_bias() -> int:
    """As `_low_bias`, of a high half."""
    return 0 if METHOD == "ifma" else 1127 << 52


def _ready(b: Any, limb: Any) -> Any:
    """A limb as the multiplications below want it."""
    if METHOD == "ifma":
        return limb
    # The limb in the last bits of 2^52 + limb.
    return b.fsub(b.bitcast(b.or_(limb, _splat(1075 << 52)), _DOUBLES), _double(2.0**52))


def _intrinsic(b: Any, name: str, result: Any, arguments: Sequence[Any]) -> Any:
    function_type = ir.FunctionType(result, [argument.type for argument in arguments])
    function = b.module.globals.get(name) or ir.Function(b.module, function_type, name)
    return b.call(function, arguments)


def _halves(b: Any, low: Any, high: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """low + low half of xy, high + high half, each with its bias."""
    if METHOD == "ifma":
        return tuple(
            _intrinsic(b, f"llvm.x86.avx512.vpmadd52{half}.uq.512", _VECTOR, [column, x, y])
            for half, column in (("l", low), ("h", high))
        )
    if METHOD == "truncate":
        toward_zero = ir.Constant(ir.IntType(32), 11)

        def fused(c: Any) -> Any:
            return _intrinsic(b, "llvm.x86.avx512.vfmadd.pd.512", _DOUBLES, [x, y, c, toward_zero])

        above = fused(_double(2.0**104))
        below = fused(b.fsub(_double(2.0**104 + 2.0**52), above))
    else:

        def fused(c: Any) -> Any:
            return _intrinsic(b, "llvm.fma.v8f64", _DOUBLES, [x, y, c])

        above = fused(_double(2.0**104))
        below = b.fadd(fused(b.fsub(_double(2.0**104), above)), _double(1.5 * 2.0**52))
    return b.add(low, b.bitcast(below, _VECTOR)), b.add(high, b.bitcast(above, _VECTOR))


def _at(b: Any, address: Any, index: int) -> Any:
    return b.inttoptr(b.add(address, ir.Constant(_WORD, index * _BYTES)), ir.PointerType(_VECTOR))


def _load(b: Any, address: Any, index: int = 0) -> Any:
    value = b.load(_at(b, address, index))
    value.align = _BYTES
    return value


def _store(b: Any, value: Any, address: Any, index: int = 0) -> None:
    b.store(value, _at(b, address, index)).align = _BYTES


def _add_to(b: Any, value: Any, address: Any, index: int) -> None:
    _store(b, b.add(_load(b, address, index), value), address, index)


def _loop(b: Any, count: Any, state: Sequence[Any], body: Callable[[Any, Sequence[Any]], Sequence[Any]]) -> Vectors:
    """Repeats the body ``count`` times, which may be none; it maps the loop's state to the next one."""
    before, head = b.block, b.append_basic_block("head")
    inside, after = b.append_basic_block("inside"), b.append_basic_block("after")
    b.branch(head)
    b.position_at_end(head)
    phis = [b.phi(value.type) for value in (ir.Constant(_WORD, 0), *state)]
    for phi, value in zip(phis, (ir.Constant(_WORD, 0), *state), strict=True):
        phi.add_incoming(value, before)
    b.cbranch(b.icmp_unsigned("<", phis[0], count), inside, after)
    b.position_at_end(inside)
    following = [b.add(phis[0], ir.Constant(_WORD, 1)), *body(b, phis[1:])]
    for phi, value in zip(phis, following, strict=True):
        phi.add_incoming(value, b.block)
    b.branch(head)
    b.position_at_end(after)
    return list(phis[1:])


def _further(b: Any, address: Any, limbs: int) -> Any:
    return b.add(address, ir.Constant(_WORD, limbs * _BYTES))


def _rest_of_row(b: Any, xs: Vectors, carried: Vectors, columns: Any, y: Any, steps: Any) -> None:
    """Adds xs times `_STEP` * steps limbs of y to the columns, with what earlier limbs of y left for them."""

    def body(b: Any, state: Sequence[Any]) -> Sequence[Any]:
        columns, y, *sums = state
        # The biases of all products of this turn, taken off in advance.
        low = [min(c, BLOCK - 1, _STEP - 1, BLOCK + _STEP - 2 - c) + 1 for c in range(BLOCK + _STEP - 1)]
        lows, highs = [*low, 0], [0, *low]
        sums += [_splat(0)] * _STEP
        if METHOD != "ifma":
            biases = [_splat(-(a * _low_bias() + h * _high_bias())) for a, h in zip(lows, highs, strict=True)]
            sums = [b.add(s, bias) for s, bias in zip(sums, biases, strict=True)]
        for j in range(_STEP):
            limb = _ready(b, _load(b, y, j))
            for i, x in enumerate(xs):
                sums[i + j], sums[i + j + 1] = _halves(b, sums[i + j], sums[i + j + 1], x, limb)
        for j in range(_STEP):
            _add_to(b, sums[j], columns, j)
        return [_further(b, columns, _STEP), _further(b, y, _STEP), *sums[_STEP:]]

    columns, _, *last = _loop(b, steps, [columns, y, *carried], body)
    for i, value in enumerate(last):
        _add_to(b, value, columns, i)


def _row(b: Any, columns: Any, x: Any, y: Any, limbs: Any) -> None:
    """columns += x[0..BLOCK) * y[0..limbs)."""
    xs = [_ready(b, _load(b, x, i)) for i in range(BLOCK)]
    _rest_of_row(b, xs, [_splat(0)] * BLOCK, columns, y, b.udiv(limbs, ir.Constant(_WORD, _STEP)))


def _reduce_row(b: Any, columns: Any, quotient: Any, modulus: Any, inverse: Any, limbs: Any) -> None:
    """Makes the lowest BLOCK columns 0 by adding a multiple of the modulus, whose limbs go to ``quotient``.

    ``inverse`` holds -1 / modulus[0] mod 2^52 in every lane. What the lowest columns carry goes to the next one.
    """
    low = [_ready(b, _load(b, modulus, j)) for j in range(BLOCK)]
    factor = _ready(b, _load(b, inverse))
    sums = [_load(b, columns, i) for i in range(BLOCK)] + [_splat(0)] * BLOCK
    digits = []
    for i in range(BLOCK):
        wanted, _ = _halves(b, _splat(-_low_bias()), _splat(0), _ready(b, b.and_(sums[i], _MASK)), factor)
        digit = b.and_(wanted, _MASK)
        _store(b, digit, quotient, i)
        digits.append(_ready(b, digit))
        for j in range(BLOCK):
            place = i + j
            sums[place], sums[place + 1] = _halves(b, sums[place], sums[place + 1], digits[i], low[j])
            if METHOD != "ifma":
                sums[place] = b.add(sums[place], _splat(-_low_bias()))
                sums[place + 1] = b.add(sums[place + 1], _splat(-_high_bias()))
        sums[i + 1] = b.add(sums[i + 1], b.ashr(sums[i], _splat(BITS)))
    steps = b.udiv(b.sub(limbs, ir.Constant(_WORD, BLOCK)), ir.Constant(_WORD, _STEP))
    _rest_of_row(b, digits, sums[BLOCK:], _further(b, columns, BLOCK), _further(b, modulus, BLOCK), steps)


def _carry(b: Any, out: Any, columns: Any, count: Any) -> None:
    """Columns to limbs; what leaves the last one is dropped."""

    def body(b: Any, state: Sequence[Any]) -> Sequence[Any]:
        out, columns, carry = state
        value = b.add(_load(b, columns), carry)
        _store(b, b.and_(value, _MASK), out)
        return [_further(b, out, 1), _further(b, columns, 1), b.ashr(value, _splat(BITS))]

    _loop(b, count, [out, columns, _splat(0)], body)


def _select(b: Any, out: Any, entries: Any, digits: Any, count: Any, limbs: Any, *, one: bool) -> None:
    """out = entry number digits[lane] of ``count`` in every lane; all are read, whatever the digits.

    ``one``: the entries are plain numbers of 64-bit words, the same for all lanes; else they are vectors.
    """
    wanted = _load(b, digits)
    width = 8 if one else _BYTES
    length = b.mul(limbs, ir.Constant(_WORD, width))

    def block(b: Any, outer: Sequence[Any]) -> Sequence[Any]:
        out, entries = outer

        def body(b: Any, state: Sequence[Any]) -> Sequence[Any]:
            entry, number, *chosen = state
            mask = b.icmp_unsigned("==", wanted, number)
            for i in range(BLOCK):
                if one:
                    word = b.load(b.inttoptr(b.add(entry, ir.Constant(_WORD, 8 * i)), ir.PointerType(_WORD)), align=8)
                    start = b.insert_element(ir.Constant(_VECTOR, ir.Undefined), word, ir.Constant(ir.IntType(32), 0))
                    lanes = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
                    value = b.shuffle_vector(start, ir.Constant(_VECTOR, ir.Undefined), lanes)
                else:
                    value = _load(b, entry, i)
                chosen[i] = b.select(mask, value, chosen[i])
            return [b.add(entry, length), b.add(number, _splat(1)), *chosen]

        _, _, *chosen = _loop(b, count, [entries, _splat(0), *[_splat(0)] * BLOCK], body)
        for i, value in enumerate(chosen):
            _store(b, value, out, i)
        return [_further(b, out, BLOCK), b.add(entries, ir.Constant(_WORD, width * BLOCK))]

    _loop(b, b.udiv(limbs, ir.Constant(_WORD, BLOCK)), [out, entries], block)


@intrinsic
def _row_code(_context: Any, columns: Any, x: Any, y: Any, limbs: Any) -> Any:
    return code_block("pclimbs_row", 4, _row)


@intrinsic
def _reduce_row_code(_context: Any, columns: Any, quotient: Any, modulus: Any, inverse: Any, limbs: Any) -> Any:
    return code_block("pclimbs_reduce_row", 5, _reduce_row)


@intrinsic
def _carry_code(_context: Any, out: Any, columns: Any, count: Any) -> Any:
    return code_block("pclimbs_carry", 3, _carry)


@intrinsic
def _select_shared_code(_context: Any, out: Any, entries: Any, digits: Any, count: Any, limbs: Any) -> Any:
    return code_block("pclimbs_select_shared", 5, functools.partial(_select, one=True))


@intrinsic
def _select_own_code(_context: Any, out: Any, entries: Any, digits: Any, count: Any, limbs: Any) -> Any:
    return code_block("pclimbs_select_own", 5, functools.partial(_select, one=False))


_Three = Callable[[int, int, int], None]
_Five = Callable[[int, int, int, int, int], None]

row = cast(Callable[[int, int, int, int], None], _row_code)
"""row(columns, x, y, limbs): columns += x[0..BLOCK) * y[0..limbs)."""

reduce_row = cast(_Five, _reduce_row_code)
"""reduce_row(columns, quotient, modulus, inverse, limbs): one block of Montgomery's reduction."""

carry = cast(_Three, _carry_code)
"""carry(out, columns, count): columns to limbs; what leaves the last one is dropped."""

select_shared = cast(_Five, _select_shared_code)
"""select_shared(out, entries, digits, count, limbs): the entry that each lane's digit names, out of entries that all
lanes share; reads every one."""

select_own = cast(_Five, _select_own_code)
"""As `select_shared`, out of entries of the lanes' own."""
