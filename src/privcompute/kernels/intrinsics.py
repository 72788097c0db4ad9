"""The machine instructions that numba does not offer by itself."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic


@intrinsic
def _fma(_context: Any, a: Any, b: Any, c: Any) -> Any:
    def generate(_: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        double = ir.DoubleType()
        signature = ir.FunctionType(double, [double] * 3)
        return builder.call(builder.module.declare_intrinsic("llvm.fma", [double], signature), arguments)

    return types.float64(types.float64, types.float64, types.float64), generate


@intrinsic
def _rint(_context: Any, a: Any) -> Any:
    def generate(_: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.call(builder.module.declare_intrinsic("llvm.rint", [ir.DoubleType()]), arguments)

    return types.float64(types.float64), generate


@intrinsic
def _popcount(_context: Any, a: Any) -> Any:
    def generate(_: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.call(builder.module.declare_intrinsic("llvm.ctpop", [ir.IntType(64)]), arguments)

    return types.uint64(types.uint64), generate


@intrinsic
def _mulhi(_context: Any, a: Any, b: Any) -> Any:
    def generate(_: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(arguments[0], wide), builder.zext(arguments[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate


fma = cast(Callable[[float, float, float], float], _fma)
"""a * b + c, rounded once (inside kernels only)."""

rint = cast(Callable[[float], float], _rint)
"""The nearest integer, ties to even (inside kernels only)."""

popcount = cast(Callable[[np.uint64], np.uint64], _popcount)
"""Number of one bits of a uint64 (inside kernels only)."""

mulhi = cast(Callable[[np.uint64, np.uint64], np.uint64], _mulhi)
"""The upper 64 bits of the product of two uint64 (inside kernels only)."""
