"""Exact inner products of two parties' columns, as shares.

Inputs: the key owner: integer columns x_i; the evaluator: integer columns y_j, aligned row by row with the x_i; both:
    the shape (rows, public bounds, wanted pairs (i, j), bits k of the ring).
Needs: both roles given alike; k >= 2 + log2(rows * B_x * B_y), which the shape checks.
Output: for each wanted (i, j), shares modulo 2**k of the sum over rows of x_i * y_j.
Learned: nothing. The key owner's view is, up to 2**-40 and the hardness of ring-LWE, uniform polynomials and its
    uniform shares; the evaluator sees ring-LWE samples only. This holds for a key owner that makes its key and
    ciphertexts as written; one that does not defeats the flooding.
Source: additively homomorphic inner products with noise flooding: Gentry, STOC 2009, section 7.2, on Brakerski's and
    Fan-Vercauteren's encryption (IACR eprint 2012/144, section 4); returning single coefficients as LWE
    samples: Chen, Dai, Kim, Song (ACNS 2021), section 3. Parameters: docs/ring-lwe.md.
Steps:
    1. The key owner draws a ternary secret s and sends a public key, an encryption of zero under s, whose second half a
       both parties expand from the session's common randomness.
    2. Block by block the key owner sends the first halves round(q*x/2**k) + e - a*s of its columns' encryptions, each
       with a fresh common a.
    3. The evaluator multiplies both halves by the polynomials of its columns' digits and adds up over blocks, per
       pair of a group of the key owner's columns and a digit column.
    4. To each sum it adds a fresh public-key encryption of zero, switches the second half to the modulus 2**w and
       returns all of it.
    5. To each useful coefficient of the first halves it adds a mask r, uniform modulo 2**k and encoded as
       round(q*r/2**k), and a flood, uniform in [-2**f, 2**f), switches it to 2**w and returns it. Its shares are -r.
    6. The key owner decrypts each returned coefficient to the sum plus r modulo 2**k: its share. Both add up the
       shares of the digits of one product, each times its power of two.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence
from contextlib import aclosing
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from privcompute.errors import PeerError
from privcompute.he.columns import check_columns
from privcompute.he.evaluator import Evaluator
from privcompute.he.layout import Layout, choose_layout
from privcompute.he.owner import KeyOwner, recombine
from privcompute.he.parameters import CrossShape
from privcompute.he.warm import warm_up
from privcompute.mpc import Shared
from privcompute.ring import Ring
from privcompute.session import Session, protocol

T = TypeVar("T")
Columns = Sequence[npt.NDArray[Any]]
Words = npt.NDArray[np.uint64]

SOURCE: Final = "Gentry, STOC 2009, section 7.2; Fan and Vercauteren, IACR eprint 2012/144, section 4"


@protocol("cross_product", source=SOURCE, rounds=2)
async def cross_product_key_owner(s: Session, peer: str, columns: Columns, shape: CrossShape) -> Shared:
    """The key owner's role.

    Args:
        s: The session.
        peer: Who plays the other role.
        columns: The columns of shape.x_bounds: int64 (n,) or two's complement limbs uint64 (n, 2); n <= shape.rows.
        shape: As the evaluator has it.

    Returns:
        Shares modulo 2**k, (entries,).

    Raises:
        UsageError: a value is beyond its bound, or no row of the table fits; nothing was sent.
        PeerError: the peer sent something malformed.
    """
    layout = choose_layout(shape)
    await s.off_loop(warm_up)
    await s.off_loop(check_columns, columns, shape.x_bounds, shape.rows)
    owner = await s.off_loop(KeyOwner, layout, columns, s.rng.private, s.rng.common)
    # 1.
    await s.send(peer, "key", await s.off_loop(owner.public_key))
    # 2.
    encrypted = (lambda first=first, count=count: owner.encrypt(first, count) for first, count in layout.chunks())
    done = 0
    async with aclosing(_ahead(s, encrypted)) as messages:
        async for message in messages:
            await s.send(peer, "ciphertexts", message)
            done += len(message)
            s.progress("encrypt", done, layout.blocks)
    replies = await _receive_replies(s, peer, layout)
    constants = _checked(s, peer, await s.recv(peer, "constants", np.uint64, _constants_shape(layout)), layout)
    # 6.
    return _shared(shape, recombine(layout, await s.off_loop(_decrypt_all, owner, replies, constants)))


@protocol("cross_product", source=SOURCE, rounds=2)
async def cross_product_evaluator(s: Session, peer: str, columns: Columns, shape: CrossShape) -> Shared:
    """The evaluator's role, with the columns of shape.y_bounds; all else as in `cross_product_key_owner`."""
    layout = choose_layout(shape)
    await s.off_loop(warm_up)
    await s.off_loop(check_columns, columns, shape.y_bounds, shape.rows)
    mine = await s.off_loop(Evaluator, layout, columns, s.rng.private, s.rng.common)
    # 1.
    key = await s.recv(peer, "key", np.uint64, (layout.ciphertext_words,))
    await _blaming(s, peer, s.off_loop(mine.absorb_key, key))
    # 2.
    for first, count in layout.chunks():
        message = await s.recv(peer, "ciphertexts", np.uint64, (count, layout.groups, layout.ciphertext_words))
        # 3.
        await _blaming(s, peer, s.off_loop(mine.absorb, first, message))
        s.progress("multiply", first + count, layout.blocks)
    # 4.
    hidden = (lambda first=first, count=count: mine.replies(first, count) for first, count in layout.reply_chunks())
    async with aclosing(_ahead(s, hidden)) as replies:
        async for reply in replies:
            await s.send(peer, "replies", reply)
    # 5.
    constants, shares = await s.off_loop(mine.constants)
    await s.send(peer, "constants", constants)
    return _shared(shape, shares)


