"""Compiles or loads every kernel of this package and proves it against a known answer, once a process."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from privcompute.errors import IntegrityError
from privcompute.he.evaluator import Evaluator
from privcompute.he.layout import choose_layout
from privcompute.he.owner import KeyOwner, recombine
from privcompute.he.parameters import CrossShape
from privcompute.randomness import Rng, token_bytes

_X = (-(2**31), 2**31 - 1, 77, 0, -1)
_Y = (2**31 - 1, -(2**31), 5, 9, -(2**31))


@lru_cache(maxsize=1)
def warm_up() -> None:
    """Runs one small product through both sides' kernels; later calls do nothing.

    A few milliseconds when the machine code is on disk, some ten seconds of compiling when it is not. What is on disk
    is thereby checked before data passes.

    Raises:
        IntegrityError: this machine computes something else.
    """
    shape = CrossShape(len(_X), (2**31, 1), (2**31,), ((0, 0), (1, 0)))
    layout = choose_layout(shape)
    x, y = np.array(_X, np.int64), np.array(_Y, np.int64)
    seed = token_bytes(32)
    here, there = Rng(seed), Rng(seed)
    owner = KeyOwner(layout, [x, np.sign(x)], here.private, here.common)
    evaluator = Evaluator(layout, [y], there.private, there.common)
    evaluator.absorb_key(_received(owner.public_key()))
    evaluator.absorb(0, _received(owner.encrypt(0, layout.blocks)))
    replies = _received(evaluator.replies(0, len(layout.replies)))
    constants, shares = evaluator.constants()
    others = recombine(layout, owner.decrypt(0, replies, _received(constants)))
    modulus = 1 << shape.k
    signs = [(a > 0) - (a < 0) for a in _X]
    wanted = [sum(a * b for a, b in zip(column, _Y, strict=True)) for column in (_X, signs)]
    if [(a + b - w) % modulus for a, b, w in zip(shares, others, wanted, strict=True)] != [0, 0]:
        raise IntegrityError(
            "the encryption kernels give a wrong answer to a known question on this machine",
            code="self_test",
            remedy="delete the __pycache__ folders of the installation and try again; then report the CPU model",
        )


def _received(array: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The array as it comes from a channel: read-only, a type of its own to the compiler."""
    array.flags.writeable = False
    return array
