"""Both sides of the kernel in one thread, without a session: what the attacks and the noise tests take apart."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from privcompute.he.evaluator import Evaluator
from privcompute.he.layout import Layout, choose_layout
from privcompute.he.owner import KeyOwner, recombine
from privcompute.he.parameters import CrossShape, Parameters
from privcompute.randomness import Rng

Words = npt.NDArray[np.uint64]
Columns = Sequence[npt.NDArray[Any]]
SEED = hashlib.sha256(b"kernel bench").digest()


def owner_rng(seed: bytes = SEED) -> Rng:
    """The key owner's randomness; an attacker, who is the key owner, has it too."""
    return Rng(seed, master=lambda: hashlib.sha256(seed + b"owner").digest())


@dataclass(frozen=True)
class Unswitched(Parameters):
    """Replies keep all bits of q. The switch to 2**w is there for bytes; privacy may not rest on what it rounds off."""

    @cached_property
    def reply_bits(self) -> int:
        return self.q.bit_length() + 24


def unswitched(layout: Layout) -> Layout:
    p = layout.parameters
    free = Unswitched(p.n, p.widths, p.k, p.digit, p.pack, p.rows, p.digit_bound, p.returned)
    return Layout(layout.shape, free)


@dataclass(frozen=True)
class Run:
    """One finished run: what each side holds, and all that the key owner received."""

    layout: Layout
    owner: KeyOwner
    replies: Words
    constants: Words
    digit_shares: list[int]
    owner_shares: list[int]
    evaluator_shares: list[int]

    @property
    def sums(self) -> list[int]:
        modulus = 1 << self.layout.shape.k
        raw = [(a + b) % modulus for a, b in zip(self.owner_shares, self.evaluator_shares, strict=True)]
        return [v - modulus if v >= modulus // 2 else v for v in raw]


def run(
    shape: CrossShape | Layout,
    x: Columns,
    y: Columns,
    *,
    owner_class: type[KeyOwner] = KeyOwner,
    evaluator_class: type[Evaluator] = Evaluator,
    seed: bytes = SEED,
) -> Run:
    layout = shape if isinstance(shape, Layout) else choose_layout(shape)
    mine, theirs = owner_rng(seed), Rng(seed, master=lambda: hashlib.sha256(seed + b"evaluator").digest())
    owner = owner_class(layout, x, mine.private, mine.common)
    evaluator = evaluator_class(layout, y, theirs.private, theirs.common)
    evaluator.absorb_key(owner.public_key())
    for first, count in layout.chunks():
        evaluator.absorb(first, owner.encrypt(first, count))
    replies = np.concatenate([evaluator.replies(first, count) for first, count in layout.reply_chunks()])
    constants, evaluator_shares = evaluator.constants()
    digit_shares = owner.decrypt(0, replies, constants)
    return Run(
        layout, owner, replies, constants, digit_shares, recombine(layout, digit_shares), evaluator_shares
    )  # fmt: skip


def products(x: Columns, y: Columns, entries: Sequence[tuple[int, int]]) -> list[int]:
    """The oracle: Python integers."""
    return [sum(a * b for a, b in zip(integers(x[i]), integers(y[j]), strict=True)) for i, j in entries]


def integers(column: npt.NDArray[Any]) -> list[int]:
    if column.ndim == 1:
        return [int(v) for v in column]
    return [(int(high.view(np.int64)) << 64) + int(low) for low, high in column]


def wide(values: Sequence[int]) -> Words:
    """Two's complement limbs, (n, 2)."""
    mask = 2**64 - 1
    return np.array([[v & mask, (v >> 64) & mask] for v in values], dtype=np.uint64).reshape(-1, 2)