async def _ahead(s: Session, work: Iterator[Callable[[], T]]) -> AsyncGenerator[T, None]:
    """Results of `work`, in order, each computed in a thread while the one before is on its way."""
    pending: asyncio.Task[T] | None = None
    try:
        for function in work:
            done, pending = pending, None
            result = None if done is None else await done
            pending = asyncio.create_task(s.off_loop(function))
            if done is not None:
                yield result  # type: ignore[misc]  # a finished task's result is a T
        if pending is not None:
            yield await pending
    finally:
        if pending is not None and not pending.done():
            await asyncio.wait([pending])  # a thread cannot be stopped; its arrays must outlive it


async def _receive_replies(s: Session, peer: str, layout: Layout) -> list[tuple[int, Words]]:
    return [
        (first, await s.recv(peer, "replies", np.uint64, (count, layout.reply_words)))
        for first, count in layout.reply_chunks()
    ]


def _decrypt_all(owner: KeyOwner, replies: list[tuple[int, Words]], constants: Words) -> list[int]:
    return [share for first, words in replies for share in owner.decrypt(first, words, constants)]


def _constants_shape(layout: Layout) -> tuple[int, int]:
    return len(layout.outputs), layout.parameters.limbs


def _checked(s: Session, peer: str, constants: Words, layout: Layout) -> Words:
    """The received coefficients, all below 2**w."""
    top = layout.parameters.reply_bits - 64 * (layout.parameters.limbs - 1)
    if top < 64 and np.any(constants[:, -1] >> np.uint64(top)):
        raise PeerError(
            "the peer sent a coefficient that is not reduced",
            code="bad_ciphertext", party=peer, stage=s.path,
            remedy="check that both nodes run the same version, then ask again",
        )  # fmt: skip
    return constants


async def _blaming(s: Session, peer: str, work: Coroutine[Any, Any, T]) -> T:
    """Names the party and the stage in an error that arithmetic raised."""
    try:
        return await work
    except PeerError as error:
        error.party, error.stage = error.party or peer, error.stage or s.path
        raise


def _shared(shape: CrossShape, shares: list[int]) -> Shared:
    ring = Ring(shape.k)
    return Shared(ring, ring.array(shares))
