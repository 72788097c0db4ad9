"""Blocks of LLVM code that kernels call: arithmetic on whole vectors, for which numba has no words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from llvmlite import ir
from numba.core import types

_WORD: Final[Any] = ir.IntType(64)


def code_block(name: str, count: int, body: Callable[..., None]) -> tuple[Any, Callable[..., Any]]:
    """What an intrinsic returns to numba: its signature, and the generator of its code.

    The block is one internal function of a module, called with integers, however many calls of it there are: it is
    long, and LLVM would take minutes over copies of it in every caller.

    Args:
        name: of the function in the machine code; one name, one block, in all of the package.
        count: of its arguments: addresses and counts, all int64.
        body: writes the code, given a builder and the arguments.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        module = builder.module
        function = module.globals.get(name)
        if function is None:
            function = ir.Function(module, ir.FunctionType(ir.VoidType(), [_WORD] * count), name)
            function.linkage = "linkonce_odr"  # libraries that numba links together then share one copy
            function.attributes.add("noinline")
            inner = ir.IRBuilder(function.append_basic_block("entry"))
            body(inner, *function.args)
            inner.ret_void()
        builder.call(function, arguments)
        return context.get_dummy_value()

    return types.void(*[types.int64] * count), generate
